# Needs Python 3.11 and pip; everything else goes into .venv.
PYTHON ?= python3.11
DATA ?= textkeep-data
WORKERS ?= auto
BIN := .venv/bin

.PHONY: run test env bench soak lock secrets engines

run: env
	$(BIN)/textkeep up --demo --data $(DATA)

test: env engines
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# Fetches what the tests' engines need besides; says aloud what cannot be had, and goes on. docs/testing.md tells more.
engines: env
	$(BIN)/python -m tests.engines.prepare

env: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Textkeep needs Python 3.11 or later: install it, or name yours: make PYTHON=python3 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

bench: env engines
	$(BIN)/python -m bench $(BENCH_ARGS)

soak: env engines
	MODEL_SEED=any $(BIN)/python -m pytest -m soak --soak $(PYTEST_ARGS)

# Needs uv. Every lock is made alike; what is locked already stays as it is unless LOCK_ARGS=--upgrade says otherwise.
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url
EXTRAS := --extra opensearch --extra kafka --extra aws --extra hsm --extra pdf --extra timestamp

lock:
	$(LOCK) $(LOCK_ARGS) --extra dev $(EXTRAS) pyproject.toml -o requirements.lock
	$(LOCK) $(LOCK_ARGS) --constraint requirements.lock $(EXTRAS) pyproject.toml -o requirements-service.lock
	$(LOCK) $(LOCK_ARGS) --group pyproject.toml:build -o requirements-build.lock

secrets:
	deploy/make-secrets.sh
