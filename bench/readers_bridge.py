"""What Megatron-Bridge makes of our packed Parquet, by its own code, in an environment of its own.

Makes a virtual environment in the folder (numpy and pyarrow; torch is stubbed), writes shards with
``--layout=megatron_bridge``, and lets GPTSFTPackedParquetDataset read and collate them: tokens, labels,
masks, positions and boundaries are compared with the documents' pieces.

    git clone --depth=1 https://github.com/NVIDIA-NeMo/Megatron-Bridge CHECKOUT
    python bench/readers_bridge.py --folder=/tmp/readers_bridge --source=CHECKOUT
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import common  # noqa: F401  # finds our packages
import numpy as np
from environment import make_environment
from readers_olmo import EOS, LENGTH, SHARDS, VOCABULARIES, make_rows

from transforms.kernels.packing.rows import Kind, Packing, Rows
from transforms.trainers.contract import Dataset, ShardFacts
from transforms.trainers.formats import FORMATS

KINDS: tuple[Kind, ...] = ("concat", "best_fit", "pad", "buckets")


def check(folder: Path, python: Path, source: Path, kind: Kind, ids: int) -> int:
    """Write a case and compare what is read; return how many rows were equal."""
    form: Any = FORMATS["parquet"]
    packing = Packing(kind=kind, length=LENGTH, end=EOS)
    dataset = Dataset(ids=ids, packing=packing, eos=EOS, options={"layout": "megatron_bridge"})
    form.require(dataset)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    (suffix,) = form.suffixes(dataset)
    shards = [make_rows(dataset, seed=number) for number in range(SHARDS)]
    for number, rows in enumerate(shards):
        facts = ShardFacts(rows=len(rows), ids=len(rows.ids), filler=int(rows.filler.sum()))
        with (data / f"train-{number}{suffix}").open("wb") as file:
            writer = form.open_writer({suffix: file}, dataset, facts)
            writer.write(rows)
            writer.close()
    most = LENGTH - 1
    line = form.how_to_open(dataset, str(folder))
    case = {"source": str(source), "line": line, "eos": EOS}
    (folder / "case.json").write_text(json.dumps(case))
    inside = [python, Path(__file__).with_name("readers_bridge_core.py"), folder / "case.json"]
    done = subprocess.run(inside, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{kind}: Megatron-Bridge failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    expected = [row for rows in shards for row in rows_expected(rows, most)]
    for name in ("tokens", "labels", "loss_mask", "position_ids"):
        if found[name] != [row[name] for row in expected]:
            raise SystemExit(f"{kind}, {ids} ids: {name}: Megatron-Bridge reads others")
    for row, ends in zip(expected, found["cu_seqlens_q"], strict=True):
        kept = ends[: len(row["ends"])]
        if kept != row["ends"] or set(ends[len(kept) :]) - {most}:
            raise SystemExit(f"{kind}, {ids} ids: boundaries: Megatron-Bridge reads others")
    return len(expected)


def rows_expected(rows: Rows, most: int) -> list[dict[str, Any]]:
    """Return what a model should see of each row: of each piece, each id and the one behind it."""
    out = []
    ends = np.append(0, np.cumsum(rows.lengths))
    for row in range(len(rows)):
        pieces = [
            rows.ids[ends[p] : ends[p + 1]].tolist()
            for p in range(rows.piece_offsets[row], rows.piece_offsets[row + 1])
        ]
        sizes = [len(piece) - 1 for piece in pieces]
        room = most - sum(sizes)
        out.append(
            {
                "tokens": [one for piece in pieces for one in piece[:-1]] + [EOS] * room,
                "labels": [one for piece in pieces for one in piece[1:]] + [EOS] * room,
                "loss_mask": [1] * sum(sizes) + [0] * room,
                "position_ids": [i for size in sizes for i in range(size)] + [0] * room,
                "ends": np.append(0, np.cumsum(sizes)).tolist(),
            }
        )
    return out


def main() -> None:
    """Check all cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--source", type=Path, required=True, help="a checkout of Megatron-Bridge")
    args = parser.parse_args()
    python = make_environment(args.folder / "environment", ["numpy", "pyarrow"])
    for kind in KINDS:
        for ids in VOCABULARIES:
            rows = check(args.folder / f"{kind}-{ids}", python, args.source, kind, ids)
            print(f"{kind}, {ids} ids: {rows} rows equal")


if __name__ == "__main__":
    main()
