# make demo | test | test-slow | test-runners | lint | format | templates | wheel | clean; each sets up what it needs
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: setup demo test test-slow test-runners lint format templates wheel clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile | head -1

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

# lines to compressed lines, those to Parquet, Parquet to Parquet; a mixture of three sources; a novel
# to tokens of a model that is trained on it first, drawn at random, and back to text
demo: $(READY)
	@set -e; dovetail() { \
	  echo "+ dovetail $$*"; $(BIN)/dovetail "$$@"; }; \
	shuffle() { dovetail shuffle --runner=DirectRunner --overwrite "$$@"; }; \
	tokenize() { dovetail tokenize --runner=DirectRunner --overwrite \
	  --tokenizer=demo-output/novel.model "$$@"; }; \
	shuffle --input=examples/data/poems.jsonl --output=demo-output/zstd --num_shards=4 --compression=zstd; \
	shuffle --input=demo-output/zstd --output=demo-output/parquet --num_shards=4 --output_format=parquet; \
	shuffle --input=demo-output/parquet --output=demo-output/again --seed=1; \
	shuffle --input=poems=examples/data/poems.jsonl --input=botchan=examples/data/botchan.txt \
	  --input=neko=examples/data/wagahaiwa.txt --text_field=text --weigh_by=bytes --stop=all_exhausted \
	  --weights=poems=0.5,botchan=0.3,neko=0.2 --output=demo-output/mixed; \
	echo "+ python examples/train_model.py demo-output/novel.model"; \
	$(BIN)/python examples/train_model.py demo-output/novel.model; \
	tokenize --input=examples/data/botchan.txt --text_field= --sampling=exact --alpha=0.2 \
	  --output=demo-output/tokens; \
	tokenize --input=demo-output/tokens --decode --output=demo-output/texts; \
	for i in zstd parquet again mixed tokens texts; do dovetail verify demo-output/$$i; done
	@echo
	@echo 'Three shuffles of the poems and a mixture with two novels lie in demo-output, each with its proof in manifest.json. Three rows of a shuffle, and of the mixture:'
	@$(BIN)/python -c 'import pyarrow.parquet as pq; \
	print(*pq.read_table("demo-output/again/data/train-00000-of-00001.parquet")["text"][:3].to_pylist(), sep="\n")'
	@head -3 demo-output/mixed/data/train-00000-of-00001.jsonl
	@echo 'Three lines of the novel as drawn tokens, and as these come back:'
	@$(BIN)/python -c 'import pyarrow.parquet as pq; \
	print(*pq.read_table("demo-output/tokens/data/train-00000-of-00001.parquet")["input_ids"][1:4].to_pylist(), sep="\n")'
	@sed -n 2,4p demo-output/texts/data/train-00000-of-00001.jsonl

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

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# the metadata of the Flex templates, from the flags
templates: $(READY)
	$(BIN)/python -m deploy.dataflow.templates

wheel: $(READY)
	rm -rf dist build
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist demo-output *.egg-info .mypy_cache .ruff_cache .hypothesis
