# make setup | demo | test | check | docs | wheel | lowest. A machine with make and one of Python 3.11-3.13 is enough.
VENV ?= .venv
DIST ?= dist
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin

.PHONY: python setup demo test check docs wheel lowest

python:
	@test -n "$(PYTHON)" || { echo "no Python 3.11-3.13 found; name one: make PYTHON=/path/to/python3.11"; exit 1; }

setup: python
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"

$(BIN)/genrec:
	$(MAKE) setup

demo: $(BIN)/genrec
	$(BIN)/genrec align --config demo.yaml --reward diversity --out runs/demo
	$(BIN)/genrec compare runs/demo

test: $(BIN)/genrec
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

check: $(BIN)/genrec
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

docs: $(BIN)/genrec
	$(BIN)/python -m pytest genrec tests/docs
	$(BIN)/python -m sphinx -E -W --keep-going docs docs/_build/html

wheel: $(BIN)/genrec
	rm -rf $(DIST)
	$(BIN)/python -m build --outdir $(DIST)  # the sdist, then the wheel from the sdist
	GENREC_WHEEL="$$(echo $(DIST)/*.whl)" $(BIN)/python -m pytest tests/test_wheel.py

lowest: python
	$(PYTHON) tests/lowest_versions.py
