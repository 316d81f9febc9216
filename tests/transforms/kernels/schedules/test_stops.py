"""Mixtures stop where a simulation that draws one position at a time stops."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.kernels.schedules import schedule_oracles as oracles
from tests.transforms.kernels.schedules.test_schedule import SEEDS, counted_random, counted_repeats
from transforms.errors import UsageError
from transforms.kernels.schedules.random_schedule import RandomSchedule
from transforms.kernels.schedules.schedule import Schedule
from transforms.kernels.schedules.stops import bound_all, bound_first, stop_all, stop_first
from transforms.kernels.schedules.stratified_schedule import StratifiedSchedule
from transforms.kernels.schedules.weights import scale


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Weights and sizes of sources; a source of weight zero is left out, as empty."""
    parts = draw(st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any))
    sizes = [draw(st.integers(0, 30)) if part else 0 for part in parts]
    return scale([Fraction(part) for part in parts]), sizes


@settings(max_examples=200)
@given(mixtures(), SEEDS, st.sampled_from([1, 4, 256]))
def test_random_stops_where_the_simulation_stops(
    mixture: tuple[list[int], list[int]], seed: int, chunk: int
) -> None:
    weights, sizes = mixture

    def sequence() -> Iterator[int]:
        return oracles.random_sequence(weights, seed=seed, epoch=3)

    upto = min(bound_first(weights, sizes), 400)
    schedule = counted_random(weights, seed=seed, chunk=chunk, upto=upto)
    expected = oracles.stop_first(sequence(), sizes)
    assert stop_first(schedule, sizes) == (expected if expected < schedule.counted_to else None)
    expected = oracles.stop_all(sequence(), sizes)
    assert stop_all(schedule, sizes) == (expected if expected <= schedule.counted_to else None)


@settings(max_examples=200)
@given(mixtures())
def test_stratified_stops_where_the_simulation_stops(
    mixture: tuple[list[int], list[int]],
) -> None:
    weights, sizes = mixture
    schedule = StratifiedSchedule(weights)
    expected = oracles.stop_first(oracles.stratified_sequence(weights), sizes)
    assert stop_first(schedule, sizes) == expected
    expected = oracles.stop_all(oracles.stratified_sequence(weights), sizes)
    assert stop_all(schedule, sizes) == expected


def test_the_stop_of_a_large_stratified_mixture_is_exact() -> None:
    sizes = [10**12, 10**11 + 7, 3]
    schedule = StratifiedSchedule(scale([Fraction(size) for size in (10**6, 10**5, 1)]))
    first, last = stop_first(schedule, sizes), stop_all(schedule, sizes)
    assert first is not None
    assert last is not None
    assert (schedule.counts_before(first) <= sizes).all()
    assert (schedule.counts_before(first + 1) > sizes).any()
    assert (schedule.counts_before(last) >= sizes).all()
    assert (schedule.counts_before(last - 1) < sizes).any()


def test_repeats_can_all_be_served() -> None:
    schedule = counted_repeats([5, 0, 3], seed=1, range_slots=2)
    assert stop_first(schedule, [5, 0, 3]) is None
    sequence = oracles.repeats_sequence([5, 0, 3], seed=1, epoch=3, ranges=schedule.ranges)
    assert stop_first(schedule, [5, 0, 2]) == oracles.stop_first(iter(sequence), [5, 0, 2])
    assert stop_all(schedule, [5, 0, 2]) == oracles.stop_all(iter(sequence), [5, 0, 2])


def test_a_stop_beyond_what_is_counted_is_found_when_more_is() -> None:
    weights, sizes = scale([Fraction(1), Fraction(3)]), [100, 100]
    short: Schedule = counted_random(weights, seed=9, chunk=16, upto=64)
    assert stop_first(short, sizes) is None
    assert stop_all(short, sizes) is None
    expected = oracles.stop_first(oracles.random_sequence(weights, seed=9, epoch=3), sizes)
    longer = counted_random(weights, seed=9, chunk=16, upto=bound_first(weights, sizes))
    assert stop_first(longer, sizes) == expected


@pytest.mark.parametrize("sizes", [[0, 0, 0], [1, 0, 5], [1000, 600, 200], [10, 10, 10]])
def test_bounds_hold_the_stop_and_are_not_far_beyond(sizes: list[int]) -> None:
    weights = scale([Fraction(5), Fraction(3), Fraction(1)])
    first, everything = bound_first(weights, sizes), bound_all(weights, sizes)
    for seed in range(20):
        schedule = RandomSchedule(weights, seed=seed, epoch=3)
        drawn = schedule.sources_of(0, max(first, everything))
        assert (np.bincount(drawn[:first], minlength=3) > sizes).any()
        assert (np.bincount(drawn[:everything], minlength=3) >= sizes).all()
    assert (
        first
        <= min(2 * size * 9 / part for size, part in zip(sizes, (5, 3, 1), strict=True)) + 2000
    )
    assert (
        everything <= max(2 * s * 9 / part for s, part in zip(sizes, (5, 3, 1), strict=True)) + 2000
    )


@pytest.mark.parametrize("size", [0, 1, 10, 1000])
@pytest.mark.parametrize("share", [Fraction(1, 2), Fraction(1, 50), Fraction(49, 50)])
def test_bounds_are_missed_less_than_once_in_2_to_the_40(size: int, share: Fraction) -> None:
    """By the binomial's own distribution function: too rare to be seen by trying."""
    stats = pytest.importorskip("scipy.stats")
    weights = scale([share, 1 - share])
    bound = bound_first(weights, [size, 10**12])
    assert stats.binom.logcdf(size, bound, float(share)) < -40 * np.log(2)
    # the least bound that keeps the promise is no more than some deviations shorter
    shorter = int((size + 1) / share) + 1
    assert stats.binom.logcdf(size, shorter, float(share)) > -40 * np.log(2)
    everything = bound_all(weights, [size + 1, 0])
    assert stats.binom.logcdf(size, everything, float(share)) < -40 * np.log(2)


def test_a_source_that_is_never_drawn_is_never_seen_whole() -> None:
    weights = scale([Fraction(1), Fraction(0)])
    with pytest.raises(UsageError, match="got 0 for source 2 of 2"):
        bound_all(weights, [5, 5])
    assert stop_all(StratifiedSchedule(weights), [5, 5]) is None
    assert stop_first(StratifiedSchedule(weights), [5, 5]) == 5
