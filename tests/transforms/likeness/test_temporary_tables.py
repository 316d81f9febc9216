"""Tables in temporary files come back as they were, or with an error that says where it went wrong."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from transforms.errors import RunError
from transforms.likeness.temporary_tables import read_table, write_tables
from transforms.shuffling.file_ranges import FileRange

TABLES = [
    pa.record_batch({"key": pa.array([1, 2, 3], pa.uint64()), "text": ["a", None, "ç"]}),
    pa.record_batch({"key": pa.array([], pa.uint64())}),
]


def test_tables_come_back(tmp_path: Path) -> None:
    found = write_tables(str(tmp_path), lambda: TABLES)
    assert [read_table(where) for where in found] == TABLES


def test_damage_is_found(tmp_path: Path) -> None:
    first, _ = write_tables(str(tmp_path), lambda: TABLES)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[first.length // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match="damaged at byte 0"):
        read_table(first)
    path.write_bytes(data[: first.length // 2])
    with pytest.raises(RunError, match="the file ends earlier"):
        read_table(first)
    path.unlink()
    with pytest.raises(RunError, match="can't be read"):
        read_table(first)


def test_what_is_no_table_is_refused_though_its_checksum_is_right(tmp_path: Path) -> None:
    path = tmp_path / "forged"
    with path.open("wb") as file:
        where = FileRange.write(file, str(path), 0, b"no table of Arrow's")
    with pytest.raises(RunError, match="isn't what Dovetail wrote there"):
        read_table(where)
