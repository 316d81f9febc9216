"""Line files by spans: however a file is cut, each line comes once, from its own place."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.helpers import plain_lines
from transforms.errors import DataError, InputError
from transforms.formats import lines
from transforms.kernels import blocks


class Trickle(io.BytesIO):
    """A file that gives three bytes a call at most, as sockets and some stores do."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(3 if size is None or size < 0 else min(size, 3))

    def readinto(self, target: Any) -> int:
        return super().readinto(memoryview(target)[:3])


def read(
    file: io.BytesIO, start: int, stop: int, *, separator: int = 10, **options: Any
) -> list[tuple[int, bytes]]:
    """Read one span as (position, line)."""
    options = {"chunk_bytes": 1 << 16, "record_limit": 1 << 20} | options
    out = []
    for block in lines.read_span(
        file, name="some/file", start=start, stop=stop, separator=separator, **options
    ):
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
    with mock.patch.multiple(lines, _OVERREAD=overread, _ROWS=rows):
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
        (1 << 16, LIMIT + 1, f"at byte 5 has {LIMIT + 1} bytes"),
        (1, 8 * LIMIT, "at byte 5 has more than "),
    ],
    ids=["inside a chunk", "while it still grows"],
)
def test_a_record_too_large_is_named_by_file_and_offset(chunk: int, size: int, says: str) -> None:
    data = b"four\n" + b"x" * size + b"\nrest\n"
    with mock.patch.object(lines, "_OVERREAD", 1), pytest.raises(DataError) as caught:
        read(io.BytesIO(data), 0, len(data), chunk_bytes=chunk, record_limit=LIMIT)
    assert str(caught.value).startswith("some/file: the record ")
    assert says in str(caught.value)
    assert f"allows {LIMIT} a record" in str(caught.value)


def test_a_record_that_never_ends_is_refused_before_it_is_read_whole() -> None:
    class Endless(io.BytesIO):
        given = 0

        def readinto(self, target: Any) -> int:
            view = memoryview(target)
            view[:] = b"x" * len(view)
            Endless.given += len(view)
            return len(view)

    with mock.patch.object(lines, "_OVERREAD", 10), pytest.raises(DataError, match="at byte 0 "):
        read(Endless(), 0, 1 << 40, chunk_bytes=10, record_limit=1000)
    assert Endless.given < 5000


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
    assert lines.header_of(file, lines=count, separator=separator, name="f") == expected


@pytest.mark.parametrize("data", [b"", b"one\n", b"one\ntwo"])
def test_a_file_with_fewer_lines_than_the_header_is_refused(data: bytes) -> None:
    with pytest.raises(
        InputError, match=r"^f: expected 2 header lines, got \d in the first \d byte"
    ):
        lines.header_of(io.BytesIO(data), lines=2, separator=10, name="f")


def test_a_header_is_not_looked_for_in_a_whole_large_file() -> None:
    class Zeros(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            Zeros.given += size
            return bytes(size)

    with pytest.raises(InputError, match="expected 1 header lines, got 0"):
        lines.header_of(Zeros(), lines=1, separator=10, name="f")
    assert Zeros.given <= 17 << 20
