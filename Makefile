# The commands of the project. Each target installs what it needs, from the lock files, into .venv.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
PEERS := .venv-bench/installed
IN_STACK := . .local/env &&

export PYTHONPATH := $(CURDIR)/include
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo down reload test test-airflow test-sync test-rest faults badnight hostile check bench lock psql logs env compose-test install

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(INSTALLED) ## Start everything, sync the sandbox bank into Postgres, keep it running (DAY=+1: one day later)
	@$(BIN)/python -m dev.demo $(if $(DAY),--advance $(DAY))

down: $(INSTALLED) ## Stop everything that `make demo` started; keep the data
	@$(BIN)/python -m dev.stack down

reload: $(INSTALLED) ## Restart Dag processor and workers with edited steps and plugins; running tasks finish first
	@$(BIN)/python -m dev.stack reload

test: $(INSTALLED) ## Run all tests, on servers of their own
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=line --keep-going test-airflow test-sync test-rest

# Three groups in parallel that take about as long: the tests that run Airflow mostly wait for it.
AIRFLOW := $(addprefix tests/integration/,airflow alerts maintenance servers)
SYNC := $(addprefix tests/integration/,db sync)

test-airflow: $(INSTALLED)
	@$(BIN)/python -m pytest $(AIRFLOW)

test-sync: $(INSTALLED)
	@$(BIN)/python -m pytest $(SYNC)

test-rest: $(INSTALLED)
	@$(BIN)/python -m pytest $(addprefix --ignore=,$(AIRFLOW) $(SYNC))

faults: $(INSTALLED) ## Kill workers, Valkey and Postgres while a notice is sent (SEED=7: at other moments)
	@$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED))

badnight: $(INSTALLED) ## Send notices through servers that greylist, throttle, refuse, hang up and hang; write the table of docs/guarantees.md (SEED=7: other recipients)
	@$(BIN)/python -m tests.integration.notify.badnight $(if $(SEED),--seed $(SEED))

hostile: $(INSTALLED) ## Play 300 random histories of a hostile bank, and compare each with the truth (SEED=7: only one)
	@$(BIN)/python -m tests.integration.sync.hostile $(if $(SEED),--seed $(SEED))

check: $(INSTALLED) ## Check style and types, declarations, new migrations, Dockerfile and Compose file
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/python -m etl check
	@ls include/sql/schema/*.sql | tail -n +23 | xargs -r $(BIN)/squawk # the first 22 are older than its rules
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yaml
	@if docker compose version >/dev/null 2>&1; then \
		file=$$(mktemp -u) && $(BIN)/python -m deploy.environment_file "$$file" >/dev/null \
		&& docker compose --env-file "$$file" --profile '*' config --quiet; code=$$?; rm -f "$$file"; exit $$code; fi

bench: $(INSTALLED) $(PEERS) ## Run all benchmarks in sequence (QUICK=1: smaller sizes; ONLY="…": some)
	@$(BIN)/python -m benchmarks $(ONLY)

env: ## Write .env for `docker compose`, with new secrets; an existing file is kept
	@$(PYTHON) -m deploy.environment_file

compose-test: $(INSTALLED) ## Build the image, start the whole stack in containers, break it, restore it, remove it
	@$(BIN)/python -m dev.compose

psql: $(INSTALLED) ## Open the warehouse
	@$(IN_STACK) PGOPTIONS="-c idle_in_transaction_session_timeout=10min" psql "$$WAREHOUSE_URL"

logs: $(INSTALLED) ## Follow the logs of the running stack
	@$(BIN)/python -m dev.stack logs --follow

lock: $(INSTALLED) ## Select the newest versions that pyproject.toml allows
	@$(BIN)/python -m dev.lock

install: $(INSTALLED)

$(INSTALLED): requirements-dev.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v[:2] <= (3, 13) else \
		"Sluice needs Python 3.11 to 3.13, and %s is %d.%d; try `make PYTHON=python3.11 …`." % (sys.executable, *v[:2]))'
	@echo "Installing the locked requirements into .venv; this takes about a minute."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $(INSTALLED)

$(PEERS): benchmarks/requirements.lock
	@echo "Installing the software that benchmarks compare with into .venv-bench."
	@$(PYTHON) -m venv --clear .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --no-deps --require-hashes --requirement benchmarks/requirements.lock
	@touch $(PEERS)
