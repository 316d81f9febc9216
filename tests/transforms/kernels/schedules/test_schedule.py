"""What every schedule promises: sources and counts, the same however it is asked."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.kernels.schedules import schedule_oracles as oracles
from transforms.kernels.schedules.mixture import Amounts, Mixture, draft
from transforms.kernels.schedules.random_schedule import CHUNK, RandomSchedule
from transforms.kernels.schedules.repeats_schedule import RepeatsSchedule
from transforms.kernels.schedules.schedule import MOST_SOURCES, Known, Schedule
from transforms.kernels.schedules.stratified_schedule import StratifiedSchedule
from transforms.kernels.schedules.weights import scale
from transforms.mixing.packed_shards import pack_schedule, unpack_schedule

COUNTED = 200  # positions that are compared with the oracles

WEIGHTS = st.lists(
    st.fractions(0, 100, max_denominator=50) | st.just(Fraction(1, 2**70)), min_size=1, max_size=9
).filter(any)
SEEDS = st.integers(0, 2**64 - 1)


def counted_random(weights: Sequence[int], *, seed: int, chunk: int, upto: int) -> RandomSchedule:
    """A random schedule whose table reaches at least so far, in two steps."""
    schedule = RandomSchedule(weights, seed=seed, epoch=3, chunk=chunk)
    chunks = -(-upto // chunk)
    rows = np.array([schedule.count_chunk(i) for i in range(chunks)]).reshape(chunks, -1)
    half = chunks // 2
    return schedule.with_counts(rows[:half]).with_counts(rows[half:])


def counted_repeats(totals: Sequence[int], *, seed: int, range_slots: int) -> RepeatsSchedule:
    """A schedule of repeats, counted in two parts a source."""
    schedule = RepeatsSchedule(totals, seed=seed, epoch=3, range_slots=range_slots)
    columns = [
        schedule.count_slots(s, 0, total // 3) + schedule.count_slots(s, total // 3, total)
        for s, total in enumerate(totals)
    ]
    return schedule.with_counts(np.array(columns).T)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Schedule, list[int]]:
    """A schedule, and the sources of its first positions by the oracle."""
    mode, seed = draw(st.sampled_from(["random", "stratified", "repeats"])), draw(SEEDS)
    if mode == "repeats":
        totals = draw(st.lists(st.integers(0, 40), min_size=1, max_size=6))
        repeats = counted_repeats(totals, seed=seed, range_slots=draw(st.sampled_from([1, 7, 999])))
        return repeats, oracles.repeats_sequence(totals, seed=seed, epoch=3, ranges=repeats.ranges)
    weights = scale(draw(WEIGHTS))
    if mode == "stratified":
        return StratifiedSchedule(weights), list(
            islice(oracles.stratified_sequence(weights), COUNTED)
        )
    chunk = draw(st.sampled_from([1, 2, 8, 64, 1024]))
    sequence = oracles.random_sequence(weights, seed=seed, epoch=3)
    return counted_random(weights, seed=seed, chunk=chunk, upto=COUNTED), list(
        islice(sequence, COUNTED)
    )


@settings(max_examples=150)
@given(schedules(), st.data())
def test_a_schedule_agrees_with_one_position_at_a_time(
    made: tuple[Schedule, list[int]], data: st.DataObject
) -> None:
    schedule, expected = made
    if data.draw(st.booleans()):
        schedule = pickle.loads(pickle.dumps(schedule))
    length = len(expected)
    begin = data.draw(st.integers(0, length))
    end = data.draw(st.integers(begin, length))
    assert schedule.sources_of(begin, end).tolist() == expected[begin:end]
    before = [expected[:begin].count(source) for source in range(schedule.sources)]
    assert schedule.counts_before(begin).tolist() == before
    after = [expected[:end].count(source) for source in range(schedule.sources)]
    assert schedule.counts_after(schedule.counts_before(begin), begin, end).tolist() == after


@pytest.mark.parametrize("mode", ["random", "stratified", "repeats"])
def test_counts_agree_over_a_million_positions_and_thousand_sources(mode: str) -> None:
    count, length = 1000, 1 << 20
    weights = scale([Fraction(n % 17) for n in range(count)])
    schedule: Schedule = StratifiedSchedule(weights)
    if mode == "random":
        schedule = counted_random(weights, seed=5, chunk=1 << 17, upto=length)
    if mode == "repeats":
        schedule = counted_repeats([length // 256] * 256, seed=5, range_slots=1 << 16)
    drawn = schedule.sources_of(0, length)
    for position in (1, 1 << 17, 654_321, length):
        counts = np.bincount(drawn[:position], minlength=schedule.sources)
        assert schedule.counts_before(position).tolist() == counts.tolist()
        assert (schedule.sources_of(position - 1, position) == drawn[position - 1]).all()


@pytest.mark.parametrize(
    ("schedule", "first"),
    [
        (
            RandomSchedule(scale([Fraction(6), Fraction(3), Fraction(1)]), seed=0, epoch=0),
            "000000110010000011010220200101",
        ),
        (
            RandomSchedule(scale([Fraction(6), Fraction(3), Fraction(1)]), seed=0, epoch=1),
            "200100101010000201201111110101",
        ),
        (
            StratifiedSchedule(scale([Fraction(6), Fraction(3), Fraction(1)])),
            "010100201001010020100101002010",
        ),
        (counted_repeats([18, 9, 3], seed=0, range_slots=8), "100100102000101000020102010011"),
        (counted_repeats([18, 9, 3], seed=1, range_slots=2**18), "100200110001001110001201000002"),
    ],
)
def test_known_answers(schedule: Schedule, first: str) -> None:
    """A change here moves records: raise ORDER_VERSION."""
    assert "".join(map(str, schedule.sources_of(0, 30).tolist())) == first


@pytest.mark.parametrize(
    "schedule",
    [
        counted_random(scale([Fraction(1)] * 2), seed=0, chunk=4, upto=8),
        counted_repeats([5, 3], seed=0, range_slots=4),
    ],
)
def test_what_is_not_counted_is_refused(schedule: Schedule) -> None:
    assert schedule.counted_to == 8
    for wrong in (9, -1):
        with pytest.raises(IndexError, match="8 positions are counted"):
            schedule.counts_before(wrong)
    with pytest.raises(IndexError, match="8 positions are counted"):
        schedule.counts_after(schedule.counts_before(7), 7, 9)


def test_stratified_refuses_what_it_would_get_wrong() -> None:
    schedule = StratifiedSchedule(scale([Fraction(1)] * 2))
    for wrong in (-1, schedule.counted_to + 1):
        with pytest.raises(IndexError):
            schedule.counts_before(wrong)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="whole chunks of 4"):
        RandomSchedule(scale([Fraction(1)]), seed=0, epoch=0, chunk=4).with_counts(np.array([[3]]))
    with pytest.raises(ValueError, match="in 1 ranges"):
        RepeatsSchedule([3], seed=0, epoch=0).with_counts(np.array([[2]]))


@pytest.mark.parametrize("weights", [[1, 2], [], [0]])
def test_weights_that_are_not_scaled_are_refused(weights: list[int]) -> None:
    for make in (StratifiedSchedule, lambda w: RandomSchedule(w, seed=0, epoch=0)):
        with pytest.raises(ValueError, match="expected"):
            make(weights)


def test_the_most_sources_that_fit_their_numbers() -> None:
    weights = scale([Fraction(1)] * (MOST_SOURCES - 1) + [Fraction(MOST_SOURCES)])
    for schedule in (StratifiedSchedule(weights), RandomSchedule(weights, seed=0, epoch=0)):
        drawn = schedule.sources_of(0, 1000)
        assert drawn.max() == MOST_SOURCES - 1
        assert 400 < (drawn < MOST_SOURCES - 1).sum() < 600
    with pytest.raises(ValueError, match="65536"):
        RepeatsSchedule([1] * (MOST_SOURCES + 1), seed=0, epoch=0)


@pytest.mark.parametrize(
    "schedule",
    [
        counted_random([2**62, 2**63, 2**62], seed=3, chunk=50, upto=500),
        counted_repeats([100, 0, 300, 7], seed=3, range_slots=40),
        StratifiedSchedule([2**62, 2**63, 2**62]),
    ],
    ids=["random", "repeats", "stratified"],
)
def test_a_shard_needs_only_the_counts_of_its_own_positions(schedule: Schedule) -> None:
    bare = unpack_schedule(pack_schedule(schedule), sources=schedule.sources)
    for begin, end in [(0, 0), (0, 31), (13, 350), (120, 121), (0, 400), (400, 407), (407, 407)]:
        part = schedule.known(begin, end)
        found = bare.knowing(part)
        assert found.sources_of(begin, end).tolist() == schedule.sources_of(begin, end).tolist()
        before = schedule.counts_before(begin)
        after = schedule.counts_after(before, begin, end)
        assert after.tolist() == schedule.counts_before(end).tolist()
    few = schedule.known(120, 130).table
    assert len(few) < 4  # of eleven or sixteen
    if isinstance(schedule, RepeatsSchedule):
        with pytest.raises(IndexError):
            bare.knowing(schedule.known(200, 210)).sources_of(0, 10)
        with pytest.raises(ValueError, match="counts that grow"):
            bare.knowing(Known(0, few[::-1]))
        with pytest.raises(ValueError, match="about 40 slots"):
            bare.knowing(Known(0, few * np.arange(len(few))[:, None] * 1000))


@pytest.mark.parametrize(("sources", "records"), [(2, 10**6), (1000, 10**10), (1000, 10**12)])
def test_the_table_of_counts_of_many_sources_and_positions_is_bounded(
    sources: int, records: int
) -> None:
    mixture = Mixture(
        sources=tuple(f"s{i:04}" for i in range(sources)), weights=(Fraction(1),) * sources
    )
    made = draft(mixture, Amounts((records // sources,) * sources, (records,) * sources))
    assert isinstance(made.schedule, RandomSchedule)
    rows = -(-made.bound // made.schedule.chunk)
    assert made.schedule.chunk == CHUNK or rows * sources * 8 > 8 << 20  # no larger than needed
    assert rows * sources * 8 <= 128 << 20
