# Two commands are enough on a fresh machine: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= python3
# An interpreter that was named gets an environment of its own: make test PYTHON=python3.13
VENV := .venv$(if $(filter file,$(origin PYTHON)),,-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null))
BIN := $(VENV)/bin
SOCKET ?= .run/scached.sock

.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' $(firstword $(MAKEFILE_LIST)))
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

NO_PYTHON = scached needs Python 3.11 or later, and '$(PYTHON)' is none: install it (Debian, Ubuntu: apt-get install \
	python3), or name another one like this: make run PYTHON=python3.12
python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "$(NO_PYTHON)" >&2; exit 1; }

setup: python ## make the environment in .venv, or make it right
	@$(PYTHON) .make/environment.py $(VENV)

run: python ## start scached on a socket below this folder and say what to try; installs nothing
	@exec $(PYTHON) .make/try.py $(SOCKET)

test: setup ## run the whole default test suite (pass more with ARGS=…)
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# By its full name: neither the interpreter's folder nor an environment made of it is on the path of a bare machine.
test-bare: python ## run it without the programs that tests look for: green, with a reason for each skip (as root)
	.make/bare $(MAKE) test VENV=.venv-bare ARGS="--bare $(ARGS)" \
		PYTHON=$$($(PYTHON) -c 'import os, sys; print(os.path.realpath(sys.executable))')

nightly: generated explore mutants citations attack listing memory soak soak-takeover smtp-figures prometheus-check ## what takes too long for every change; make -k nightly goes on after a failure

check: setup ## types, lint, format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=spec:fast:client $(BIN)/mypy .make examples

explore: setup ## every state of a larger scope, specification and fast table side by side (minutes)
	$(BIN)/python -m tests.side_by_side.exploration

prove: setup ## prove the invariants of the table for any number of clients and sessions, try wrong rows (a minute)
	$(BIN)/python -m tests.proof

RUNS := .cache/conformance
SUITE = $(BIN)/scache-conformance --strict
# Our servers have no option for a clock; this puts the suite's in the place of theirs, so that every expiry is exact.
VIRTUAL = $(BIN)/python tests/conformance/under_virtual_clock.py {clock}
OURS = --listen {socket} --ttl-limit {ttl_limit_s}s --max-idle {max_idle_s} --ipc-timeout {ipc_timeout_s} \
	--status-update-time {status_update_time_s} \
	--attribute-list-bytes-max {attribute_list_bytes_max} --output-bytes-max {output_bytes_max} \
	--sessions-max {sessions_max} --sessions-per-endpoint-max {sessions_per_endpoint_max} \
	--bindings-max {bindings_max} --clients-max {clients_max} \
	--attributes-max {attributes_max} --bindings-per-destination-max {bindings_per_destination_max} \
	--cached-bytes-max {cached_bytes_max} --clients-per-user-max {clients_per_user_max}

CLIENT = $(BIN)/scache-conformance client --timeout 3
SCRIPTED = $(BIN)/python tests/client/scripted_client.py

conformance: setup ## hold three servers and three clients against the specification, write conformance/RESULTS.md
	@mkdir -p $(RUNS)
	$(SUITE) --name reference --expect-fail scache-reference --exec '$(VIRTUAL) scache_reference $(OURS)' --json $(RUNS)/reference.json
	$(SUITE) --name scached --exec '$(VIRTUAL) scache_fast $(OURS)' --json $(RUNS)/scached.json
	$(SUITE) --name 'Postfix scache(8)' --postfix --expect-fail postfix-scache --json $(RUNS)/postfix.json
	$(BIN)/scache-conformance report $(RUNS)/reference.json $(RUNS)/scached.json $(RUNS)/postfix.json \
		--markdown conformance/RESULTS.md --html $(RUNS)/matrix.html
	$(CLIENT) --name 'blocking client' --exec '$(SCRIPTED) blocking {socket} {script} {timeout_s}' --json $(RUNS)/blocking.json
	$(CLIENT) --name 'asyncio client' --exec '$(SCRIPTED) asyncio {socket} {script} {timeout_s}' --json $(RUNS)/asyncio.json
	$(BIN)/python -m tests.postfix.smtp_as_client $(RUNS)/smtp.json
	$(BIN)/scache-conformance report $(RUNS)/blocking.json $(RUNS)/asyncio.json $(RUNS)/smtp.json --markdown $(RUNS)/clients.md
	(echo; cat $(RUNS)/clients.md) >> conformance/RESULTS.md

