"""Prepared datasets as their trainers read them: plain readers, none of them ours."""

from __future__ import annotations

import csv
import gzip
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Ids = tuple[int, ...]
_CODES = {1: "u1", 3: "<i2", 4: "<i4", 8: "<u2"}


def shards(folder: Path, split: str, suffix: str) -> list[Path]:
    """Return a split's files that end so, in order."""
    return sorted((folder / "data").glob(f"{split}-*{suffix}"))


def of_tables(folder: Path, split: str = "train") -> list[tuple[Ids, Ids]]:
    """Return the ids and the lengths of pieces of each row of Parquet or Arrow files."""
    rows = []
    for path in shards(folder, split, ""):
        table = (
            pq.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(path).read_all()
        )
        ids = table.column("input_ids").to_pylist()
        lengths = [(len(row),) for row in ids]
        if "seq_lengths" in table.column_names:
            lengths = [tuple(row) for row in table.column("seq_lengths").to_pylist()]
        rows += [(tuple(row), mine) for row, mine in zip(ids, lengths, strict=True)]
    return rows


def of_flat(folder: Path, split: str = "train", *, dtype: str = "<u2", header: int = 0) -> Ids:
    """Return all ids of flat files."""
    found: list[int] = []
    for path in shards(folder, split, ".bin"):
        found += np.fromfile(path, dtype, offset=header).tolist()
    return tuple(found)


def of_olmo(
    folder: Path, split: str = "train", *, dtype: str = "<u2"
) -> Iterator[tuple[Ids, list[tuple[int, int]]]]:
    """Yield the ids of each file of OLMo's, and where its documents begin and end."""
    for path in shards(folder, split, ".npy"):
        with gzip.open(path.with_name(path.name.removesuffix(".npy") + ".csv.gz"), "rt") as lines:
            documents = [(int(line[0]), int(line[1])) for line in csv.reader(lines)]
        yield tuple(np.fromfile(path, dtype).tolist()), documents


def of_megatron(folder: Path, split: str = "train") -> list[list[Ids]]:
    """Return the sequences of each document of Megatron's, field by field of the index."""
    found = []
    for path in shards(folder, split, ".idx"):
        index = path.read_bytes()
        assert index[:9] == b"MMIDIDX\0\0"
        version, code, sequences, ends = struct.unpack_from("<QBQQ", index, 9)
        assert version == 1
        at = 34
        lengths = np.frombuffer(index, "<i4", sequences, at)
        offsets = np.frombuffer(index, "<i8", sequences, at := at + 4 * sequences)
        documents = np.frombuffer(index, "<i8", ends, at := at + 8 * sequences)
        assert len(index) == at + 8 * ends
        data, dtype = path.with_suffix(".bin").read_bytes(), np.dtype(_CODES[code])
        assert (lengths > 0).all()
        assert offsets.tolist() == [0, *(np.cumsum(lengths) * dtype.itemsize).tolist()][:sequences]
        assert len(data) == lengths.sum() * dtype.itemsize
        assert documents[0] == 0
        assert documents[-1] == sequences
        rows = [
            tuple(np.frombuffer(data, dtype, n, begin).tolist())
            for n, begin in zip(lengths.tolist(), offsets.tolist(), strict=True)
        ]
        found += [rows[a:b] for a, b in zip(documents[:-1], documents[1:], strict=True)]
    return found


def files_of(folder: Path) -> dict[str, Any]:
    """Return all files of a dataset but its manifest, which tells when and by which run."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
