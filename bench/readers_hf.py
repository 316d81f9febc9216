"""Opens what trainers' formats write by `datasets`, in an environment of its own, and compares rows.

`datasets` brings pandas, which Arrow imports wherever it finds it: 57 MB in each worker. So it isn't
among the tests' packages.

    python -m venv ENV && ENV/bin/pip install datasets
    python bench/readers_hf.py --python=ENV/bin/python
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import common  # noqa: F401  # finds our packages
import numpy as np
import pyarrow as pa
from trainers import make_rows

from transforms.kernels.packing.rows import Kind, Packing
from transforms.trainers.contract import Dataset, ShardFacts
from transforms.trainers.formats import FORMATS

_READER = """
import json, sys
import datasets
datasets.disable_progress_bars()
opened = eval(sys.argv[1])
rows = [dict(row) for row in opened]
arrays = [row["input_ids"] for row in opened.with_format("numpy")]
print(json.dumps({
    "version": datasets.__version__,
    "columns": opened.column_names,
    "rows": rows,
    "same": [array.tolist() for array in arrays] == [row["input_ids"] for row in rows],
    "dtype": sorted({str(array.dtype) for array in arrays}),
}))
"""
CASES: list[tuple[str, Kind, dict[str, Any]]] = [
    ("parquet", "none", {}),
    ("parquet", "best_fit", {}),
    ("parquet", "best_fit", {"layout": "megatron_bridge"}),
    ("arrow", "none", {}),
    ("arrow", "best_fit", {}),
]
VOCABULARIES = (255, 65_536, 65_537)


def main() -> None:
    """Write, open, compare; end with an error where something differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="of an environment that has datasets")
    args = parser.parse_args()
    for name, kind, options in CASES:
        for ids in VOCABULARIES:
            said = compare(name, kind, options, ids, args.python)
            print(" ".join([name, kind, *options.values()]), f"{ids} ids: equal;", said)


def compare(name: str, kind: Kind, options: dict[str, Any], ids: int, python: str) -> str:
    """Return what was read of one dataset; SystemExit where it isn't what was written."""
    length = None if kind == "none" else 256
    packing = Packing(kind=kind, length=length, end=1, end_at_cuts=length is not None)
    kept = pa.schema([("title", pa.string())]) if kind == "none" else None
    dataset = Dataset(ids=ids, packing=packing, eos=1, pad=0, kept=kept, options=options)
    form = FORMATS[name]
    form.require(dataset)
    rows = make_rows(dataset, ids=20_000, mean=60, seed=1)
    rows.ids[1] = ids - 1
    if kept is not None:
        titles = pa.array([f"é{i}" for i in range(len(rows))])
        rows = type(rows)(**{**vars(rows), "kept": pa.StructArray.from_arrays([titles], ["title"])})
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        (suffix,) = form.suffixes(dataset)
        facts = ShardFacts(rows=len(rows), ids=len(rows.ids), filler=int(rows.filler.sum()))
        with (data / f"train-00000-of-00001{suffix}").open("wb") as file:
            writer = form.open_writer({suffix: file}, dataset, facts)
            writer.write(rows)
            writer.close()
        line = form.how_to_open(dataset, folder)
        if options:  # what opens it in its trainer isn't datasets
            files = f"{folder}/data/*{suffix}"
            line = f'datasets.load_dataset("parquet", data_files="{files}", split="train")'
        environment = {"HF_HOME": folder, "HF_DATASETS_OFFLINE": "1", "PATH": ""}
        done = subprocess.run(
            [python, "-c", _READER, line],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{name}: {line} failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    expected = [part.tolist() for part in np.split(rows.ids, rows.offsets[1:-1])]
    if [row["input_ids"] for row in found["rows"]] != expected or not found["same"]:
        raise SystemExit(f"{name}: the ids that datasets reads aren't those that were written")
    if "seq_lengths" in found["columns"]:
        lengths = [part.tolist() for part in np.split(rows.lengths, rows.piece_offsets[1:-1])]
        if [row["seq_lengths"] for row in found["rows"]] != lengths:
            raise SystemExit(f"{name}: lengths differ")
    if kept is not None and [row["title"] for row in found["rows"]] != titles.to_pylist():
        raise SystemExit(f"{name}: kept columns differ")
    return f"datasets {found['version']}, {', '.join(found['columns'])}, {found['dtype']}"


if __name__ == "__main__":
    sys.exit(main())
