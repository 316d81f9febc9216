"""Splitting lines, against what Python's own bytes methods find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.kernels.records import lines
from transforms.kernels.records.lines import first_line, line_offsets

pytestmark = pytest.mark.usefixtures("passes")
SEPARATORS = st.integers(0, 255)


def buffer(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """View bytes as the read-only array that kernels take."""
    return np.frombuffer(data, np.uint8)


def split_offsets(data: bytes, separator: int) -> list[int]:
    """Where whole lines begin, and the last one's end, from ``bytes.split``."""
    *whole, _ = data.split(bytes([separator]))
    offsets = [0]
    for line in whole:
        offsets.append(offsets[-1] + len(line) + 1)
    return offsets


@st.composite
def separated(draw: st.DrawFn) -> tuple[bytes, int]:
    """Bytes with many or few separators, of any value."""
    separator = draw(SEPARATORS)
    parts = draw(st.lists(st.binary(max_size=5), max_size=20))
    return bytes([separator]).join(parts), separator


@given(separated() | st.tuples(st.binary(), SEPARATORS))
def test_lines_are_those_of_bytes_split(given_lines: tuple[bytes, int]) -> None:
    data, separator = given_lines
    offsets = line_offsets(buffer(data), separator)
    assert offsets.dtype == np.int64
    assert offsets.tolist() == split_offsets(data, separator)


@given(separated() | st.tuples(st.binary(), SEPARATORS))
def test_the_first_line_begins_after_the_first_separator(given_lines: tuple[bytes, int]) -> None:
    data, separator = given_lines
    at = data.find(bytes([separator]))
    assert first_line(buffer(data), separator) == (None if at < 0 else at + 1)


@given(separated(), st.integers(-3, 10))
def test_a_step_boundary_is_no_boundary_of_lines(
    given_lines: tuple[bytes, int], before: int
) -> None:
    data, separator = given_lines
    quiet = bytes([separator ^ 1]) * (lines._STEP - before)  # the step ends inside data
    assert line_offsets(buffer(quiet + data), separator).tolist() == split_offsets(
        quiet + data, separator
    )
    at = data.find(bytes([separator]))
    expected = None if at < 0 else len(quiet) + at + 1
    assert first_line(buffer(quiet + data), separator) == expected


@pytest.mark.parametrize("size", [lines._STEP - 1, lines._STEP, lines._STEP + 1, 2 * lines._STEP])
def test_lines_of_no_bytes_at_all_are_lines_in_every_step(size: int) -> None:
    offsets = line_offsets(buffer(b"\n" * size), ord("\n"))
    assert np.array_equal(offsets, np.arange(size + 1))


def test_carriage_returns_and_nul_are_data() -> None:
    assert line_offsets(buffer(b"a\r\n\0\r\n"), ord("\n")).tolist() == [0, 3, 6]


def test_an_empty_buffer_has_no_line() -> None:
    assert line_offsets(buffer(b""), 10).tolist() == [0]
    assert first_line(buffer(b""), 10) is None
