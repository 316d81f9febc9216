"""Line files by spans: however a file is cut, each line comes once, from its own place."""

from __future__ import annotations

import io
import re
import tracemalloc
from itertools import pairwise
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.helpers import plain_lines
from transforms.errors import DataError, InputError
from transforms.formats import lines, stream_reader
from transforms.formats.limits import MemoryFor, TooLarge
from transforms.formats.line_format import LineFormat, header_in, header_of
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest


class Trickle(io.BytesIO):
    """A file that gives three bytes a call at most, as sockets and some stores do."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(3 if size is None or size < 0 else min(size, 3))

    def readinto(self, target: Any) -> int:
        return super().readinto(memoryview(target)[:3])


def read(
    file: io.BytesIO,
    start: int,
    stop: int,
    *,
    separator: int = 10,
    lines_begin: int = 0,
    **options: Any,
) -> list[tuple[int, bytes]]:
    """Read one span as (position, line)."""
    options = {"chunk_bytes": 1 << 16, "record_limit": 1 << 20} | options
    asked = ReadOptions(line_format=LineFormat(separator=separator), **options)
    task = ReadTask(name="some/file", size=1 << 30, start=start, stop=stop, options=asked)
    out = []
    for block in lines.read_span(file, task, lines_begin=lines_begin):
        assert blocks.terminator(block) == bytes([separator])
        assert bytes(blocks.payload(block)) == b"".join(
            line + bytes([separator]) for line in blocks.records(block)
        )
        out += list(zip(block.column("position").to_pylist(), blocks.records(block), strict=True))
    return out


# few values, so that separators are as frequent as lines are short
BYTES = st.one_of(
    st.lists(st.sampled_from(b"\n\n\0a\r\xff"), max_size=60).map(bytes),
    st.binary(max_size=60),
    st.lists(st.binary(max_size=30), max_size=8).map(b"\n".join),
)


@settings(max_examples=400, deadline=None)
@given(
    data=BYTES,
    separator=st.sampled_from(b"\n\0a\xff"),
    header_lines=st.integers(0, 2),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    chunk=st.integers(1, 20),
    overread=st.integers(1, 9),
    rows=st.integers(1, 5),
    kind=st.sampled_from([io.BytesIO, Trickle]),
)
def test_spans_that_tile_a_file_give_each_line_once_from_its_own_place(
    *,
    data: bytes,
    separator: int,
    header_lines: int,
    cuts: list[int],
    chunk: int,
    overread: int,
    rows: int,
    kind: type[io.BytesIO],
) -> None:
    ends = [i + 1 for i, byte in enumerate(data) if byte == separator]
    begin = ([0, *ends])[min(header_lines, len(ends))]
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    with (
        mock.patch.object(lines, "_OVERREAD", overread),
        mock.patch.object(stream_reader, "_ROWS", rows),
    ):
        found = [
            row
            for start, stop in pairwise(edges)
            for row in read(
                kind(data),
                start,
                stop,
                separator=separator,
                chunk_bytes=chunk,
                lines_begin=begin,
            )
        ]
    assert found == plain_lines(data, separator=separator, begin=begin)


def test_a_span_reads_a_bounded_piece_at_a_time() -> None:
    class Watched(io.BytesIO):
        largest = 0

        def readinto(self, target: Any) -> int:
            Watched.largest = max(Watched.largest, len(memoryview(target)))
            return super().readinto(target)

    data = b"0123456789012345678901234567890123456789\n" * 10_000
    with mock.patch.object(lines, "_OVERREAD", 100):
        found = read(Watched(data), 0, len(data), chunk_bytes=1000)
    assert len(found) == 10_000
    assert Watched.largest <= 1100


LIMIT = 30


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(LIMIT - 3, LIMIT + 3) | st.integers(0, 3), min_size=1, max_size=6),
    ended=st.booleans(),
    chunk=st.integers(1, 60),
    overread=st.integers(1, 60),
)
def test_a_record_is_refused_exactly_when_it_is_over_the_limit(
    sizes: list[int], ended: bool, chunk: int, overread: int
) -> None:
    data = b"\n".join(b"x" * size for size in sizes) + b"\n" * ended
    places = [(at, len(line)) for at, line in plain_lines(data)]
    over = [at for at, size in places if size > LIMIT]
    with mock.patch.object(lines, "_OVERREAD", overread):
        if not over:
            found = read(io.BytesIO(data), 0, len(data), chunk_bytes=chunk, record_limit=LIMIT)
            assert [(at, len(line)) for at, line in found] == places
            return
        with pytest.raises(DataError, match="some/file") as caught:
            read(io.BytesIO(data), 0, len(data), chunk_bytes=chunk, record_limit=LIMIT)
    assert any(f"record at byte {at} has" in str(caught.value) for at in over)


@pytest.mark.parametrize(
    ("chunk", "size", "says"),
    [
        (1 << 16, LIMIT + 1, f"at byte 5 has {LIMIT + 1:,} bytes"),
        (1, 8 * LIMIT, f"at byte 5 has {8 * LIMIT:,} bytes"),
    ],
    ids=["inside a chunk", "while it still grows"],
)
def test_a_record_too_large_is_named_by_file_and_offset(chunk: int, size: int, says: str) -> None:
    data = b"four\n" + b"x" * size + b"\nrest\n"
    with mock.patch.object(lines, "_OVERREAD", 1), pytest.raises(DataError) as caught:
        read(io.BytesIO(data), 0, len(data), chunk_bytes=chunk, record_limit=LIMIT)
    assert str(caught.value).startswith("some/file: the record ")
    assert says in str(caught.value)
    assert f"allows {LIMIT:,} per record" in str(caught.value)


def test_a_record_that_never_ends_is_refused_before_it_is_read_whole() -> None:
    class Endless(io.BytesIO):
        given = 0

        def readinto(self, target: Any) -> int:
            view = memoryview(target)
            view[:] = b"x" * len(view)
            Endless.given += len(view)
            return len(view)

    most = mock.patch.object(lines, "LARGEST", 3000)  # up to which its length is looked for
    small = mock.patch.object(lines, "_OVERREAD", 10)
    with most, small, pytest.raises(DataError, match="at byte 0 has more than "):
        read(Endless(), 0, 1 << 40, chunk_bytes=10, record_limit=1000)
    assert Endless.given < 2 << 20


@pytest.mark.parametrize("kind", [io.BytesIO, Trickle])
@pytest.mark.parametrize(
    ("count", "separator", "expected"),
    [
        (0, 10, b""),
        (1, 10, b"a,b\n"),
        (2, 10, b"a,b\n\n"),
        (1, 0, b"a,b\n\n1,2\0"),
        (3, 10, b"a,b\n\n1,2\0z\n"),
    ],
)
def test_a_header_is_the_first_lines_with_their_ends(
    kind: type[io.BytesIO], count: int, separator: int, expected: bytes
) -> None:
    file = kind(b"a,b\n\n1,2\0z\nend")
    assert (
        header_of(file, line_format=LineFormat(separator=separator, header_lines=count), name="f")
        == expected
    )


@pytest.mark.parametrize("data", [b"\n", b"one\n", b"one"])
def test_a_file_with_fewer_lines_than_the_header_is_refused(data: bytes) -> None:
    with pytest.raises(
        InputError, match=r"^f: expected 2 header lines, got \d in the first \d byte"
    ):
        header_of(io.BytesIO(data), line_format=LineFormat(header_lines=2), name="f")


def test_a_header_is_not_looked_for_in_a_whole_large_file() -> None:
    class Zeros(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            Zeros.given += size
            return bytes(size)

    with pytest.raises(InputError, match="expected 1 header lines, got 0"):
        header_of(Zeros(), line_format=LineFormat(header_lines=1), name="f")
    assert Zeros.given <= 17 << 20


MARK = b"\xef\xbb\xbf"


def read_all(data: bytes, *, cuts: list[int] | None = None, **options: Any) -> dict[str, Any]:
    """Read a file by spans; say what was found, and what was left out."""
    edges = [0, *sorted({cut for cut in cuts or [] if cut < len(data)}), len(data)]
    found: dict[str, Any] = {"rows": [], "bad": [], "blank": 0, "marks": 0}
    covered, whole = 0, set()
    asked = ReadOptions(
        line_format=options.get("line_format", LineFormat()), chunk_bytes=16, record_limit=1 << 20
    )
    for start, stop in pairwise(edges):
        task = ReadTask(name="f", size=len(data), start=start, stop=stop, options=asked)
        reader = lines.Reader(io.BytesIO(data), task, **options.get("reading", {}))
        digest = Digest()
        for block, bad, _ in reader:
            digest += blocks.digests(block, sources=1)[0]
            places = block.column("position").to_pylist()
            found["rows"] += zip(places, blocks.records(block), strict=True)
            if bad is not None:
                digest += blocks.digests(bad, sources=1)[0]
                found["bad"] += bad.column("position").to_pylist()
        covered += reader.covered(digest)
        whole.add(reader.whole)
        found["blank"] += reader.blank
        found["marks"] += reader.marks
    assert whole == {covered}
    return found


@settings(max_examples=300, deadline=None)
@given(
    mark=st.booleans(),
    rows=st.lists(st.sampled_from([b"", b" ", b"\t\r", b" 1", b"22", b"3 "]), max_size=9),
    header=st.sampled_from([b"", b"a\n", b"\n"]),
    ended=st.booleans(),
    cuts=st.lists(st.integers(1, 30), max_size=5),
    json=st.booleans(),
    as_they_are=st.booleans(),
)
def test_marks_and_blank_lines_are_left_out_however_a_file_is_cut(
    *,
    mark: bool,
    rows: list[bytes],
    header: bytes,
    ended: bool,
    cuts: list[int],
    json: bool,
    as_they_are: bool,
) -> None:
    as_they_are = as_they_are and not header  # which would have another beginning
    begin = (MARK if mark else b"") + header
    data = begin + b"\n".join(rows) + b"\n" * ended
    line_format = LineFormat(header_lines=len(header), header=header)
    reading = {"json": json, "told": as_they_are}
    found = read_all(data, cuts=cuts, line_format=line_format, reading=reading)
    every = plain_lines(data, begin=0 if as_they_are else len(begin))
    kept = [row for row in every if not json or row[1].strip()]
    assert found["rows"] == kept
    assert (found["blank"], found["marks"]) == (len(every) - len(kept), mark and not as_they_are)


def test_a_mark_is_data_where_its_bytes_are_separators() -> None:
    line_format = LineFormat(separator=0xBB)
    assert read_all(MARK + b"x", line_format=line_format)["rows"] == [(0, b"\xef"), (2, b"\xbfx")]


HEADERS = [
    (b"id,t\n1,x\n", b"id,t\n"),
    (b"id,t\r\n1,x\r\n", b"id,t\r\n"),
    (b"id,t", b"id,t"),
    (b"id,t\n", b"id,t\n"),
    (b"id,t\r\n", b"id,t\r\n"),
    (b"", b""),
    (b"id,x\n", None),
    (b"id", None),
    (b"id,t,u\n", None),
]


@pytest.mark.parametrize("header", [b"id,t\n", b"id,t\r\n"])
@pytest.mark.parametrize(("data", "own"), HEADERS)
def test_a_header_may_end_in_another_way_or_not_at_all(
    data: bytes, own: bytes | None, header: bytes
) -> None:
    line_format = LineFormat(header_lines=1, header=header)
    assert header_in(data, line_format) == own
    options = ReadOptions(line_format=line_format, chunk_bytes=100, record_limit=100)
    task = ReadTask(name="x.csv", size=len(data), stop=len(data), options=options)
    reader = lines.Reader(io.BytesIO(data), task)
    if own is None:
        with pytest.raises(DataError, match=r"x\.csv: expected the header of the other files"):
            list(reader)
        return
    digest = Digest()
    records = []
    for found in reader:
        digest += Digest.total(blocks.digests(found.block, sources=1))
        records += blocks.records(found.block)
    assert b"".join(record + b"\n" for record in records) == data[len(own) :]
    assert reader.covered(digest) == reader.whole == len(data)


def test_of_a_file_that_holds_a_header_alone_the_header_is_read() -> None:
    for data in (b"a,b", b"a,b\n"):
        asked = LineFormat(header_lines=1)
        assert header_of(io.BytesIO(data), line_format=asked, name="x") == b"a,b\n"
    assert header_of(io.BytesIO(b""), line_format=LineFormat(header_lines=2), name="x") == b""
    with pytest.raises(InputError, match="expected 2 header lines, got 1"):
        header_of(io.BytesIO(b"a,b"), line_format=LineFormat(header_lines=2), name="x")


@pytest.mark.parametrize(
    ("size", "says"),
    [
        (3 << 20, "has 3,145,728 bytes, .* allows 1,048,576 per record; pass --memory=417MiB"),
        (
            2 << 30,
            "has 2,147,483,648 bytes, .*; no --memory is enough for a record of more than 1,073,741,824",
        ),
    ],
)
def test_a_record_too_large_is_told_the_memory_that_would_do(size: int, says: str) -> None:
    memory = MemoryFor(given=400 << 20, per_byte=8)
    error = TooLarge("a.txt: the record at byte 7", size=size, limit=1 << 20)
    assert re.search(f"^a.txt: the record at byte 7 {says}", str(error.advised(memory)))
    assert type(error.advised(memory)) is DataError
    assert "pass more --memory" in str(error.advised(None))


def test_a_long_line_is_read_with_no_more_memory_than_needed() -> None:
    """While it grows there are it and twice of it; then it alone, in a buffer of its own size."""
    size = 6 << 20
    data = b"x" * size + b"\nshort\n"
    tracemalloc.start()
    try:
        held = []
        options = ReadOptions(chunk_bytes=1 << 20, record_limit=1 << 30, text_field="text")
        task = ReadTask(name="a.txt", size=len(data), stop=len(data), options=options)
        for block in lines.read_span(io.BytesIO(data), task):
            held.append(tracemalloc.get_traced_memory()[0])
            del block
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(held) < size * 1.1
    assert peak < size * 3.1
