"""Set up .venv, one line a step; with `test` what tests need, too.

Runs before anything is installed: standard library alone, any Python 3. uv does the work where it
is there, pip otherwise; what they say goes to build/setup.log.
"""

import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
VENV, LOG = ROOT / ".venv", ROOT / "build" / "setup.log"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
ORACLES = "torchdistill==1.1.5", "torchattacks==3.5.1"  # alone: what they ask for is a lot
FAILED = (
    "kdlab: the set-up stopped (the reason stands above, all of it in build/setup.log); "
    "is this machine online? Nothing is lost: run the same command again."
)
UNFIT = (
    "kdlab: .venv is there, but has no Python with pip; it stays as it is: move it away, or delete "
    "it and build/ with `make clean`, then run the same command again."
)


def step(words: str, *ways: list) -> bool:
    """Run the first command that works; one line on the screen. False where none of them does."""
    begun, shown, terminal = time.monotonic(), f"kdlab: {words:<44}", sys.stdout.isatty()
    print(shown, end="", flush=True)
    for command in ways:
        with LOG.open("a", encoding="utf-8") as log:
            print(f"\n$ {' '.join(map(str, command))}", file=log, flush=True)
            run = subprocess.Popen(command, cwd=ROOT, env=settings(), stdout=log, stderr=log)
            while run.poll() is None:
                time.sleep(0.2)
                if terminal:
                    print(f"\r{shown}{time.monotonic() - begun:4.0f} s", end="", flush=True)
        if run.returncode == 0:
            print(f"\r{shown}" * terminal + f"{time.monotonic() - begun:4.0f} s", flush=True)
            return True
    print(" failed", flush=True)
    return False


def settings() -> dict:
    """The environment of pip and uv: uv does not read pip's settings, so it is told the mirror."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    told = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    mirror = os.environ.get("PIP_INDEX_URL") or told.stdout.strip()
    return {**({"UV_DEFAULT_INDEX": mirror} if mirror else {}), **os.environ}


def installers() -> list:
    """How packages get into .venv: uv where it is there, then pip.

    uv does not see a torch that .venv borrows from the machine, and would fetch it again.
    """
    ways = [[PYTHON, "-m", "pip", "install", "--disable-pip-version-check"]]
    uv, borrows = shutil.which("uv"), "packages = true" in (VENV / "pyvenv.cfg").read_text().lower()
    if uv and not borrows:
        ways.insert(0, [uv, "pip", "install", "--python", PYTHON])
    return ways


def venv_commands() -> list:
    """The commands that make an empty .venv. The torch of this Python is used as it is: the build
    fits its hardware, and several GB stay away."""
    has_torch = find_spec("torch") and find_spec("torchvision")
    borrow = ["--system-site-packages"] if has_torch else []
    uv = shutil.which("uv")
    ways = [[uv, "venv", "--seed", "--python", sys.executable, *borrow, VENV]] if uv else []
    return [*ways, [sys.executable, "-m", "venv", *borrow, VENV]]


def main(wanted: list) -> None:
    """Bring .venv up to date; ends with one sentence and status 1 where that failed."""
    if sys.version_info < (3, 10):  # noqa: UP036, any Python may run this
        sys.exit("kdlab: needs Python 3.10 or newer; name one: make PYTHON=/path/to/python3.11 lab")
    LOG.parent.mkdir(exist_ok=True)
    LOG.write_text(time.strftime("%Y-%m-%d %H:%M\n"), encoding="utf-8")
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    torch = [line.split("#")[0].strip() for line in lines if line.startswith("torch")]
    steps = {
        "PyTorch, by far the largest (minutes)": torch,
        "the other packages": ["-r", "requirements.txt"],
    }
    if "test" in wanted:
        steps = {"what the tests need": ["-e", ".[test]"]}
    if "book" in wanted:
        steps = {"the book's builder": ["-e", ".[book]"]}
    alive = [PYTHON, "-m", "pip", "--version"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if not VENV.is_dir() or not any(VENV.iterdir()):
        print("kdlab: setting up .venv, once; what pip or uv say goes to build/setup.log")
        step("a Python environment", *venv_commands()) or fail()
    elif not PYTHON.is_file():
        sys.exit(UNFIT)
    elif subprocess.call(alive, **quiet):  # uv, for one, makes an environment without pip
        step("pip for .venv", [PYTHON, "-m", "ensurepip"]) or sys.exit(UNFIT)
    for words, packages in steps.items():
        step(words, *([*way, *packages] for way in installers())) or fail()
    for oracle in ORACLES if "test" in wanted else ():
        if not step(oracle, *([*way, "--no-deps", oracle] for way in installers())):
            print(f"kdlab: {oracle} is not to be had; its tests are skipped", file=sys.stderr)
    size = sum(f.stat().st_size for f in VENV.rglob("*") if f.is_file() and not f.is_symlink())
    print(f"kdlab: ready; .venv takes {size / 1e9:.1f} GB")


def fail() -> None:
    """Show the end of the log, and say what to do."""
    print("\n".join(LOG.read_text("utf-8", "replace").splitlines()[-15:]), file=sys.stderr)
    sys.exit(FAILED)


if __name__ == "__main__":
    main(sys.argv[1:])
