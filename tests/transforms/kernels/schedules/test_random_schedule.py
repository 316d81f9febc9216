"""Random schedules have the law of independent draws: exactly by lookup, and by statistics."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate, product

import numpy as np
import pytest

from tests import statistics
from transforms.kernels.arrays import U16
from transforms.kernels.randomness import derive, record_keys
from transforms.kernels.schedules.random_schedule import RandomSchedule, _Lookup
from transforms.kernels.schedules.stratified_schedule import StratifiedSchedule
from transforms.kernels.schedules.weights import scale

# relative weights, how long the sequences are, positions in a chunk, and where sequences begin
LAWS = (
    ((6, 4), 6, 4, 2),
    ((6, 4), 6, 3, 1),
    ((999, 1001), 6, 2**20, 2**40 - 3),
    ((40, 35, 25), 5, 2**20, 2**20 - 3),
    ((6, 3, 1), 3, 2, 1),
    ((2, 0, 3, 2, 4), 3, 2**20, 0),
    (tuple(range(5, 15)), 2, 2**20, 2**63),
)
TRIALS = 9000
LONG = 1 << 21
LONG_WEIGHTS = ((6, 3, 1), (57, 43), (1,) * 50, tuple(range(1, 301)))
RELATED = (((0, 0), (1, 0)), ((0, 0), (0, 1)), ((42, 1), (43, 0)), ((1, 0), (0, 1)))
CASES = len(LAWS) + 2 * len(LONG_WEIGHTS) + len(RELATED)

require_chance = functools.partial(statistics.require_chance, cases=CASES)


def scaled(parts: tuple[int, ...]) -> list[int]:
    return scale([Fraction(part) for part in parts])


def sequences_p(sequences: U16, weights: list[int]) -> float:
    """Chi-square of uint16[trials, n] whole sequences against the product of weights."""
    shares = np.array(weights) / 2**64
    drawn = np.flatnonzero(shares)
    length = sequences.shape[1]
    number = len(weights) ** np.arange(length)
    counts = np.bincount(sequences @ number, minlength=len(weights) ** length)
    every = np.array(list(product(drawn.tolist(), repeat=length)))
    assert counts[every @ number].sum() == len(sequences), "a source of weight zero was drawn"
    return statistics.law_p(counts[every @ number], shares[every].prod(axis=1))


def runs_p(drawn: U16, weights: list[int]) -> float:
    """How far the number of neighbours that are equal is from that of independent draws."""
    shares = np.array(weights) / 2**64
    pairs = len(drawn) - 1
    same, thrice = (shares**2).sum(), (shares**3).sum()
    variance = pairs * (same - same**2) + 2 * (pairs - 1) * (thrice - same**2)
    found = int((drawn[1:] == drawn[:-1]).sum())
    return statistics.normal_p(float((found - pairs * same) / np.sqrt(variance)))


def counts_p(drawn: U16, weights: list[int]) -> float:
    counts = np.bincount(drawn, minlength=len(weights))
    return statistics.law_p(counts, np.array(weights) / 2**64)


def sequence(seed: int, *, weights: list[int], length: int, chunk: int, begin: int) -> U16:
    """One sequence; across small chunks its table of counts is made, and must change nothing."""
    schedule = RandomSchedule(weights, seed=seed, epoch=0, chunk=chunk)
    end = begin + length
    if chunk > length:
        return schedule.sources_of(begin, end)
    rows = [schedule.count_chunk(index) for index in range(-(-end // chunk))]
    return schedule.with_counts(np.array(rows)).sources_of(begin, end)


@pytest.mark.parametrize(("parts", "length", "chunk", "begin"), LAWS)
def test_whole_sequences_have_the_law_of_independent_draws(
    parts: tuple[int, ...], length: int, chunk: int, begin: int
) -> None:
    weights = scaled(parts)
    make = functools.partial(sequence, weights=weights, length=length, chunk=chunk, begin=begin)
    found = np.array([make(seed) for seed in range(TRIALS)])
    what = f"{length} positions from {begin} of {parts}, seeds below {TRIALS}"
    require_chance(sequences_p(found, weights), cases=CASES, what=what)


@pytest.mark.parametrize("parts", LONG_WEIGHTS)
def test_long_sequences_have_the_counts_and_runs_of_independent_draws(
    parts: tuple[int, ...],
) -> None:
    weights = scaled(parts)
    drawn = RandomSchedule(weights, seed=7, epoch=0).sources_of(0, LONG)
    require_chance(counts_p(drawn, weights), cases=CASES, what=f"counts of {parts[:3]}, seed 7")
    require_chance(runs_p(drawn, weights), cases=CASES, what=f"runs of {parts[:3]}, seed 7")


@pytest.mark.parametrize("pair", RELATED)
def test_schedules_of_related_seeds_are_independent(
    pair: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    weights = scaled((6, 3, 1))
    one, other = (
        RandomSchedule(weights, seed=seed, epoch=epoch).sources_of(0, LONG) for seed, epoch in pair
    )
    shares = np.array(weights) / 2**64
    counts = np.bincount(one * np.uint16(3) + other, minlength=9)
    p = statistics.law_p(counts, np.outer(shares, shares).ravel())
    require_chance(p, cases=CASES, what=f"(seed, epoch) {pair}")


def _windows(trial: int) -> U16:
    """Right shares at every position, and no independence: windows of the stratified schedule."""
    return StratifiedSchedule(scaled((6, 4))).sources_of(trial % 5, trial % 5 + 6)


def _sticky(trial: int) -> U16:
    """A chunk begins with what the last one ended with, one time in ten."""
    drawn = RandomSchedule(scaled((6, 4)), seed=trial, epoch=0).sources_of(0, 6)
    if trial % 10 == 0:
        drawn[3] = drawn[2]
    return drawn


def _added(trial: int) -> U16:
    """Seeds that are added to positions: each trial sees most of what the one before saw."""
    pair = derive(0, "added")
    keys = record_keys(pair, np.arange(trial % 150, trial % 150 + 6, dtype=np.uint64))
    return (keys > np.uint64(6 * 2**64 // 10)).astype(np.uint16)


@pytest.mark.parametrize("biased", [_windows, _sticky, _added])
def test_biased_sequences_fail(biased: Callable[[int], U16]) -> None:
    found = np.array([biased(trial) for trial in range(TRIALS)])
    with pytest.raises(AssertionError, match="is below alpha"):
        require_chance(sequences_p(found, scaled((6, 4))), what="the control")


def test_biased_long_sequences_fail() -> None:
    weights = scaled(LONG_WEIGHTS[-1])
    even = StratifiedSchedule(weights).sources_of(0, LONG)
    for p in (counts_p, runs_p):
        with pytest.raises(AssertionError, match="is below alpha"):
            require_chance(p(even, weights), what="drawn too evenly")
    weights = scaled((57, 43))
    cut = RandomSchedule(scaled((566, 434)), seed=7, epoch=0).sources_of(0, LONG)
    with pytest.raises(AssertionError, match="is below alpha"):
        require_chance(counts_p(cut, weights), what="weights cut to fewer digits")


@pytest.mark.parametrize("parts", [(1,), (1, 1), (6, 0, 3, 1, 0), (1, 2**80, 1, 0), (1,) * 1000])
def test_lookup_is_exact_at_every_boundary(parts: tuple[int, ...]) -> None:
    weights = scaled(parts)
    bounds = list(accumulate(weights))
    keys = {0, 2**64 - 1, *(b + d for b in bounds for d in (-1, 0, 1) if 0 <= b + d < 2**64)}
    keys |= {(top << 48) - low for top in range(1, 2**16, 97) for low in (0, 1)}
    ordered = sorted(keys)
    found = _Lookup(weights).find(np.array(ordered, np.uint64))
    assert found.tolist() == [bisect.bisect_right(bounds, key) for key in ordered]
