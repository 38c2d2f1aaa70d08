# gannb. Every target does its own set-up in .venv; `make` alone lists them.
#   make reproduce PAPERS=dataset_study PRESET=quick     make install PYTHON=python3.12
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install reproduce test test-browser test-storm lab eyes docs bench prepare clean

PYTHON ?=
PINNED ?=
PRESET ?= quick
PAPERS ?= $(patsubst papers/%.ipynb,%,$(wildcard papers/*.ipynb))
BIN    := .venv/bin
STAMP  := .venv/.installed
FORMATTED := nbs papers tests tools bench
OLD_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

# The stamp names the folder it was made in. A .venv that was moved or copied points at its old place and is made anew.
ifneq ($(PINNED)$(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

help:
	@echo 'make reproduce   the reports, on handwritten digits, about 9 minutes for all (PAPERS=dataset_study PRESET=quick|desk|paper)'
	@echo 'make test        everything that must hold: lint, notebooks, tests (about 20 minutes)'
	@echo 'make test-storm    damaged files by the thousand, trainings killed at every file operation (slow)'
	@echo 'make lab         JupyterLab, at a page that says where to begin'
	@echo 'make eyes        the eye test as a page for a class'
	@echo 'make test-browser  the lab and the pages in a real browser (needs Chromium; screenshots in outputs/screenshots/)'
	@echo 'make docs        the documentation site, offline, into _docs/site (a minute)'
	@echo 'make bench       speed, as ratios measured in one run'
	@echo 'make prepare     after editing notebooks: export, clean, README, lint, test'
	@echo 'make install     only the set-up: .venv with everything (PYTHON=python3.12 chooses the interpreter)'
	@echo '                 PINNED=1: the versions that the reference results were made with (constraints.txt)'
	@echo 'make clean       remove what builds and tests leave behind; .venv and outputs stay'

install: $(STAMP)

$(STAMP): settings.ini setup.py pyproject.toml
	@if [ -e $(STAMP) ] && [ "$$(cat $(STAMP))" != "$(CURDIR)" ]; then echo 'This .venv was made in another folder: making it anew.'; rm -rf .venv; fi
	@rm -f $(STAMP)
	@if $(BIN)/python -c '$(OLD_ENOUGH)' 2>/dev/null; then exit 0; fi; \
	for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	  if "$$python" -c '$(OLD_ENOUGH)' 2>/dev/null; then found="$$python"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'gannb needs Python 3.11 or later; none found as: $(or $(PYTHON),python3, python3.13, python3.12, python3.11, python).' >&2; \
	  echo 'Install one, or name it: make install PYTHON=/path/to/python3.12' >&2; exit 1; \
	fi; \
	rm -rf .venv; \
	"$$found" -m venv .venv || { rm -rf .venv; echo 'Could not make .venv (on Debian and Ubuntu: apt install python3-venv).' >&2; exit 1; }
	@echo 'Installing gannb and what it needs into .venv (the first time about 3 minutes and 6 GB of disk, mostly torch) ...'
	@free=$$(df -Pk . 2>/dev/null | awk 'NR == 2 {print int($$4 / 1048576)}'); \
	if [ "$${free:-99}" -lt 9 ]; then echo "Only $$free GB are free on this disk. The first installation needs about 9 GB for a while, and keeps 6." >&2; fi
	@if [ -t 1 ]; then quiet=; else quiet=-q; fi; \
	$(BIN)/python -m pip install --disable-pip-version-check $$quiet $(if $(PINNED),-c constraints.txt) -e '.[dev]' || { echo 'The installation did not finish; run the same command again to go on.' >&2; exit 1; }
	@printf '%s\n' '$(CURDIR)' > $(STAMP)

reproduce: install
	@if [ -z "$(strip $(PAPERS))" ]; then echo 'There is no report in papers/ yet.' >&2; exit 1; fi
	@$(BIN)/gannb reproduce $(PAPERS) --preset $(PRESET)

# pytest runs last: its closing line ("N passed") ends the output. Two processes, each with whole files and one thread.
test: install
	@echo '== lint'
	@$(BIN)/ruff format --quiet --no-cache --check $(FORMATTED) || { echo 'not formatted: run make prepare' >&2; exit 1; }
	@$(BIN)/ruff check --quiet --no-cache gannb $(FORMATTED)
	@echo '== notebooks'
	@$(BIN)/python tools/dev.py run
	@echo '== tests'
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests

# Chromium is looked for, and installed where that can be done without asking; without it nothing is run, and that is said.
test-browser: install
	@$(BIN)/python tools/browser.py

# Slow, and no part of `make test`: damaged files by the thousand, and trainings killed at every file operation.
test-storm: install
	@set -e; for file in tests/storm/*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

lab: install
	@$(BIN)/python tools/lab.py

eyes: install
	@$(BIN)/python tools/eyes.py

docs: install
	@$(BIN)/python tools/docs/build.py _docs

bench: install
	@set -e; for file in bench/*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

prepare: install
	@$(BIN)/ruff format --quiet --no-cache $(FORMATTED)
	@$(BIN)/python tools/dev.py export
	@$(BIN)/python tools/dev.py clean
	@$(BIN)/python tools/dev.py readme
	@$(MAKE) --no-print-directory test

clean:
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache _proc _docs
	@find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
