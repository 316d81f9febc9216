"""Marks: contents with several are found, as by a dict of all."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.kernels.arrays import U64
from transforms.kernels.splitting.marks import MARKED, SeveralMarks, find_several, mark_contents

GIVEN = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 3))
"""Two hashes and a mark: few of each, so that one hash alone tells too little."""


def columns_of(given: list[tuple[int, int, int]]) -> list[U64]:
    table = np.array(given, np.uint64).reshape(-1, 3)
    return [table[:, i].copy() for i in range(3)]


def brute_force(given: list[tuple[int, int, int]]) -> SeveralMarks:
    marks: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for hash0, hash1, mark in given:
        marks[hash0, hash1][mark] += 1
    several = {content: found for content, found in marks.items() if len(found) > 1}
    records = sum(found.total() for found in several.values())
    return SeveralMarks(len(several), records, min(several, default=None))


@given(st.lists(st.lists(GIVEN, max_size=12), max_size=5))
def test_contents_with_several_marks_are_those_by_brute_force(
    parts: list[list[tuple[int, int, int]]],
) -> None:
    given = [np.zeros(0, MARKED), *(mark_contents(*columns_of(part)) for part in parts)]
    every = [one for part in parts for one in part]
    assert find_several(np.concatenate(given)) == brute_force(every)


@given(st.lists(GIVEN, max_size=40))
def test_what_is_found_of_apart_contents_adds_up(given: list[tuple[int, int, int]]) -> None:
    total = SeveralMarks()
    for remainder in (1, 0):
        mine = [one for one in given if one[0] % 2 == remainder]
        total += find_several(mark_contents(*columns_of(mine)))
    assert total == brute_force(given)


def test_alike_records_of_a_block_are_one() -> None:
    """A million empty lines are one entry, so that a bucket of one content is small."""
    zeros = np.zeros(1_000_000, np.uint64)
    one = mark_contents(zeros, zeros, zeros)
    assert len(one) == 1
    other = mark_contents(zeros[:2], zeros[:2], np.array([5, 5], np.uint8))
    assert find_several(np.concatenate([one, other])) == SeveralMarks(1, 1_000_002, (0, 0))
