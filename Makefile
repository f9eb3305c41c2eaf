# make lab: read the course · make course: run every chapter · make test: what must hold
# Each target makes .venv by itself when it is missing or when the requirements have changed.
PYTHON ?= python3
PY := .venv/bin/python
export PYTHONPATH := $(CURDIR)

.PHONY: help lab course test bench decks book format clean
help:
	@echo "make lab     open the course in JupyterLab; with COPY=FOLDER in a copy of your own"
	@echo "make course  run every chapter from top to bottom and print a table"
	@echo "make test    lint, tests, and the chapters under nbval"
	@echo "make decks   the lectures as slides, in build/decks"
	@echo "make book    the course as a static site, in build/book"
	@echo "make bench   a plain distillation loop against kdlab, side by side"
	@echo "make format  put the code into the one format"
	@echo "make clean   remove .venv and build"

lab course bench: .venv/learner.stamp
	@$(PY) -m kdlab $@ $(if $(COPY),$(if $(filter lab,$@),--copy "$(COPY)"))

decks: .venv/learner.stamp
	@$(PY) -m kdlab deck 01 02 03 04 05 06 07 08 09 --language both

book: .venv/book.stamp
	@$(PY) -m kdlab book

test: .venv/test.stamp
	@$(PY) tests/run_all.py

format: .venv/test.stamp
	@$(PY) -m ruff check --fix --quiet . ; $(PY) -m ruff format .

clean:
	rm -rf .venv build

# One line of progress a step; what pip or uv say goes to build/setup.log.
.venv/learner.stamp: requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || \
	{ echo "kdlab: no $(PYTHON) here; say which Python with: make PYTHON=/path/to/python3.11 lab" >&2; exit 1; }
	@$(PYTHON) kdlab/apps/classroom/install.py
	@touch $@

.venv/test.stamp: .venv/learner.stamp
	@$(PYTHON) kdlab/apps/classroom/install.py test
	@touch $@

.venv/book.stamp: .venv/learner.stamp
	@$(PYTHON) kdlab/apps/classroom/install.py book
	@touch $@
