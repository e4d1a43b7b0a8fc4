# `make demo` and `make test` work on a machine that has only Python >= 3.11 and make.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
OLDEST := .venv-oldest

.PHONY: help demo test test-browser test-oldest lint check bench docs site lock clean

help:    ## list the targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: .*##/\t/'

demo: $(READY)    ## teacher, student alone and distilled student on generated scenes, with a picture
	$(BIN)/segdistill distill quickstart

test: $(READY)    ## the test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto  # one process per core, one thread each

test-browser: $(READY)    ## report.html in headless Chromium; installs Debian's package, if there is none (as root)
	command -v chromium > /dev/null || { apt-get update && apt-get install --yes --no-install-recommends chromium; }
	$(BIN)/python -m pytest tests/reports/html/test_browser.py

test-oldest: $(OLDEST)/.ready    ## the test suite with the oldest versions that pyproject.toml permits
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest --numprocesses auto -W "ignore::DeprecationWarning"

lint: $(READY) site    ## ruff (style and format), mypy (strict) and the site, where a warning is an error
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test    ## what CI runs

bench: $(READY)    ## cost of distillation, as ratios in one process; compares with the stored figures and stores them
	$(BIN)/python -m benchmarks.bench

docs: $(READY)    ## write docs/losses.md and the tables of docs/performance.md and docs/results.md
	$(BIN)/python docs/make_losses.py
	$(BIN)/python docs/make_performance.py
	$(BIN)/python docs/make_results.py

site: $(READY)    ## build the documentation site: docs/_build/index.html
	$(BIN)/python -m sphinx --builder html --fail-on-warning --quiet docs docs/_build

# Without the extra `executorch`: it brings 25 packages, and its runtime has ended test processes that use other runtimes too.
PIN := uv pip compile --universal --generate-hashes --python-version 3.11 --no-header --no-annotate \
	--extra all --extra fast --extra export --extra explain --extra openvino --extra video --group dev --upgrade pyproject.toml

lock:    ## pin every dependency with its hashes, the newest and the oldest versions (needs uv)
	$(PIN) --output-file requirements.lock
	$(PIN) --resolution lowest-direct --output-file requirements-oldest.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("segdistill needs Python >= 3.11, found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "installing the locked dependencies into $(VENV) (once; PyTorch is several GB) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(OLDEST)/.ready: requirements-oldest.lock
	@$(PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/pip install --quiet --require-hashes --requirement requirements-oldest.lock
	@$(OLDEST)/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

clean:    ## remove the environment and the caches
	rm -rf $(VENV) $(OLDEST) docs/_build .mypy_cache .ruff_cache .pytest_cache
