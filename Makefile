# make demo | test | test-slow | test-runners | docs | lint | format | templates | wheel | release-check | clean; each sets up what it needs
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   ?= .venv-demo
SHOWN  := $(DEMO)/.ready

.PHONY: setup demo test test-slow test-runners docs lint format templates wheel release-check clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile | head -1

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

# what a user installs, and no more, in an environment of its own: what is shown is what a user gets
$(SHOWN): pyproject.toml constraints.txt $(shell find dovetail pipelines transforms -name '*.py')
	@examples/demo_install.sh $(DEMO) $(PYTHON)
	@touch $@

demo: export PYTHONDONTWRITEBYTECODE =
demo: $(SHOWN)
	@examples/demo.sh $(DEMO)

# tests start hundreds of processes: what is compiled once needn't be again in each
test test-slow test-runners: export PYTHONDONTWRITEBYTECODE =

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist=worksteal
	@command -v java >/dev/null || echo 'skipped: the tests on Flink and Prism, which need Java; make test-runners runs them'

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# on Flink and Prism; gets both (Java 17, Maven and Go have to be there) and keeps them in a cache
test-runners: $(READY)
	$(BIN)/python -m pytest -m runners -rs tests/runners

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy examples/*.py
	$(BIN)/lint-imports --no-cache
	$(BIN)/python bench/sentences.py --most=5  # percent of sentences over 25 words

# the site, in build/site; a broken link, anchor or page that isn't in the nav is an error
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(READY)
	$(BIN)/python -m mkdocs build --strict
	@echo 'build/site/index.html'

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# the metadata of the Flex templates, from the flags
templates: $(READY)
	$(BIN)/python -m deploy.dataflow.templates

wheel: $(READY)
	rm -rf dist build
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

# wheel and sdist into dist, checked and tried in clean environments; uploads nothing
release-check: $(READY)
	$(BIN)/python -m deploy.release

clean:
	rm -rf $(VENV) $(DEMO) build dist demo-output *.egg-info .mypy_cache .ruff_cache .hypothesis
