"""What is kept of bad records: rows of any columns, as bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.datasets.quarantine import QuarantineFile
from transforms.datasets.source_files import SourceFile
from transforms.errors import DataError
from transforms.kernels.records import blocks

BAD = pa.array([b"\xff"], pa.binary()).view(pa.string())


def keep(column: pa.Array, output: Path) -> list[dict[str, object]]:
    """Keep a row of two columns, the second of which is bad; return what is in the file."""
    for folder in ("_tmp-", "quarantine"):
        (output / folder).mkdir()
    rows = pa.StructArray.from_arrays([column, BAD], ["a", "b"])
    bad = blocks.from_rows(rows, positions=np.array([5], np.uint64))
    file = SourceFile("default", "x.arrow", "file:///x.arrow", 1, "1")
    with QuarantineFile(str(output), "", file=file, start=0) as kept:
        kept.add(bad, ("column b: not UTF-8",))
    assert kept.report is not None
    found: list[dict[str, object]] = pq.read_table(output / kept.report.path)["record"].to_pylist()
    return found


def test_text_is_kept_as_bytes_however_deep_it_lies(tmp_path: Path) -> None:
    lists = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), BAD)
    assert keep(lists, tmp_path) == [{"a": [b"\xff"], "b": b"\xff"}]


@pytest.mark.parametrize(
    "column",
    [pa.array([(1, 2, 3)], pa.month_day_nano_interval()), pa.array([{}], pa.struct([]))],
)
def test_what_parquet_can_not_hold_is_named(tmp_path: Path, column: pa.Array) -> None:
    with pytest.raises(DataError, match=r"^file:///x.arrow: .* --on_bad_record=skip"):
        keep(column, tmp_path)
