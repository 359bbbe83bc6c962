# make demo   the main job: a real model, its activations, dictionaries, a report      make test   every test
# make check  style, types, layers
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check setup
demo: setup
	$(BIN)/assay demo

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

setup: .venv/ready
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch .venv/ready
