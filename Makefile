# dreamer: `make demo` trains a first network, `make test` runs the tests; `make help` lists the rest.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# twice quiet: errors only
PIP    := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
# what is installed depends on these two files alone: the package itself is installed in place
STATED := pyproject.toml constraints.txt

# small networks gain nothing from more threads, and lose much where cores are shared
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-all coverage test-oldest check docs clean

help: ## show these lines
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1 - \2/'

demo: $(VENV)/installed ## install, train on the embedded digits, print the result table
	$(BIN)/dreamer run digits

# a worker for each core; who has nothing left takes from the others
SPREAD := -n auto --dist worksteal

test: $(VENV)/installed-test ## install what the tests need, run all that start no processes, and the doctests
	$(BIN)/python -m pytest $(SPREAD)

test-all: $(VENV)/installed-test ## run every test, also those that start processes
	$(BIN)/python -m pytest $(SPREAD) -m "" --durations=30

coverage: $(VENV)/installed-test ## run every test, and print which lines none of them runs (takes nearly twice as long)
	$(BIN)/python -m pytest $(SPREAD) -m "" --cov

test-oldest: ## run some tests with the oldest versions that pyproject.toml states
	PYTHON=$(PYTHON) .ci/oldest

check: $(VENV)/installed-test ## lint, formatting, types and the rules of what may import what
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/installed-docs ## build the documentation into site/; every warning is an error
	@# the variable spares an announcement of the theme's authors; with --quiet no warning would count
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "built site/index.html; with search: $(BIN)/python -m http.server --directory site"

clean: ## remove the environment and what tools left behind; runs/ stays
	rm -rf $(VENV) build dist site .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(STATED) | $(VENV)/bin/python
	@echo "installing dreamer into $(VENV) (a few minutes the first time)"
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/installed-%: $(STATED) | $(VENV)/bin/python
	@echo "installing dreamer and what $* needs into $(VENV) (a few minutes the first time)"
	$(PIP) install --constraint constraints.txt --editable '.[$*]'
	@touch $(VENV)/installed $@
