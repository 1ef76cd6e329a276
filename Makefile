# The two commands are `make demo` and `make test`. Both need Python 3.11 or newer, and nothing else.

SHELL := /bin/sh
PORT ?= 8000
SERVE ?= 1
DATA ?=
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-bench
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: help demo stack test chaos bench bench-import bench-sampling bench-ingest prove api-document check lint types contracts clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## +/\t/' | expand -t 14

demo: $(VENV)/demo  ## all of it, with phones: PORT=8000, SERVE=0 ends after the report, DATA=PATH/fried2022.csv
	@$(BIN)/python manage.py demo --port $(PORT) $(if $(filter 0,$(SERVE)),--no-serve) $(if $(DATA),--data "$(DATA)")

stack: $(VENV)/demo  ## a whole server without containers, behind its proxy: PORT=8000
	@$(BIN)/python manage.py stack --port $(PORT)

test: $(VENV)/dev  ## everything that must hold
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

chaos: $(VENV)/dev  ## killed at random while they work: web, PostgreSQL, workers, broker: KILLS=30, ONLY=intake or outbox; a line for each in var/chaos.jsonl, or LOG=docs/chaos.jsonl
	@KILLS=$(or $(KILLS),30) LOG="$(LOG)" $(BIN)/python -m pytest $(patsubst %,tests/journeys/test_%_chaos.py,$(or $(ONLY),intake outbox)) -q -s
	@[ -z "$(LOG)" ] || $(BIN)/python -m proofs.chaos

bench: $(VENV)/dev $(PEERS)/made  ## the engine beside its peers, ten minutes: QUICK=1 is shorter, ONLY="a-1m refit" picks; into bench/results/
	@QUICK="$(QUICK)" ONLY="$(ONLY)" $(BIN)/python -m bench

bench-import: $(VENV)/dev  ## importing a finished study of a million rows: ROWS=100000 is shorter
	@$(BIN)/python -m bench.import_study --rows $(or $(ROWS),1000000)

bench-sampling: $(VENV)/dev  ## prompts by the million: a plan that reaches everybody, what is due, compliance: PEOPLE=1000 is shorter
	@$(BIN)/python -m bench.sampling --people $(or $(PEOPLE),10000)
	@[ ! -f bench/ledger.py ] || $(BIN)/python -m bench.ledger

bench-ingest: $(VENV)/dev  ## uploads beside the floors of this machine: ratios, processor time, p95: ROUNDS=2 is shorter
	@$(BIN)/python -m bench.ingest --rounds $(or $(ROUNDS),5)

prove: $(VENV)/dev  ## the long proofs: ONLY=coverage, convergence, zones (every clock change 2020–2030), api (2,000 calls by its document) or intake; a line for each in docs/proofs.jsonl
	@$(BIN)/python -m proofs $(ONLY)

api-document: $(VENV)/dev  ## write docs/openapi.json and docs/problem-codes.md from the code
	@$(BIN)/python manage.py api_document

check: lint types contracts test  ## ruff, mypy, import contracts, then the tests

lint: $(VENV)/dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/dev
	@$(BIN)/mypy

contracts: $(VENV)/dev
	@$(BIN)/lint-imports

clean:  ## remove the virtual environments and all state, the demo's data included
	rm -rf $(VENV) $(PEERS) var

$(VENV)/demo: requirements.txt requirements-demo.txt | $(VENV)/made
	@echo "Installing what the demo needs (once, about a minute) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-compile -r requirements.txt -r requirements-demo.txt
	@touch $@

$(VENV)/dev: requirements.txt requirements-demo.txt requirements-dev.txt | $(VENV)/made
	@echo "Installing what the tests need (once, about a minute) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-compile -r requirements-dev.txt
	@touch $@ $(VENV)/demo

$(PEERS)/made: requirements-bench.txt | $(VENV)/made
	@echo "Installing the peers to compare with (once) …"
	@$(PYTHON) -m venv --clear $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-compile -r requirements-bench.txt
	@touch $@

$(VENV)/made:
	@if [ -z "$(PYTHON)" ]; then \
		echo "EMA server needs Python 3.11 or newer; none was found. Install it, or name it: make demo PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(f"EMA server needs Python 3.11 or newer; $(PYTHON) is {v}.") if sys.version_info < (3, 11) else None'
	@if [ -L $(VENV) ]; then echo "$(VENV) is a link: making it anew would empty the folder that it leads to. Remove the link first." >&2; exit 1; fi
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) could not make a virtual environment here (above: why). On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@
