"""What Megatron reads of our files, by its own code, in an environment of its own.

Makes a virtual environment in the folder (numpy, and megatron-core without its dependencies), writes
Megatron's files of documents and of rows at the edges of vocabularies, and lets megatron-core read them:
IndexedDataset every field and sequence, GPTDataset every row as it was. What of torch they need is
stubbed (``bench/readers_megatron.py``). Other formats: ``bench/readers_hf.py``.

    python bench/readers.py --folder=/tmp/readers
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import common  # noqa: F401  # finds our packages
import numpy as np
from environment import make_environment

from transforms.datasets.prepared import FileOfShard, PreparedShard
from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.rows import Packing, Rows
from transforms.trainers.contract import Dataset, ShardFacts
from transforms.trainers.formats import FORMATS

EOS, LENGTH = 3, 64
VOCABULARIES = (255, 256, 257, 65_499, 65_500, 65_535, 65_536, 65_537)
SHARDS, COUNT = 2, 300  # documents or rows of a shard
PACKAGES = (("numpy",), ("--no-deps", "megatron-core"))


def make_rows(dataset: Dataset, unit: str, seed: int) -> Rows:
    """Return documents that end in EOS, or rows of pieces that do, most of them shorter than a row."""
    draw = np.random.default_rng(seed)
    most = LENGTH if unit == "rows" else 3 * LENGTH
    lengths = draw.integers(12, most + 1, COUNT)  # long enough to differ
    ids = draw.integers(4, dataset.ids, int(lengths.sum())).astype(dataset.ids_type)
    ids[::9] = dataset.ids - 1
    ids[np.cumsum(lengths) - 1] = EOS
    each = np.arange(COUNT + 1, dtype=np.int64)
    filler = LENGTH - lengths if unit == "rows" else np.zeros(COUNT, np.int64)
    return Rows(ids, offsets_of(lengths), lengths.astype(np.int64), each, filler)


def write_case(folder: Path, unit: str, ids: int) -> None:
    """Write a dataset of Megatron's, what is to be read of it, and its lists."""
    form: Any = FORMATS["megatron"]
    rows = unit == "rows"
    packing = Packing(kind="pad", length=LENGTH, end=EOS) if rows else Packing(end=EOS)
    dataset = Dataset(ids=ids, packing=packing, eos=EOS, options={"megatron": unit})
    form.require(dataset)
    (folder / "data").mkdir(parents=True)
    shards, expected = [], []
    for number in range(SHARDS):
        some = make_rows(dataset, unit, seed=ids + number)
        facts = ShardFacts(rows=len(some), ids=len(some.ids), filler=int(some.filler.sum()))
        files = {suffix: io.BytesIO() for suffix in form.suffixes(dataset)}
        writer = form.open_writer(files, dataset, facts)
        writer.write(some)
        writer.close()
        name = f"data/train-{number:05d}-of-{SHARDS:05d}"
        for suffix, file in files.items():
            (folder / (name + suffix)).write_bytes(file.getvalue())
        seen = form.seen(some, dataset)
        expected.append((seen.ids, np.diff(seen.offsets)))
        shards.append(
            PreparedShard(
                epoch=None,
                format="megatron",
                split="train",
                number=number,
                of=SHARDS,
                files=[
                    FileOfShard(path=name + s, bytes=len(f.getvalue()), sha256="0" * 64)
                    for s, f in files.items()
                ],
                rows=facts.rows,
                ids=facts.ids,
                filler=facts.filler,
                digest="0" * 32,
            )
        )
    for name, text in form.beside(dataset, shards, ""):
        (folder / name).write_text(text)
    np.savez(
        folder / "expected.npz",
        ids=np.concatenate([one for one, _ in expected]),
        lengths=np.concatenate([one for _, one in expected]),
    )
    case = {
        "unit": unit,
        "ids": ids,
        "eod": EOS,
        "length": LENGTH,
        "prefixes": [shard.files[0].path.removesuffix(".bin") for shard in shards],
        "weights": [len(one) for one, _ in expected],
    }
    (folder / "case.json").write_text(json.dumps(case))


def main(words: list[str] | None = None) -> None:
    """Write, and let megatron-core read."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", required=True, help="for the environment and the files")
    parser.add_argument("--vocabularies", type=int, nargs="*", default=VOCABULARIES)
    args = parser.parse_args(words)
    folder = Path(args.folder).absolute()
    python = make_environment(folder / "venv", *PACKAGES)
    cases = folder / "cases"
    if cases.exists():
        raise SystemExit(f"{cases} is there already: remove it first")
    for unit in ("documents", "rows"):
        for ids in args.vocabularies:
            write_case(cases / f"{unit}-{ids:05d}", unit, ids)
    inside = Path(__file__).with_name("readers_megatron.py")
    subprocess.run([python, inside, cases], check=True)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
