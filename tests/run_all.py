"""`make test`: lint, tests, and the chapters under nbval (`CHAPTERS`); says how many passed.

Runs with any Python that has the test extra, on Windows too: python tests/run_all.py [--quick]
With --quick (`make quick`) for whoever changes a line: no chapters, none of the slow tests.
"""

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
WORKERS = min(2, os.cpu_count() or 1)
PYTEST = ["pytest", "-q", "-ra", "--durations=25", "-n", str(WORKERS), "--dist", "loadfile"]
NBVAL = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=1800"]
# the Chinese edition has the English one's code, to the letter (tests/test_translations.py)
NBVAL += ["--ignore-glob=*.mine*.ipynb", "--ignore=notebooks/zh"]
CHAPTERS = "notebooks", "notebooks/zh/00_start_here.ipynb", "notebooks/zh/08_summary.ipynb"


def step(title: str, arguments: list[str]) -> bool:
    """Run `python -m arguments` from the root; False if it failed."""
    print(f"\n== {title}", flush=True)
    threads = str(max(1, (os.cpu_count() or 1) // WORKERS))  # the workers share the cores
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads}
    environment.pop("MPLBACKEND", None)  # notebooks draw inline
    clock = time.perf_counter()
    status = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, env=environment)
    print(f"== {title}: {time.perf_counter() - clock:.0f} s, exit {status.returncode}", flush=True)
    return status.returncode == 0


def counts(report: Path) -> tuple[int, int, int]:
    """Passed, failed and skipped tests of a JUnit report; one failure where it is missing."""
    if not report.exists():
        return 0, 1, 0
    suite = ElementTree.parse(report).getroot().find("testsuite")
    names = "tests", "failures", "errors", "skipped"
    total, failed, errors, skipped = (int(suite.get(name)) for name in names)
    return total - failed - errors - skipped, failed + errors, skipped


def main() -> int:
    BUILD.mkdir(exist_ok=True)
    reports = BUILD / "tests.xml", BUILD / "notebooks.xml"
    for old in (*reports, BUILD / "summary.txt"):
        old.unlink(missing_ok=True)
    quick = "--quick" in sys.argv[1:]
    tests = [*PYTEST, *(("-m", "not slow") if quick else ()), f"--junitxml={reports[0]}", "tests"]
    notebooks = [*PYTEST, *NBVAL, f"--junitxml={reports[1]}", *CHAPTERS]
    fine = [
        step("lint", ["ruff", "check", "."]),
        step("format", ["ruff", "format", "--check", "."]),
        step("tests", tests),
        *([] if quick else [step("notebooks", notebooks)]),
    ]
    results = [(0, 0, 0), (0, 0, 0), *map(counts, reports)][: len(fine)]
    # a step that fails without a failed test (lint, a crash, nothing found) counts as one failure
    failed = sum(result[1] or not ok for result, ok in zip(results, fine, strict=True))
    passed, skipped = sum(result[0] for result in results), sum(result[2] for result in results)
    summary = f"{passed} passed, {failed} failed, {skipped} skipped"
    (BUILD / "summary.txt").write_text(summary + "\n")
    print("\n" + summary)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
