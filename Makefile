# Everything a developer or a user of the source runs. `make help` lists it.
#
# The environment is .venv, made from hashed lock files: .venv/.run for the demo, .venv/.dev for tests.

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# The page is tried in Chromium where there is one (apt-get install chromium; 300 MB, so not installed here).
# COMMAND=PACKAGE of each program that tests need; the laboratory's are needed only where it can run, as root.
TOOLS := tshark=tshark tcpdump=tcpdump curl=curl wrk=wrk
LAB_TOOLS := ip=iproute2 tc=iproute2 ethtool=ethtool nft=nftables sysctl=procps taskset=util-linux \
	nginx=nginx node=nodejs npm=npm bpftrace=bpftrace
# Further ones that `make bench` compares with.
BENCH_TOOLS := tcptrace=tcptrace tcpflow=tcpflow tcpreplay=tcpreplay nginx=nginx wrk=wrk
# Which random scenarios fidelity-live draws: make fidelity-live SEED=7 draws others.
COUNT ?= 100
SEED ?= 1
NODE_MODULES := $(or $(PCAPTOOL_CACHE_DIR),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pcaptool)/node

.PHONY: help demo test quick lint oracle bench fuzz fidelity diff-proof docs pictures lock clean tools
.DELETE_ON_ERROR:

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | column -t -s '|'

demo: .venv/.run  ## predict, observe, compare: the whole line on bundled input
	@$(BIN)/pcaptool demo

test: .venv/.dev tools  ## every test (installs the programs they need; as root the laboratory's, too)
	$(BIN)/python -m pytest -n auto --dist loadgroup

quick: .venv/.dev  ## the tests that take less than a few seconds each, and need no other program and no root
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "not slow and not oracle and not root"

lint: .venv/.dev  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

oracle: .venv/.dev tools  ## every column against tshark's value, over the bundled captures and those of PCAPTOOL_CORPUS
	$(BIN)/python -m pytest -n auto tests/oracle

bench: TOOLS += $(BENCH_TOOLS)
bench: .venv/.dev tools  ## how fast, against tshark, dpkt, tcptrace, tcpdump, tcpreplay (as root); writes reports/benchmarks.md
	PYTHONPATH=. $(BIN)/python tests/bench/analyze.py
	PYTHONPATH=. $(BIN)/python -m tests.bench.memory
	! command -v cc >/dev/null || $(BIN)/python tests/bench/floor.py --write
	PYTHONPATH=. $(BIN)/python tests/bench/streams.py
	$(BIN)/python tests/bench/generate.py --write
	PYTHONPATH=. $(BIN)/python tests/bench/diff.py --write
	[ "$$(id -u)" != 0 ] || PYTHONPATH=. $(BIN)/python tests/bench/replay.py --write

FUZZ_SECONDS ?= 60

fuzz: .venv/.dev  ## broken captures, changed at random and guided by coverage (atheris), FUZZ_SECONDS (60) each: nothing raises but our own errors
	$(BIN)/python tests/fuzz/captures.py --seconds $(FUZZ_SECONDS) $(PCAPTOOL_CORPUS)
	! $(BIN)/python -c "import atheris" 2>/dev/null || for what in packet file; do \
		PYTHONPATH=. $(BIN)/python tests/fuzz/guided.py $$what --seconds $(FUZZ_SECONDS) fixtures $(PCAPTOOL_CORPUS) || exit 1; done

fidelity: .venv/.dev  ## the model against every bundled real capture; writes reports/fidelity.md
	$(BIN)/python tests/model/fidelity.py

diff-proof: .venv/.dev  ## the diff's four proofs over the bundled captures, and those of PCAPTOOL_CORPUS and PCAPTOOL_LAB (minutes); writes reports/diff.md
	PYTHONPATH=. $(BIN)/python tests/proof/prove.py

fidelity-live: .venv/.run  ## root: random scenarios on this kernel against the model; writes reports/fidelity-live.md
	$(BIN)/pcaptool lab matrix --count $(COUNT) --seed $(SEED) -o reports/fidelity-live.md

pictures: .venv/.dev  ## the pictures in docs/images anew (needs Chromium)
	cd $(CURDIR) && $(BIN)/python tests/browser/pictures.py

docs: .venv/.run  ## the pages that are made from tables
	$(BIN)/python -m pcaptool.scenario.document > docs/scenario.md
	$(BIN)/python -m pcaptool.cli.document > docs/cli.md
	$(BIN)/python -m pcaptool.tables.document > docs/tables.md

lock:  ## resolve the dependencies anew and write both lock files
	PYTHON="$(PYTHON)" .ci/lock

clean:  ## remove what was made: .venv, reports of the demo, caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist reports/demo reports/bench-data
	find . -name __pycache__ -prune -exec rm -rf {} +

# -- the environment ---------------------------------------------------------------------------------------

.venv/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: Python 3.11 or later is needed; say which: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv \
		|| { echo "make: no venv module; on Debian: apt-get install python3-venv" >&2; rm -rf .venv; exit 1; }

.venv/.run: requirements.lock pyproject.toml pcaptool/_version.py | .venv/bin/python
	@echo "make: installing the packages of requirements.lock into .venv"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@# Where PYTHONDONTWRITEBYTECODE is set, every start would compile the sources again: a fifth of a short run.
	@$(BIN)/python -m compileall -q pcaptool
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.run
	@echo "make: installing the packages of requirements-dev.lock into .venv"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# -- programs that the tests compare with ------------------------------------------------------------------

tools:
	@missing=""; wanted="$(TOOLS)"; [ "$$(id -u)" != 0 ] || wanted="$$wanted $(LAB_TOOLS)"; \
	for tool in $$wanted; do \
		command -v $${tool%=*} >/dev/null || missing="$$missing $${tool#*=}"; \
	done; \
	if [ -n "$$missing" ]; then \
		sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		echo "make: the tests need$$missing; installing with: $$sudo apt-get install -y$$missing"; \
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q \
		&& $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
	fi
	@if [ "$$(id -u)" = 0 ] && [ ! -e $(NODE_MODULES)/node_modules/express ]; then \
		echo "make: installing express with npm into $(NODE_MODULES)"; \
		npm install --silent --no-audit --no-fund --prefix $(NODE_MODULES) express@5 \
			|| echo "make: npm could not install express (no network?): its tests are skipped" >&2; \
	fi
