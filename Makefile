# Everything a person types. Logic lives in deploy/local; this file only names it.

PYTHON ?= python3
VENV := .venv/bin
# Node comes with the environment.
IN_WEB = cd services/web && PATH="$(CURDIR)/$(VENV):$$PATH"
# Ends the stack in order even when make itself is killed.
TETHERED := exec setpriv --pdeathsig TERM

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup up down demo test lint unit web-test generate build lock bench clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install everything; a second time does nothing
	@$(PYTHON) -m deploy.local.setup

up: setup ## Run the whole system until Ctrl-C or `make down`; TRAINERS=3 for more trainers
	@$(TETHERED) $(VENV)/python -m deploy.local up

down: ## End the system that runs from this checkout
	@if [ -x $(VENV)/python ]; then $(VENV)/python -m deploy.local down; else echo "nothing is running"; fi

demo: setup ## Start the system, train a detector on sample pictures, leave the page open
	@$(VENV)/python -m deploy.local.demo

test: ## Set up, check the code, run every test
	@$(PYTHON) -m deploy.local.setup --for-tests
	@$(MAKE) --no-print-directory lint web-test
	$(VENV)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

lint: setup ## Style, types, import boundaries, Dockerfile and compose file
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports
	$(VENV)/hadolint deploy/docker/Dockerfile
	$(VENV)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@$(IN_WEB) npm --silent run check-format

unit: setup ## The tests that need no broker, store or browser: seconds
	$(VENV)/python -m pytest tests/unit $(PYTEST_ARGS)

web-test: setup ## The web client's own tests
	@$(IN_WEB) npm --silent test

generate: setup ## Write again what is made from the code: the page's types, the states' diagram, the list of routes and settings
	@$(VENV)/python -m services.web.scripts.generate_types
	@$(VENV)/python -m tests.support.reference

build: setup ## Build the web client, as setup does where it has changed
	@$(IN_WEB) npm --silent run build

COMPILE = $(VENV)/python -m uv pip compile --quiet --upgrade --universal --generate-hashes --no-header
RESOLVE = $(COMPILE) --excludes requirements/excludes.txt pyproject.toml
lock: setup ## Make the locks again from pyproject.toml and package.json, each with the newest allowed versions
	$(RESOLVE) -o requirements/services.lock
	$(RESOLVE) --extra trainer -c requirements/services.lock -o requirements/trainer.lock
	$(RESOLVE) --all-extras -c requirements/trainer.lock -o requirements/dev.lock
	$(COMPILE) --no-annotate requirements/bootstrap.in -o requirements/bootstrap.lock
	@$(IN_WEB) npm --silent run lock

bench: setup ## List the benchmarks; BENCH=name runs one
	@if [ -n "$(BENCH)" ]; then $(VENV)/python -m tests.bench.$(BENCH) $(BENCH_ARGS); \
	else echo "make bench BENCH=name, where name is one of:"; \
	ls tests/bench/bench_*.py | sed -n 's|tests/bench/\(.*\)\.py|  \1|p'; fi

clean: down ## Remove everything that setup and tests made; the data folder stays
	rm -rf .venv services/web/node_modules services/web/dist demo-output build *.egg-info test-artifacts
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Data stays in .trainyard (or TRAINYARD_DATA); remove that folder to begin anew."
