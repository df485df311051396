# Two commands are enough on a fresh machine: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOCKET ?= .run/scached.sock

.PHONY: help run setup test check explore conformance bench generated soak mutants compiled test-compiled format spec clean
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
	$(BIN)/python -m tests.side_by_side.exploration

RUNS := .cache/conformance
SUITE = $(BIN)/scache-conformance --strict
# Our servers have no option for a clock; this puts the suite's in the place of theirs, so that every expiry is exact.
VIRTUAL = $(BIN)/python tests/conformance/under_virtual_clock.py {clock}
OURS = --listen {socket} --ttl-limit {ttl_limit_s}s --max-idle {max_idle_s} --ipc-timeout {ipc_timeout_s} \
	--status-update-time {status_update_time_s} \
	--attribute-list-bytes-max {attribute_list_bytes_max} --output-bytes-max {output_bytes_max} \
	--sessions-max {sessions_max} --sessions-per-endpoint-max {sessions_per_endpoint_max} \
	--bindings-max {bindings_max} --clients-max {clients_max}

conformance: $(VENV)/dev.stamp ## hold three servers against the specification, write conformance/RESULTS.md
	@mkdir -p $(RUNS)
	$(SUITE) --name reference --exec '$(VIRTUAL) scache_reference $(OURS)' --json $(RUNS)/reference.json
	$(SUITE) --name scached --exec '$(VIRTUAL) scache_fast $(OURS)' --json $(RUNS)/scached.json
	$(SUITE) --name 'Postfix scache(8)' --postfix --expect-fail postfix-scache --json $(RUNS)/postfix.json
	$(BIN)/scache-conformance report $(RUNS)/reference.json $(RUNS)/scached.json $(RUNS)/postfix.json \
		--markdown conformance/RESULTS.md --html $(RUNS)/matrix.html

bench: $(VENV)/dev.stamp ## measure speed beside the real scache(8) (minutes; ARGS=--quick for one)
	@$(MAKE) --no-print-directory compiled >/dev/null || echo "the compiled form is left out: make compiled says why"
	PYTHONPATH=bench $(BIN)/python -m scache_bench $(ARGS)

generated: $(VENV)/dev.stamp ## made-up runs, concurrent histories and every trace on three servers (minutes)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m generated --full -rP --durations=0 $(ARGS)

soak: $(VENV)/dev.stamp ## a million save and find pairs under a long ttl: memory and descriptors stay flat (minutes)
	$(BIN)/python -m tests.soak

mutants: $(VENV)/dev.stamp ## hold every server that is wrong on purpose against the suite, check conformance/MUTANTS.md (minutes)
	$(BIN)/python -m tests.wrong.mutants.table

COMPILED := .cache/compiled
HOT := scache_fast/engine/*.py

compiled: $(VENV)/dev.stamp ## compile the hot modules with mypyc into .cache/compiled (optional; needs a C compiler)
	@rm -rf $(COMPILED) && mkdir -p $(COMPILED) && cp -r fast/scache_fast spec/scache_spec $(COMPILED)
	cd $(COMPILED) && $(CURDIR)/$(BIN)/mypyc $(HOT) >mypyc.log 2>&1 || { cat mypyc.log; rm -rf ../compiled; exit 1; }
	@rm -rf $(COMPILED)/build
	@echo "run it: PYTHONPATH=$(COMPILED) $(BIN)/python -m scache_fast --listen …"

# test_faults.py puts its own epoll and socket in the place of names that compiled code has looked up for good.
test-compiled: compiled ## lockstep and the server's own tests, with the hot modules compiled
	$(BIN)/python -m pytest -n 2 --dist worksteal -o pythonpath='. $(COMPILED) spec reference client conformance bench' \
		--compiled --ignore tests/fast/test_faults.py tests/side_by_side/lockstep tests/fast $(ARGS)

format: $(VENV)/dev.stamp ## rewrite the sources in house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

spec: $(VENV)/dev.stamp ## render spec/SPEC.md and the manual page from the code
	$(BIN)/python -m scache_spec.render spec/SPEC.md
	$(BIN)/python -m scache_fast.settings.manual deploy/man/scached.8

clean: ## remove what make and the tools made
	rm -rf $(VENV) .run .cache .hypothesis .mypy_cache .ruff_cache .pytest_cache dist build
