# `make help` lists what there is. Variables given on the command line or in the environment win.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_ARGS ?=

# Defaults of `make run`; design: 360 rows a chunk let every 6-hourly training see new bars.
RESEARCH_DIR ?= research
SYMBOLS ?= BTC/USDT,ETH/USDT
CHUNK_ROWS ?= 360

# Compose v2 where there is one, else v1.29.
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

.PHONY: help setup run test check lint typecheck bench clean up down logs e2e

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv and install the project (again only when pyproject.toml changed)

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) must be on PATH, is not: install Python 3.11 or newer, or make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) must be Python 3.11 or newer, is $$($(PYTHON) -V 2>&1): install one, or make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) -m venv must work, did not: install its venv module (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,postgres]'
	@touch $@

run: setup ## Run the learning loop end to end (makes the sample first if research/ has no candles)
	@if [ -z "$$(find "$(RESEARCH_DIR)" \( -name '*.csv' -o -name '*.csv.gz' -o -name '*.zip' \) -print -quit 2>/dev/null)" ]; then \
	  echo "$(RESEARCH_DIR)/ has no candles: writing the sample"; \
	  RESEARCH_DIR="$(RESEARCH_DIR)" $(BIN)/mei-backtester sample --symbols BTC/USDT,ETH/USDT; \
	fi
	@RESEARCH_DIR="$(RESEARCH_DIR)" SYMBOLS="$(SYMBOLS)" CHUNK_ROWS="$(CHUNK_ROWS)" $(BIN)/mei-backtester loop

up: ## The same run in containers: build, start, follow, print the summary; exit code of the runner
	@COMPOSE="$(COMPOSE)" RUN_UID="$(UID)" RUN_GID="$(GID)" RESEARCH_DIR="$(abspath $(RESEARCH_DIR))" \
	  SYMBOLS="$(SYMBOLS)" CHUNK_ROWS="$(CHUNK_ROWS)" docker/up.sh

down: ## Stop and remove the containers; volumes, candles and results stay
	@COMPOSE_PROFILES=sweep,cluster,live $(COMPOSE) down

logs: ## Follow the logs of the containers
	@COMPOSE_PROFILES=sweep,cluster,live $(COMPOSE) logs -f

e2e: setup ## The tests that drive the containers
	@$(BIN)/python -m pytest tests/e2e $(PYTEST_ARGS)

test: setup ## Run every test
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: lint typecheck ## Lint, types and the quick tests; for every commit
	@$(BIN)/python -m pytest -q -m 'not slow' $(PYTEST_ARGS)

lint: setup ## ruff, format, import contracts, docstrings
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/python tools/check_docstrings.py

typecheck: setup ## mypy --strict on src
	@$(BIN)/mypy

bench: setup ## Run the benchmarks (benchmarks/bench_*.py), results to benchmarks/results/; exit code 2 = not on this machine
	@found=0; for script in benchmarks/bench_*.py; do \
	  [ -e "$$script" ] || continue; found=1; echo "== $$script"; $(BIN)/python "$$script" || [ $$? = 2 ]; \
	done; [ $$found = 1 ] || { echo "error: benchmarks/ must hold scripts, holds none" >&2; exit 1; }

clean: ## Remove the environment and caches; candles, ledger and results stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src services tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
