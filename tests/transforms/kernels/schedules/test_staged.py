"""Stages against one position at a time: schedules in a row, and where each of them ends."""

from __future__ import annotations

import pickle
from fractions import Fraction
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.statistics import ALPHA, law_p, normal_p, require_chance
from tests.transforms.kernels import oracles as plain
from tests.transforms.kernels.schedules import schedule_oracles as oracles
from tests.transforms.kernels.schedules.test_schedule import (
    SEEDS,
    counted_random,
    counted_repeats,
    schedules,
)
from transforms.errors import UsageError
from transforms.kernels.randomness import derive
from transforms.kernels.schedules.mixture import Amounts, Mixture, draft
from transforms.kernels.schedules.random_schedule import RandomSchedule
from transforms.kernels.schedules.schedule import Schedule
from transforms.kernels.schedules.staged import (
    Stage,
    Until,
    counted,
    draft_stages,
    expect_stages,
    items_of,
    left_of,
)
from transforms.kernels.schedules.staged_schedule import StagedSchedule
from transforms.kernels.schedules.stratified_schedule import StratifiedSchedule
from transforms.kernels.schedules.weights import WHOLE, scale
from transforms.mixing.packed_shards import pack_schedule, unpack_schedule

HALVES = [WHOLE // 2] * 2


@st.composite
def chains(draw: st.DrawFn) -> tuple[StagedSchedule, list[int]]:
    """Some schedules in a row, and the sources of all positions by the oracles."""
    first, expected = draw(schedules())
    made, sequences = [first], [expected]
    for number in range(1, draw(st.integers(1, 4))):
        weights = scale(
            draw(
                st.lists(
                    st.fractions(0, 9, max_denominator=9),
                    min_size=first.sources,
                    max_size=first.sources,
                ).filter(any)
            )
        )
        if draw(st.booleans()):
            made.append(StratifiedSchedule(weights))
            sequence = oracles.stratified_sequence(weights)
        else:
            seed = draw(SEEDS)
            bare = RandomSchedule(weights, seed=seed, epoch=3, stage=number, chunk=16)
            made.append(bare.with_counts(np.array([bare.count_chunk(i) for i in range(5)])))
            sequence = oracles.random_sequence(weights, seed=seed, epoch=3, stage=number)
        sequences.append(list(islice(sequence, 80)))
    lengths = [draw(st.integers(0, min(len(found), 80))) for found in sequences]
    if len(made) == 1:
        lengths = [len(expected)]
    whole = [source for found, n in zip(sequences, lengths, strict=True) for source in found[:n]]
    return StagedSchedule(made, lengths), whole


@settings(max_examples=200)
@given(chains(), st.data())
def test_stages_agree_with_one_position_at_a_time(
    made: tuple[StagedSchedule, list[int]], data: st.DataObject
) -> None:
    schedule, expected = made
    if data.draw(st.booleans()):
        schedule = pickle.loads(pickle.dumps(schedule))
    assert (schedule.length, schedule.counted_to) == (len(expected), len(expected))
    begin = data.draw(st.integers(0, len(expected)))
    end = data.draw(st.integers(begin, len(expected)))
    assert schedule.sources_of(begin, end).tolist() == expected[begin:end]
    before = schedule.counts_before(begin)
    assert before.tolist() == [expected[:begin].count(s) for s in range(schedule.sources)]
    after = [expected[:end].count(source) for source in range(schedule.sources)]
    assert schedule.counts_before(end).tolist() == after
    assert schedule.counts_after(before, begin, end).tolist() == after
    bare = unpack_schedule(pack_schedule(schedule), sources=schedule.sources)
    found = bare.knowing(schedule.known(begin, end))
    assert found.sources_of(begin, end).tolist() == expected[begin:end]


def test_the_first_stage_draws_as_an_output_without_stages_and_the_others_by_themselves() -> None:
    made = [RandomSchedule(HALVES, seed=7, epoch=2, stage=stage) for stage in range(3)]
    assert made[0].sources_of(0, 500).tolist() == (
        RandomSchedule(HALVES, seed=7, epoch=2).sources_of(0, 500).tolist()
    )
    drawn = [one.sources_of(0, 20_000) for one in made]
    for stage in (1, 2):
        pair = derive(7, "schedule", 2, "stage", stage)
        expected = [plain.record_key(*pair, p) >= WHOLE // 2 for p in range(50)]
        assert drawn[stage][:50].tolist() == expected
    for left, right in ((0, 1), (0, 2), (1, 2)):
        same = int((drawn[left] == drawn[right]).sum())
        require_chance(
            normal_p((same - 10_000) / np.sqrt(5000)), cases=3, what=f"stages {left} and {right}"
        )
    again = int((drawn[0] == RandomSchedule(HALVES, seed=7, epoch=2).sources_of(0, 20_000)).sum())
    assert normal_p((again - 10_000) / np.sqrt(5000)) < ALPHA  # a control: one key for two stages


@pytest.mark.parametrize("weights", [[10**9, 9 * 10**9, 1], [1, 3, 4]])
def test_a_source_of_weight_1e_9_is_drawn_by_its_law_as_one_of_0_9(weights: list[int]) -> None:
    """Each draw is compared with where its own key falls, so that rare ones are looked for exactly."""
    scaled = scale([Fraction(w) for w in weights])
    schedule = RandomSchedule(scaled, seed=1, epoch=0, stage=1)
    n = 1 << 20
    drawn = schedule.sources_of(0, n)
    counts = np.bincount(drawn, minlength=3)
    shares = np.array(scaled) / WHOLE
    if weights[2] > 1:
        require_chance(law_p(counts, shares), cases=2, what="draws of a stage")
    else:
        require_chance(law_p(counts[:2], shares[:2] / shares[:2].sum()), cases=2, what="others")
        assert counts[2] <= 1  # 1e-4 are expected
        # the keys that it gets are as wide as its weight, to a unit of 2**-64
        lookup = schedule._lookup
        edge = scaled[0] + scaled[1]
        keys = np.array([edge - 1, edge, edge + scaled[2] - 1], np.uint64)
        assert lookup.find(keys).tolist() == [1, 2, 2]
        assert abs(Fraction(scaled[2], WHOLE) - Fraction(1, sum(weights))) < Fraction(1, 2**63)


# ---- where stages end


def plainly(
    stages: list[Stage], records: list[int], *, seed: int, limit: int = 4000
) -> list[list[int]]:
    """Draw one record at a time; return the sources of each stage."""
    used = [0] * len(records)
    out: list[list[int]] = []
    for number, stage in enumerate(stages):
        mixture = stage.mixture
        assert mixture.weights is not None
        scaled = scale(mixture.weights)
        sequence = (
            oracles.stratified_sequence(scaled)
            if mixture.interleave == "stratified"
            else oracles.random_sequence(scaled, seed=seed, epoch=0, stage=number)
        )
        repeats = mixture.stop is None and (stage.until or mixture.max_records is not None)
        unseen = {  # of the pass that it is in
            i: left
            for i, left in enumerate(left_of(used, records))
            if left and scaled[i] and mixture.stop == "all_exhausted"
        }
        begun = list(left_of(used, records))
        drawn: list[int] = []
        while len(drawn) < limit:
            if stage.until is not None and len(drawn) == stage.until.count:
                break
            if mixture.max_records is not None and sum(used) == mixture.max_records:
                break
            if mixture.stop == "all_exhausted" and not unseen:
                break
            source = next(sequence)
            if mixture.stop != "all_exhausted" and not repeats:
                if not begun[source]:
                    break
                begun[source] -= 1
            drawn.append(source)
            used[source] += 1
            if source in unseen:
                unseen[source] -= 1
                if not unseen[source]:
                    del unseen[source]
        out.append(drawn)
    return out


@st.composite
def staged(draw: st.DrawFn) -> tuple[list[Stage], list[int], int]:
    """Some stages that end by records or by themselves, of two or three sources."""
    records = draw(st.lists(st.integers(1, 40), min_size=2, max_size=3))
    seed, most = draw(SEEDS), draw(st.none() | st.integers(0, 150))
    names = tuple("abc"[: len(records)])
    stages = []
    for number in range(count := draw(st.integers(1, 4))):
        weights = draw(
            st.lists(st.integers(0, 5), min_size=len(names), max_size=len(names)).filter(any)
        )
        mixture = Mixture(
            sources=names,
            weights=tuple(map(Fraction, weights)),
            interleave=draw(st.sampled_from(["random", "stratified"])),
            stop=draw(st.sampled_from([None, "first_exhausted", "all_exhausted"])),
            max_records=most,
            seed=seed,
            chunk=draw(st.sampled_from([4, 64])),
        )
        until = draw(st.integers(0, 60)) if number + 1 < count else None
        stages.append(Stage(mixture, None if until is None else Until("records", until)))
    return stages, records, seed


def made_of(stages: list[Stage], records: list[int]) -> StagedSchedule:
    """Draft, count and end stages that don't end by size."""
    amounts = Amounts(tuple(records), tuple(records))
    drafts = draft_stages(stages, amounts)
    counts = [(number, item, drafts[number].count(item)) for number, item in items_of(drafts)]
    done: list[Schedule] = []
    lengths: list[int] = []
    for one, stage in zip(counted(drafts, counts), stages, strict=True):
        used = [0] * len(records)
        if done:
            used = StagedSchedule(done, lengths).counts_before(sum(lengths)).tolist()
        ended, length = one.ended(left_of(used, records))
        if stage.mixture.max_records is not None:
            length = min(length, stage.mixture.max_records - sum(lengths))
        done.append(ended.schedule)
        lengths.append(length)
    return StagedSchedule(done, lengths)


@settings(max_examples=300, deadline=None)
@given(staged())
def test_stages_end_where_drawing_one_record_at_a_time_ends(
    asked: tuple[list[Stage], list[int], int],
) -> None:
    stages, records, seed = asked
    expected = plainly(stages, records, seed=seed)
    found = made_of(stages, records)
    assert list(found.lengths) == [len(drawn) for drawn in expected]
    assert found.sources_of(0, found.length).tolist() == [*chain.from_iterable(expected)]


def test_one_stage_is_exactly_an_unstaged_mixture() -> None:
    for more in ({"max_records": 500}, {}, {"stop": "all_exhausted"}):
        mixture = Mixture(
            sources=("a", "b"),
            weights=(Fraction(3), Fraction(1)),
            seed=4,
            **more,  # type: ignore[arg-type]
        )
        amounts = Amounts((300, 90), (300, 90))
        plain_draft = draft(mixture, amounts)
        counts = [(item, plain_draft.count(item)) for item in plain_draft.items()]
        found, length = plain_draft.counted(counts).ended()
        made = made_of([Stage(mixture)], [300, 90])
        assert made.length == length
        assert (made.sources_of(0, length) == found.schedule.sources_of(0, length)).all()


def test_a_used_up_source_gives_nothing_more_where_a_stage_stops_and_begins_again_where_not() -> (
    None
):
    def stages(**last: Any) -> list[Stage]:
        common: dict[str, Any] = {"sources": ("a", "b"), "seed": 1}
        one = Mixture(weights=(Fraction(1), Fraction(0)), stop="first_exhausted", **common)
        return [Stage(one, Until("records", 50)), Stage(Mixture(**common, **last))]

    both = (Fraction(1), Fraction(1))
    assert made_of(stages(weights=both, stop="first_exhausted"), [50, 1000]).lengths[1] < 20
    again = made_of(stages(weights=both, max_records=250), [50, 1000])
    assert again.lengths == (50, 200)
    assert again.counts_before(250)[0] > 120


def test_stages_that_cannot_be_are_refused() -> None:
    repeats = counted_repeats([3, 4], seed=0, range_slots=8)
    with pytest.raises(ValueError, match="repeats in no stage but the first"):
        StagedSchedule([StratifiedSchedule(HALVES), repeats], [3, 7])
    with pytest.raises(ValueError, match="a length of each"):
        StagedSchedule([repeats], [3, 7])
    with pytest.raises(ValueError, match="same sources"):
        StagedSchedule([StratifiedSchedule(HALVES), StratifiedSchedule([WHOLE])], [1, 1])
    twice = StagedSchedule([StratifiedSchedule(HALVES)] * 2, [4, 4])
    for wrong in (-1, 9):
        with pytest.raises(IndexError, match="0 to 8"):
            twice.counts_before(wrong)
    union = Mixture(sources=("a", "b"))
    amounts = Amounts((5, 5), (5, 5))
    with pytest.raises(UsageError, match="stage 1: expected weights"):
        draft_stages([Stage(union, Until("records", 3)), Stage(union)], amounts)
    weighed = Mixture(sources=("a", "b"), weights=(Fraction(1), Fraction(1)))
    with pytest.raises(UsageError, match=r"stage 2: source b has a weight, but no records"):
        draft_stages(
            [
                Stage(Mixture(sources=("a", "b"), weights=(Fraction(1), Fraction(0)))),
                Stage(weighed),
            ],
            Amounts((5, 0), (5, 0)),
        )
    short = counted_random(HALVES, seed=0, chunk=4, upto=8)
    assert StagedSchedule([StratifiedSchedule(HALVES), short], [10, 20]).counted_to == 18


def test_what_is_expected_of_sources_without_weights_ends_with_the_tokens_too() -> None:
    union = Stage(Mixture(sources=("all",), max_tokens=350))
    amounts = Amounts((100,), (1,), (700,))
    assert expect_stages([union], amounts) == [[50.0]]
    repeats = Stage(
        Mixture(sources=("a", "b"), repeats=(Fraction(2), Fraction(1, 2)), max_tokens=165)
    )
    ((a, b),) = expect_stages([repeats], Amounts((100, 50), (1, 1), (700, 500)))
    assert a / b == pytest.approx(200 / 25)
    assert 7 * a + 10 * b == pytest.approx(165)
