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

_SIGMAS = 6  # deviations that bounds leave room for
_SPREAD = 2.0  # deviation of a source's lengths over their mean, where nobody knows it


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
            raise UsageError("stages end by records, tokens or rows; leave --max_bytes out")
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


def most_of_stages(
    stages: Sequence[Stage],
    amounts: Amounts,
    *,
    row_tokens: int | None = None,
    spread: float = _SPREAD,
) -> list[float]:
    """Return how many records each source gives over all stages, and hardly ever exceeds.

    By what is expected, with six deviations of draws, and of records' lengths where tokens end a stage.

    Args:
        stages: what is asked.
        amounts: of each source, with tokens where a stage counts them.
        row_tokens: as of ``Stage.alone``.
        spread: deviation of the lengths of a source's records over their mean.
    """
    records = amounts.records
    if not stages[0].mixture.is_weighted:
        return expect(stages[0].alone(0, row_tokens=row_tokens), amounts)
    low, high = [0.0] * len(records), [0.0] * len(records)
    for number, stage in enumerate(stages):
        mixture = stage.alone(number, row_tokens=row_tokens)
        mine = _drawn(mixture, amounts)
        shares = record_shares(mixture, mine)
        rests = [  # at least and at most, of the pass that a source is in
            (max(n - b, 0.0), n - a) if b < n else (0.0, float(n))
            for n, a, b in zip(records, low, high, strict=True)
        ]
        least, most = _length(mixture, mine, shares, rests, spread)
        least = min(least, _rest_of_output(stage.mixture, amounts, sum(high), high))
        rest = _rest_of_output(stage.mixture, amounts, sum(low), low)
        most = min(most, _above(rest, 1 + spread**2) if stage.mixture.max_tokens else rest)
        stays = mixture.stop != "all_exhausted" and not mixture.repeats_as_needed
        for i, share in enumerate(shares):
            inside = high[i] <= records[i]
            low[i] += _below(least * share)
            high[i] += _above(most * share) if share else 0.0
            if stays and inside:  # no draw begins a pass
                high[i] = min(high[i], records[i])
    return high


def _length(
    mixture: Mixture,
    amounts: Amounts,
    shares: Sequence[float],
    rests: Sequence[tuple[float, float]],
    spread: float,
) -> tuple[float, float]:
    """Return how many positions a stage has by itself, at least and at most."""
    bounds = []
    if mixture.max_records is not None:
        bounds.append((float(mixture.max_records),) * 2)
    if mixture.most is not None:
        means = means_of(amounts, mixture.measure)
        mean = sum(share * one for share, one in zip(shares, means, strict=True))
        square = sum(share * one**2 for share, one in zip(shares, means, strict=True))
        if mean:
            times = max(square * (1 + spread**2) / mean**2 - 1, 0.0)
            about = mixture.most / mean
            bounds.append((_below(about, times), _above(about, times)))
    if not mixture.repeats_as_needed:
        each = [
            (_below(few) / share, _above(many) / share)
            for (few, many), share in zip(rests, shares, strict=True)
            if share
        ]
        choose = max if mixture.stop == "all_exhausted" else min
        bounds.append((choose(few for few, _ in each), choose(many for _, many in each)))
    return min(few for few, _ in bounds), min(many for _, many in bounds)


def _above(count: float, times: float = 1.0) -> float:
    """Return what a count hardly exceeds: ``times`` the variance of draws, and of few some more."""
    return count + _SIGMAS * math.sqrt(times * count) + _SIGMAS**2 / 2


def _below(count: float, times: float = 1.0) -> float:
    return max(count - _SIGMAS * math.sqrt(times * count), 0.0)
