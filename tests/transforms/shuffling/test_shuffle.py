"""ShuffleWithinBuckets: buckets to shards, of any number and size, always in one order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms import helpers
from tests.transforms.helpers import (
    THREADS,
    Row,
    digests_of,
    hashed,
    inside,
    make_rows,
    make_run,
    make_runs,
    rows_of,
    size_of,
)
from transforms.datasets.write import Ordered
from transforms.errors import RunError
from transforms.kernels.records import blocks, sorting
from transforms.kernels.records.ranges import KeyRange
from transforms.shuffling import spill_pages
from transforms.shuffling.gather import Piece, gather_piece
from transforms.shuffling.groups import BlockGroup
from transforms.shuffling.references import Pages
from transforms.shuffling.shuffle import PlainShard

ROWS = make_rows(203)
COUNT = len(ROWS)
ORDER = sorted(ROWS)
NO_LIMIT = 1 << 40


def lay_out(
    rows: Sequence[Row], *, folder: Path, partitions: int = 4, sources: int = 1, **how: Any
) -> list[PlainShard]:
    """Spill rows in three runs and shuffle them; return the shards in order."""
    runs = make_runs(rows, 3, sources=sources)
    return helpers.lay_out(
        runs, ranges=partitions, folder=folder, page_bytes=1500, sources=sources, **how
    )


def walk(shard: PlainShard, *, sources: int = 1) -> list[Row]:
    """Read a shard in its order, and check what it says of each part."""
    out = []
    for ordered in shard.ordered():
        rows = rows_of([ordered.block])
        assert ordered.expected == digests_of(rows, sources=sources)
        assert rows, "an empty part is no part"
        out += rows
    return out


@pytest.mark.parametrize("size", [1, 7, 29, COUNT - 1, COUNT, COUNT + 9])
def test_shards_have_exactly_so_many_records_and_join_to_one_order(
    tmp_path: Path, size: int
) -> None:
    shards = lay_out(ROWS, folder=tmp_path, shard_records=size)
    found = [walk(shard) for shard in shards]
    number = -(-COUNT // size)
    assert [(shard.number, shard.of) for shard in shards] == [(i, number) for i in range(number)]
    assert [len(rows) for rows in found[:-1]] == [size] * (number - 1)
    assert [row for rows in found for row in rows] == ORDER


@pytest.mark.parametrize("partitions", [1, 4, 13, 2 * COUNT])
def test_plain_shards_are_ranges_of_keys_and_join_to_one_order(
    tmp_path: Path, partitions: int
) -> None:
    shards = lay_out(ROWS, folder=tmp_path, partitions=partitions)
    assert [(shard.number, shard.of) for shard in shards] == [
        (i, partitions) for i in range(partitions)
    ]
    assert [walk(shard) for shard in shards] == [
        inside(ROWS, i, partitions) for i in range(partitions)
    ]


@pytest.mark.parametrize("partitions", [1, 31])
def test_the_number_of_groups_shows_nowhere_in_counted_shards(
    tmp_path: Path, partitions: int
) -> None:
    shards = lay_out(ROWS, folder=tmp_path, partitions=partitions, shard_records=50)
    assert [walk(shard) for shard in shards] == [ORDER[i : i + 50] for i in range(0, COUNT, 50)]


@pytest.mark.parametrize("shard_records", [None, 60], ids=["plain", "counted"])
@pytest.mark.parametrize("limit", [110, 4000])
def test_a_bucket_over_budget_is_taken_by_its_next_key_bits(
    tmp_path: Path, shard_records: int | None, limit: int
) -> None:
    shards = lay_out(
        ROWS,
        folder=tmp_path,
        shard_records=shard_records,
        bucket_bytes=limit,
    )
    parts = [part for shard in shards for part in shard.ordered()]
    assert rows_of(part.block for part in parts) == ORDER
    assert all(size_of(rows_of([part.block])) <= limit for part in parts)


def test_a_record_over_budget_comes_alone() -> None:
    rows = [Row(1 << 62, b"x"), Row((1 << 62) + 1, b"y" * 500), Row(3 << 62, b"z" * 500)]
    found = gather_piece(Piece(in_memory(rows), KeyRange(0, 1)), limit=100, sources=1)
    assert [rows_of([part.block]) for part in found] == [[row] for row in rows]


def test_bundles_that_run_at_once_lay_out_the_same(tmp_path: Path) -> None:
    shards = lay_out(ROWS, folder=tmp_path, shard_records=40, options=THREADS)
    assert [row for shard in shards for row in walk(shard)] == ORDER


@pytest.mark.parametrize("shard_records", [None, 40], ids=["plain", "counted"])
def test_sources_are_shuffled_as_one_and_digested_apart(
    tmp_path: Path, shard_records: int | None
) -> None:
    rows = make_rows(120, sources=3)
    shards = lay_out(rows, folder=tmp_path, shard_records=shard_records, sources=3)
    assert [row for shard in shards for row in walk(shard, sources=3)] == sorted(rows)


def test_no_records_at_all_are_one_empty_shard_where_records_count(tmp_path: Path) -> None:
    (shard,) = lay_out([], folder=tmp_path, shard_records=10)
    assert (shard.number, shard.of, walk(shard)) == (0, 1, [])


def test_no_records_at_all_are_as_many_empty_plain_shards_as_asked(tmp_path: Path) -> None:
    shards = lay_out([], folder=tmp_path, partitions=3)
    assert [(shard.number, shard.of, walk(shard)) for shard in shards] == [
        (0, 3, []),
        (1, 3, []),
        (2, 3, []),
    ]


@pytest.mark.parametrize("shard_records", [None, 4], ids=["plain", "counted"])
def test_equal_keys_come_in_the_order_of_their_bytes(
    tmp_path: Path, shard_records: int | None
) -> None:
    rows = [
        Row(i % 3 << 62, record)
        for i, record in enumerate([b"b", b"", b"\xff", b"a", b"ab", b"b"] * 3)
    ]
    shards = lay_out(rows, folder=tmp_path, shard_records=shard_records)
    assert [row for shard in shards for row in walk(shard)] == sorted(rows)


# ---- one piece, without Beam ----


def in_memory(rows: Sequence[Row], *, runs: int = 1, page_bytes: int = 300) -> BlockGroup:
    """A group whose pages are here, and are read from no file."""
    cut = [
        block
        for run in make_runs(rows, runs)
        for _, block in spill_pages.cut_run(run, parts=1, page_bytes=page_bytes)
    ]
    encoded = [b"".join(spill_pages.encode_page(block, sources=1)) for block in cut]
    table = [spill_pages.table_row(*both) for both in zip(cut, map(len, encoded), strict=True)]
    group = BlockGroup([Pages("", 0, np.array(table, spill_pages.TABLE))])
    group.__dict__["fetch"] = lambda part: map(spill_pages.decode_page, encoded)
    return group


@settings(max_examples=150, deadline=None)
@given(
    keys=st.sets(st.integers(0, 2**64 - 1) | st.integers(0, 9), max_size=25),
    runs=st.integers(1, 3),
    skip=st.integers(0, 30),
    take=st.none() | st.integers(0, 30),
    limit=st.sampled_from([85, 140, 500, NO_LIMIT]),
)
def test_a_piece_is_a_slice_of_its_range_whatever_is_read_at_once(
    *, keys: set[int], runs: int, skip: int, take: int | None, limit: int
) -> None:
    rows = [Row(key, b"%d" % key) for key in keys]
    expected = sorted(rows)[skip:][:take]
    piece = Piece(in_memory(rows, runs=runs), KeyRange(0, 1), skip, take)
    found: list[Ordered] = list(gather_piece(piece, limit=limit, sources=1))
    assert rows_of(part.block for part in found) == expected
    for part in found:
        assert part.expected == digests_of(rows_of([part.block]))
        assert size_of(rows_of([part.block])) <= limit


@pytest.mark.parametrize("skip", [0, 3])
def test_a_record_that_changed_in_a_shared_bucket_is_caught_at_the_edge(
    monkeypatch: pytest.MonkeyPatch, skip: int
) -> None:
    """The shard's part of a bucket is digested anew, so the whole has to be checked before."""
    rows = [Row(i, b"record %d" % i) for i in range(6)]
    group = in_memory(rows, page_bytes=1 << 20)
    gather = sorting.gather

    def changed(found: list[pa.RecordBatch]) -> pa.RecordBatch:
        found[:] = [make_run([*rows[:5], Row(5, b"RECORD 5")]).drop_columns(["hash0", "hash1"])]
        return gather(found)

    monkeypatch.setattr(sorting, "gather", changed)
    with pytest.raises(RunError, match="edge"):
        list(gather_piece(Piece(group, KeyRange(0, 1), skip, 3), limit=NO_LIMIT, sources=1))


def test_a_writer_holds_one_bucket_at_a_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [Row(hashed(i), bytes(100)) for i in range(400)]
    limit = size_of(rows) // 8
    (shard,) = lay_out(rows, folder=tmp_path, partitions=1, bucket_bytes=limit)
    sizes = []
    gather = sorting.gather

    def counted(found: list[pa.RecordBatch]) -> pa.RecordBatch:
        sizes.append(sum(map(blocks.block_footprint, found)))
        return gather(found)

    monkeypatch.setattr(sorting, "gather", counted)
    assert walk(shard) == sorted(rows)
    assert max(sizes) <= limit
    assert len(sizes) <= 16  # and no smaller than need be


@pytest.mark.timeout(10)
def test_equal_keys_over_the_limit_come_out_or_are_refused() -> None:
    """As records have whose identity is not unique: somebody's own ids, given twice."""
    rows = [Row(5, b"a" * 50), Row(5, b"b" * 50), Row(5, b"c" * 50)]
    piece = Piece(in_memory(rows), KeyRange(0, 1))
    try:
        found = list(gather_piece(piece, limit=200, sources=1))
    except RunError:
        return
    assert rows_of(part.block for part in found) == rows
