# Needs Python 3.11 and pip; everything else goes into .venv.
PYTHON ?= python3.11
DATA ?= textkeep-data
BIN := .venv/bin

.PHONY: run test env bench soak

run: env
	$(BIN)/textkeep up --demo --data $(DATA)

test: env
	$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

env: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Textkeep needs Python 3.11 or later: install it, or name yours: make PYTHON=python3 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

bench: env
	$(BIN)/python -m bench $(BENCH_ARGS)

soak: env
	$(BIN)/python -m pytest -m soak --soak $(PYTEST_ARGS)
