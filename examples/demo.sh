#!/usr/bin/env bash
# What `make demo` runs, with the folder of a virtual environment in which Dovetail is installed:
#   examples/demo.sh VENV
set -euo pipefail
cd "$(dirname "$0")/.."
bin="$1/bin"
out=demo-output

say() { printf '\n== %s\n' "$*"; }
dovetail() {
  echo "+ dovetail $*"
  "$bin/dovetail" "$@"
}
rows() { # the first rows of a column of a Parquet shard
  "$bin/python" -c 'import sys, pyarrow.parquet as pq
for row in pq.read_table(sys.argv[1])[sys.argv[2]][:3].to_pylist(): print(str(row)[:150].replace("\n", " "))' "$@"
}

cat <<'TEXT'
This demo takes about a minute on two cores. It
  1. makes 160 MB of records of the texts in examples/data: Chinese poems, and an English novel
  2. shuffles the poems: lines to compressed lines, those to Parquet
  3. mixes poems and novel by weight, 70 to 30
  4. trains a small model on the novel, tokenizes with segmentations drawn at random, and decodes
  5. verifies each result against its manifest: nothing was lost, added or changed
  6. prepares the novel for Megatron: split, shuffled, tokenized, packed into rows; and shows some
The rates at the ends of the runs count the seconds in which workers start, too.
TEXT

say "1. A corpus"
echo "+ python examples/make_corpus.py $out/corpus"
"$bin/python" examples/make_corpus.py "$out/corpus"
ls -l "$out/corpus" | tail -n +2

say "2. Shuffle: JSON lines to zstd, those to Parquet"
dovetail shuffle --runner=DirectRunner --overwrite --input="$out/corpus/poems.jsonl" \
  --output="$out/zstd" --num_shards=4 --compression=zstd
dovetail shuffle --overwrite --input="$out/zstd" --output="$out/parquet" --text_field=text \
  --output_format=parquet --seed=1
echo "three of its rows:"
rows "$out"/parquet/data/train-00000-*.parquet text

say "3. Mix two sources by weight, with what was asked and what came out"
dovetail shuffle --overwrite --input=poems="$out/corpus/poems.jsonl" \
  --input=novel="$out/corpus/novel.jsonl" --text_field=text --weigh_by=bytes \
  --weights=poems=0.7,novel=0.3 --output="$out/mixed"

say "4. Train a model on the novel, tokenize with it, decode"
echo "The kernels of segmentation are compiled first, which the first run on a machine does otherwise,"
echo "so that the rate is that of later runs (half a minute, once):"
echo "+ python deploy/compile_kernels.py"
"$bin/python" deploy/compile_kernels.py
echo "+ python examples/train_model.py $out/novel.model"
"$bin/python" examples/train_model.py "$out/novel.model"
dovetail tokenize --overwrite --input="$out/corpus/novel.jsonl" --text_field=text \
  --tokenizer="$out/novel.model" --sampling=exact --alpha=0.2 --output="$out/tokens"
echo "three rows of ids:"
rows "$out"/tokens/data/train-00000-*.parquet input_ids
dovetail tokenize --overwrite --input="$out/tokens" --tokenizer="$out/novel.model" --decode \
  --output="$out/texts"
echo "the first text, from its ids:"
head -n 1 "$out"/texts/data/train-00000-*.jsonl | cut -c -150

say "5. Verify"
for i in zstd parquet mixed tokens texts; do dovetail verify "$out/$i"; done

say "6. From text to what a trainer reads, in one run"
dovetail prepare --overwrite --input="$out/corpus/novel.jsonl" --tokenizer="$out/novel.model" \
  --split=validation=1% --packing=best_fit --sequence_length=1024 --output_format=megatron,parquet \
  --output="$out/ready"
dovetail verify "$out/ready"
dovetail show "$out/ready" --format=parquet --row=0

say "Done. The six datasets lie in $out, each with its proof in manifest.json"
