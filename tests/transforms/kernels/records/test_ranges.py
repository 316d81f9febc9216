"""Ranges of keys tile the space, nest, and hold the keys that exact arithmetic says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.kernels.records.ranges import (
    SPACE,
    WHOLE,
    KeyRange,
    cut,
    find,
    overlapping,
    parts_of,
)

COUNTS = st.integers(1, 60) | st.sampled_from([64, 100, 128, 1000])
LAST = 2**64 - 1


def first_key(index: int, count: int) -> int:
    """The first key of a part, from integer division alone."""
    return (index * 2**64 + count - 1) // count


@st.composite
def parts_and_keys(draw: st.DrawFn) -> tuple[int, int, list[int]]:
    """One of a number of parts, and sorted keys of which many lie at boundaries."""
    count = draw(COUNTS)
    index = draw(st.integers(0, count - 1) | st.sampled_from([0, count - 1]))
    bounds = {first_key(i, count) for i in (index, index + 1, draw(st.integers(0, count)))}
    edges = {bound + d for bound in bounds for d in (-1, 0) if 0 <= bound + d <= LAST}
    keys = st.integers(0, LAST) | st.sampled_from(sorted(edges | {0, LAST}))
    return index, count, sorted(draw(st.lists(keys, max_size=30)))


def owner(key: int, count: int) -> int:
    """The part that a key lies in: the integer part of key / 2**64 * count."""
    return key * count >> 64


@given(st.integers(1, 2**32), st.data())
def test_parts_tile_the_space_with_widths_that_differ_by_one(
    count: int, data: st.DataObject
) -> None:
    assert KeyRange(0, count).low == 0
    assert KeyRange(count - 1, count).high == SPACE == 2**64
    index = data.draw(st.integers(0, count - 1))
    part = KeyRange(index, count)
    assert part.high - part.low in {2**64 // count, 2**64 // count + 1}
    if index:
        assert KeyRange(index - 1, count).high == part.low


@given(st.integers(1, 2**40), st.integers(0, LAST))
def test_a_keys_part_has_an_index_in_range(count: int, key: int) -> None:
    index = owner(key, count)
    assert 0 <= index < count
    part = KeyRange(index, count)
    assert part.low <= key < part.high


@given(st.integers(1, 2**62), st.data())
def test_halves_nest_without_moving_a_boundary(count: int, data: st.DataObject) -> None:
    part = KeyRange(data.draw(st.integers(0, count - 1)), count)
    left, right = part.halves()
    assert (left.low, right.high) == (part.low, part.high)
    assert left.high == right.low
    assert left.count == right.count == 2 * count


def test_the_whole_is_one_part() -> None:
    assert (WHOLE.low, WHOLE.high) == (0, 2**64)


@given(parts_and_keys())
def test_cut_gives_each_part_its_own_keys(drawn: tuple[int, int, list[int]]) -> None:
    _, count, keys = drawn
    places = cut(np.array(keys, np.uint64), count).tolist()
    assert len(places) == count + 1
    parts = [keys[places[i] : places[i + 1]] for i in range(count)]
    assert parts == [[key for key in keys if owner(key, count) == i] for i in range(count)]


@given(parts_and_keys())
def test_find_gives_the_keys_inside(drawn: tuple[int, int, list[int]]) -> None:
    index, count, keys = drawn
    found = find(np.array(keys, np.uint64), KeyRange(index, count))
    assert keys[found] == [key for key in keys if owner(key, count) == index]
    assert 0 <= found.start <= found.stop <= len(keys)


@pytest.mark.parametrize("count", [1, 2, 3, 2**32, 2**63])
def test_the_first_and_the_last_key_have_a_part(count: int) -> None:
    keys = np.array([0, LAST], np.uint64)
    assert find(keys, KeyRange(0, count)) == slice(0, 1 if count > 1 else 2)
    assert find(keys, KeyRange(count - 1, count)) == slice(1 if count > 1 else 0, 2)


@given(parts_and_keys())
def test_keys_are_told_their_parts_at_once(case: tuple[int, int, list[int]]) -> None:
    _, count, keys = case
    found = parts_of(np.array(keys, np.uint64), count)
    assert found.tolist() == [owner(key, count) for key in keys]


@given(st.integers(1, 2**32 - 1), st.lists(st.integers(0, LAST)))
def test_so_they_are_for_any_number_of_parts(count: int, keys: list[int]) -> None:
    found = parts_of(np.array([LAST, *keys], np.uint64), count)
    assert found.tolist() == [count - 1, *(owner(key, count) for key in keys)]


@given(COUNTS, COUNTS, st.data())
def test_parts_that_overlap_share_a_key_and_no_others_do(
    of: int, count: int, data: st.DataObject
) -> None:
    part = KeyRange(data.draw(st.integers(0, of - 1)), of)
    found = overlapping(part, count)
    others = [KeyRange(i, count) for i in range(count)]
    assert list(found) == [
        other.index for other in others if max(other.low, part.low) < min(other.high, part.high)
    ]
