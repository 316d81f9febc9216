#!/usr/bin/env bash
# What `make demo` runs, with the folder of a virtual environment in which Dovetail is installed:
#   examples/demo.sh VENV
set -euo pipefail
cd "$(dirname "$0")/.."
bin="$1/bin"
out=demo-output
progress=
trap '[ -z "$progress" ] || kill "$progress" 2>/dev/null || true' EXIT

say() { printf '\n== %s\n' "$*"; }
run() { # a command, and a line every 5 s that says that it still runs; without live bars, which that would disturb
  (s=0; while sleep 5 &>/dev/null; do s=$((s + 5)); echo "  … still running after $s s"; done) &
  progress=$!
  "$@" 2>&1 | cat
  kill "$progress"
  wait "$progress" 2>/dev/null || true
  progress=
}
dovetail() {
  echo "+ dovetail $*"
  run "$bin/dovetail" "$@"
}
python() {
  echo "+ python $*"
  run "$bin/python" "$@"
}

cat <<'TEXT'
This demo takes about a minute on two cores. It
  1. makes 40 MB of records from the texts in examples/data: Chinese poems and an English novel
  2. shuffles the poems and compresses the output
  3. mixes poems and novel, 70 to 30 by bytes, and writes Parquet
  4. trains a small model, tokenizes the novel with randomly drawn segmentations, and decodes the ids
  5. prepares the novel for Megatron: splits, shuffles, tokenizes and packs it into rows
  6. verifies each dataset: no record was lost, added or changed
The data is small, so most of each run is start-up. Rates on larger data: docs/explanation/measurements.md
TEXT

say "1. Make a corpus"
python examples/make_corpus.py "$out/corpus" 40
ls -l "$out/corpus" | tail -n +2

say "2. Shuffle the poems"
dovetail shuffle --overwrite --input="$out/corpus/poems.jsonl" --output="$out/shuffled" \
  --num_shards=4 --compression=zstd

say "3. Mix two sources: requested and actual shares are in the table"
dovetail shuffle --overwrite --input=poems="$out/corpus/poems.jsonl" \
  --input=novel="$out/corpus/novel.jsonl" --text_field=text --weigh_by=bytes \
  --weights=poems=0.7,novel=0.3 --output_format=parquet --output="$out/mixed"
dovetail show "$out/mixed" --row=0

say "4. Train a model, tokenize, decode"
python examples/train_model.py "$out/novel.model"
echo "The first run with a model on this machine compiles functions. That takes 10 to 20 seconds, once."
dovetail tokenize --overwrite --input="$out/corpus/novel.jsonl" --text_field=text \
  --tokenizer="$out/novel.model" --sampling=exact --alpha=0.2 --output="$out/tokens"
dovetail tokenize --overwrite --input="$out/tokens" --tokenizer="$out/novel.model" --decode \
  --output="$out/texts"
echo "The first text, decoded from its ids:"
head -n 1 "$out"/texts/data/train-00000-*.jsonl | cut -c -150

say "5. Prepare: from text to a trainer's files, in one run"
dovetail prepare --overwrite --input="$out/corpus/novel.jsonl" --tokenizer="$out/novel.model" \
  --sampling=exact --alpha=0.2 --split=validation=1% --packing=best_fit --sequence_length=1024 \
  --output_format=megatron,parquet --output="$out/ready"
dovetail show "$out/ready" --format=parquet --row=0

say "6. Verify"
for i in shuffled mixed tokens texts ready; do dovetail verify "$out/$i"; done

say "Done. The five datasets are in $out. Each manifest.json lists the digests that dovetail verify checked."
