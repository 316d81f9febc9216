"""What decoding dictionaries takes is known before it is done; which columns are written with some."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.formats.tables import dictionary_costs
from transforms.formats.writing import ShardFormat, open_writer
from transforms.kernels.records import blocks
from transforms.kernels.records.rows import to_rows

LONG = "x" * 1000
WORDS = pa.DictionaryArray.from_arrays(
    pa.array([0, 1, None, 1, 0, 2], pa.int8()), pa.array(["", LONG, LONG * 2])
)
PLAIN = pa.array([LONG] * 6)
LISTS = pa.ListArray.from_arrays(pa.array([0, 2, 2, 3, 3, 6, 6]), WORDS)
STRUCTS = pa.StructArray.from_arrays([PLAIN, WORDS], names=["p", "w"])


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (WORDS, [[0], [1], [], [1], [0], [2]]),
        (PLAIN, [[], [], [], [], [], []]),
        (STRUCTS, [[0], [1], [], [1], [0], [2]]),
        (LISTS, [[0, 1], [], [], [], [1, 0, 2], []]),
        (pa.array([None] * 6, pa.dictionary(pa.int8(), pa.string())), [[]] * 6),
    ],
    ids=["dictionary", "plain", "struct", "list", "nulls"],
)
@pytest.mark.parametrize("begin", [0, 2])
def test_each_row_costs_what_it_repeats(
    column: pa.Array, words: list[list[int]], begin: int
) -> None:
    found = dictionary_costs(pa.RecordBatch.from_arrays([column], names=["c"]).slice(begin))
    assert len(found) == 6 - begin
    for cost, mine in zip(found.tolist(), words[begin:], strict=True):
        bytes_repeated = sum(1000 * word for word in mine)
        # no less than that; and at most the mean of 1000, and 8 bytes beside, for each value
        assert bytes_repeated <= cost <= bytes_repeated + 1010 * max(1, len(mine))


def test_the_costs_of_rows_add_up_to_what_decoding_takes() -> None:
    batch = pa.RecordBatch.from_arrays([WORDS, LISTS, STRUCTS], names=["a", "b", "c"])
    before = batch.get_total_buffer_size()
    grown = to_rows(batch).get_total_buffer_size() - before
    assert dictionary_costs(batch).sum() >= grown > 0


def dictionaries_of(columns: dict[str, Any], *, rows_each: int = 1 << 16) -> dict[str, bool]:
    """Write columns as Parquet, in blocks of so many rows; say which have dictionaries, anywhere."""
    rows = pa.table(columns).combine_chunks()
    form = ShardFormat(kind="parquet", compression="zstd", schema=rows.schema, records_are="rows")
    sink = io.BytesIO()
    writer = open_writer(sink, form, path="s")
    for batch in rows.to_batches(max_chunksize=rows_each):
        positions = np.arange(len(batch), dtype=np.uint64)
        writer.write(blocks.from_rows(to_rows(batch), positions=positions))
    writer.close()
    metadata = pq.read_metadata(sink)
    found: dict[str, bool] = {}
    for group in range(metadata.num_row_groups):
        for i in range(metadata.num_columns):
            column = metadata.row_group(group).column(i)
            name = column.path_in_schema
            found[name] = found.get(name, False) or column.has_dictionary_page
    return found


def test_columns_whose_first_values_hardly_repeat_are_written_without_dictionaries() -> None:
    count = 1 << 16
    numbers = range(count)
    columns = {
        "unlike": [f"{number} of many" for number in numbers],
        "number": pa.array(numbers, pa.int64()),
        "alike": [f"{number % 1000} of a thousand" for number in numbers],
        "flag": [number % 3 == 0 for number in numbers],
        "nulls": pa.nulls(count, pa.float32()),
        "later": [number // 4 if number < count // 2 else number for number in numbers],
        "inside": [{"a.b": number} for number in numbers],
        "known": pa.array(numbers, pa.int64()).dictionary_encode(),
    }
    found = dictionaries_of(columns)
    assert found == {
        "unlike": False,
        "number": False,
        "alike": True,
        "flag": False,  # Parquet has none of those
        "nulls": True,
        "later": True,
        "inside.a.b": True,
        "known": True,
    }
    assert dictionaries_of(columns, rows_each=777) == found  # however rows come
    assert dictionaries_of({"unlike": columns["unlike"]}) == {"unlike": False}


def test_a_column_whose_path_may_be_that_of_another_keeps_its_dictionary() -> None:
    columns = {"a.b": [str(n) for n in range(1000)], "a": [{"b": n} for n in range(1000)]}
    assert dictionaries_of(columns) == {"a.b": True}
