"""How a bad record is told: whatever it holds, in words that lead to it."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest

from transforms.datasets.max_bad import refusal
from transforms.datasets.source_files import SourceFile
from transforms.formats.readers import ReadOptions
from transforms.kernels.records import blocks

FILE = SourceFile("default", "a.parquet", "file:///a.parquet", 1, "1")
BAD = pa.array([b"\xff" * 200], pa.binary()).view(pa.string())
ONE = pa.array([0, 1], pa.int32())


@pytest.mark.parametrize(
    ("column", "begins"),
    [
        (BAD, r"'\\xff\\xff"),
        (pa.ListArray.from_arrays(ONE, BAD), "'"),
        (pa.StructArray.from_arrays([BAD], ["a"]), "'"),
        (pa.MapArray.from_arrays(ONE, pa.array(["k"]), BAD), "'"),
        (pa.array([1 << 62], pa.timestamp("us")), "'"),
        (pa.array([(1 << 62) + 1], pa.timestamp("ns")), "'2116-02-20"),
        (pa.array([1], pa.timestamp("us", "Nowhere/None")), "'1970-01-01"),
        (pa.array([(1 << 31) - 1], pa.int32()).view(pa.date32()), "'"),
        (pa.array([[1, None]]), r"'\[ 1, null \]'"),
        (pa.array([7]), "'7'"),
        (pa.array([None], pa.list_(pa.int8())), "null,"),
    ],
)
def test_a_row_is_told_whatever_its_columns_hold(column: pa.Array, begins: str) -> None:
    rows = pa.StructArray.from_arrays([column, BAD], ["a", "b"])
    bad = blocks.from_rows(rows, positions=np.array([5], np.uint64))
    error = refusal(bad, ("column b: not UTF-8",), file=FILE, options=ReadOptions(), first=False)
    message = str(error)
    assert message.startswith("file:///a.parquet: row 5 is a bad record: column b: not UTF-8; ")
    assert re.search(f"it begins {begins}", message)
    assert len(message) < 300
