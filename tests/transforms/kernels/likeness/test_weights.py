"""Weights from scores: exact, normalised, clipped; against fractions reckoned record by record."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import UsageError
from transforms.kernels.likeness.weights import ONE, UNIT, Weighing, counted, joined, weigh

SCORES = st.lists(st.integers(1, ONE - 1), min_size=1, max_size=40)
LIMITS = st.none() | st.fractions(Fraction(1, 100), 50)


def weighing_of(scores: list[int], limit: Fraction | None = None) -> Weighing:
    return weigh(*counted(np.array(scores, np.uint32)), max_weight=limit)


def reckoned(scores: list[int], limit: Fraction | None) -> tuple[list[Fraction], int]:
    """Return each record's weight, and how many were clipped, by the words of the issue."""
    ratios = [Fraction(s, ONE - s) for s in scores]
    mean = sum(ratios) / len(ratios)
    weights = [ratio / mean for ratio in ratios]
    clipped = 0
    if limit is not None:
        clipped = sum(weight > limit for weight in weights)
        weights = [min(weight, limit) for weight in weights]
    mean = sum(weights) / len(weights)
    return [weight / mean for weight in weights], clipped


@settings(max_examples=300, deadline=None)
@given(scores=SCORES, limit=LIMITS)
def test_weights_are_what_fractions_give(scores: list[int], limit: Fraction | None) -> None:
    weighing = weighing_of(scores, limit)
    expected, clipped = reckoned(scores, limit)
    units = weighing.units_of(np.array(scores, np.uint32)).tolist()
    for unit, weight in zip(units, expected, strict=True):
        # a ratio is cut at 2**-43, which is 2**-23 of the smallest; then a weight at 2**-32
        assert abs(unit - weight * UNIT) <= weight * UNIT / 2**22 + 1
    # whole numbers may cut what stands at the limit itself
    assert abs(weighing.clipped - clipped) <= sum(abs(w - max(expected)) < 1e-6 for w in expected)
    assert abs(weighing.total - len(scores) * UNIT) <= len(scores)
    assert weighing.records == len(scores)


@settings(max_examples=100, deadline=None)
@given(scores=SCORES, limit=LIMITS)
def test_effective_size_and_quantiles_are_those_of_all_records(
    scores: list[int], limit: Fraction | None
) -> None:
    weighing = weighing_of(scores, limit)
    units = sorted(weighing.units_of(np.array(scores, np.uint32)).tolist())
    assert weighing.effective == float(Fraction(sum(units) ** 2, sum(u * u for u in units)))
    found = weighing.quantiles()
    assert (found[0.0], found[1.0]) == (units[0] / UNIT, units[-1] / UNIT)
    assert found[0.5] == units[(len(units) - 1) // 2] / UNIT
    top = -(-len(units) // 100)
    assert weighing.share_of_heaviest() == sum(units[-top:]) / sum(units)
    assert sum(records for _, records, _ in weighing.by_size()) == len(scores)
    for size, _, _ in weighing.by_size():
        assert any(2.0**size <= unit / UNIT < 2.0 ** (size + 1) for unit in units)


def test_equal_scores_weigh_one() -> None:
    weighing = weighing_of([77] * 10)
    assert weighing.weights_of(np.array([77], np.uint32)).tolist() == [1.0]
    assert weighing.effective == 10


def test_the_largest_and_the_least_score_are_told_apart() -> None:
    weighing = weighing_of([1, ONE - 1])
    low, high = weighing.units.tolist()
    assert low == 1  # it can be drawn, however seldom
    assert high == 2 * UNIT


def test_clipping_says_how_many_and_normalises_again() -> None:
    half = ONE // 2
    weighing = weighing_of([half] * 98 + [ONE - 1] * 2, Fraction(5))
    assert weighing.clipped == 2
    assert weighing.limit == 5
    mean = weighing.weights_of(np.array([half, ONE - 1], np.uint32)) @ [0.98, 0.02]
    assert mean == pytest.approx(1, abs=1e-9)
    # what was left had hardly any weight: what was clipped stands above the limit again
    assert weighing.quantiles()[1.0] > 49


def test_the_mean_before_is_kept() -> None:
    assert weighing_of([ONE // 2] * 3).mean == 1.0
    assert weighing_of([1] * 3).mean == pytest.approx(1 / (ONE - 1), rel=1e-6)


def test_no_records_have_no_weights() -> None:
    weighing = weigh(np.zeros(0, np.uint32), np.zeros(0, np.int64), max_weight=Fraction(2))
    assert (weighing.records, weighing.total, weighing.effective) == (0, 0, 0.0)
    assert weighing.quantiles() == {}
    assert weighing.by_size() == []


def test_counts_join_to_those_of_all() -> None:
    scores = np.array([5, 9, 5, 1, 9, 9], np.uint32)
    parts = [counted(scores[:2]), counted(scores[2:]), counted(scores[:0])]
    for found, expected in zip(joined(parts), counted(scores), strict=True):
        assert found.tolist() == expected.tolist()
    assert [len(part) for part in joined([])] == [0, 0]


def test_what_cannot_be_weighed_is_refused() -> None:
    one = np.array([1], np.int64)
    with pytest.raises(UsageError, match="max_weight above 0, got 0"):
        weigh(np.array([3], np.uint32), one, max_weight=Fraction(0))
    for scores in ([0], [ONE], [5, 5], [6, 5]):
        with pytest.raises(ValueError, match=r"scores of 1 to .* in rising order"):
            weigh(np.array(scores, np.uint32), np.ones(len(scores), np.int64))
    with pytest.raises(ValueError, match="counts of at least 1"):
        weigh(np.array([3], np.uint32), 0 * one)
    with pytest.raises(ValueError, match="that were counted"):
        weighing_of([3]).units_of(np.array([4], np.uint32))
    with pytest.raises(ValueError, match="that were counted"):
        weigh(np.zeros(0, np.uint32), 0 * one[:0]).units_of(np.array([4], np.uint32))
