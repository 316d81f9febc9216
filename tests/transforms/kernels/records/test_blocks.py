"""Blocks: what goes in comes out, and is what it was digested as."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.kernels import oracles
from transforms.errors import LosslessError
from transforms.kernels.randomness import KeyPair
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest

pytestmark = pytest.mark.usefixtures("passes")
RECORDS = st.lists(st.binary(max_size=20), max_size=20)
LINE_ENDS = st.sampled_from([b"", b"\n", b"\0"])
PAIR = KeyPair(3, 5)


def make(
    records: Sequence[bytes],
    positions: Sequence[int] | None = None,
    *,
    line_end: bytes = b"\n",
    source: int | None = None,
) -> pa.RecordBatch:
    """Make a block; positions default to row numbers."""
    places = np.array(range(len(records)) if positions is None else positions, np.uint64)
    return blocks.from_records(records, places, line_end=line_end, source=source)


def keyed(
    records: Sequence[bytes], positions: Sequence[int], line_end: bytes = b"\n"
) -> pa.RecordBatch:
    """Make a block with keys."""
    return blocks.with_keys(make(records, positions, line_end=line_end), PAIR)


def digest(records: Sequence[bytes]) -> Digest:
    """Digest records with the slow oracle."""
    sums = [sum(oracles.record_hash(r, k) for r in records) % 2**64 for k in (0, 1)]
    return Digest(len(records), sum(map(len, records)), *sums)


@given(RECORDS, LINE_ENDS, st.none() | st.integers(0, 3))
def test_records_come_back_byte_for_byte(
    records: list[bytes], line_end: bytes, source: int | None
) -> None:
    block = make(records, line_end=line_end, source=source)
    assert blocks.records(block) == records
    assert blocks.terminator(block) == line_end
    assert bytes(blocks.payload(block)) == b"".join(record + line_end for record in records)
    assert blocks.column(block, "position").tolist() == list(range(len(records)))
    assert ("source" in block.schema.names) == (source is not None)
    assert blocks.digests(block, sources=1) == [digest(records)]


@given(RECORDS, st.data())
def test_a_slice_of_a_block_holds_its_records_only(
    records: list[bytes], data: st.DataObject
) -> None:
    begin = data.draw(st.integers(0, len(records)))
    part = make(records).slice(begin, data.draw(st.integers(0, len(records))))
    wanted = records[begin : begin + len(part)]
    assert blocks.records(part) == wanted
    assert bytes(blocks.payload(part)) == b"".join(record + b"\n" for record in wanted)
    for block in (part, blocks.without_hashes(part)):  # as read, and hashed anew
        assert blocks.digests(block, sources=1) == [digest(wanted)]


def test_lines_in_a_buffer_become_a_block_without_a_copy() -> None:
    values = np.frombuffer(b"before\nab\n\ncd\nnot ended", np.uint8)
    block = blocks.from_buffer(
        values,
        offsets=np.array([7, 10, 11, 14]),
        positions=np.array([107, 110, 111], np.uint64),
        line_end=b"\n",
    )
    assert blocks.records(block) == [b"ab", b"", b"cd"]
    assert blocks.digests(block, sources=1) == [digest([b"ab", b"", b"cd"])]
    data, offsets = blocks.extents(block)
    assert offsets.tolist() == [7, 10, 11, 14]
    assert np.shares_memory(data, values)


@given(st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 2**64 - 1))))
def test_keys_take_the_place_of_positions(rows: list[tuple[bytes, int]]) -> None:
    block = keyed([record for record, _ in rows], [at for _, at in rows])
    assert "position" not in block.schema.names
    keys = [oracles.record_key(*PAIR, at) for _, at in rows]
    assert blocks.column(block, "key").tolist() == keys
    assert blocks.records(block) == [record for record, _ in rows]


@given(RECORDS, st.integers(0, 700), st.booleans())
def test_slices_tile_a_block_and_keep_to_their_limit(
    records: list[bytes], limit: int, inner: bool
) -> None:
    block = make(records)
    if inner and records:  # a slice's offsets don't begin at 0
        block, records = block.slice(1), records[1:]
    parts = list(blocks.slices(block, limit=limit))
    assert [record for part in parts for record in blocks.records(part)] == records
    for part in parts:
        assert len(part) >= 1
        assert len(part) == 1 or blocks.block_footprint(part) <= limit
    for part, following in itertools.pairwise(parts):
        grown = blocks.block_footprint(part) + blocks.block_footprint(following.slice(0, 1))
        assert grown > limit, "two slices where one would do"


@given(RECORDS)
def test_a_footprint_is_payload_and_a_cost_per_row(records: list[bytes]) -> None:
    size = sum(len(record) + 1 for record in records)
    assert blocks.block_footprint(make(records)) == size + len(records) * blocks.ROW_COST
    assert blocks.footprint(len(records), size) == size + len(records) * blocks.ROW_COST


@given(st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=9)), max_size=20))
def test_digests_are_kept_apart_by_source(rows: list[tuple[int, bytes]]) -> None:
    wanted = [digest([record for of, record in rows if of == source]) for source in range(3)]
    parts = [make([record], [0], source=source) for source, record in rows]
    block = blocks.join(parts or [make([], source=0)])
    assert parts == [] or not rows
    assert blocks.digests(block, sources=3) == wanted
    assert blocks.digests(blocks.without_hashes(block), sources=3) == wanted
    assert Digest.total(wanted) == digest([record for _, record in rows])


@given(RECORDS, RECORDS)
def test_digests_add_source_by_source(left: list[bytes], right: list[bytes]) -> None:
    total = blocks.add_digests([digest(left), digest([])], [digest([]), digest(right)])
    assert total == [digest(left), digest(right)]
    with pytest.raises(ValueError, match="argument 2"):
        blocks.add_digests([Digest()], [])


@given(RECORDS, LINE_ENDS)
def test_hashes_can_be_dropped_and_computed_anew(records: list[bytes], line_end: bytes) -> None:
    block = make(records, line_end=line_end)
    bare = blocks.without_hashes(block)
    assert bare.schema.names == ["position", "record"]
    assert blocks.with_hashes(bare).equals(block, check_metadata=True)


def test_the_right_digests_are_accepted() -> None:
    block = make([b"a", b"bc"])
    blocks.require_digests(block, [digest([b"bc", b"a"])], what="bucket 3")
    blocks.compare_digests([], [], what="nothing")


def test_a_wrong_digest_names_place_source_and_both_counts() -> None:
    good, bad = digest([b"same"]), digest([b"a", b"bc"])
    with pytest.raises(LosslessError) as caught:
        blocks.compare_digests([good, bad], [good, digest([b"abc"])], what="bucket 3 of 8")
    message = str(caught.value)
    assert message.startswith("bucket 3 of 8: source 1 should have 1 records of 3 bytes")
    assert "has 2 of 3" in message
    for shown in (bad, digest([b"abc"])):
        assert f"{shown.hash0:016x}{shown.hash1:016x}" in message


def test_a_block_whose_records_changed_after_they_were_read_is_refused() -> None:
    expected = [digest([b"a", b"b"])]
    for changed in ([b"a"], [b"a", b"a"], [b"a", b"b", b"b"], [b"ab", b""]):
        with pytest.raises(LosslessError, match="bucket 3"):
            blocks.require_digests(blocks.without_hashes(make(changed)), expected, what="bucket 3")
