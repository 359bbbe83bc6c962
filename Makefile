# make demo   the main job: a real model, its activations, dictionaries, a report      make test   every test
# make check  style, types, layers                                                      make bench  speed, beside the peers
# make test-crash   killed, unpowered, full and damaged everywhere (ten minutes)      make test-distributed   what needs four processes
# make science   what the papers claim, tried (docs/claims.md)      make family   all variants compared (docs/dictionaries.md)
# make pareto   the headline: Gated against ReLU at three sites (docs/gated_pareto.md)
PYTHON ?= python3
BIN := .venv/bin
BENCH := .venv-bench/bin

.PHONY: demo science family pareto test test-crash test-distributed check bench bench-quick setup
demo: setup
	$(BIN)/assay demo

test: setup
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-crash: setup
	$(BIN)/python -m tests.crash

science: setup
	$(BIN)/python -m tests.science
	$(BIN)/python -m pytest tests/science -m complete

test-distributed: setup
	$(BIN)/python -m pytest tests/distributed -m four_ranks

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

family: setup
	$(BIN)/python -m benchmarks.family
	$(BIN)/python -m pytest tests/benchmarks/test_family.py -m complete

pareto: setup
	$(BIN)/python -m benchmarks.gated_pareto

bench: .venv-bench/ready
	$(BENCH)/python -m benchmarks

bench-quick: .venv-bench/ready
	$(BENCH)/python -m benchmarks --quick

setup: .venv/ready
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch .venv/ready

.venv-bench/ready: pyproject.toml constraints.txt benchmarks/constraints.txt
	$(PYTHON) -m venv .venv-bench
	$(BENCH)/python -m pip install --quiet --constraint constraints.txt --constraint benchmarks/constraints.txt \
		--editable '.[models]' sae-lens eai-sparsify nnsight
	$(BENCH)/python -m pip install --quiet --constraint benchmarks/constraints.txt --no-deps dictionary-learning
	touch .venv-bench/ready
