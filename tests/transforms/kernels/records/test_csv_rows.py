"""Rows of CSV: found as Python's reader has them, and torn ones seen."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.kernels.records.lines import line_offsets, open_quote, row_offsets

pytestmark = pytest.mark.usefixtures("passes")
FIELDS = st.lists(
    st.lists(st.text(alphabet='ab"\n,\r', max_size=5), min_size=1, max_size=3), max_size=6
)


@settings(max_examples=300, deadline=None)
@given(rows=FIELDS, rest=st.sampled_from([b"", b"a", b'"a\n', b'"a""\n,']))
def test_rows_are_those_that_were_written(rows: list[list[str]], rest: bytes) -> None:
    written = []
    for row in rows:
        sink = io.StringIO()
        csv.writer(sink, lineterminator="\n").writerow(row)
        written.append(sink.getvalue().encode())
    values = np.frombuffer(b"".join(written) + rest, np.uint8)
    offsets, stray = row_offsets(values, 10)
    assert offsets.tolist() == [0, *np.cumsum([len(row) for row in written]).tolist()]
    assert stray is None
    torn = [i for i, row in enumerate(written) if row.count(b"\n") > 1]
    lines = np.frombuffer(b"".join(written), np.uint8)
    assert (open_quote(lines, line_offsets(lines, 10)) is not None) == bool(torn)


@pytest.mark.parametrize(
    ("line", "torn"),
    [
        (b'1,"two\n', True),
        (b'"two\n', True),
        (b'a; "two\n', True),
        (b'1,"say ""hi\n', True),
        (b'5" pipe\n', False),
        (b'he said ""\n', False),
        (b'1,"two"\n', False),
        (b"\n", False),
    ],
)
def test_a_line_that_ends_inside_quotes(line: bytes, torn: bool) -> None:
    values = np.frombuffer(b"x,y\n" + line, np.uint8)
    assert open_quote(values, line_offsets(values, 10)) == (1 if torn else None)
    assert open_quote(values, np.array([4, len(values)])) == (0 if torn else None)


@pytest.mark.parametrize(
    ("data", "at"),
    [
        (b'5" x\n6" y\n', 1),
        (b'a,"b"\nc d"e\n"\n', 9),
        (b'1,a "b\n2,c "d\n', 11),  # not one row: what closes has to end a field
        (b'"a"b\n', 2),
        (b'"a" \n"b""c"\n"d"|"e"\r\n"f"g\n', 23),
    ],
)
def test_a_quote_inside_of_a_field_is_named(data: bytes, at: int) -> None:
    assert row_offsets(np.frombuffer(data, np.uint8), 10)[1] == at
