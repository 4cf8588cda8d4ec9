# Needs make and either uv or Python 3.11 to 3.13 with pip. The first `make run` or `make test` sets up .venv from
# requirements.lock; later ones only when the lock has changed.
#
#   make run ARGS="--source deliveries/monday.csv"      make test ARGS="tests/unit"      PYTHON=python3.12 make test

PYTHON ?= python3
JOBS ?= 2
ARGS ?=
PY := .venv/bin/python
READY := .venv/.ready
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.DEFAULT_GOAL := help
.PHONY: help setup run test faults lab lint bench lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv from requirements.lock (the others do it by themselves)

run: $(READY) ## run the pipeline on the shipped sample, or as ARGS say
	@$(PY) run_pipeline.py $(ARGS)

test: $(READY) ## run the tests, JOBS at a time
	@$(PY) -m compileall -q lib tests
	@$(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

faults: $(READY) ## kill, starve and spoil runs in every way (hours; FAULT_KILLS=20 FAULT_CALLS=7 for a short one)
	@$(PY) -m tests.faults

lab: $(READY) ## step through the notebooks in JupyterLab, which saves no rows (lib/lab.py)
	@JUPYTER_PREFER_ENV_PATH=1 PYTHONPATH="$(CURDIR)" $(PY) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
	  --ServerApp.jpserver_extensions="{'lib.lab': True}" --KernelManager.transport_encryption=auto \
	  --LabApp.default_url=/lab/tree/notebooks $(ARGS)

lint: $(READY) ## check style, types, and that no notebook carries outputs
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -m nbstripout --verify --extra-keys metadata.language_info notebooks/*.ipynb

bench: $(READY) ## measure time and memory beside two peers (benchmarks/README.md)
	@$(PY) -m compileall -q lib
	@$(PY) -m benchmarks.bench $(ARGS)

lock: ## bring requirements.lock up to pyproject.toml (needs uv); ARGS=--upgrade renews every version
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --group dev --extra postgres --extra sql pyproject.toml -o requirements.lock --quiet $(ARGS)

clean: ## remove .venv, caches, sandbox; DATA=yes: also the warehouse, snapshots and records. data/input stays
	@rm -rf .venv .pytest_cache .hypothesis .mypy_cache .ruff_cache benchmarks/out data/sandbox
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
ifeq ($(DATA),yes)
	@rm -rf data/raw data/staging data/state data/runs data/logs data/warehouse.db* data/warehouse.duckdb*
endif

# A Python asked for by name must fit; otherwise the first fitting one on PATH is taken, or one that uv finds. A .venv
# that works is brought up to the lock in place. uv is quicker; without it pip installs from outside the .venv, which
# therefore needs no pip of its own and no ensurepip (Debian packages that apart). Bytecode is written even where
# PYTHONDONTWRITEBYTECODE is set: every run would otherwise compile pandas, and this project, again. Not by pip, which
# uses one core for it.
$(READY): requirements.lock
	@set -eu; unset PYTHONDONTWRITEBYTECODE VIRTUAL_ENV PYTHONPATH; \
	python=; candidates="$(PYTHON)"; \
	[ "$(origin PYTHON)" != file ] || candidates="$(PYTHON) python3.13 python3.12 python3.11"; \
	for each in $$candidates; do \
	  if "$$each" -c '$(SUPPORTED)' 2>/dev/null; then python=$$each; break; fi; \
	done; \
	if [ -z "$$python" ] && [ "$(origin PYTHON)" = file ] && command -v uv >/dev/null; then \
	  python=">=3.11,<3.14"; \
	fi; \
	if [ -z "$$python" ]; then \
	  echo "make: no Python 3.11 to 3.13 found (tried: $$candidates); install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
	  exit 2; \
	fi; \
	if command -v uv >/dev/null; then \
	  echo "Setting up .venv from requirements.lock with uv ..."; \
	  $(PY) -c '$(SUPPORTED)' 2>/dev/null || uv venv --quiet --clear --python "$$python" .venv; \
	  uv pip install --quiet --python $(PY) --require-hashes --compile-bytecode -r requirements.lock; \
	elif "$$python" -m pip --version >/dev/null 2>&1; then \
	  echo "Setting up .venv from requirements.lock with pip, which takes a minute or two ..."; \
	  $(PY) -c '$(SUPPORTED)' 2>/dev/null || "$$python" -m venv --clear --without-pip .venv; \
	  "$$python" -m pip --python $(PY) --disable-pip-version-check install -qq --require-hashes --no-compile -r requirements.lock; \
	  $(PY) -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true; \
	else \
	  echo "make: $$python has no pip; install it (Debian, Ubuntu: apt install python3-pip) or install uv" >&2; \
	  exit 2; \
	fi; \
	$(PY) -m compileall -q lib 2>/dev/null || true; \
	touch $@
