"""Weights are exact: they sum to 2**64, keep their order, and owe nothing to floating point."""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.errors import UsageError
from transforms.kernels.schedules.mixture import Amounts, Mixture, weigh
from transforms.kernels.schedules.weights import WHOLE, scale, tempered

WEIGHTS = st.lists(
    st.fractions(0, 1000) | st.integers(0, 3).map(Fraction) | st.just(Fraction(1, 2**90)),
    min_size=1,
    max_size=30,
).filter(any)


@given(WEIGHTS)
def test_scaled_weights_sum_to_the_whole_and_are_within_one_of_their_share(
    weights: list[Fraction],
) -> None:
    scaled = scale(weights)
    assert sum(scaled) == WHOLE
    total = sum(weights)
    for weight, got in zip(weights, scaled, strict=True):
        assert (got > 0) == (weight > 0)
        # the largest may have given way to some that were lifted to 1
        slack = len(weights) if weight == max(weights) else 1
        assert abs(got - weight * WHOLE / total) < slack


@given(WEIGHTS)
def test_heavier_stays_heavier(weights: list[Fraction]) -> None:
    scaled = scale(weights)
    for one, a in zip(weights, scaled, strict=True):
        assert all(a <= b for other, b in zip(weights, scaled, strict=True) if one < other)


def test_remainders_go_to_the_largest_and_of_equal_ones_to_the_first() -> None:
    third = WHOLE // 3
    assert scale([Fraction(1)] * 3) == [third + 1, third, third]
    # shares end in 3/7, 5/7 and 6/7 (2**64 is 2 mod 7)
    parts = [(WHOLE * n // 7, WHOLE * n % 7) for n in (1, 2, 4)]
    assert [rest for _, rest in parts] == [2, 4, 1]
    assert scale([Fraction(n) for n in (1, 2, 4)]) == [
        parts[0][0],
        parts[1][0] + 1,
        parts[2][0],
    ]


def test_a_tiny_weight_is_lifted_to_one_and_the_largest_gives_way() -> None:
    tiny = Fraction(1, 2**200)
    assert scale([tiny, Fraction(1), tiny, Fraction(0)]) == [1, WHOLE - 2, 1, 0]


def test_57_hundredths_are_not_cut() -> None:
    assert scale([Fraction("0.57"), Fraction("0.43")])[0] == round(Fraction("0.57") * WHOLE)


@pytest.mark.parametrize("weights", [[], [Fraction(0)], [Fraction(2), Fraction(-1)]])
def test_weights_that_weigh_nothing_are_refused(weights: list[Fraction]) -> None:
    with pytest.raises(UsageError, match="some above zero, got"):
        scale(weights)


@given(st.integers(1, 10**15), st.integers(1, 40))
def test_tempering_inverts_whole_powers(root: int, temperature: int) -> None:
    size = root**temperature
    if len(str(root)) <= 40:
        assert tempered([size, 0], Decimal(temperature)) == [Fraction(root), Fraction(0)]


@given(st.integers(2, 10**12), st.decimals("0.1", 100, places=3))
def test_tempering_is_near_what_floats_say(size: int, temperature: Decimal) -> None:
    (weight,) = tempered([size], temperature)
    assert math.isclose(math.log(size) / float(temperature), math.log(weight), rel_tol=1e-9)


def test_tempering_has_50_digits_whatever_the_callers_context() -> None:
    with decimal.localcontext(prec=5):
        (root,) = tempered([2], Decimal(2))
    # sqrt(2), from integers alone
    assert abs(root - Fraction(math.isqrt(2 * 10**98), 10**49)) <= Fraction(1, 10**49)


@pytest.mark.parametrize("temperature", ["0", "-1", "NaN", "Infinity", "0.001"])
def test_a_temperature_that_makes_no_sense_is_refused(temperature: str) -> None:
    with pytest.raises(UsageError, match=f"got {temperature}"):
        tempered([1, 2], Decimal(temperature))


def test_weights_of_bytes_are_divided_by_the_mean_length() -> None:
    weights = (Fraction(1, 2), Fraction(1, 2), Fraction(0))
    mixture = Mixture(sources=("a", "b", "c"), weights=weights, weigh_by="bytes")
    assert weigh(mixture, Amounts((10, 10, 0), (100, 1000, 0))) == [
        Fraction(1, 20),
        Fraction(1, 200),
        Fraction(0),
    ]
    with pytest.raises(UsageError, match="source b: expected bytes to weigh"):
        weigh(mixture, Amounts((10, 10, 0), (100, 0, 0)))
