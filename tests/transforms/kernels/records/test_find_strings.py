"""Strings in records, against a search at each place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.kernels.arrays import offsets_of
from transforms.kernels.records import find_strings
from transforms.kernels.records.find_strings import Strings

WORDS = st.binary(min_size=1, max_size=7).map(lambda word: bytes(b"<ab\0>"[b % 5] for b in word))
CASES = st.lists(WORDS, max_size=9, unique=True)
RECORDS = st.lists(
    st.binary(max_size=20).map(lambda text: bytes(b"<ab\0>x"[b % 6] for b in text)), max_size=6
)


def plainly(strings: list[bytes], records: list[bytes]) -> list[tuple[int, int, int, int]]:
    """Walk through each record, and take the longest string that stands at a place."""
    found, begin = [], 0
    for number, record in enumerate(records):
        place = 0
        while place < len(record):
            here = [string for string in strings if record.startswith(string, place)]
            if here:
                longest = max(here, key=len)
                at = begin + place
                found.append((at, at + len(longest), strings.index(longest), number))
            place += len(longest) if here else 1
        begin += len(record)
    return found


def find(strings: list[bytes], records: list[bytes]) -> list[tuple[int, ...]]:
    data = np.frombuffer(b"".join(records), np.uint8)
    hits = Strings(strings).find(data, offsets_of([len(record) for record in records]))
    return list(zip(*(column.tolist() for column in hits), strict=True))


@given(strings=CASES, records=RECORDS)
def test_the_leftmost_and_of_them_the_longest_are_found(
    strings: list[bytes], records: list[bytes]
) -> None:
    assert find(strings, records) == plainly(strings, records)


@pytest.mark.parametrize(
    ("strings", "records"),
    [
        ([b"</s>"], [b"</s", b">", b"</s>"]),  # not across records
        ([b"<s>", b"<s>s"], [b"", b"<s>", b"s<s>s", b""]),
        ([b"ab", b"abab"], [b"ababab"]),
        ([b"aba"], [b"ababa"]),  # none overlaps
        ([b"a\0", b"a"], [b"aa\0\0"]),  # a NUL counts
        ([b"\0"], [b"a\0"]),
        ([bytes([c, 33]) for c in range(65, 91)], [b"xA!B!yZ!", b"Z", b"!"]),
    ],
)
def test_odd_cases(strings: list[bytes], records: list[bytes]) -> None:
    assert find(strings, records) == plainly(strings, records)


def test_windows_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_strings, "_AT_ONCE", 3)
    records = [b"<s>a</s><s><s>", b"<s"] * 4
    assert find([b"<s>", b"</s>"], records) == plainly([b"<s>", b"</s>"], records)
