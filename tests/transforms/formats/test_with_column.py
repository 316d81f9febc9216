"""What shards are when their records get one more field."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.errors import InputError
from transforms.formats.writing import ShardFormat, open_writer, with_column
from transforms.kernels.records import blocks
from transforms.kernels.records.attach import attach
from transforms.kernels.records.rows import to_rows

SCHEMA = pa.schema(
    [pa.field("kind", pa.dictionary(pa.int8(), pa.string())), pa.field("n", pa.int16())],
    metadata={"made by": "us"},
)
ROWS = ShardFormat(kind="parquet", compression="zstd", schema=SCHEMA, records_are="rows")


def test_rows_are_written_with_their_new_column_and_their_own_types() -> None:
    batch = pa.record_batch(
        [pa.array(["a", "b", "a"]).dictionary_encode().cast(SCHEMA.field(0).type), [1, 2, None]],
        schema=SCHEMA,
    )
    block = blocks.from_rows(to_rows(batch), positions=np.arange(3, dtype=np.uint64))
    sink = io.BytesIO()
    writer = open_writer(sink, with_column(ROWS, "weight", pa.float64()), path="a.parquet")
    writer.write(attach(block, "weight", pa.array([0.5, None, 2.0])))
    writer.close()
    found = pq.read_table(io.BytesIO(sink.getvalue()))
    assert found.to_pydict() == {
        "kind": ["a", "b", "a"],
        "n": [1, 2, None],
        "weight": [0.5, None, 2.0],
    }
    assert found.schema.field("kind").type == SCHEMA.field("kind").type
    assert (found.schema.metadata or {})[b"made by"] == b"us"


def test_json_lines_stay_what_they_are_whatever_they_are_written_as() -> None:
    as_rows = replace(ROWS, schema=pa.schema([("line", pa.string())]), records_are="lines")
    for form in (ShardFormat(), as_rows):
        assert with_column(form, "weight", pa.float64(), json=True) == form


def test_what_has_no_room_for_a_column_is_refused() -> None:
    with pytest.raises(InputError, match="a column 'n' already"):
        with_column(ROWS, "n", pa.float64())
    for form, json in ((ShardFormat(), False), (ShardFormat(records_are="texts"), True)):
        with pytest.raises(InputError, match=r"expected rows .* or JSON lines"):
            with_column(form, "n", pa.float64(), json=json)
