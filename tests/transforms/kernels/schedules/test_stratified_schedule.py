"""Stratified schedules keep every prefix within the bound that is proved for them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.kernels.arrays import I64, U16
from transforms.kernels.randomness import derive, mix
from transforms.kernels.schedules.stratified_schedule import MOST_POSITIONS, StratifiedSchedule
from transforms.kernels.schedules.weights import scale

# what the module states, by the number of sources that are drawn
BOUNDS = {1: Fraction(0), 2: Fraction(1, 2), 3: Fraction(1)}
BOUND = Fraction(42, 25)  # 1.68
FIBONACCI = [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233]

WEIGHTS = st.lists(
    st.fractions(0, 100) | st.integers(0, 3).map(Fraction), min_size=1, max_size=12
).filter(any)


def bound_of(weights: list[int]) -> Fraction:
    return BOUNDS.get(sum(weight > 0 for weight in weights), BOUND)


def high_product(factors: I64, weight: int) -> tuple[I64, npt.NDArray[np.bool_]]:
    """Return floor(factor * weight / 2**64), and whether that is less than the quotient."""
    assert not len(factors) or factors.max() < 2**31
    high, low = weight >> 32, weight & 0xFFFFFFFF  # weights are below 2**64
    f = factors.astype(np.uint64)
    lows = f * np.uint64(low)
    middle = f * np.uint64(high) + (lows >> np.uint64(32))
    rest = (lows & np.uint64(2**32 - 1)) | (middle & np.uint64(2**32 - 1))
    return (middle >> np.uint64(32)).astype(np.int64), rest > 0


def require_within(drawn: U16, weights: list[int], bound: Fraction) -> None:
    """Assert that in each prefix each source is within ``bound`` of its share, in integers.

    Between its draws a source only falls behind: it is most behind just before a draw or at the
    end, and most ahead just after one.
    """
    times, most = bound.denominator, bound.numerator
    order = np.argsort(drawn, kind="stable")
    ends = np.cumsum(np.bincount(drawn, minlength=len(weights)))
    for source, places in enumerate(np.split(order, ends[:-1])):
        counts = np.arange(len(places) + 1)
        behind, inexact = high_product(times * np.append(places, len(drawn)), weights[source])
        behind += inexact  # rounded up: at least most says the same as with fractions
        assert (behind - times * counts).max() <= most, f"source {source} falls behind"
        ahead, _ = high_product(times * (places + 1), weights[source])
        if len(places):
            assert (times * counts[1:] - ahead).max() <= most, f"source {source} runs ahead"


@settings(max_examples=200)
@given(WEIGHTS)
def test_every_prefix_is_within_the_bound(fractions: list[Fraction]) -> None:
    weights = scale(fractions)
    if max(weights) < 2**64:  # one source alone has every position
        require_within(StratifiedSchedule(weights).sources_of(0, 3000), weights, bound_of(weights))


@settings(max_examples=100)
@given(st.integers(2, len(FIBONACCI)), st.integers(0, 3))
def test_weights_of_the_deepest_trees_are_within_the_bound(count: int, extra: int) -> None:
    weights = scale(
        [Fraction(number + extra * (i > 2)) for i, number in enumerate(FIBONACCI)][:count]
    )
    require_within(StratifiedSchedule(weights).sources_of(0, 5000), weights, bound_of(weights))


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_million_positions_of_fifty_sources(seed: int) -> None:
    keys = mix(np.arange(50, dtype=np.uint64) ^ np.uint64(derive(seed, "weights").k0))
    weights = scale([Fraction(int(key)) ** 3 for key in keys])  # some a thousand times others
    drawn = StratifiedSchedule(weights).sources_of(0, 10_000_000)
    require_within(drawn, weights, BOUND)


@pytest.mark.parametrize(
    "parts", [(6, 4), (1, 1), (999_999, 1), (6, 3, 1), (1, 1, 1), (10**6, 1, 1)]
)
def test_ten_million_positions_of_two_and_three_sources(parts: tuple[int, ...]) -> None:
    weights = scale([Fraction(part) for part in parts])
    drawn = StratifiedSchedule(weights).sources_of(0, 10_000_000)
    require_within(drawn, weights, BOUNDS[len(parts)])


def test_the_bound_fails_for_schedules_that_break_it() -> None:
    """The control: independent draws, a deficit of one draw too many, and shares that drift."""
    weights = scale([Fraction(3), Fraction(2), Fraction(1)])
    drawn = StratifiedSchedule(weights).sources_of(0, 3000)
    require_within(drawn, weights, Fraction(1))
    for wrong in (np.sort(drawn), np.append(np.uint16([2, 2]), drawn), drawn[drawn != 2]):
        with pytest.raises(AssertionError, match=r"falls behind|runs ahead"):
            require_within(wrong, weights, Fraction(1))
    halves = StratifiedSchedule(scale([Fraction(1)] * 2)).sources_of(0, 100)
    with pytest.raises(AssertionError, match=r"falls behind|runs ahead"):
        require_within(halves, scale([Fraction(1)] * 2), Fraction(49, 100))


@given(WEIGHTS, st.integers(0, 2**40) | st.integers(0, MOST_POSITIONS - 100), st.integers(1, 60))
def test_far_positions_are_as_exact_as_near_ones(
    fractions: list[Fraction], begin: int, count: int
) -> None:
    """Arrays against Python's integers, all at positions where floats would have lost their ends."""
    schedule = StratifiedSchedule(scale(fractions))
    drawn = schedule.sources_of(begin, begin + count)
    counts = schedule.counts_before(begin)
    assert counts.sum() == begin
    for position, source in enumerate(drawn.tolist(), begin + 1):
        counts[source] += 1
        assert counts.tolist() == schedule.counts_before(position).tolist()


def test_far_prefixes_are_within_the_bound_too() -> None:
    weights = scale([Fraction(1, n) for n in range(1, 51)])
    schedule = StratifiedSchedule(weights)
    for position in (2**40, 2**40 + 12345, 2**50 - 1, MOST_POSITIONS):
        for count, weight in zip(schedule.counts_before(position).tolist(), weights, strict=True):
            assert abs(count - Fraction(position * weight, 2**64)) <= BOUND


def test_a_source_of_weight_zero_stands_nowhere() -> None:
    schedule = StratifiedSchedule(scale([Fraction(1), Fraction(0), Fraction(1)]))
    assert 1 not in schedule.sources_of(0, 1000)
    assert schedule.counts_before(MOST_POSITIONS)[1] == 0