bench: setup ## measure speed beside the real scache(8) (minutes; ARGS=--quick for one)
	@$(MAKE) --no-print-directory compiled >/dev/null || echo "the compiled form is left out: make compiled says why"
	PYTHONPATH=bench $(BIN)/python -m scache_bench $(ARGS)

smtp-figures: setup ## mails a second and handshakes from 4 prefork workers, with the cache and without (a minute; Postfix as root)
	$(BIN)/python -m tests.client.smtp_figures $(ARGS)

generated: setup ## made-up runs, concurrent histories and every trace on three servers (minutes)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m generated --full -rP --durations=0 $(ARGS)

attack: setup ## the longest wait of a polite client beside each attack (a minute; ARGS="--repeats 20" for more)
	$(BIN)/python -m tests.attack $(ARGS)

listing: setup ## 100 000 rows through scachectl list under load: each once, longest wait of a polite client (a minute)
	$(BIN)/python -m tests.attack.listing $(ARGS)

memory: setup ## fill every limit that memory depends on, and compare with the table of the manual page (a minute)
	$(BIN)/python -m tests.memory $(ARGS)

soak: setup ## a million save and find pairs under a long ttl: memory and descriptors stay flat (minutes)
	$(BIN)/python -m tests.soak

soak-takeover: setup ## 50 takeovers with 10 000 parked under load, then 200 with a kill and 20 with a stop at a random step: nothing is lost but by the table (minutes)
	$(BIN)/python -m tests.soak.takeover $(ARGS)

mutants: setup ## hold every server that is wrong on purpose against the suite, check conformance/MUTANTS.md (minutes)
	$(BIN)/python -m tests.wrong.table

citations: setup ## break each line of fast/ that cites a clause, and see a test of the clause fail (minutes)
	$(BIN)/python -m tests.citations $(ARGS)

COMPILED := .cache/compiled

compiled: setup ## compile the hot modules with mypyc into .cache/compiled (optional; needs a C compiler)
	$(BIN)/python .make/build_hook.py $(COMPILED)
	@echo "run it: PYTHONPATH=$(COMPILED) $(BIN)/python -m scache_fast --listen …"

ACCELERATED := .cache/accelerated

accelerated: setup ## compile the accelerator alone, into .cache/accelerated (optional; needs a C compiler)
	$(BIN)/python .make/build_hook.py $(ACCELERATED) --accelerator

TEST_IN = $(BIN)/python -m pytest -n 2 --dist worksteal -o pythonpath='. $(1) spec reference client conformance proof bench'

# The fourth combination, plain Python without the accelerator, is what `make test` tests.
test-compiled: compiled accelerated ## lockstep and the server's own tests: compiled, accelerated, both
	$(call TEST_IN,$(COMPILED)) --compiled tests/side_by_side/lockstep tests/fast $(ARGS)
	SCACHED_ACCELERATOR=off $(call TEST_IN,$(COMPILED)) --compiled tests/side_by_side/lockstep/test_lockstep.py $(ARGS)
	$(call TEST_IN,$(ACCELERATED)) tests/side_by_side/lockstep/test_lockstep.py tests/fast/test_wire.py tests/fast/test_hostile.py $(ARGS)

