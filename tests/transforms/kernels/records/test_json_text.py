"""JSON that a strict parser refuses: read as Python reads it, whatever its depth."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.kernels.records import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(value=VALUES, indent=st.none() | st.integers(0, 2), cut=st.none() | st.integers(0, 40))
def test_the_loop_reads_what_python_reads_and_refuses_what_it_refuses(
    value: Any, indent: int | None, cut: int | None
) -> None:
    text = json.dumps(value, indent=indent)[:cut]
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(json_text.Unreadable):
            json_text._loads_deep(text)
    else:
        assert repr(json_text._loads_deep(text)) == repr(expected)


@pytest.mark.parametrize(
    "text", ["", "[1,]", '{"a":1,}', "[1 2]", "[1}", '{"a" 1}', "{a:1}", "1 2", "01"]
)
def test_what_is_not_json_is_refused(text: str) -> None:
    for read in (json_text._loads_deep, lambda text: json_text.loads(text.encode())):
        with pytest.raises(json_text.Unreadable):
            read(text)


def test_numbers_that_nothing_holds_are_told_from_infinities() -> None:
    found = json_text.loads(b'{"a":1e400,"b":Infinity,"c":%s}' % (b"9" * 5000))
    assert found == {"a": json_text.TOO_LARGE, "b": math.inf, "c": json_text.TOO_LARGE}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, None),
        ("poème", None),
        ({"a": [1]}, None),
        ([math.nan], "NaN"),
        (json_text.TOO_LARGE, "too large"),
        ([json_text.TOO_LARGE], "too large"),
        ("\ud83d", "surrogate"),
        (["\ud83d"], "surrogate"),
    ],
)
def test_what_can_be_kept_as_it_is(value: Any, reason: str | None) -> None:
    found = json_text.unkeepable(value)
    assert found is None if reason is None else reason in str(found)


def test_bytes_that_are_no_text_are_named_with_their_place() -> None:
    with pytest.raises(json_text.Unreadable, match=r"not UTF-8: .* byte 0xff in position 7"):
        json_text.read(b'{"a": "\xff"}')
    with pytest.raises(json_text.Unreadable, match=r"^unexpected character"):
        json_text.read(b"a")
