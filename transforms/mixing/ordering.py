"""Ordering: what is asked of one split's documents, on their way from blocks of text to packed rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from transforms.datasets.reports import SpanReports
from transforms.kernels.packing.rows import Packing
from transforms.kernels.records.digest import Digest
from transforms.kernels.schedules.mixture import Amounts, Draft
from transforms.kernels.schedules.staged import Stage
from transforms.kernels.schedules.staged_schedule import StagedSchedule
from transforms.mixing.counted import Counted
from transforms.packing.pack_documents import Begun, Budget
from transforms.packing.parts import PartKey
from transforms.shuffling.spill_files import Spilling
from transforms.shuffling.streams import Streams


@dataclass(frozen=True, kw_only=True)
class Ordering:
    """What is asked of one split.

    Attributes:
        name: of the split.
        stages: in order, one at least.
        streams: how records are cut; its measure is the column of ids.
        spill: how they are spilled.
        sampled: whether each pass of a source has ids of its own.
        repeats: whether sources can be read again.
        packing, key, budget: as of PackDocuments.
        bucket_bytes: footprint of all buckets that are held at once.
        max_records, max_tokens: where the split ends at the latest.
    """

    name: str
    stages: tuple[Stage, ...]
    streams: Streams
    spill: Spilling
    sampled: bool
    packing: Packing
    key: PartKey
    repeats: bool = True
    budget: Budget = field(default_factory=Budget)
    bucket_bytes: int = 64 << 20
    max_records: int | None = None
    max_tokens: int | None = None

    @property
    def row_tokens(self) -> int | None:
        """Tokens that rows have at most, where documents' tokens say how many they make; else None."""
        packing = self.packing
        return packing.length if packing.is_joined and packing.is_lossless else None

    def tokens_left(self, begun: Begun) -> int | None:
        """Return how many tokens the split may have yet; None for any number."""
        return None if self.max_tokens is None else max(self.max_tokens - begun.tokens, 0)

    def rows_left(self, begun: Begun) -> int | None:
        """Return how many rows the split may have yet; None for any number."""
        return self.budget.rows_left(begun)

    def is_endless(self, stage: Stage) -> bool:
        """Return whether nothing but its own ``until`` ends a stage, or all rows."""
        mixture = stage.mixture
        ended = (mixture.stop, self.max_records, self.max_tokens) != (None, None, None)
        return mixture.is_weighted and not ended

    def is_full(self, begun: Begun) -> bool:
        """Return whether the split has all that it may have."""
        return self.tokens_left(begun) == 0 or self.rows_left(begun) == 0


@dataclass(frozen=True)
class Weighed:
    """The stages' schedules, to be counted yet, and how much there is of all sources."""

    drafts: tuple[Draft, ...]
    amounts: Amounts


@dataclass(frozen=True)
class Bounds:
    """The stages counted, and what of the sources may be needed for all of them.

    Attributes:
        drafts: of the stages, their schedules counted.
        amounts: of all sources, whichever a stage draws.
        counted: how much is spilled; its schedule is the first stage's.
    """

    drafts: tuple[Draft, ...]
    amounts: Amounts
    counted: Counted


def count_of(stage: Stage, unit: str) -> int | None:
    """Return after how many tokens, rows or records a stage ends; None where another unit says it."""
    return stage.until.count if stage.until and stage.until.unit == unit else None


def schedule_of(drafts: Sequence[Draft], lengths: Sequence[int]) -> Any:
    """Return the schedule of stages, each of so many positions, counted as far as these go."""
    pairs = zip(drafts, lengths, strict=True)
    schedules = [found.counting_to(length).schedule for found, length in pairs]
    return schedules[0] if len(schedules) == 1 else StagedSchedule(schedules, lengths)


def read_once(spans: Iterable[SpanReports], sources: Sequence[str]) -> dict[str, Digest]:
    """Add up what the first pass read of each source."""
    total = dict.fromkeys(sources, Digest())
    for reports in spans:
        for source, found in reports.opened().of_pass(0).by_source():
            total[source] += found.digest
    return total
