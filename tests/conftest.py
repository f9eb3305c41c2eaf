"""What every test shares: hypothesis without deadlines (many workers, two cores), few threads.

The examples of property tests are the same everywhere and each time: a newcomer's `make test` never
fails by chance. New ones: pytest -m hypothesis --hypothesis-profile=nightly
"""

import os

import pages
import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the workers share the cores
os.environ.setdefault("MPLBACKEND", "agg")

# what trains, serves, executes notebooks or drives a browser: `make quick` leaves it out
SLOW = {
    *("test_bench", "test_cli", "test_compare", "test_distil", "test_executors"),
    *("test_experiments", "test_exports", "test_grading", "test_live_student"),
    *("test_panels_browser", "test_report", "test_service", "test_teachers"),
}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in SLOW or item.path.parent.name == "browser":
            item.add_marker("slow")


settings.register_profile("kdlab", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("nightly", deadline=None, max_examples=50, derandomize=False)
settings.load_profile("kdlab")


@pytest.fixture
def exact(monkeypatch):
    """float32 everywhere, so that curves can be compared closely on any processor."""
    monkeypatch.setattr("kdlab.models.has_fast_bf16", lambda device="cpu": False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Records and caches of this test alone."""
    monkeypatch.setattr("kdlab.lab.results.results_dir", lambda: tmp_path / "results")
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A learner's progress file of this test alone; there is none yet."""
    path = tmp_path / "deep" / "progress.sqlite3"
    monkeypatch.setenv("KDLAB_PROGRESS", str(path))
    return path


@pytest.fixture
def at(monkeypatch):
    """Sets the clock of `kdlab.apps.interview.progress`."""
    return lambda moment: monkeypatch.setattr("kdlab.apps.interview.progress.now", lambda: moment)


@pytest.fixture(scope="session")
def chromium():
    """The browser; `$KDLAB_BROWSER` names another than those on the path."""
    from kdlab.apps.interview import exports

    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not (path := exports.browser()):
        pytest.skip(f"no browser here: none of {', '.join(exports.BROWSERS)} is on the path")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium):
    """Opens an address in a context of its own. `page.troubles` has its errors, what it asked for
    in vain or outside of `inside`, and what it said in the console (all, or these kinds)."""
    contexts = []

    def opened(address, inside=("file:",), console=None, width=1280, height=720, **options):
        size, troubles = {"width": width, "height": height}, []
        context = chromium.new_context(viewport=size, **options)
        contexts.append(context)
        kept = (*inside, "data:", "blob:", "about:")

        def say(message):
            if console is None or message.type in console:
                troubles.append(message.text)

        def failed(request):
            if request.failure != "net::ERR_ABORTED":
                troubles.append(request.url[:200])

        context.on("request", lambda r: r.url.startswith(kept) or troubles.append(r.url))
        context.on("requestfailed", failed)
        context.on("weberror", lambda error: troubles.append(str(error.error)))
        context.on("console", say)
        page = context.new_page()
        page.troubles = troubles
        page.set_default_timeout(60_000)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def show(browse, tmp_path):
    """Open a page of these panels; in the end nothing may have been requested or complained of."""
    from kdlab.apps.chapters import panels

    opened_pages, file = [], tmp_path / "page.html"

    def opened(*bundles, **options):
        file.write_text(pages.HEAD + "".join(map(panels.standalone, bundles)), encoding="utf-8")
        opened_pages.append(page := browse(file.as_uri(), (file.as_uri(),), **options))
        page.wait_for_function(
            "n => document.querySelectorAll('.kdlab-figure > *').length >= n", arg=len(bundles)
        )
        return page

    yield opened
    assert [page.troubles for page in opened_pages if page.troubles] == []
