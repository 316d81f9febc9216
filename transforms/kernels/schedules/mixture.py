"""The mixture: what is asked of several sources, and, once they are counted, where it ends."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

from transforms.errors import UsageError
from transforms.kernels.arrays import I64
from transforms.kernels.schedules import stops, weights
from transforms.kernels.schedules.random_schedule import CHUNK, RandomSchedule
from transforms.kernels.schedules.repeats_schedule import RepeatsSchedule
from transforms.kernels.schedules.schedule import Schedule
from transforms.kernels.schedules.stratified_schedule import StratifiedSchedule

_SLOTS = 2**22  # of repeats, counted at a time
_TABLE = 32 << 20  # bytes of a table of counts; of many sources chunks are larger
_MOST_CHUNK = 1 << 26  # positions: some seconds' counting
_SLACK = 1.2  # more positions than a number of bytes or tokens should take, on average

Measure = Literal["bytes", "tokens"]
"""What a record has more or less of."""


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """What is asked. Without weights, temperature and repeats the sources are shuffled as one.

    Attributes:
        sources: their names, sorted.
        weights, repeats: one of each source, or None.
        temperature: weights are ``records ** (1 / temperature)``, or None.
        interleave: how weights are met.
        weigh_by: what weights are shares of.
        stop: the rule for the end; None for the default.
        max_records, max_bytes, max_tokens: where to end at the latest, one of the last two; bytes are
            those of the records, without line ends, tokens the lengths of a column of lists.
        seed, epoch: of the dataset.
        stage: its number among the stages of an output (``transforms.kernels.schedules.staged``).
        chunk: positions that are counted at a time, at least; nothing that is drawn depends on it.
    """

    sources: tuple[str, ...]
    weights: tuple[Fraction, ...] | None = None
    repeats: tuple[Fraction, ...] | None = None
    temperature: Decimal | None = None
    interleave: Literal["random", "stratified"] = "random"
    weigh_by: Literal["records", "bytes", "tokens"] = "records"
    stop: Literal["first_exhausted", "all_exhausted"] | None = None
    max_records: int | None = None
    max_bytes: int | None = None
    max_tokens: int | None = None
    seed: int = 0
    epoch: int = 0
    stage: int = 0
    chunk: int = CHUNK

    @property
    def measure(self) -> Measure:
        """What is counted of records beside their number."""
        by_tokens = self.weigh_by == "tokens" or self.max_tokens is not None
        return "tokens" if by_tokens else "bytes"

    @property
    def most(self) -> int | None:
        """How much of the measure there may be, None for any amount."""
        return self.max_bytes if self.max_tokens is None else self.max_tokens

    @property
    def is_ended(self) -> bool:
        """Whether it says how much there may be, in records, bytes or tokens."""
        return self.max_records is not None or self.most is not None

    @property
    def is_weighted(self) -> bool:
        """Whether sources are drawn by weight."""
        return self.weights is not None or self.temperature is not None

    @property
    def is_drawn(self) -> bool:
        """Whether its schedule is drawn, so that it has to be counted."""
        return self.repeats is not None or (self.is_weighted and self.interleave == "random")

    @property
    def may_repeat(self) -> bool:
        """Whether a source may begin again."""
        if self.repeats is not None:
            return any(times > 1 for times in self.repeats)
        return self.stop == "all_exhausted" or self.repeats_as_needed

    @property
    def is_union(self) -> bool:
        """Whether all sources are shuffled as one."""
        return not self.is_weighted and self.repeats is None

    @property
    def is_whole(self) -> bool:
        """Whether it is just every record of every source once, in one shuffle."""
        return self.is_union and not self.is_ended

    @property
    def repeats_as_needed(self) -> bool:
        """Whether sources begin again until a number of records, bytes or tokens is there."""
        return self.is_weighted and self.stop is None and self.is_ended


class Amounts(NamedTuple):
    """How much there is of each stream: a source, or all sources together for a union.

    Attributes:
        records: how many, for each.
        bytes: of these records, without line ends.
        tokens: of these records; empty where tokens aren't counted.
    """

    records: tuple[int, ...]
    bytes: tuple[int, ...]
    tokens: tuple[int, ...] = ()

    def of(self, what: Literal["records", "bytes", "tokens"]) -> tuple[int, ...]:
        """Return how much there is of each stream in one unit, ``what``."""
        found: tuple[int, ...] = getattr(self, what)
        return found

    def together(self) -> Amounts:
        """Return those of the union."""
        return Amounts(*((sum(one),) if one else () for one in self))


class Item(NamedTuple):
    """A piece of counting: a chunk of positions, or slots of one source."""

    source: int
    begin: int
    end: int


@dataclass(frozen=True)
class Draft:
    """A schedule that may have to be counted yet, and how far."""

    mixture: Mixture
    amounts: Amounts
    schedule: Schedule
    bound: int

    def items(self) -> Iterator[Item]:
        """Yield what has to be counted; pieces can be counted anywhere, in any order."""
        schedule = self.schedule
        if isinstance(schedule, RandomSchedule):
            for index in range(-(-self.bound // schedule.chunk)):
                yield Item(0, index, index + 1)
        elif isinstance(schedule, RepeatsSchedule):
            for source, total in enumerate(schedule.totals):
                for begin in range(0, total, _SLOTS):
                    yield Item(source, begin, min(begin + _SLOTS, total))

    def added_as(self, item: Item) -> Item:
        """Return as which piece one is added up with others: all slots of a source are one."""
        return Item(item.source, 0, 0) if isinstance(self.schedule, RepeatsSchedule) else item

    def count(self, item: Item) -> I64:
        """Count one piece."""
        schedule = self.schedule
        if isinstance(schedule, RandomSchedule):
            return schedule.count_chunk(item.begin)
        assert isinstance(schedule, RepeatsSchedule)
        return schedule.count_slots(*item)

    def counted(self, counts: Iterable[tuple[Item, I64]]) -> Draft:
        """Return the draft with its schedule counted."""
        schedule, found = self.schedule, sorted(counts, key=lambda pair: pair[0])
        if isinstance(schedule, RandomSchedule):
            if not found:
                return self
            return replace(self, schedule=schedule.with_counts(np.stack([row for _, row in found])))
        if isinstance(schedule, RepeatsSchedule):
            table = np.zeros((schedule.ranges, schedule.sources), np.int64)
            for item, column in found:
                table[:, item.source] += column
            return replace(self, schedule=schedule.with_counts(table))
        return self

    def counting_to(self, position: int) -> Draft:
        """Return the draft, counted on to a position at least."""
        schedule = self.schedule
        while isinstance(schedule, RandomSchedule) and schedule.counted_to < position:
            first = schedule.counted_to // schedule.chunk
            count = max(1, min(first, 64))
            rows = [schedule.count_chunk(first + i) for i in range(count)]
            schedule = schedule.with_counts(np.stack(rows))
        return replace(self, schedule=schedule)

    def ended(self, left: Sequence[int] | None = None) -> tuple[Draft, int]:
        """Return the draft, counted on where that was missed, and how many positions there are.

        Where ``most`` is given, they are as many as may be needed; which are, is found from the
        records' lengths.

        Args:
            left: records of each source that the rule for the end goes by, those of ``amounts`` at
                most; None for these.
        """
        mixture, draft = self.mixture, self
        most = mixture.max_records
        have = self.amounts.records
        left = have if left is None else [min(pair) for pair in zip(left, have, strict=True)]
        if draft.schedule.length is not None:
            end = draft.schedule.length
        elif mixture.is_union:
            end = sum(self.amounts.records)
        elif mixture.repeats_as_needed:
            end = draft.bound
        else:
            rule = stops.stop_all if mixture.stop == "all_exhausted" else stops.stop_first
            while (found := rule(draft.schedule, left)) is None:
                if most is not None and draft.schedule.counted_to >= most:
                    break
                draft = draft.counting_to(draft.schedule.counted_to + 1)
            end = most if found is None and most is not None else found or 0
        end = end if most is None else min(end, most)
        return draft.counting_to(end), end


def draft(mixture: Mixture, amounts: Amounts) -> Draft:
    """Make the schedule that a mixture asks for of counted sources.

    Args:
        mixture: what is asked.
        amounts: of each source, or of the one union.

    Raises:
        UsageError: a source that is to be drawn is empty, or has no bytes or tokens to weigh; an end
            that can't be met.
    """
    records = amounts.records
    if mixture.is_union:
        return Draft(mixture, amounts, StratifiedSchedule([weights.WHOLE]), 0)
    if mixture.repeats is not None:
        totals = [int(times * count) for times, count in zip(mixture.repeats, records, strict=True)]
        return Draft(
            mixture, amounts, RepeatsSchedule(totals, seed=mixture.seed, epoch=mixture.epoch), 0
        )
    shares = weigh(mixture, amounts)
    scaled = weights.scale(shares)
    for name, weight, count in zip(mixture.sources, scaled, records, strict=True):
        if not count and (weight or mixture.temperature is not None):
            raise UsageError(
                f"source {name} has a weight, but no records; set its weight to 0, or leave it out"
            )
    bound = _bound(mixture, amounts, scaled)
    if mixture.interleave == "stratified":
        return Draft(mixture, amounts, StratifiedSchedule(scaled), bound)
    chunk = mixture.chunk
    while bound // chunk * len(scaled) * 8 > _TABLE and chunk < _MOST_CHUNK:
        chunk *= 2
    schedule = RandomSchedule(
        scaled, seed=mixture.seed, epoch=mixture.epoch, stage=mixture.stage, chunk=chunk
    )
    return Draft(mixture, amounts, schedule, bound)


def weigh(mixture: Mixture, amounts: Amounts) -> list[Fraction]:
    """Return weights of records, not scaled yet: shares of what is weighed over its mean a record."""
    shares = _asked(mixture, amounts)
    if mixture.weigh_by != "records":
        sizes = amounts.of(mixture.weigh_by)
        for name, share, size in zip(mixture.sources, shares, sizes, strict=True):
            if not size and (share or mixture.temperature is not None):
                raise UsageError(
                    f"source {name}: expected {mixture.weigh_by} to weigh, got none in all its "
                    "records; leave it out, or pass --weigh_by=records"
                )
        held = zip(shares, amounts.records, sizes, strict=True)
        shares = [share * count / size if share else share for share, count, size in held]
    return shares


def means_of(amounts: Amounts, what: Measure) -> list[float]:
    """Return how much a record of each source has, on average."""
    held = zip(amounts.records, amounts.of(what), strict=True)
    return [size / count if count else 0.0 for count, size in held]


def record_shares(mixture: Mixture, amounts: Amounts) -> list[float]:
    """Return about which share of the records each source of a weighted mixture gives."""
    shares = _shares(mixture, amounts)
    if mixture.weigh_by != "records":
        means = means_of(amounts, mixture.weigh_by)
        shares = [share / mean if mean else 0.0 for share, mean in zip(shares, means, strict=True)]
    total = sum(shares)
    return [share / total for share in shares] if total else shares


def expect(
    mixture: Mixture, amounts: Amounts, *, left: Sequence[float] | None = None
) -> list[float]:
    """Return about how many records of each source come out, for plans.

    Args:
        mixture: what is asked.
        amounts: of each source, about.
        left: as of ``Draft.ended``.
    """
    records = [float(count) for count in amounts.records]
    if mixture.is_weighted:
        if not any(records):
            return records
        shares = record_shares(mixture, amounts)
        rest = zip(records if left is None else left, shares, strict=True)
        lengths = [count / share for count, share in rest if share] or [0.0]
        length = max(lengths) if mixture.stop == "all_exhausted" else min(lengths)
        if mixture.repeats_as_needed:
            length = math.inf
    else:
        times = mixture.repeats or [Fraction(1)] * len(records)
        wanted = [float(many) * count for many, count in zip(times, records, strict=True)]
        length = sum(wanted)
        shares = [count / (length or 1.0) for count in wanted]
    if mixture.max_records is not None:
        length = min(length, mixture.max_records)
    if mixture.most is not None:
        means = means_of(amounts, mixture.measure)
        mean = sum(share * size for share, size in zip(shares, means, strict=True))
        length = min(length, mixture.most / mean) if mean else length
    return [share * length for share in shares]


def _asked(mixture: Mixture, amounts: Amounts) -> list[Fraction]:
    """Return the weights as they were asked for, of what is weighed."""
    if mixture.temperature is None:
        return list(mixture.weights or ())
    return weights.tempered(amounts.of(mixture.weigh_by), mixture.temperature)


def _shares(mixture: Mixture, amounts: Amounts) -> list[float]:
    shares = _asked(mixture, amounts)
    total = sum(shares)
    return [float(share / total) for share in shares]


def asked_shares(mixture: Mixture, amounts: Amounts) -> tuple[float, ...] | None:
    """Return the share of each source that was asked for, of what is weighed; None without any."""
    weighted = mixture.is_weighted and any(amounts.records)
    return tuple(_shares(mixture, amounts)) if weighted else None


def _bound(mixture: Mixture, amounts: Amounts, scaled: Sequence[int]) -> int:
    """Return how many positions hold the end, save where more are counted later."""
    bounds = []
    if mixture.max_records is not None:
        bounds.append(mixture.max_records)
    if mixture.stop == "all_exhausted":
        bounds.append(stops.bound_all(scaled, amounts.records))
    elif not mixture.repeats_as_needed:
        bounds.append(stops.bound_first(scaled, amounts.records))
    if mixture.most is not None and mixture.repeats_as_needed:
        what = mixture.measure
        mean = sum(
            Fraction(weight * size, count)
            for weight, size, count in zip(scaled, amounts.of(what), amounts.records, strict=True)
            if weight
        )
        if mean:
            about = mixture.most * weights.WHOLE / mean
            bounds.append(int(about * Fraction(_SLACK)) + 1000)
        elif mixture.max_records is None:
            raise UsageError(
                f"--max_{what}={mixture.most}: expected records that aren't empty, got only "
                f"empty ones, which never make this many {what}; pass --max_records instead"
            )
    return min(bounds)
