"""Small datasets of every kind that the commands write, and the bytes that come out.

Golden digests say that a change moved nothing; that what they hold is right, other tests say:
``tests/pipelines/test_exact.py``, ``test_lossless.py`` and the oracles of mixtures and tokens.

    python -m tests.golden.cases            compare with digests.json
    python -m tests.golden.cases --runner=PrismRunner …    the same, with any flags of a command
    python -m tests.golden.cases --write    write digests.json anew: only where records have to move
    python -m tests.golden.cases --write split-    of the cases whose names begin so; as of the others
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import pipelines.shuffle
import pipelines.split
import pipelines.tokenize
from transforms.kernels.likeness.folds import FOLDS
from transforms.kernels.likeness.spec import FeatureSpec
from transforms.likeness.model import FoldModel, LikeModel, Packed, Sizes

DIGESTS = Path(__file__).with_name("digests.json")
EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "data"
SHARED = os.environ.get("DOVETAIL_SHARED")

_MIXED = (
    "--input=poems=IN/poems.jsonl",
    "--input=botchan=IN/botchan.txt",
    "--input=neko=IN/wagahaiwa.txt",
)
_FIELD = ("--text_field=text",)
_WEIGHTS = ("--weights=poems=0.5,botchan=0.3,neko=0.2",)
_CODECS = ("none", "gzip", "bzip2", "xz", "zstd", "lz4")

SHUFFLES: dict[str, tuple[str, ...]] = {
    **{
        f"lines-{codec}": ("--input=IN/poems.jsonl", "--num_shards=3", f"--compression={codec}")
        for codec in _CODECS
    },
    **{
        f"rows-{kind}-{codec}": (
            "--input=IN/poems.parquet",
            "--num_shards=2",
            f"--output_format={kind}",
            f"--compression={codec}",
        )
        for kind, codecs in (
            ("parquet", ("none", "snappy", "gzip", "brotli", "zstd", "lz4")),
            ("arrow", ("none", "lz4", "zstd")),
            ("arrow_stream", ("none", "zstd")),
        )
        for codec in codecs
    },
    "seed-epoch": ("--input=IN/poems.jsonl", "--seed=7", "--epoch=3"),
    "several-files": ("--input=IN/parts", "--num_shards=4"),
    "gzip-in": ("--input=IN/packed/*.gz", "--compression=none"),
    "header": ("--input=IN/table.csv", "--header_lines=1", "--num_shards=2"),
    "separator": ("--input=IN/botchan.txt", "--separator= "),
    "exact-count": ("--input=IN/poems.jsonl", "--shard_records=900"),
    "text-field": ("--input=IN/poems.jsonl", *_FIELD),
    "text-field-rows": ("--input=IN/poems.parquet", *_FIELD),
    "novel-to-parquet": ("--input=IN/botchan.txt", "--output_format=parquet"),
    "checked": ("--input=IN/odd.jsonl", "--check=json", "--on_bad_record=skip"),
    "union": (*_MIXED, *_FIELD, "--num_shards=3"),
    "mixed-random": (*_MIXED, *_FIELD, *_WEIGHTS),
    "mixed-all": (*_MIXED, *_FIELD, *_WEIGHTS, "--stop=all_exhausted", "--num_shards=3"),
    "mixed-stratified": (*_MIXED, *_FIELD, *_WEIGHTS, "--interleave=stratified"),
    "mixed-bytes": (*_MIXED, *_FIELD, *_WEIGHTS, "--weigh_by=bytes", "--stop=all_exhausted"),
    "mixed-max-records": (*_MIXED, *_FIELD, *_WEIGHTS, "--max_records=5000", "--shard_records=999"),
    "mixed-max-bytes": (*_MIXED, *_FIELD, *_WEIGHTS, "--max_bytes=300KiB"),
    "mixed-temperature": (*_MIXED, *_FIELD, "--temperature=3"),
    "repeats": (*_MIXED, *_FIELD, "--repeats=poems=1,botchan=2.5,neko=3"),
    "max-records": ("--input=IN/poems.jsonl", "--max_records=500"),
}

_MODELS = {
    "bytepiece": "models/bytepiece.plus.40k.zip",
    "cpm": "models/cpm_chinese_vocab.model",
    "sentencepiece": "models/sentencepiece_test_model.model",
}
_LAWS: dict[str, tuple[str, ...]] = {
    "off": (),
    "viterbi": ("--sampling=viterbi_sampling", "--alpha=0.3"),
    "exact": ("--sampling=exact", "--alpha=0.3", "--epoch=2"),
}
TOKENS: dict[str, tuple[str, ...]] = {
    **{
        f"tokens-{model}-{law}": ("--input=IN/parts", *_FIELD, f"--tokenizer=MODEL/{model}", *flags)
        for model in _MODELS
        for law, flags in _LAWS.items()
    },
    "tokens-nbest": (
        "--input=IN/botchan.txt",
        "--tokenizer=MODEL/sentencepiece",
        "--sampling=nbest",
        "--nbest_size=5",
    ),
}


_SHARES = ("--fractions=train=0.8,validation=0.1,test=0.1",)
SPLITS: dict[str, tuple[str, ...]] = {
    "split-fractions": ("--input=IN/labelled.jsonl", *_SHARES, "--shard_size=200KiB"),
    "split-lines": ("--input=IN/botchan.txt", "--fractions=test=0.2", "--split_seed=5"),
    "split-rows": ("--input=IN/poems.parquet", *_SHARES, "--num_shards=3"),
    "split-several": (*_MIXED, "--fractions=validation=0.05", "--num_shards=4", *_FIELD),
    "split-gzip": ("--input=IN/packed/*.gz", *_SHARES, "--compression=zstd"),
    "split-groups": ("--input=IN/labelled.jsonl", *_SHARES, "--split_by=author"),
    "split-counts": ("--input=IN/labelled.jsonl", "--counts=train=700,test=rest"),
    "split-counts-identity": (
        "--input=IN/labelled.jsonl",
        "--counts=train=700,test=rest",
        "--by=identity",
    ),
    "split-stratified": (
        "--input=IN/labelled.jsonl",
        "--counts=train=701,test=rest",
        "--by=identity",
        "--stratify=label",
    ),
    "split-shuffled": ("--input=IN/parts", *_SHARES, "--shuffle", "--seed=3", "--epoch=1"),
    "split-weighed": (
        "--input=IN/labelled.jsonl",
        *_SHARES,
        "--like_model=IN/like.json",
        "--weights_column=weight",
        "--max_weight=3",
    ),
    "split-drawn": ("--input=IN/labelled.jsonl", "--like_model=IN/like.json", "--draw=300"),
    "split-drawn-shuffled": (
        "--input=IN/labelled.jsonl",
        "--like_model=IN/like.json",
        "--draw=300",
        "--shuffle",
    ),
    "split-checked": ("--input=IN/odd.jsonl", *_SHARES, "--check=json", "--on_bad_record=skip"),
}


def make_inputs(folder: Path) -> None:
    """Lay the inputs down: the examples' texts as lines, in parts, packed, as rows; some bad lines."""
    for file in EXAMPLES.iterdir():
        shutil.copy(file, folder)
    lines = (folder / "poems.jsonl").read_bytes().splitlines(keepends=True)
    for sub in ("parts", "packed"):
        (folder / sub).mkdir()
    for i in range(5):
        part = b"".join(lines[i::5])
        (folder / "parts" / f"{i}.jsonl").write_bytes(part)
        (folder / "packed" / f"{i}.jsonl.gz").write_bytes(gzip.compress(part, mtime=0))
    records = [json.loads(line) for line in lines]
    names = sorted(records[0])
    table = pa.table({name: [record.get(name) for record in records] for name in names})
    pq.write_table(table.append_column("n", pa.array(range(len(table)))), folder / "poems.parquet")
    labelled = [{**record, "label": i * i % 3} for i, record in enumerate(records)]
    labelled += [{**record, "id": -i} for i, record in enumerate(labelled[:200])]  # again
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in labelled)
    (folder / "labelled.jsonl").write_bytes(text.encode())
    (folder / "like.json").write_bytes(like_model().to_json())
    rows = "".join(f"{i},{i * i}\n" for i in range(2000))
    (folder / "table.csv").write_text("id,square\n" + rows)
    odd = [line if i % 7 else b"{not json\n" for i, line in enumerate(lines[:500])]
    (folder / "odd.jsonl").write_bytes(b"".join(odd))


