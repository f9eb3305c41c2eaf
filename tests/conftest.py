"""What every test shares: hypothesis without deadlines (many workers, two cores), few threads.

The examples of property tests are the same everywhere and each time: a newcomer's `make test` never
fails by chance. New ones: pytest -m hypothesis --hypothesis-profile=nightly
"""

import os
import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the workers share the cores
os.environ.setdefault("MPLBACKEND", "agg")

try:
    from hypothesis import settings
except ImportError:  # the tests that need it say so themselves
    pass
else:
    settings.register_profile("kdlab", deadline=None, max_examples=50, derandomize=True)
    settings.register_profile("nightly", deadline=None, max_examples=50, derandomize=False)
    settings.load_profile("kdlab")


@pytest.fixture
def exact(monkeypatch):
    """float32 everywhere, so that curves can be compared closely on any processor."""
    monkeypatch.setattr("kdlab.machine.has_fast_bf16", lambda device="cpu": False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Records and caches of this test alone."""
    monkeypatch.setattr("kdlab.records.results_dir", lambda: tmp_path / "results")
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


@pytest.fixture(scope="session")
def chromium():
    """The browser; `$KDLAB_BROWSER` names another than those on the path."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    named = [os.environ.get("KDLAB_BROWSER", ""), *BROWSERS]
    path = next(filter(None, map(shutil.which, named)), None)
    if path is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)} is on the path")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
