"""A JupyterLab on this machine for the browser of tests/conftest.py; it is needed, or a skip."""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from kdlab.files import BUILD, environment, write_text

PICTURES = BUILD / "browser"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of its own: `.url`, `.folder`, `.progress` (the learner's file)."""
    folder = tmp_path_factory.mktemp("lab")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, progress, log = f"http://127.0.0.1:{port}", folder / "progress.sqlite3", folder / "log.txt"
    settings = environment(
        KDLAB_PROGRESS=str(progress),
        JUPYTER_CONFIG_DIR=str(folder / "config"),
        JUPYTERLAB_SETTINGS_DIR=str(folder / "settings"),
        JUPYTERLAB_WORKSPACES_DIR=str(folder / "workspaces"),
    )
    settings.pop("MPLBACKEND", None)
    news = "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    write_text(folder / news, '{"fetchNews": "false"}')
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"),
        *("--ip=127.0.0.1", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"),
        *("--LabApp.expose_app_in_browser=True", "--ServerApp.port_retries=0"),
    ]
    with log.open("w") as said:
        options = {"env": settings, "stdout": said, "stderr": said, "cwd": folder}
        server = subprocess.Popen(command, **options)
        try:
            _wait_for(url + "/api/status", server, log)
            yield SimpleNamespace(url=url, folder=folder, progress=progress)
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(url: str, server: subprocess.Popen, log: Path, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture
def run(chromium, lab):
    """Open a notebook of these cells in JupyterLab, run it, and give its browser page."""
    pages = []

    def opened(name: str, *cells: str, width: int = 1400, height: int = 1000):
        spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
        code = list(map(nbformat.v4.new_code_cell, cells))
        notebook = nbformat.v4.new_notebook(cells=code, metadata={"kernelspec": spec})
        nbformat.write(notebook, lab.folder / f"{name}.ipynb")
        page = chromium.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(90_000)
        pages.append(page)
        page.goto(f"{lab.url}/lab/tree/{name}.ipynb?reset")
        page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell")
        kernel = "window.jupyterapp?.shell.currentWidget?.sessionContext"
        page.wait_for_function(f"{kernel}?.isReady && {kernel}.session?.kernel?.status === 'idle'")
        for command in ("application:toggle-left-area", "notebook:run-all-cells"):
            page.evaluate("name => { jupyterapp.commands.execute(name) }", command)  # no waiting
        return page

    yield opened
    for page in pages:
        page.close()


@pytest.fixture
def shot():
    """Keep a picture of a page under build/browser, to be looked at."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    return lambda page, name, **options: page.screenshot(path=PICTURES / f"{name}.png", **options)
