"""Compiled code finds the same texts to be UTF-8 as Python does."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.kernels.arrays import offsets_of
from transforms.kernels.records import find_bad
from transforms.kernels.records.text_loops import are_utf8


def seen(*texts: bytes) -> bool:
    values = np.frombuffer(b"".join(texts), np.uint8)
    return are_utf8(values, offsets_of([len(text) for text in texts]))


def is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("before", [0, 61, 62, 63])
@pytest.mark.parametrize("rest", [b"", b"\x80", b"\x80\xbf", b"\x80" + b"x" * 64, b"x" * 64])
def test_all_first_two_bytes_wherever_a_block_ends(before: int, rest: bytes) -> None:
    for first in range(256):
        for second in (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xE1, 0xFF):
            data = bytes([first, second]) + rest
            assert seen(b"x" * before + data) == is_text(data), data


pieces = st.binary(max_size=4) | st.text(max_size=40).map(str.encode)


@given(st.lists(pieces | st.builds(lambda text: text * 20, pieces), max_size=20))
def test_each_text_has_to_be_whole(texts: list[bytes]) -> None:
    assert seen(*texts) == all(map(is_text, texts))


def test_a_character_in_two_texts_is_none() -> None:
    whole = "中".encode()
    assert seen(whole, b"", whole)
    assert not seen(whole[:2], whole[2:])
    assert not seen(b"x" * 63, whole, whole[:1])


def test_offsets_that_lead_nowhere_are_no_texts() -> None:
    values = np.zeros(10, np.uint8)
    for offsets in ([0, 6, 4, 10], [0, 11], [-1, 5], [5, 3]):
        assert not are_utf8(values, np.array(offsets, np.int64)), offsets


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_bad_rows_are_the_same_with_compiled_code(kind: pa.DataType) -> None:
    find_bad.loops_for(1)  # numba is there, so compiled code is
    texts = [f"{n} 中文 😀".encode() for n in range(300)]
    bad = {5: b"\xff", 77: b"x\xe4\xb8", 299: b"\xc0\x80"}
    for at, text in bad.items():
        texts[at] = text
    binary = pa.binary() if kind == pa.string() else pa.large_binary()
    found = pa.RecordBatch.from_arrays([pa.array(texts, binary).view(kind)], ["t"])
    assert sorted(find_bad.bad_rows(found)) == sorted(bad)
    assert find_bad.bad_rows(found.slice(78, 200)) == {}
    assert sorted(find_bad.bad_rows(found.slice(70, 20))) == [7]
