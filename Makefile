# Everything here needs make and Python 3.11+ only; `make help` lists the targets.
#   ARGS="..."        goes to the program of the target: make run ARGS="--port 9000", make test ARGS="-k sse -x"
#   PYTHON=python3.12 chooses the interpreter .venv is made with
SHELL := /bin/sh
PYTHON ?=
ARGS ?=
BENCH_ARGS ?=
export PYTHON
# litellm fetches its price list from the network when imported, unless told not to.
export LITELLM_LOCAL_MODEL_COST_MAP := True
bin := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run demo test check lint types imports deploy-check bench chaos learn kinds eval-routing schema dashboards lock clean venv venv-dev

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: venv ## start the gateway on 127.0.0.1:8080
	@exec $(bin)/python -m gateway serve $(ARGS)

demo: venv ## simulated providers, traffic, and a price cut to watch
	@exec $(bin)/python -m gateway demo $(ARGS)

test: venv-dev ## every test; installs what they need where it can
	@scripts/test-services.sh
	@PATH="$$PATH:$$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)" $(bin)/python -m pytest -n 3 --dist loadfile $(ARGS)

check: lint types imports deploy-check test ## all that must hold before a commit

lint: venv-dev ## style and likely mistakes
	@$(bin)/ruff check .

types: venv-dev ## mypy, strict
	@$(bin)/mypy

imports: venv-dev ## who may import whom
	@$(bin)/lint-imports --no-logo

deploy-check: venv-dev ## Dockerfile, compose file, Prometheus and Grafana configuration
	@$(bin)/hadolint Dockerfile
	@$(bin)/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml
	@if command -v promtool >/dev/null; then promtool check config --syntax-only deploy/prometheus.yml; \
	 else echo "promtool not found: deploy/prometheus.yml is not checked"; fi

bench: venv-dev ## side by side with other gateways; BENCH_ARGS=--quick for a short one
	@bench/run.sh $(BENCH_ARGS)

chaos: venv-dev ## workers killed, stores taken away, under load; ARGS="kill --times 20" for a part
	@scripts/test-services.sh
	@PATH="$$PATH:$$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)" $(bin)/python -m tests.chaos $(ARGS)

learn: venv-dev ## train task kinds: DATA=prompts.jsonl OUT=kinds.bin, perhaps CALIBRATE= and TEST=
	@$(bin)/python -m learn --data "$(DATA)" --out "$(OUT)" \
	  $(if $(CALIBRATE),--calibrate "$(CALIBRATE)") $(if $(TEST),--test "$(TEST)") $(ARGS)

kinds: venv-dev ## train the task kinds that ship, from seed prompts
	@mkdir -p build
	@$(bin)/python -m learn.seed --out build/seed.jsonl --calibrating build/calibrating.jsonl
	@$(bin)/python -m learn --data build/seed.jsonl --calibrate build/calibrating.jsonl --test learn/held_out.jsonl \
	  --out gateway/kinds/kinds.v1.bin --strength 3 --least-posterior 0.6 --no-watch \
	  --from "learn/seed.py and learn/by_hand.jsonl" $(ARGS)

eval-routing: DATA = ../shared/data/routing
eval-routing: venv-dev ## what routing on task kinds saves, on graded answers: DATA=folder or file
	@$(bin)/python -m learn.evaluate --data "$(DATA)" $(ARGS)

schema: venv ## write routes.schema.json, for editors
	@$(bin)/python -m gateway schema >routes.schema.json.new
	@mv routes.schema.json.new routes.schema.json

dashboards: venv-dev ## write dashboards/*.json
	@$(bin)/python dashboards/build.py

lock: ## resolve both lock files anew
	@scripts/lock.sh

clean: ## remove the environment and caches; ./data stays
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -not -path './data/*' -prune -exec rm -rf {} +

venv:
	@scripts/venv.sh run

venv-dev: ## .venv with the development tools, and the writer of Parquet files
	@scripts/venv.sh dev
