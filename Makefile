# Every target sets up what it needs; `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A CPU-only machine of your own: TORCH_INDEX=<the CPU wheel index that pytorch.org shows under "Get started">.
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help install demo test check format lint types tests test-slow bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about a minute) ..."
	@$(PIP) install -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

install: $(STAMP) ## create .venv and install everything

demo: $(STAMP) ## prepare, train, evaluate and recommend on a real log (minutes)
	@$(BIN)/syncrec demo

test: check ## what CI runs: format, lint, types and tests

check: format lint types tests ## the same, by its other name

format: $(STAMP) ## is the code formatted?
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: run '$(BIN)/ruff format .'"; exit 1; }

lint: $(STAMP) ## is the code clean?
	@$(BIN)/ruff check --quiet .

types: $(STAMP) ## do the types hold?
	@$(BIN)/mypy

tests: $(STAMP) ## the tests (fast suite)
	@$(BIN)/python -m pytest -n 2

test-slow: $(STAMP) ## the tests that take minutes
	@$(BIN)/python -m pytest -n 2 -m slow --timeout=1800

bench: $(STAMP) ## speed and memory, into benchmarks/results/latest.md (10 minutes)
	@$(BIN)/python benchmarks/run_all.py

clean: ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