# The sdist, the pure wheel made from it, and the compiled wheel where there is a C compiler.
dist: setup ## make the sdist, the wheel and the compiled wheel in dist/
	@rm -rf dist
	$(BIN)/python -m build --no-isolation
	HATCH_BUILD_HOOKS_ENABLE=1 $(BIN)/python -m build --no-isolation --wheel || \
		echo "no compiled wheel was made; the reason is above, and the pure wheel works everywhere"
	$(BIN)/twine check --strict dist/*

dist-check: dist ## install each of dist/ in an environment of its own, park and take a connection with it (minutes)
	$(BIN)/python -m tests.packages

deb: ## build Debian packages from the compiled wheel for Debian's Python in .cache/deb
	@$(MAKE) --no-print-directory dist PYTHON=/usr/bin/python3
	.make/deb

prometheus-check: setup ## a Prometheus scrapes a real run and evaluates every alert and panel; takes Debian's prometheus
	$(BIN)/python -m tests.ctl.prometheus

deb-check: deb ## try the Debian packages in a new Debian, booted by systemd-nspawn (as root; minutes)
	$(BIN)/python -m tests.packages.debian

PYODIDE := 314.0.7
SITE := .cache/site

docs-fetch: setup ## fetch what the site is built with: Sphinx, its theme, Pyodide (needs npm, once)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@mkdir -p .cache && cd .cache && rm -rf pyodide && npm pack --silent pyodide@$(PYODIDE) >/dev/null && \
		tar xzf pyodide-$(PYODIDE).tgz && mv package pyodide && rm pyodide-$(PYODIDE).tgz

BUILD_SITE = PYTHONPATH=docs $(BIN)/python -m scache_docs $(SITE) --pyodide .cache/pyodide
docs: ## build the site; fetches nothing
	@test -d .cache/pyodide || { echo "the site needs Sphinx and Pyodide: make docs-fetch" >&2; exit 1; }
	$(BUILD_SITE)

docs-serve: ## build it, and serve it on this machine
	@test -d .cache/pyodide || { echo "the site needs Sphinx and Pyodide: make docs-fetch" >&2; exit 1; }
	$(BUILD_SITE) --serve 8000

docs-test: docs ## load every page in a browser, and step through each example there (needs chromium)
	$(BIN)/python -m tests.docs.browser $(SITE) $(ARGS)

docs-pictures: ## the same, with pictures of pages and terminal tools in .cache/pictures, at two widths, light and dark
	@$(MAKE) --no-print-directory docs-test ARGS="--pictures .cache/pictures"

# gcc's: they are loaded before Python, whose own allocator would hide the end of an object from them.
SANITIZED := .cache/sanitized
sanitize: setup ## the tests of the accelerator, under AddressSanitizer and UBSan
	CFLAGS='-fsanitize=address,undefined -fno-sanitize-recover=all -O1' LDFLAGS='-fsanitize=address,undefined' \
		$(BIN)/python .make/build_hook.py $(SANITIZED) --accelerator
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" PYTHONMALLOC=malloc \
		ASAN_OPTIONS=detect_leaks=0 $(BIN)/python -m pytest -p no:cacheprovider \
		-o pythonpath='. $(SANITIZED) spec reference client conformance proof bench' tests/fast/test_wire.py tests/fast/test_loop.py \
		tests/side_by_side/lockstep/test_lockstep.py $(ARGS)

fuzz: setup ## libFuzzer on the accelerator's splitter, after two seeded faults (minutes; ARGS=RUNS for fewer; needs clang)
	$(BIN)/python -m tests.fuzz $(ARGS)

format: setup ## rewrite the sources in house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

spec: setup ## render spec/SPEC.md, manual pages and pages of reference from the code
	PYTHONPATH=docs $(BIN)/python -m scache_docs.made

clean: ## remove what make and the tools made
	rm -rf .venv .venv-* .run .cache .hypothesis .mypy_cache .ruff_cache .pytest_cache dist build
