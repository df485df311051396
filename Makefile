# Two commands are enough on a fresh machine: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOCKET ?= .run/scached.sock

.PHONY: help run setup test check explore conformance bench format spec clean
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The stamp files remember which pyproject.toml the environment was made from.
$(VENV)/run.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("scached needs Python 3.11 or later; name one: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

setup: $(VENV)/dev.stamp ## make the environment in .venv

run: $(VENV)/run.stamp ## start scached on a socket below this folder and say what to try
	@mkdir -p $(dir $(SOCKET))
	@$(BIN)/python -m scache_fast.try_it $(SOCKET)
	@exec $(BIN)/scached --listen $(SOCKET) --ttl-limit 10m -v

test: $(VENV)/dev.stamp ## run the whole default test suite (pass more with ARGS=…)
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: $(VENV)/dev.stamp ## types, lint, format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

explore: $(VENV)/dev.stamp ## every state of a larger scope, specification and fast table side by side (minutes)
	$(BIN)/python -m tests.exploration

conformance: $(VENV)/dev.stamp ## hold reference, fast and the installed scache(8) against the specification; write the results
	$(BIN)/python -m tests.conformance.publish

bench: $(VENV)/dev.stamp ## measure speed beside the real scache(8) (minutes; ARGS=--quick for one)
	PYTHONPATH=bench $(BIN)/python -m scache_bench $(ARGS)

format: $(VENV)/dev.stamp ## rewrite the sources in house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

spec: $(VENV)/dev.stamp ## render spec/SPEC.md and the manual page from the code
	$(BIN)/python -m scache_spec.render spec/SPEC.md
	$(BIN)/python -m scache_fast.manual deploy/man/scached.8

clean: ## remove what make and the tools made
	rm -rf $(VENV) .run .cache .hypothesis .mypy_cache .ruff_cache .pytest_cache dist build
