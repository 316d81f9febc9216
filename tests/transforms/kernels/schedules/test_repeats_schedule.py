"""Repeats: counts are exact, and every arrangement of the multiset is equally likely."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import numpy as np
import pytest

from tests import statistics
from tests.statistics import I64
from transforms.kernels.arrays import U16
from transforms.kernels.randomness import derive
from transforms.kernels.schedules.repeats_schedule import RANGE_SLOTS, RepeatsSchedule, _order
from transforms.kernels.schedules.schedule import keys_of

MULTISETS = ((3, 2), (2, 2, 1), (1, 1, 1, 1), (5, 1), (2, 0, 2))
RANGES = (1, 2, RANGE_SLOTS)  # slots in a range
TRIALS = 1500
LONG = (40_000, 25_000, 10_000)
LONG_SEEDS = range(8)
CASES = len(MULTISETS) * len(RANGES) + 2 * len(LONG_SEEDS)

require_chance = functools.partial(statistics.require_chance, cases=CASES)
Count = Callable[[RepeatsSchedule], I64]


def count_hashed(schedule: RepeatsSchedule) -> I64:
    """Deal slots to ranges as the schedule says."""
    columns = [schedule.count_slots(s, 0, total) for s, total in enumerate(schedule.totals)]
    return np.array(columns).T


def count_evenly(schedule: RepeatsSchedule) -> I64:
    """The biased control: slots dealt to ranges in turn."""
    columns = [
        np.bincount(np.arange(total) % schedule.ranges, minlength=schedule.ranges)
        for total in schedule.totals
    ]
    return np.array(columns).T


def arrange(
    totals: tuple[int, ...], *, seed: int, range_slots: int, count: Count = count_hashed
) -> U16:
    schedule = RepeatsSchedule(totals, seed=seed, epoch=0, range_slots=range_slots)
    return schedule.with_counts(count(schedule)).sources_of(0, schedule.length)


def arrangements_p(found: list[tuple[int, ...]], totals: tuple[int, ...]) -> float:
    """Chi-square over all arrangements; each must have the counts asked for."""
    slots = [source for source, total in enumerate(totals) for _ in range(total)]
    every = {each: i for i, each in enumerate(sorted(set(itertools.permutations(slots))))}
    return statistics.uniform_p(np.bincount([every[each] for each in found], minlength=len(every)))


@pytest.mark.parametrize("range_slots", RANGES)
@pytest.mark.parametrize("totals", MULTISETS)
def test_every_arrangement_is_equally_likely(totals: tuple[int, ...], range_slots: int) -> None:
    found = [
        tuple(arrange(totals, seed=seed, range_slots=range_slots).tolist())
        for seed in range(TRIALS)
    ]
    what = f"{totals} in ranges of {range_slots}, seeds below {TRIALS}"
    require_chance(arrangements_p(found, totals), cases=CASES, what=what)


@pytest.mark.parametrize("totals", [(3, 2), (2, 2, 1)])
def test_slots_that_are_dealt_in_turn_fail(totals: tuple[int, ...]) -> None:
    found = [
        tuple(arrange(totals, seed=seed, range_slots=2, count=count_evenly).tolist())
        for seed in range(TRIALS)
    ]
    with pytest.raises(AssertionError, match="is below alpha"):
        require_chance(arrangements_p(found, totals), what="the control")


def places_p(drawn: U16, *, cells: int = 25) -> float:
    """Chi-square of sources by where they stand, whose totals are fixed both ways."""
    sources = int(drawn.max()) + 1
    cell = np.arange(len(drawn)) * cells // len(drawn)
    counts = np.bincount(drawn * np.int64(cells) + cell, minlength=sources * cells)
    shares = np.bincount(drawn)[:, None] * np.bincount(cell) / len(drawn) ** 2
    return statistics.law_p(counts, shares.ravel(), freedom=(sources - 1) * (cells - 1))


def runs_p(drawn: U16) -> float:
    """Wald and Wolfowitz: how many runs, of those of the first source and those of others."""
    first = drawn == 0
    n, n1 = len(drawn), int(first.sum())
    mean = 2 * n1 * (n - n1) / n + 1
    found = 1 + int((first[1:] != first[:-1]).sum())
    variance = (mean - 1) * (mean - 2) / (n - 1)
    return statistics.normal_p(float((found - mean) / np.sqrt(variance)))


@pytest.mark.parametrize("seed", LONG_SEEDS)
def test_long_arrangements_are_mixed_across_ranges_and_within(seed: int) -> None:
    drawn = arrange(LONG, seed=seed, range_slots=3000)
    assert np.bincount(drawn).tolist() == list(LONG)
    require_chance(places_p(drawn), cases=CASES, what=f"places, seed {seed}")
    require_chance(runs_p(drawn), cases=CASES, what=f"runs, seed {seed}")


def test_long_arrangements_that_are_too_even_fail() -> None:
    drawn = arrange(LONG, seed=0, range_slots=3000, count=count_evenly)
    with pytest.raises(AssertionError, match="is below alpha"):
        require_chance(places_p(drawn), what="dealt in turn")
    for wrong in (np.sort(drawn), np.sort(drawn.reshape(-1, 5), axis=1).ravel()):
        with pytest.raises(AssertionError, match="is below alpha"):
            require_chance(runs_p(wrong), what="sorted")


@pytest.mark.parametrize("total", [0, 1, RANGE_SLOTS, RANGE_SLOTS + 1, 5 * RANGE_SLOTS, 10**10])
def test_ranges_follow_from_the_total_alone(total: int) -> None:
    ranges = {
        RepeatsSchedule(totals, seed=seed, epoch=0).ranges
        for totals, seed in (((total,), 0), ((0, total), 1), ((total // 2, total - total // 2), 2))
    }
    assert len(ranges) == 1
    (count,) = ranges
    assert total <= count * RANGE_SLOTS
    assert count == 1 or total > count * RANGE_SLOTS // 2


def test_slots_are_counted_the_same_in_any_parts() -> None:
    schedule = RepeatsSchedule([200_000, 7], seed=3, epoch=1, range_slots=1000)
    whole = schedule.count_slots(0, 0, 200_000)
    assert whole.sum() == 200_000
    parts = [(0, 1), (1, 65_537), (65_537, 199_999), (199_999, 200_000), (5, 5)]
    assert sum(schedule.count_slots(0, *part) for part in parts).tolist() == whole.tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 1000, 300_000])
def test_the_radix_sort_sorts(count: int) -> None:
    keys = np.concatenate(list(keys_of(derive(0, "test"), 5, 5 + count)))
    assert len(np.unique(keys)) == count
    assert _order(keys).tolist() == np.argsort(keys).tolist()
