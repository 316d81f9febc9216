"""Texts that a compiled loop takes out of JSON lines are those that a parser finds, or none."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.records.json_loops import take_texts

EVERY_CHARACTER = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]

SIGNS = b'"\\{}[],:0123456789eE+-.u/ntfa \n\r\t\x1f\0\x7f\x80\xbf\xc2\xe0\xed\xf0\xf4\xff'

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('aé水😀\n"\\/\t{}[],: '))
texts |= st.builds(lambda text, times: text * times, texts, st.integers(2, 40))  # several blocks
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(["body", "bod", "bodyy", ""]) | texts, values, max_size=6)
written = st.builds(
    lambda value, ascii_, indent: json.dumps(value, ensure_ascii=ascii_, indent=indent).encode(),
    objects,
    st.booleans(),
    st.sampled_from([None, 1]),
)


def take(lines: list[bytes], *, end: bytes = b"\0", field: str = "body") -> list[str | None]:
    """Return what the loop says of each line, None where that is nothing.

    It says the same where a block lies inside of the buffer, and where it goes byte by byte.
    """
    data = b"".join(line + end for line in lines)
    offsets = offsets_of([len(line) + len(end) for line in lines])
    found = _take(data, offsets, end=end, field=field)
    assert found == _take(data + b'a"\\\xe6' * 20, offsets, end=end, field=field)
    return found


def _take(data: bytes, offsets: I64, *, end: bytes, field: str) -> list[str | None]:
    found, places, odd = take_texts(
        np.frombuffer(data, np.uint8), offsets, end=len(end), field=field.encode()
    )
    bounds = places.tolist()
    each: list[str | None] = [found[a:b].tobytes().decode() for a, b in zip(bounds, bounds[1:])]  # noqa: B905
    for place in odd.tolist():
        assert each[place] == ""
        each[place] = None
    return each


def strict(line: bytes) -> str | None:
    """Return the text by a strict parser; None where there is none."""
    try:
        value: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    text = value.get("body") if isinstance(value, dict) else None
    return text if isinstance(text, str) else None


@given(st.lists(written, max_size=5), st.sampled_from([b"\0", b"|", b""]))
def test_texts_are_those_of_a_parser(lines: list[bytes], end: bytes) -> None:
    for line, found in zip(lines, take(lines, end=end), strict=True):
        odd = any(
            "\\" in json.dumps(name, ensure_ascii=False) or b"\\u" in line
            for name in json.loads(line)
        )
        assert found == strict(line) or (found is None and odd)


@given(
    written,
    st.lists(
        st.tuples(
            st.integers(0, 300),
            st.integers(0, 2),
            st.sampled_from(list(SIGNS)) | st.integers(0, 255),
        ),
        max_size=3,
    ),
)
@example(b'{"body": "a"}', [(9, 1, 0xED)])
def test_what_a_parser_refuses_is_never_taken(
    line: bytes, changes: list[tuple[int, int, int]]
) -> None:
    changed = bytearray(line)
    for number, gone, byte in changes:
        place = number % (len(changed) + 1)
        changed[place : place + gone] = bytes([byte])
    line = bytes(changed)
    (found,) = take([line])
    assert found is None or found == strict(line)


@pytest.mark.parametrize("behind", [b"", b"\x80", b"\x80\x80", b"\x80\xc0", b"\xbf\x80a"])
@pytest.mark.parametrize("before", [0, 61, 62, 63])
def test_only_utf8_is_taken_wherever_a_block_ends(behind: bytes, before: int) -> None:
    begins = [
        bytes([first, second]) + behind for first in range(0x80, 0x100) for second in range(256)
    ]
    lines = [b'{"body":"' + b"x" * before + begin + b'"}' for begin in begins]
    wanted = [strict(line) for line in lines]
    assert take(lines) == wanted


@pytest.mark.parametrize("ascii_", [False, True])
def test_every_character(ascii_: bool) -> None:
    lines = [
        json.dumps({"body": "".join(EVERY_CHARACTER[i::997])}, ensure_ascii=ascii_).encode()
        for i in range(997)
    ]
    assert take(lines, end=b"\n") == ["".join(EVERY_CHARACTER[i::997]) for i in range(997)]


@pytest.mark.parametrize(
    "line",
    [
        '{"body":"a"}',
        ' \t\r\n{ "x" : [ ] , "body" : "a" , "y" : { } } \t\r\n',
        '{"body":"b","body":"a"}',
        '{"body":1,"body":"a"}'.replace("1", '"long before"'),
        '{"x":{"body":"b"},"body":"a","y":[{"body":"c"}]}',
        '{"x":[true,false,null,-0,0.5,1e5,1E-5,12.5e+10,1e400],"body":"a"}',
        '{"x":' + "[" * 59 + "]" * 59 + ',"body":"a"}',
        '{"x":{"\\u00e9\\n":1},"body":"a"}',
    ],
)
def test_what_is_taken(line: str) -> None:
    assert take([line.encode()]) == ["a"]


@pytest.mark.parametrize(
    "line",
    [
        *(
            "",
            " ",
            "{",
            "{}",
            "[]",
            '"body"',
            "1",
            '{"body":"a"',
            '{"body":"a"}}',
            '{"body":"a"} x',
        ),
        *('{"body":"a",}', '{,"body":"a"}', '{"body" "a"}', '{"body":,"x":"a"}', '{body:"a"}'),
        *('{"body":1}', '{"body":null}', '{"body":["a"]}', '{"body":{"body":"a"}}', '{"bod":"a"}'),
        *('{"body":"a","body":1}', '{"b\\u006fdy":"a"}', '{"x":NaN,"body":"a"}'),
        *(
            '{"x":01,"body":"a"}',
            '{"x":1.,"body":"a"}',
            '{"x":.5,"body":"a"}',
            '{"x":+1,"body":"a"}',
        ),
        *('{"x":1e,"body":"a"}', '{"x":-,"body":"a"}', '{"x":tru,"body":"a"}', '{"x":nul'),
        *(
            '{"body":"\\x"}',
            '{"body":"\\u12"}',
            '{"body":"\\u12g4"}',
            '{"body":"\\',
            '{"body":"\t"}',
        ),
        *(
            '{"body":"\\ud800"}',
            '{"body":"\\udc00"}',
            '{"body":"\\ud800\\u0041"}',
            '{"body":"\\ud800\\',
        ),
        *(
            '{"x":[1,],"body":"a"}',
            '{"x":[1}],"body":"a"}',
            '{"x":{"a":1],"body":"a"}',
            '{"x":[,1]}',
        ),
        '{"x":' + "[" * 60 + "]" * 60 + ',"body":"a"}',
        '\ufeff{"body":"a"}',
    ],
)
def test_what_is_left_to_be_looked_at(line: str) -> None:
    good = b'{"body":"good"}'
    assert take([good, line.encode(), good]) == ["good", None, "good"]


def test_a_line_doesnt_borrow_of_the_next() -> None:
    assert take([b'{"body":"a', b'b"}', b'{"body":"c"}'], end=b"|") == [None, None, "c"]
    assert take([b'{"body":"\xe6\xb0', b'\xb4"}'], end=b"") == [None, None]
