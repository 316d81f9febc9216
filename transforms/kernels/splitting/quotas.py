"""Quotas: how many records of each label a counted split is to have (``--stratify``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transforms.kernels.arrays import I64


def quotas(records: Sequence[int], counts: Sequence[int]) -> I64:
    """Share counts out among labels in proportion to their records, by largest remainder.

    A split shares its count in proportion to the records that no split before it was given: so no label
    is asked for more records than it has, whatever the counts.

    Args:
        records: of each label, in the labels' order, by which ties of remainders are settled.
        counts: what each split is to have; together no more than there are records.

    Returns:
        int64[splits, labels]; a split's come to its count, and each is its exact share, rounded up or
        down.

    >>> quotas([6, 3, 1], [5, 3]).tolist()
    [[3, 2, 0], [2, 0, 1]]

    Raises:
        ValueError: the counts are more than the records.

    Source: Hamilton's method, as for seats of a parliament.
    """
    left = [int(number) for number in records]
    out = np.zeros((len(counts), len(left)), np.int64)
    for split, count in enumerate(counts):
        total = sum(left)
        if count > total:
            raise ValueError(
                f"expected counts of at most {sum(records):,} records in total, got {counts}"
            )
        shares = [divmod(count * number, max(total, 1)) for number in left]  # beyond 64 bits
        mine = [share for share, _ in shares]
        nearest = sorted(range(len(left)), key=lambda label: -shares[label][1])
        for label in nearest[: count - sum(mine)]:
            mine[label] += 1
        out[split] = mine
        left = [number - taken for number, taken in zip(left, mine, strict=True)]
    return out
