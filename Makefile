# make demo | test | test-slow | lint | format | wheel | clean; each sets up what it needs
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: setup demo test test-slow lint format wheel clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile | head -1

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

# lines to compressed lines, those to Parquet, and Parquet to Parquet
demo: $(READY)
	@set -e; shuffle() { \
	  echo "+ dovetail shuffle --runner=DirectRunner --overwrite $$*"; \
	  $(BIN)/dovetail shuffle --runner=DirectRunner --overwrite "$$@"; }; \
	shuffle --input=examples/data/poems.jsonl --output=demo-output/zstd --num_shards=4 --compression=zstd; \
	shuffle --input=demo-output/zstd --output=demo-output/parquet --num_shards=4 --output_format=parquet; \
	shuffle --input=demo-output/parquet --output=demo-output/again --seed=1; \
	for i in zstd parquet again; do \
	  echo "+ dovetail verify demo-output/$$i"; $(BIN)/dovetail verify demo-output/$$i; done
	@echo
	@echo 'Three shuffles of the poems lie in demo-output, each with its proof in manifest.json. The first three rows:'
	@$(BIN)/python -c 'import pyarrow.parquet as pq; \
	print(*pq.read_table("demo-output/again/data/train-00000-of-00001.parquet")["text"][:3].to_pylist(), sep="\n")'

test: $(READY)
	$(BIN)/python -m pytest

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(READY)
	rm -rf dist build
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist demo-output *.egg-info .mypy_cache .ruff_cache .hypothesis
