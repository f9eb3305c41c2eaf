"""The set-up: one line a step, the rest in a log; uv where it can be used, pip otherwise."""

import sys

import pytest

from kdlab.apps.classroom import install

PRINT = [sys.executable, "-c", "print('four hundred lines')"]
FAIL = [sys.executable, "-c", "import sys; sys.exit('no network')"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A clone without an environment, and no uv."""
    for name, path in (("ROOT", ""), ("VENV", ".venv"), ("LOG", "setup.log")):
        monkeypatch.setattr(install, name, tmp_path / path)
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(install.shutil, "which", lambda name: None)
    return tmp_path


def test_a_step_is_one_line_and_the_rest_goes_to_the_log(place, capsys):
    assert install.step("the packages", PRINT)
    assert capsys.readouterr().out.count("\n") == 1
    assert "four hundred lines" in install.LOG.read_text("utf-8")


def test_the_next_way_is_tried_and_a_failure_ends_with_what_to_do(place, capsys):
    assert install.step("uv, then pip", FAIL, PRINT)
    assert not install.step("pip", FAIL)
    with pytest.raises(SystemExit, match="run the same command again"):
        install.fail()
    told = capsys.readouterr()
    assert "failed" in told.out and "no network" in told.err


@pytest.mark.parametrize(("uv", "borrows", "first"), [
    ("/bin/uv", "false", "/bin/uv"), ("/bin/uv", "true", "python"), (None, "false", "python"),
])  # fmt: skip
def test_uv_is_used_unless_torch_is_borrowed(place, monkeypatch, uv, borrows, first):
    (place / ".venv" / "pyvenv.cfg").write_text(f"include-system-site-packages = {borrows}\n")
    monkeypatch.setattr(install.shutil, "which", lambda name: uv)
    ways = install.installers()
    assert first in str(ways[0][0]) and "pip" in ways[-1]
    assert len(ways) == 1 + (first == uv)


def test_uv_asks_the_mirror_that_pip_would_ask(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    assert install.settings()["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://own.example/simple")
    assert install.settings()["UV_DEFAULT_INDEX"] == "https://own.example/simple"


def test_an_old_python_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(install.sys, "version_info", (3, 9))
    with pytest.raises(SystemExit, match="needs Python 3.10"):
        install.main([])


def test_an_environment_that_is_there_is_never_deleted(place, monkeypatch):
    monkeypatch.setattr(install, "PYTHON", place / ".venv" / "python")
    (place / "requirements.txt").touch()
    (place / ".venv" / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="stays as it is: .* `make clean`"):
        install.main([])
    (place / ".venv" / "python").symlink_to(sys.executable)
    tried = []
    monkeypatch.setattr(install.subprocess, "call", lambda *_, **__: 1)  # no pip
    monkeypatch.setattr(install, "step", lambda words, *ways: tried.append(ways))
    with pytest.raises(SystemExit, match="stays as it is"):
        install.main([])
    assert tried == [([install.PYTHON, "-m", "ensurepip"],)]
    assert (place / ".venv" / "mine.txt").read_text() == "mine"
