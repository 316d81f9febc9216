"""What decoding dictionaries will take is known before it is done."""

from __future__ import annotations

import pyarrow as pa
import pytest

from transforms.formats.tables import dictionary_costs
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
