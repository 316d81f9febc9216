"""Values of JSON in a buffer: found and made lines as Python's parser has them, however they lie."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.kernels.records import json_values

ODD = st.text(alphabet='"\\[]{},: \té\u2028x', max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD, inner, max_size=3),
    max_leaves=10,
)
SPACES = st.sampled_from(["", " ", "\n", "\r\n\t ", "  "])


def as_array(data: bytes) -> np.ndarray[Any, Any]:
    return np.frombuffer(data, np.uint8)


def without_breaks(text: str) -> bytes:
    """Take out white space that holds a newline, outside of strings: slowly, by a pattern."""
    found = re.findall(r'"(?:[^"\\]|\\.)*"|[ \t\r\n]+|[^" \t\r\n]+', text)
    return "".join(part for part in found if part[0] == '"' or "\n" not in part).encode()


@settings(max_examples=300, deadline=None)
@given(
    values=st.lists(VALUES, max_size=5),
    indent=st.none() | st.integers(0, 3),
    around=st.lists(SPACES, min_size=12, max_size=12),
    cut=st.integers(0, 200),
)
def test_elements_of_an_array_become_its_lines(
    values: list[Any], indent: int | None, around: list[str], cut: int
) -> None:
    written = [json.dumps(value, indent=indent, ensure_ascii=False) for value in values]
    parts = [around[2 * i] + text + around[2 * i + 1] for i, text in enumerate(written)]
    data = (",".join(parts) + "]rest").encode()
    found = json_values.in_array(as_array(data))
    assert found.closed == found.used == len(data) - 4
    assert [data[b:e].decode() for b, e in zip(found.begins, found.ends, strict=True)] == (
        written or [""]
    )
    if not values:
        return
    lines, offsets, torn = json_values.to_lines(as_array(data), found)
    assert lines.tobytes() == b"".join(without_breaks(text) + b"\n" for text in written)
    assert [json.loads(line) for line in lines.tobytes().split(b"\n")[:-1]] == values
    assert offsets.tolist()[1:] == (np.flatnonzero(lines == 10) + 1).tolist()
    assert not torn.any()
    part = json_values.in_array(as_array(data[:cut]))  # what is cut is not yet there
    assert part.ends.tolist() == [e for e in found.ends.tolist() if e < cut][: len(part.ends)]
    assert part.used <= cut


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.dictionaries(ODD, VALUES, max_size=3) | st.lists(VALUES), max_size=5),
    indent=st.none() | st.integers(0, 3),
    around=st.lists(SPACES, min_size=6, max_size=6),
)
def test_values_that_follow_each_other(
    values: list[Any], indent: int | None, around: list[str]
) -> None:
    written = [json.dumps(value, indent=indent) for value in values]
    text = "".join(space + part for space, part in zip(around, written, strict=False))
    data = (text + " {").encode()
    found = json_values.in_sequence(as_array(data))
    assert [data[b:e].decode() for b, e in zip(found.begins, found.ends, strict=True)] == written
    assert found.used == len(data) - 2
    if values:
        lines, _, _ = json_values.to_lines(as_array(data), found)
        assert lines.tobytes() == b"".join(without_breaks(part) + b"\n" for part in written)


def test_a_newline_in_a_string_is_said_to_be_there() -> None:
    data = as_array(b'"a", "b\nc", [\n1],')
    found = json_values.in_array(data)
    _, _, torn = json_values.to_lines(data, found)
    assert torn.tolist() == [False, True, False]