def like_model() -> LikeModel:
    """Return a discriminator that nobody fitted: some features have a weight that their places give."""
    features, nobody = FeatureSpec(), Sizes(input=0, test=0, input_contents=0, test_contents=0)
    places = np.arange(features.width)
    folds = []
    for fold in range(FOLDS):
        weights = np.where(places % 7 == fold, (places * 7919 % 13 - 6) / 4, 0)
        folds.append(
            FoldModel(
                weights=Packed.of(weights),
                **{"a": 1, "b": -0.25, "low": 0.01, "high": 0.99},
                **{"regularization": 0, "epochs": 0, "loss": 0, "losses": {}},
                fitted_on=nobody,
                held_out=nobody,
            )
        )
    return LikeModel(features=features, seed=0, folds=folds, versions={}, processor="")


def make_models(folder: Path, shared: Path) -> None:
    """Lay the shared models down under short names."""
    for name, path in _MODELS.items():
        if path.endswith(".zip"):
            shutil.unpack_archive(shared / path, folder / f"{name}-unpacked")
            (found,) = (p for p in (folder / f"{name}-unpacked").rglob("*") if _is_model(p))
            shutil.copy(found, folder / name)
        else:
            shutil.copy(shared / path, folder / name)


def _is_model(path: Path) -> bool:
    return path.is_file() and path.suffix in {".model", ".json"} and "MACOSX" not in str(path)


def digests(*added: str, begin: str = "") -> Iterator[tuple[str, str]]:
    """Run every case whose name begins so, with flags added; yield its name and its shards' SHA-256."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        inputs, models = root / "in", root / "models"
        inputs.mkdir()
        models.mkdir()
        make_inputs(inputs)
        tokens = TOKENS if SHARED else {}
        if SHARED:
            make_models(models, Path(SHARED))
        for case, flags in {**SHUFFLES, **SPLITS, **tokens}.items():
            if not case.startswith(begin):
                continue
            run = pipelines.tokenize.run if case in tokens else pipelines.shuffle.run
            run = pipelines.split.run if case in SPLITS else run
            output = root / "out"
            given = [f.replace("IN/", f"{inputs}/").replace("MODEL/", f"{models}/") for f in flags]
            run([*given, f"--output={output}", *(added or ("--workers=1",))])
            yield case, _digest(output / "data")
            shutil.rmtree(output)


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        total.update(f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def main(words: list[str]) -> int:
    """Compare, or write anew; return the exit code."""
    begin = words.pop() if words and not words[-1].startswith("-") else ""
    kept = json.loads(DIGESTS.read_text())
    if words == ["--write"]:
        found = dict(digests(begin=begin))
        DIGESTS.write_text(json.dumps({**(kept if begin else {}), **found}, indent=1) + "\n")
        return 0
    found = dict(digests(*words, begin=begin))
    moved = [name for name, digest in found.items() if kept.get(name) != digest]
    print(f"{len(found)} datasets, {len(moved)} of them moved", *moved)
    return 1 if moved else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
