"""Blocks sorted by key: ties are settled whoever sorted them."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.kernels import oracles
from tests.transforms.kernels.records.test_blocks import LINE_ENDS, PAIR, keyed
from transforms.errors import LosslessError
from transforms.kernels.records import blocks, compiling, sorting

pytestmark = pytest.mark.usefixtures("passes")
# A record and a position out of three, so that most keys are equal.
TIED = st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 2)), min_size=1, max_size=20)


@st.composite
def arrangements(draw: st.DrawFn, rows: list[tuple[bytes, int]]) -> list[list[tuple[bytes, int]]]:
    """The same rows in another order, cut into blocks elsewhere."""
    shuffled = draw(st.permutations(rows))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(rows) - 1)), max_size=4)))
    edges = [0, *(cut for cut in cuts if cut < len(rows)), len(rows)]
    return [shuffled[a:b] for a, b in itertools.pairwise(edges)]


def as_blocks(arrangement: list[list[tuple[bytes, int]]], line_end: bytes) -> list[pa.RecordBatch]:
    """Turn each list of rows into a keyed block."""
    return [
        keyed([record for record, _ in rows], [at for _, at in rows], line_end)
        for rows in arrangement
    ]


@given(TIED, LINE_ENDS, st.data())
def test_a_run_is_its_records_sorted_by_key(
    rows: list[tuple[bytes, int]], line_end: bytes, data: st.DataObject
) -> None:
    parts = as_blocks(data.draw(arrangements(rows)), line_end)
    run = sorting.sort_run(parts)
    assert parts == []  # let go of, so that they can be freed
    keys = blocks.column(run, "key").tolist()
    assert keys == sorted(keys)
    assert blocks.terminator(run) == line_end
    assert sorted(zip(keys, blocks.records(run), strict=True)) == sorted(
        (oracles.record_key(*PAIR, at), record) for record, at in rows
    )


@given(TIED, LINE_ENDS, st.data())
def test_gather_settles_ties_alike_however_records_arrive(
    rows: list[tuple[bytes, int]], line_end: bytes, data: st.DataObject
) -> None:
    first = as_blocks(data.draw(arrangements(rows)), line_end)
    other = as_blocks(data.draw(arrangements(rows)), line_end)
    second = [sorting.sort_run([part]) for part in other]
    gathered = sorting.gather(first)
    assert first == []
    assert blocks.records(gathered) == blocks.records(sorting.gather(second))
    assert blocks.terminator(gathered) == line_end
    in_order = sorted((oracles.record_key(*PAIR, at), record) for record, at in rows)
    assert blocks.column(gathered, "key").tolist() == [key for key, _ in in_order]
    if not line_end:
        assert blocks.records(gathered) == [record for _, record in in_order]


@pytest.mark.parametrize("offsets", [[0, 4, 2, 6], [0, 6, 4, 6]])
def test_offsets_that_lead_elsewhere_are_refused(offsets: list[int]) -> None:
    if compiling.loops_for(0) is None:
        return  # Arrow takes them as they are
    values = np.frombuffer(b"a\nb\nc\n", np.uint8)
    buffers = [None, pa.py_buffer(np.array(offsets)), pa.py_buffer(values)]
    record = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 3, buffers)
    damaged = keyed([b"a", b"b", b"c"], [0, 1, 2]).set_column(3, "record", record)
    with pytest.raises(LosslessError, match="offsets"):
        sorting.sort_run([damaged])


def test_gather_settles_a_tie_among_untied_keys() -> None:
    rows = [(b"b", 7), (b"x", 1), (b"a", 7), (b"y", 2), (b"c", 7), (b"d", 9), (b"c", 9)]
    in_order = sorted((oracles.record_key(*PAIR, at), record) for record, at in rows)
    for seed in range(20):
        random.Random(seed).shuffle(rows)
        found = blocks.records(sorting.gather(as_blocks([rows[:3], rows[3:]], b"\n")))
        assert found == [record for _, record in in_order], f"seed {seed}"


def test_a_tie_is_broken_by_records_without_their_line_end() -> None:
    # with their ends, b"a\n" comes after b"a\t\n"
    tied = [(b"a\t", 0), (b"a", 0)]
    assert blocks.records(sorting.gather(as_blocks([tied], b"\n"))) == [b"a", b"a\t"]
