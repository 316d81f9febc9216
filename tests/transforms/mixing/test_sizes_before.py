"""SizesBefore against records counted one by one: passes of their own sizes, budgets, special ids."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from transforms.errors import LosslessError
from transforms.kernels.arrays import I64
from transforms.kernels.randomness import mix
from transforms.kernels.records import blocks
from transforms.kernels.schedules.staged_schedule import StagedSchedule
from transforms.kernels.schedules.stratified_schedule import StratifiedSchedule
from transforms.kernels.schedules.weights import WHOLE
from transforms.mixing.shard_layout import StreamTables
from transforms.mixing.sizes_before import SizesBefore
from transforms.shuffling.spill_files import SpillFiles, Spilling
from transforms.shuffling.streams import Streams

RECORDS, PASSES = (40, 25), 3
STREAMS = Streams(
    sources=("a", "b"),
    union=False,
    seed=0,
    epoch=0,
    buckets=(7, 3),
    limits=(1 << 20,) * 2,
    measure="ids",
)
SCHEDULE = StratifiedSchedule([WHOLE // 4, WHOLE // 4 * 3])
LENGTH = 100  # positions: 25 of a, less than a pass, and 75 of b, exactly three


def lengths_of(source: int, number: int) -> I64:
    """Tokens of each record, by rank: other ones in every pass, some of none."""
    ranks = np.arange(RECORDS[source])
    return (ranks * (7 + source) + number * 11) % 13 * (ranks % 5 > 0)


def block_of(source: int, number: int) -> pa.RecordBatch:
    """A pass's records, sorted by key."""
    lengths = lengths_of(source, number)
    keys = np.sort(mix(np.arange(len(lengths), dtype=np.uint64) + np.uint64(100 * number)))
    lists = pa.array([[9] * n for n in lengths.tolist()], pa.list_(pa.uint16()))
    record = pa.StructArray.from_arrays([lists], ["ids"])
    block = blocks.from_rows(record, positions=keys)
    return block.rename_columns(["key", *block.schema.names[1:]])


@pytest.fixture
def tables(tmp_path: Path) -> StreamTables:
    spill = Spilling(folders=[str(tmp_path)], page_bytes=300)
    files = SpillFiles(spill, STREAMS.buckets, sources=1, measure=STREAMS.measure)
    packed = [
        files.write({number * 2 + source: block_of(source, number) for source in (0, 1)})
        for number in range(PASSES)
    ]
    return StreamTables(packed, STREAMS)


def sizes_in_order() -> list[int]:
    """Tokens of the record at each position."""
    feeds = [
        iter(np.concatenate([lengths_of(source, n) for n in range(PASSES)]).tolist())
        for source in (0, 1)
    ]
    return [next(feeds[source]) for source in SCHEDULE.sources_of(0, LENGTH)]


def test_every_position_has_before_it_what_each_pass_itself_has(tables: StreamTables) -> None:
    known = SizesBefore(SCHEDULE, tables, records=RECORDS, small=(False, False))
    before = np.concatenate([[0], np.cumsum(sizes_in_order())])
    for position in range(LENGTH + 1):
        exact = known.exactly(position)
        assert exact == before[position]
        assert known.at_least(position) <= exact <= known.at_most(position)
    assert known.at_most(LENGTH) > known.at_least(LENGTH)
    first = int(lengths_of(1, 0).sum())
    assert [int(lengths_of(1, n).sum()) for n in range(PASSES)] != [first] * PASSES  # else no test


def test_a_budget_ends_before_the_first_record_that_would_exceed_it(tables: StreamTables) -> None:
    sizes = sizes_in_order()
    for begin, extra in itertools.product((0, 1, 37, 99), (0, 1, 3)):
        for budget in (0, 1, 5, 60, 200, 301, 10_000):
            known = SizesBefore(SCHEDULE, tables, records=RECORDS, small=(False, False))
            end, spent = begin, 0
            while end < LENGTH and spent + sizes[end] + extra <= budget:
                spent += sizes[end] + extra
                end += 1
            assert known.find_end(begin, LENGTH, budget, extra=extra) == end


def test_stages_that_end_by_tokens_begin_where_those_before_them_ended(
    tables: StreamTables,
) -> None:
    """Budgets of three stages, each with special ids of its own to count, against one at a time."""
    laws = [[WHOLE // 4, WHOLE // 4 * 3], [WHOLE // 2] * 2, [WHOLE // 8 * 7, WHOLE // 8]]
    feeds = [
        iter(np.concatenate([lengths_of(source, n) for n in range(PASSES)]).tolist())
        for source in (0, 1)
    ]
    schedules = [StratifiedSchedule(law) for law in laws]
    lengths: list[int] = []
    waiting: list[int | None] = [None, None]  # drawn, but beyond a stage's budget
    for number, (budget, extra) in enumerate(((130, 0), (90, 1), (75, 2))):
        chain = StagedSchedule(schedules[: number + 1], [*lengths, 30])
        known = SizesBefore(chain, tables, records=RECORDS, small=(False, False))
        begin = sum(lengths)
        end = known.find_end(begin, begin + 30, budget, extra=extra)
        spent = count = 0
        for source in schedules[number].sources_of(0, 30).tolist():
            size = next(feeds[source]) if waiting[source] is None else waiting[source]
            waiting[source] = None
            assert size is not None
            if spent + size + extra > budget:
                waiting[source] = size
                break
            spent, count = spent + size + extra, count + 1
        assert end - begin == count < 30
        lengths.append(count)
    assert min(lengths) > 3


def test_small_sources_have_the_first_pass_in_all(tables: StreamTables) -> None:
    known = SizesBefore(SCHEDULE, tables, records=RECORDS, small=(True, True))
    tokens = int(lengths_of(1, 0).sum())
    used = SCHEDULE.counts_before(LENGTH).tolist()
    assert used == [25, 75]
    assert known.by_stream(LENGTH) == [int(lengths_of(0, 0)[:25].sum()), 3 * tokens]


@pytest.mark.parametrize("kind", [pa.list_(pa.uint16()), pa.large_list(pa.int32())])
def test_tokens_are_the_lengths_of_lists_none_of_a_null(kind: pa.DataType) -> None:
    lists = pa.array([[1, 2], None, [], [3] * 300], kind)
    record = pa.StructArray.from_arrays([pa.array("wxyz"[:1] * 4), lists], ["text", "ids"])
    block = blocks.from_rows(record, positions=np.arange(4, dtype=np.uint64))
    assert blocks.measures(block, "ids").tolist() == [2, 0, 0, 300]
    assert blocks.measures(block.slice(1, 3), "ids").tolist() == [0, 0, 300]
    assert (blocks.measures(block, None) == blocks.hashes(block)[2]).all()
    assert (blocks.measures(blocks.without_hashes(block), None) == blocks.hashes(block)[2]).all()
    with pytest.raises(KeyError):
        blocks.measures(block, "tokens")


def test_a_pass_that_lacks_records_is_named(tables: StreamTables) -> None:
    assert tables.holding(1, 2, 25).size == 25
    with pytest.raises(
        LosslessError, match="source b, pass 2: 26 records are needed, but 25 were spilled"
    ):
        tables.holding(1, 2, 26)
    sizes = SizesBefore(SCHEDULE, tables, records=(40, 30), small=(False, False))
    with pytest.raises(LosslessError, match="source b, pass 0: 29 records are needed"):
        sizes.exactly(39)
