"""Pages: what a spill file holds comes back, with the digests of what was read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.errors import LosslessError
from transforms.kernels.randomness import KeyPair
from transforms.kernels.records import blocks, sorting
from transforms.kernels.records.digest import Digest
from transforms.shuffling import spill_pages

# A record, its position (few: equal keys meet boundaries too) and its source.
ROWS = st.lists(
    st.tuples(st.binary(max_size=12), st.integers(0, 30), st.integers(0, 1)),
    min_size=1,
    max_size=30,
)
Row = tuple[bytes, int, int]


def encode(block: pa.RecordBatch, **how: Any) -> bytes:
    """Encode a page of one piece."""
    return b"".join(spill_pages.encode_page(block, **how))


def make_run(rows: list[Row], *, line_end: bytes = b"\n") -> pa.RecordBatch:
    """Make a sorted run of two sources."""
    return sorting.sort_run(
        [
            blocks.with_keys(
                blocks.from_records(
                    [record], np.array([at], np.uint64), line_end=line_end, source=source
                ),
                KeyPair(3, 5),
            )
            for record, at, source in rows
        ]
    )


@given(ROWS, st.sampled_from([b"", b"\n"]))
def test_a_page_gives_its_block_back_without_hashes(rows: list[Row], line_end: bytes) -> None:
    run = make_run(rows, line_end=line_end)
    page = spill_pages.decode_page(encode(run, sources=2))
    assert page.block.schema.names == ["key", "source", "record"]
    assert page.block.equals(blocks.without_hashes(run), check_metadata=True)
    assert blocks.terminator(page.block) == line_end


@given(ROWS)
def test_a_page_carries_the_digests_of_what_was_read(rows: list[Row]) -> None:
    run = make_run(rows)
    # as read, not as encoded: a record that changes in between has to show
    position = run.schema.get_field_index("hash0")
    spoilt = run.set_column(position, "hash0", pa.array(np.zeros(len(run), np.uint64)))
    page = spill_pages.decode_page(encode(spoilt, sources=2))
    assert [digest.hash0 for digest in page.digests] == [0, 0]
    assert [d.hash1 for d in page.digests] == [d.hash1 for d in blocks.digests(run, sources=2)]
    assert [digest.records for digest in page.digests] == [
        sum(source == index for _, _, source in rows) for index in (0, 1)
    ]


@given(ROWS)
def test_a_page_can_be_read_from_a_part_of_a_larger_buffer(rows: list[Row]) -> None:
    run = make_run(rows)
    encoded = encode(run, sources=2)
    whole = pa.py_buffer(b"before" + encoded + b"after")
    page = spill_pages.decode_page(whole.slice(6, len(encoded)))
    assert blocks.records(page.block) == blocks.records(run)
    blocks.require_digests(page.block, page.digests, what="a page")


@given(ROWS, st.integers(1, 9), st.integers(0, 400))
def test_pages_tile_the_run_and_cross_no_boundary(
    rows: list[Row], parts: int, page_bytes: int
) -> None:
    run = make_run(rows)
    cut = list(spill_pages.cut_run(run, parts=parts, page_bytes=page_bytes))
    assert pa.Table.from_batches([block for _, block in cut]).equals(pa.Table.from_batches([run]))
    assert [part for part, _ in cut] == sorted(part for part, _ in cut)
    for part, block in cut:
        keys = blocks.column(block, "key").tolist()
        assert {key * parts >> 64 for key in keys} == {part}
        assert len(block) == 1 or blocks.block_footprint(block) <= page_bytes


def test_a_run_with_room_enough_is_one_page_a_part() -> None:
    run = make_run([(b"x", at, 0) for at in range(200)])
    cut = list(spill_pages.cut_run(run, parts=4, page_bytes=1 << 20))
    assert [part for part, _ in cut] == [0, 1, 2, 3]


@given(ROWS)
def test_a_row_of_the_table_says_what_a_page_holds(rows: list[Row]) -> None:
    run = make_run(rows)
    row = np.array([spill_pages.table_row(run, 12345)], spill_pages.TABLE)[0]
    keys = blocks.column(run, "key").tolist()
    assert row["first"] == min(keys)
    assert row["last"] == max(keys)
    assert row["length"] == 12345
    assert row["rows"] == len(rows)
    assert row["payload"] == sum(len(record) + 1 for record, _, _ in rows)


RUN = [(b"record %d" % at, at, at % 2) for at in range(5)]


@pytest.mark.parametrize("data", [b"", b"not a page at all, but long enough to be one", bytes(800)])
def test_what_never_was_a_page_is_refused(data: bytes) -> None:
    with pytest.raises((pa.ArrowInvalid, OSError)):
        spill_pages.decode_page(data)


def test_a_truncated_page_is_refused_as_damaged_wherever_it_ends() -> None:
    good = encode(make_run(RUN), sources=2)
    for size in range(len(good) - 8):  # the last 8 bytes only say that the stream ends
        with pytest.raises(pa.ArrowInvalid):
            spill_pages.decode_page(good[:size])


def test_every_flipped_bit_of_a_records_bytes_is_found_by_the_digest() -> None:
    good = encode(make_run(RUN), sources=2)
    for record, _, _ in RUN:
        begin = good.index(record)
        for bit in range(8 * begin, 8 * (begin + len(record))):
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << bit % 8
            page = spill_pages.decode_page(bytes(bad))
            with pytest.raises(LosslessError, match="this page"):
                blocks.require_digests(page.block, page.digests, what="this page")


def test_a_record_that_changes_source_is_found_by_the_digest() -> None:
    page = spill_pages.decode_page(encode(make_run(RUN), sources=2))
    sources = blocks.column(page.block, "source").copy()
    sources[0] ^= 1
    moved = page.block.set_column(1, "source", pa.array(sources))
    assert Digest.total(page.digests) == Digest.total(blocks.digests(moved, sources=2))
    with pytest.raises(LosslessError):
        blocks.require_digests(moved, page.digests, what="this page")


@pytest.mark.parametrize("name", ["key", "source", "record", blocks.TERMINATOR.decode()])
def test_a_page_whose_columns_are_called_otherwise_is_refused(name: str) -> None:
    page = encode(make_run([(b"a", 1, 0), (b"b", 2, 1)]), sources=2)
    changed = page.replace(name.encode(), name.encode()[:-1] + b"_")
    assert changed != page
    with pytest.raises(pa.ArrowInvalid):
        spill_pages.decode_page(changed)
