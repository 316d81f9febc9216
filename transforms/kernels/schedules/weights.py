"""Weights of sources, exact: fractions in, integers that sum to 2**64 out.

Nothing here is a float: powers and sums in floating point differ between libraries, and a weight
that differs in its last bit is another dataset.
"""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from transforms.errors import UsageError

WHOLE = 2**64
"""What scaled weights sum to."""

DIGITS = 50
LEAST_TEMPERATURE = Decimal("0.01")  # below it powers have too many digits to be worth having


def scale(fractions: Sequence[Fraction]) -> list[int]:
    """Scale weights to integers that sum to exactly 2**64, by largest remainder.

    Remainders that are equal go by index. A weight above zero never becomes zero (the largest gives
    way), a weight of zero stays zero.

    Args:
        fractions: one of each source, none negative, of any sum.

    Raises:
        UsageError: no weight is above zero, or one is below.

    >>> [weight / 2**64 for weight in scale([Fraction(1), Fraction(0), Fraction(3)])]
    [0.25, 0.0, 0.75]
    """
    total = sum(fractions)
    if total <= 0 or min(fractions) < 0:
        raise UsageError(
            "expected weights of at least zero, some above zero, got "
            f"{', '.join(str(float(weight)) for weight in fractions) or 'none'}"
        )
    shares = [weight * WHOLE / total for weight in fractions]
    scaled = [max(int(share), 1) if share else 0 for share in shares]
    left = WHOLE - sum(scaled)
    if left < 0:  # lifting tiny weights to 1 has cost more than all remainders together
        scaled[scaled.index(max(scaled))] += left
        return scaled
    remainders = sorted(
        (i for i, share in enumerate(shares) if scaled[i] < share),
        key=lambda i: scaled[i] - shares[i],
    )
    for i in remainders[:left]:
        scaled[i] += 1
    return scaled


def check_scaled(weights: Sequence[int]) -> None:
    """Raise ValueError where weights haven't been scaled."""
    if min(weights, default=0) < 0 or sum(weights) != WHOLE:
        raise ValueError(
            f"expected weights that sum to 2**64, got a sum of {sum(weights)}: scale them first"
        )


def tempered(sizes: Sequence[int], temperature: Decimal) -> list[Fraction]:
    """Return weights proportional to ``size ** (1 / temperature)``, right to 50 digits.

    By ``exp(ln(size) / temperature)``, whose steps are correctly rounded in every version of
    ``decimal``; its own power isn't. With 10 digits to spare, so that what has 50 digits is exact.

    Args:
        sizes: records of each source; an empty one gets zero.
        temperature: 1 leaves sizes as weights, above it small sources gain.

    Raises:
        UsageError: temperature isn't a number from 0.01.

    >>> tempered([9, 16, 0], Decimal(2))
    [Fraction(3, 1), Fraction(4, 1), Fraction(0, 1)]
    """
    if not temperature.is_finite() or temperature < LEAST_TEMPERATURE:
        raise UsageError(
            f"expected a temperature of {LEAST_TEMPERATURE} or above, got {temperature}: 1 keeps "
            "the proportions of the sources' sizes, larger ones even them out"
        )
    working = decimal.Context(prec=DIGITS + 10, rounding=decimal.ROUND_HALF_EVEN)
    rounded = decimal.Context(prec=DIGITS, rounding=decimal.ROUND_HALF_EVEN)

    def power(size: int) -> Fraction:
        exponent = working.divide(working.ln(Decimal(size)), temperature)
        return Fraction(rounded.plus(working.exp(exponent)))

    return [power(size) if size else Fraction(0) for size in sizes]
