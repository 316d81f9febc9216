"""Logarithms are those nearest to the truth."""

from __future__ import annotations

from decimal import Context, Decimal

from hypothesis import given
from hypothesis import strategies as st

from transforms.tokenization.models.bytepiece import correctly_rounded_logs

# of bytepiece_80k and bytepiece.plus.40k those of which numpy (with AVX-512) or the C library gives
# the float64 on the other side, and some that long doubles round to the wrong side
HARD = [9170, 19143, 411994, 429173, 2281309, 7285, 11448, 28886, 37281, 37627, 39133, 50924]


def nearest(count: int) -> float:
    """Return the float64 nearest to ln(count), of 60 digits."""
    return float(Decimal(count).ln(Context(prec=60)))


@given(counts=st.lists(st.integers(1, 2**63 - 1) | st.integers(1, 2**70), max_size=20))
def test_each_is_the_nearest(counts: list[int]) -> None:
    assert correctly_rounded_logs(counts).tolist() == [nearest(count) for count in counts]


def test_hard_ones_and_many() -> None:
    counts = [*range(1, 3000), *HARD, *(2**k for k in range(63)), *(10**k for k in range(18))]
    assert correctly_rounded_logs(counts).tolist() == [nearest(count) for count in counts]
