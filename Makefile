# All targets work in .venv/ at the root; `make` alone says what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
PIP := $(BIN)/pip --disable-pip-version-check --no-input

.PHONY: help setup console test test-fast lint ci bench proto clean
help:
	@echo "make console   set everything up, then open the console (without a terminal: one quick headless run)"
	@echo "make test      set up, lint, type-check, check the architecture, run the tests"
	@echo "make test-fast the tests of tests/unit and tests/console alone, without lint"
	@echo "make lint      ruff, mypy --strict, import-linter"
	@echo "make ci        what CI runs: make test, with the test that needs a browser"
	@echo "make bench     ours against peers in one run: builds the peers in .bench/, takes hours, says how long beforehand"
	@echo "make proto     regenerate engine/api from proto/"
	@echo "make clean     remove .venv, .bench and caches (artifacts in the user's cache stay: engine export --prune)"

setup: $(STAMP)

$(STAMP): pyproject.toml setup-torch.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV): the first time takes a minute or two" >&2
	@PIP="$(PIP)" PY="$(BIN)/python" sh setup-torch.sh
	@$(PIP) install --quiet --editable '.[all,dev]'
	@touch $@

# Without a terminal the same quick experiment runs headless.
console: $(STAMP)
	@exec $(BIN)/embedconsole quickstart

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Two at a time: much of the suite waits for seconds of load to pass. A file's tests stay together, they share fixtures.
test: lint
	$(BIN)/pytest -n 2 --dist loadfile

# Without the tests that start engines and commands as processes of their own.
test-fast: $(STAMP)
	$(BIN)/pytest -n 2 --dist loadfile tests/unit tests/console

ci:
	@exec .ci/run

# A part of it: python -m benchmarks.peers --help
bench: $(STAMP)
	@exec $(BIN)/python -m benchmarks.peers

proto: $(STAMP)
	$(BIN)/python proto/generate.py

clean:
	rm -rf $(VENV) .bench .mypy_cache .ruff_cache .pytest_cache
