# Needs Python 3.11 or newer; everything else is installed into .venv, pinned by hash.
.DEFAULT_GOAL := help
.PHONY: help run test check conformance faults rotate-kek verify-audit replay-letters guest update-prices bench bench-peers asyncapi lock clean
SHELL := /bin/sh
# Compiled bytecode is what makes later starts fast.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
# The environment's own Python if it runs, else the first suitable one of this machine.
FIND_PYTHON = for python in $(BIN)/python python3 python3.14 python3.13 python3.12 python3.11; do \
	  if "$$python" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; python=; \
	done; \
	if [ -z "$$python" ]; then echo "OmniPost AI needs Python 3.11 or newer; none was found." >&2; exit 1; fi
INSTALL_RUN = $(FIND_PYTHON); exec "$$python" -I deploy/local/install.py run
INSTALL_DEV = @$(FIND_PYTHON); exec "$$python" -I deploy/local/install.py dev
# FULL=1: the long versions. ONLY=name: the tests whose names contain it.
PYTEST = $(BIN)/python -m pytest -q

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

run: ## start the whole system (port OMNIPOST_PORT, state in OMNIPOST_HOME) until Ctrl-C
	@$(INSTALL_RUN) deploy.local

test: ## every test but the fault runs; starts and stops the servers it needs
	$(INSTALL_DEV)
	@$(PYTEST) -m "not faults"

check: ## linters, types, architecture; changes nothing
	$(INSTALL_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) tests/architecture

conformance: ## replay every recorded exchange with a provider [DATA=folder] [ONLY=name] [TABLE=1: what may differ]
	$(INSTALL_DEV)
	@$(BIN)/python -m tests.providers.conformance $(if $(DATA),--data "$(DATA)") --only "$(ONLY)" $(if $(TABLE),--table)

faults: ## kill -9, outages, restarts [ONLY=…] [FULL=1]
	$(INSTALL_DEV)
	@FULL=$(FULL) $(BIN)/python -m deploy.local.faults $(ONLY)

rotate-kek: ## give the running stack a fresh key-encryption key, online
	@$(INSTALL_RUN) deploy.local.rotate_kek

verify-audit: ## recompute the hash chains of the key audit of the running stack [WORKSPACE=…]
	@$(INSTALL_RUN) deploy.local.verify_audit $(WORKSPACE)

replay-letters: ## settle dead letters of the running stack again [ID=…]
	@$(INSTALL_RUN) deploy.local.replay_letters $(ID)

guest: ## NATS credentials for another OmniPost service: NAME=composer WORKSPACES=1,7 (empty: take them away)
	@$(INSTALL_RUN) deploy.local.guests $(NAME) --workspaces "$(WORKSPACES)"

update-prices: ## what newer published prices would change; changes nothing [FROM=data.json]
	@$(INSTALL_RUN) deploy.local.update_prices $(if $(FROM),"$(FROM)")

bench: ## CPU per call, calls per second, added latency [FULL=1]
	$(INSTALL_DEV) bench $(if $(FULL),--full)

bench-peers: ## the same load through nginx (the floor) and LiteLLM, in one run; ratios [FULL=1]
	$(INSTALL_DEV)
	@test -e .venv-peers/bin/litellm || { echo "installing the peers into .venv-peers (once) …"; \
	  $(BIN)/python -m venv --without-pip .venv-peers && $(BIN)/uv pip install --quiet --require-hashes \
	    --python .venv-peers/bin/python -r requirements/peers.lock; }
	@$(BIN)/python -m bench.peers $(if $(FULL),--full)

asyncapi: ## write docs/asyncapi.json from the messages
	@$(INSTALL_RUN) deploy.asyncapi

lock: ## pin requirements/*.in again
	$(INSTALL_DEV)
	@for name in bootstrap run dev peers; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    requirements/$$name.in -o requirements/$$name.lock || exit 1; \
	done

clean: ## remove .venv, caches and ./.omnipost (all local state and keys)
	rm -rf .venv .venv-peers .omnipost .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
