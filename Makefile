# All targets work in .venv/ at the root; `make` alone says what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
PIP := $(BIN)/pip --disable-pip-version-check --no-input

# What `make ci` runs after `make test`: add a target's name here, and its recipe and a line of help below. Here belongs
# what takes longer than the tests or needs more than they do: promises, zoo, doors, soak.
CI_REST := promises

.PHONY: help setup console test test-fast promises ci ci-rest lint bench proto clean
help:
	@echo "make console   set everything up, then open the console (without a terminal: one quick headless run)"
	@echo "make test      set up, lint, type-check, check the architecture, run the tests"
	@echo "make test-fast the unit tests alone, without lint: for every change"
	@echo "make promises  what the engine promises under faults, against real processes: minutes (docs/promises.md)"
	@echo "make ci        make test, then what takes longer: $(or $(CI_REST),nothing yet)"
	@echo "make lint      ruff, mypy --strict, import-linter, the list of terms"
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
	$(BIN)/python -m tests.prose

# Three at a time, on two cores too: much of the suite waits for seconds of load to pass. A file's tests stay together,
# they share fixtures. Files go in the order of their names, not by how many tests they have: those of engines have few
# and long ones, and would be left for the end.
PYTEST := $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

test: lint
	$(PYTEST) --ignore tests/promises

# Without those of the runtimes, which take longer than all the others together.
test-fast: $(STAMP)
	$(PYTEST) tests/unit --ignore tests/unit/engine/backends --ignore tests/unit/engine/artifacts

promises: $(STAMP)
	$(PYTEST) tests/promises

ci: test
	@$(MAKE) --no-print-directory ci-rest

ci-rest: $(CI_REST)
	@:

# A part of it: python -m benchmarks.peers --help
bench: $(STAMP)
	@exec $(BIN)/python -m benchmarks.peers

proto: $(STAMP)
	$(BIN)/python proto/generate.py

clean:
	rm -rf $(VENV) .bench .mypy_cache .ruff_cache .pytest_cache
