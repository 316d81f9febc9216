"""Draws in proportion to weights: against a walk record by record, and by chi-square."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.statistics import law_p, require_chance, uniform_p
from transforms.errors import UsageError
from transforms.kernels.likeness import draws
from transforms.kernels.likeness.draws import drawn, points
from transforms.kernels.likeness.folds import FOLDS, folds_of
from transforms.kernels.randomness import derive, mix

WEIGHTS = np.array([1, 7, 2, 30, 12, 5, 3, 40], np.uint64)


def times_of(units: list[int], *, count: int, seed: int, cut: int) -> list[int]:
    """Return how often each record is drawn, where they come in two pieces."""
    values = np.array(units, np.uint64)
    found = points(count, total=sum(units), seed=seed)
    out = np.zeros(len(units), np.int64)
    for begin, end in ((0, cut), (cut, len(units))):
        places, times = drawn(values[begin:end], begin=sum(units[:begin]), points=found)
        out[begin + places] = times
    return [int(value) for value in out]


@settings(max_examples=200, deadline=None)
@given(
    units=st.lists(st.integers(1, 2**40), min_size=1, max_size=30),
    count=st.integers(0, 60),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_draws_are_a_walk_along_the_records(
    units: list[int], count: int, seed: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(units)))
    expected = [0] * len(units)
    for point in points(count, total=sum(units), seed=seed).tolist():
        place, end = 0, units[0]
        while point >= end:
            place += 1
            end += units[place]
        expected[place] += 1
    assert times_of(units, count=count, seed=seed, cut=cut) == expected


def test_draws_follow_the_weights() -> None:
    seeds, p = 20, []
    for seed in range(seeds):
        found = times_of(WEIGHTS.tolist(), count=5000, seed=seed, cut=3)
        p.append(law_p(np.array(found), WEIGHTS / WEIGHTS.sum()))
    for seed, one in enumerate(p):
        require_chance(one, cases=seeds, what=f"draws of seed {seed}")


def test_a_bias_of_a_tenth_would_be_noticed() -> None:
    biased = WEIGHTS.astype(np.float64)
    biased[3] *= 1.1
    found = sum(
        np.array(times_of(WEIGHTS.tolist(), count=5000, seed=seed, cut=3)) for seed in range(20)
    )
    with pytest.raises(AssertionError, match="alpha"):
        require_chance(law_p(found, biased / biased.sum()), cases=20, what="the control")


def test_points_have_no_bias_where_the_total_is_large() -> None:
    """Of three quarters of 2**64: four keys fall on three points, and one of the four is passed over."""
    total = 3 << 62
    for seed in range(5):
        residues = (points(30_000, total=total, seed=seed) % np.uint64(3)).astype(np.int64)
        require_chance(uniform_p(np.bincount(residues)), cases=5, what=f"points of seed {seed}")
    # the control: none is passed over
    keys = mix(np.arange(30_000, dtype=np.uint64) ^ np.uint64(derive(0).k0))
    residues = (draws._products(keys, np.uint64(total))[0] % np.uint64(3)).astype(np.int64)
    with pytest.raises(AssertionError, match="alpha"):
        require_chance(uniform_p(np.bincount(residues)), cases=5, what="the control")


def test_points_are_in_the_records_and_sorted() -> None:
    for total in (1, 2, 3, 1000, 2**32 - 1, 2**32, 2**63 + 7, 2**64 - 1):
        found = points(100, total=total, seed=1).tolist()
        assert found == sorted(found)
        assert len(found) == 100
        assert 0 <= found[0] <= found[-1] < total


def test_products_are_those_of_whole_numbers() -> None:
    keys = np.array([0, 1, 2**32 - 1, 2**32, 2**63 + 12345, 2**64 - 1], np.uint64)
    for total in (1, 2**32 - 1, 2**32, 2**33 + 5, 2**64 - 1):
        high, low = draws._products(keys, np.uint64(total))
        assert high.tolist() == [key * total >> 64 for key in keys.tolist()]
        assert low.tolist() == [key * total % 2**64 for key in keys.tolist()]


def test_more_draws_hold_those_of_fewer() -> None:
    few, many = points(50, total=10**9, seed=3).tolist(), points(80, total=10**9, seed=3).tolist()
    assert set(few) <= set(many)


def test_draws_from_nothing_are_refused() -> None:
    assert len(points(0, total=0, seed=0)) == 0
    with pytest.raises(UsageError, match="got none: 3 draws"):
        points(3, total=0, seed=0)
    with pytest.raises(ValueError, match="less than 2"):
        points(3, total=2**64, seed=0)
    assert [
        len(part) for part in drawn(WEIGHTS[:0], begin=0, points=points(3, total=9, seed=0))
    ] == [
        0,
        0,
    ]


def test_folds_are_of_contents_even_and_others_for_another_seed() -> None:
    hashes = mix(np.arange(50_000, dtype=np.uint64)), mix(np.arange(50_000, dtype=np.uint64) + 9)
    folds = folds_of(*hashes, 0)
    assert (folds_of(hashes[0][7:], hashes[1][7:], 0) == folds[7:]).all()
    require_chance(uniform_p(np.bincount(folds, minlength=FOLDS)), cases=2, what="folds")
    pairs = folds.astype(np.int64) * FOLDS + folds_of(*hashes, 1)
    require_chance(uniform_p(np.bincount(pairs, minlength=25)), cases=2, what="folds of two seeds")
