"""Opens datasets of several splits by `datasets`: `load_dataset(DIR)` finds the splits by their names.

`datasets` is no package of ours (see readers_hf.py), so it is asked in an environment of its own.

    python -m venv ENV && ENV/bin/pip install datasets
    python bench/splits_hf.py --python=ENV/bin/python
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common  # noqa: F401  # finds our packages
import pyarrow as pa
import pyarrow.parquet as pq

import pipelines.split

_READER = """
import json, sys
import datasets
datasets.disable_progress_bars()
opened = datasets.load_dataset(sys.argv[1])
print(json.dumps([datasets.__version__, {name: split.to_list() for name, split in opened.items()}]))
"""
ROWS = [
    {"id": i, "text": f"text {i % 300} " + "é," * (i % 5), "label": i % 300 % 2}
    for i in range(1000)
]
TEST = [{"id": i, "text": f"text {i % 130} of a test set", "label": 0} for i in range(300)]
Row = dict[str, Any]


def as_json(path: Path, rows: list[Row]) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def as_plain(path: Path, rows: list[Row]) -> None:
    """Write plain lines."""
    path.write_text("".join(row["text"] + "\n" for row in rows))


def as_csv(path: Path, rows: list[Row]) -> None:
    """Write CSV."""
    lines = "".join(f'{row["id"]},"{row["text"]}",{row["label"]}\n' for row in rows)
    path.write_text("id,text,label\n" + lines)


def as_parquet(path: Path, rows: list[Row]) -> None:
    """Write Parquet."""
    pq.write_table(pa.Table.from_pylist(rows), path)


def as_arrow(path: Path, rows: list[Row]) -> None:
    """Write an Arrow stream."""
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


SHARES = "--fractions=train=0.7,validation=0.2,test=0.1"
LIKE = ["--like={test}", "--fit_records=1000"]
CASES: list[tuple[str, Callable[[Path, list[Row]], None], list[str]]] = [
    ("a.jsonl", as_json, [SHARES, "--num_shards=3"]),
    ("a.jsonl", as_json, ["--counts=labelled=100,unlabelled=rest", "--by=identity", "--shuffle"]),
    ("a.jsonl", as_json, [SHARES, "--compression=gzip"]),
    ("a.jsonl", as_json, [SHARES, "--output_format=parquet"]),
    ("a.txt", as_plain, [SHARES]),
    ("a.csv", as_csv, [SHARES, "--format=csv", "--header_lines=1"]),
    ("a.parquet", as_parquet, [SHARES, "--num_shards=3"]),
    ("a.arrow", as_arrow, [SHARES, "--output_format=arrow_stream"]),
    ("a.jsonl", as_json, [SHARES, *LIKE, "--weights_column=weight"]),
    ("a.parquet", as_parquet, [*LIKE, "--draw=50"]),
]


def main() -> None:
    """Split, open, compare; end with an error where something differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="of an environment that has datasets")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    for name, write, flags in CASES:
        print(name, *flags, compare(name, write, flags, args.python), flush=True)


def compare(
    name: str, write: Callable[[Path, list[Row]], None], flags: list[str], python: str
) -> str:
    """Return what was read of one dataset; SystemExit where it isn't what was split."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root / name, ROWS)
        write(root / f"test{Path(name).suffix}", TEST)
        more = [flag.format(test=root / f"test{Path(name).suffix}") for flag in flags]
        given = [f"--input={root / name}", f"--output={root / 'out'}", *more]
        manifest = pipelines.split.run([*given, "--workers=1"])
        done = subprocess.run(
            [python, "-c", _READER, str(root / "out")],
            capture_output=True,
            text=True,
            env={"HF_HOME": folder, "HF_DATASETS_OFFLINE": "1", "PATH": ""},
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{name}: load_dataset failed:\n{done.stderr}")
    version, found = json.loads(done.stdout.splitlines()[-1])
    said = {entry.name: entry.records for entry in manifest.splits}
    if {split: len(rows) for split, rows in found.items()} != said:
        raise SystemExit(f"{name}: datasets finds other splits than {said}")
    rows = [row for split in found.values() for row in split]
    if "line" in rows[0]:  # JSON lines that became rows
        rows = [json.loads(row["line"]) for row in rows]
    if {row["text"] for row in rows} != {row["text"] for row in ROWS}:
        raise SystemExit(f"{name}: the texts that datasets reads aren't those that were split")
    return f"datasets {version}: {said}"


if __name__ == "__main__":
    sys.exit(main())
