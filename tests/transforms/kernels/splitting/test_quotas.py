"""Quotas: exact shares rounded, never more than there are, ties by label."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.kernels.splitting.quotas import quotas


@given(
    records=st.lists(st.integers(0, 60), min_size=1, max_size=8),
    shares=st.lists(st.integers(1, 40), min_size=1, max_size=4),
)
def test_quotas_are_exact_shares_rounded_and_never_exceed_what_is_there(
    records: list[int], shares: list[int]
) -> None:
    counts, room = [], sum(records)
    for share in shares:
        counts.append(min(share, room))
        room -= counts[-1]
    left = list(records)
    for count, found in zip(counts, quotas(records, counts).tolist(), strict=True):
        assert sum(found) == count
        total = sum(left)
        exact = [Fraction(count * n, max(total, 1)) for n in left]
        assert all(abs(have - want) < 1 for have, want in zip(found, exact, strict=True))
        rest = [want - want.__floor__() for want in exact]
        up = {i for i, want in enumerate(exact) if found[i] > want.__floor__()}
        for i in up:  # those rounded up have the largest remainders, of equal ones the first
            assert all((rest[i], -i) > (rest[j], -j) for j in range(len(left)) if j not in up)
        left = [n - taken for n, taken in zip(left, found, strict=True)]
        assert min(left) >= 0


def test_quotas_are_exact_beyond_64_bits() -> None:
    """10**15 records a label and counts of 10**15: products that no float64 or int64 holds."""
    records = [10**15 + 1, 10**15, 10**15 - 1]
    assert quotas(records, [10**15 + 1]).tolist() == [
        [333333333333334, 333333333333334, 333333333333333]
    ]


def test_more_than_is_there_is_refused() -> None:
    with pytest.raises(ValueError, match="expected counts of at most 3 records"):
        quotas([2, 1], [2, 2])
