# make lab: read the course · make course: run every chapter · make test: what must hold
# Each target makes .venv by itself when it is missing or when the requirements have changed.
PYTHON ?= python3
PY := .venv/bin/python
export PYTHONPATH := $(CURDIR)

.PHONY: help lab course test quick bench decks book format clean
help:
	@echo "make lab     open the course in JupyterLab; with COPY=FOLDER in a copy of your own"
	@echo "make course  run every chapter from top to bottom and print a table"
	@echo "make test    lint, tests, and the chapters under nbval"
	@echo "make quick   lint and the quick tests, in under two minutes"
	@echo "make decks   the lectures as slides, in build/decks"
	@echo "make book    the course as a static site, in build/book"
	@echo "make bench   a plain distillation loop against kdlab, side by side"
	@echo "make format  put the code into the one format"
	@echo "make clean   remove .venv and build"

lab course bench: .venv/learner.stamp
	@$(PY) -m kdlab $@ $(if $(COPY),$(if $(filter lab,$@),--copy "$(COPY)"))

decks: .venv/learner.stamp
	@$(PY) -m kdlab deck 01 02 03 04 05 06 07 08 09 10 --language both

book: .venv/book.stamp
	@$(PY) -m kdlab book

test: .venv/test.stamp
	@$(PY) tests/run_all.py

quick: .venv/test.stamp
	@$(PY) tests/run_all.py --quick

format: .venv/test.stamp
	@$(PY) -m ruff check --fix --quiet . ; $(PY) -m ruff format .

clean:
	rm -rf .venv build

# The set-up: $(call step,WORDS,COMMAND) is a line on the screen; what pip or uv say goes to the log.
LOG := build/setup.log
step = @echo 'kdlab: $(1)'; ($(2)) >>$(LOG) 2>&1 || { tail -n 15 $(LOG); echo "$(STOPPED)"; exit 1; } >&2
STOPPED := kdlab: the set-up stopped (the reason stands above, all of it in $(LOG)); is this machine \
	online? Nothing is lost: run the same command again.
# uv where it is installed, but for a .venv that borrows this Python's torch, which uv does not see
install = grep -q 'packages = false' .venv/pyvenv.cfg && uv pip install --python $(PY) $(1) || $(PY) -m pip install $(1)

.venv/learner.stamp: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { echo "kdlab: needs \
	Python 3.10 or newer, not $(PYTHON); name one: make PYTHON=/path/to/python3.11 lab" >&2; exit 1; }
	@mkdir -p build .venv; date >$(LOG)
	@test -z "$$(ls .venv)" || $(PY) -m pip --version >>$(LOG) 2>&1 || { echo "kdlab: .venv has no Python \
	with pip; it stays as it is: 'make clean' deletes it and build/, then run the same command again" >&2; exit 1; }
	$(call step,a Python environment,test -n "$$(ls .venv)" || $(PYTHON) -m venv \
	$$($(PYTHON) -c 'import torchvision' && echo --system-site-packages) .venv)
	$(call step,PyTorch and the other packages (minutes),$(call install,-r requirements.txt))
	@touch $@; echo "kdlab: ready; .venv takes $$(du -sh .venv | cut -f1)"

.venv/test.stamp: .venv/learner.stamp
	$(call step,what the tests need,$(call install,-e ".[test]"))
	@for oracle in torchdistill==1.1.5 torchattacks==3.5.1; do ($(call install,--no-deps $$oracle)) >>$(LOG) 2>&1 \
	|| echo "kdlab: $$oracle is not to be had; its tests are skipped" >&2; done
	@touch $@

.venv/book.stamp: .venv/learner.stamp
	$(call step,what the book needs,$(call install,-e ".[book]"))
	@touch $@
