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

DEMO = $(BIN)/dovetail shuffle --runner=DirectRunner --input=examples/data/poems.jsonl \
	--output=demo-output --num_shards=4 --seed=0 --overwrite

demo: $(READY)
	@echo '+ $(DEMO)'
	@$(DEMO)
	@echo '+ $(BIN)/dovetail verify demo-output'
	@$(BIN)/dovetail verify demo-output
	@echo
	@echo 'The shuffled poems lie in demo-output/data, their proof in demo-output/manifest.json. The first three:'
	@head -n 3 demo-output/data/train-00000-of-00004.jsonl

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
