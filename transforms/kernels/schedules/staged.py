"""Stages: parts of an output with weights of their own, one after another.

Sources go on from stage to stage where they were. Which source a stage draws at a position of its own
doesn't depend on the stages before it, so all are counted at once; only where each ends is found in
their order, since what is left of a source is what those before it left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from transforms.errors import UsageError
from transforms.kernels.arrays import I64
from transforms.kernels.schedules.mixture import (
    Amounts,
    Draft,
    Item,
    Mixture,
    draft,
    expect,
    means_of,
    record_shares,
)


@dataclass(frozen=True)
class Until:
    """Where a stage ends: after so many records, before the record that would exceed so many tokens,
    or after so many rows of packed documents.
    """

    unit: Literal["records", "tokens", "rows"]
    count: int


@dataclass(frozen=True)
class Stage:
    """A part of the output.

    Attributes:
        mixture: its law, over the sources of all stages; those that it leaves out have weight 0. Its
            ``max_records`` and so on are the whole output's.
        until: where it ends at the latest. None of the last, which ends where the output does.
    """

    mixture: Mixture
    until: Until | None = None

    def alone(self, number: int, *, row_tokens: int | None = None, joined: bool = True) -> Mixture:
        """Return the mixture that it would be by itself, with its ``until`` as its end.

        Args:
            number: its place among the stages.
            row_tokens: tokens of documents in a row, at most; None where a row is a record.
            joined: whether a row holds several documents; else they are no more than rows.
        """
        mixture = replace(self.mixture, stage=number)
        if self.until is None:
            return mixture
        unit, count = self.until.unit, self.until.count
        if unit == "rows" and row_tokens is not None:
            if not joined:
                mixture = replace(self, until=Until("records", count)).alone(number)
            unit, count = "tokens", count * row_tokens
        if unit == "tokens":
            most = count if mixture.max_tokens is None else mixture.max_tokens
            return replace(mixture, max_tokens=min(count, most))
        most = count if mixture.max_records is None else mixture.max_records
        return replace(mixture, max_records=min(count, most))


def draft_stages(
    stages: Sequence[Stage], amounts: Amounts, *, row_tokens: int | None = None
) -> list[Draft]:
    """Make the schedule of each stage, to be counted as far as any source's rest may reach.

    Args:
        stages: one, of any mixture, or several by weights.
        amounts: of all sources, with tokens where a stage counts them.
        row_tokens: as of ``Stage.alone``.

    Raises:
        UsageError: as of ``mixture.draft``, naming the stage; one of several isn't by weights, or ends
            by bytes.
    """
    found = []
    for number, stage in enumerate(stages):
        mixture = stage.alone(number, row_tokens=row_tokens)
        if len(stages) > 1 and not mixture.is_weighted:
            raise UsageError(f"stage {number + 1}: expected weights or a temperature, got neither")
        if len(stages) > 1 and mixture.max_bytes is not None:
            raise UsageError(
                "expected stages that end by records, tokens or rows; leave --max_bytes out"
            )
        try:
            found.append(draft(mixture, _drawn(mixture, amounts)))
        except UsageError as error:
            where = f"stage {number + 1}: " if len(stages) > 1 else ""
            raise UsageError(f"{where}{error}") from None
    return found


def _drawn(mixture: Mixture, amounts: Amounts) -> Amounts:
    """Return the amounts of a stage's own sources; no rule for an end waits for the others."""
    if mixture.weights is None:
        return amounts
    weights = mixture.weights
    return Amounts(
        *(tuple(n if w else 0 for n, w in zip(one, weights, strict=False)) for one in amounts)
    )


def items_of(drafts: Sequence[Draft]) -> Iterator[tuple[int, Item]]:
    """Yield what has to be counted of each stage; pieces can be counted anywhere, in any order."""
    for number, one in enumerate(drafts):
        for item in one.items():
            yield number, item


def counted(drafts: Sequence[Draft], counts: Iterable[tuple[int, Item, I64]]) -> list[Draft]:
    """Return the drafts with their schedules counted."""
    of: list[list[tuple[Item, I64]]] = [[] for _ in drafts]
    for number, item, row in counts:
        of[number].append((item, row))
    return [one.counted(mine) for one, mine in zip(drafts, of, strict=True)]


def left_of(used: Sequence[int], records: Sequence[int]) -> list[int]:
    """Return what is left of each source: of the pass that it is in, which may be just over.

    So a source that one stage has used up gives no record to a later one that stops where its sources
    are exhausted; one that repeats as needed begins again.

    Args:
        used: how many records each has given.
        records: how many it has.

    >>> left_of([0, 3, 5, 12], [5, 5, 5, 5])
    [5, 2, 0, 3]
    """
    return [
        -count % size if count and size else size for count, size in zip(used, records, strict=True)
    ]


def expect_stages(
    stages: Sequence[Stage],
    amounts: Amounts,
    *,
    row_tokens: int | None = None,
    joined: bool = True,
) -> list[list[float]]:
    """Return about how many records of each source come out of each stage, for plans.

    Args:
        stages: what is asked.
        amounts: of each source, about, with tokens where a stage counts them.
        row_tokens, joined: as of ``Stage.alone``.
    """
    used = [0.0] * len(amounts.records)
    found: list[list[float]] = []
    for number, stage in enumerate(stages):
        mixture = stage.alone(number, row_tokens=row_tokens, joined=joined)
        left = [_rest(count, size) for count, size in zip(used, amounts.records, strict=True)]
        mine = expect(mixture, _drawn(mixture, amounts), left=left)
        rest = _rest_of_output(stage.mixture, amounts, sum(used), used)
        shrunk = min(1.0, rest / sum(mine)) if sum(mine) else 1.0
        found.append([count * shrunk for count in mine])
        used = [a + b for a, b in zip(used, found[-1], strict=True)]
    return found


def _rest(used: float, size: int) -> float:
    """Return ``left_of`` of what is expected, where whole passes are met only about."""
    if not used or not size:
        return size
    return max(math.ceil(used / size - 1e-9) * size - used, 0.0)


def _rest_of_output(
    mixture: Mixture, amounts: Amounts, records: float, used: Sequence[float]
) -> float:
    """Return how many records the output's own end leaves to a stage, about, of its own law.

    Args:
        mixture: of the stage.
        amounts: of each source.
        records: in the stages before it.
        used: the same, of each source.
    """
    rest = math.inf
    if mixture.max_records is not None:
        rest = mixture.max_records - records
    if mixture.max_tokens is not None:
        means = means_of(amounts, "tokens")
        spent = sum(count * mean for count, mean in zip(used, means, strict=True))
        shares = shares_of_law(mixture, amounts)
        mean = sum(share * one for share, one in zip(shares, means, strict=True))
        rest = min(rest, (mixture.max_tokens - spent) / mean) if mean else rest
    return max(rest, 0.0)


def shares_of_law(mixture: Mixture, amounts: Amounts) -> list[float]:
    """Return which share of the records each source gives, about."""
    if mixture.is_weighted:
        return record_shares(mixture, _drawn(mixture, amounts))
    times = mixture.repeats or (Fraction(1),) * len(amounts.records)
    counts = [float(n * count) for n, count in zip(times, amounts.records, strict=True)]
    return [count / (sum(counts) or 1.0) for count in counts]
