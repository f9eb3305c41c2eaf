# make lab: read the course · make course: run every chapter · make test: the whole proof
# Each target makes .venv by itself when it is missing or when the requirements have changed.
PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check $(if $(CI),--quiet)
FAILED := { echo "kdlab: the requirements could not be installed (pip says why above);\
 is this machine online? Nothing is lost: run the same command again." >&2; exit 1; }
export PYTHONPATH := $(CURDIR)

.PHONY: help lab course test bench decks format clean
help:
	@echo "make lab     open the course in JupyterLab"
	@echo "make course  run every chapter from top to bottom and print a table"
	@echo "make test    lint, tests, and every notebook under nbval"
	@echo "make decks   the lectures as slides, in build/decks"
	@echo "make bench   a plain distillation loop against kdlab, side by side"
	@echo "make format  put the code into the one format"
	@echo "make clean   remove .venv and build"

lab course bench: .venv/learner.stamp
	@$(PY) -m kdlab $@

decks: .venv/learner.stamp
	@$(PY) -m kdlab deck 01 02 03 04 05 06 07 08 --language both

test: .venv/test.stamp
	@$(PY) tests/run_all.py

format: .venv/test.stamp
	@$(PY) -m ruff check --fix --quiet . ; $(PY) -m ruff format .

clean:
	rm -rf .venv build

# A torch that the machine already has is used as it is: the build fits its hardware, and several GB stay away.
.venv/learner.stamp: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	{ echo "kdlab: needs Python 3.10 or newer as python3; say which with: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || { rm -rf .venv && echo "kdlab: setting up .venv (once)" && $(PYTHON) -m venv \
	$$($(PYTHON) -c 'from importlib.util import find_spec as has; \
	print("--system-site-packages" * bool(has("torch") and has("torchvision")))') .venv; }
	@$(PIP) -r requirements.txt || $(FAILED)
	@touch $@

# The independent oracles of losses and attack would pull in a lot: they come alone, and their tests skip without them.
.venv/test.stamp: .venv/learner.stamp
	@$(PIP) -e '.[test]' || $(FAILED)
	@for oracle in torchdistill==1.1.5 torchattacks==3.5.1; do \
	$(PIP) --no-deps $$oracle || echo "kdlab: $$oracle is not to be had; its tests are skipped" >&2; done
	@touch $@
