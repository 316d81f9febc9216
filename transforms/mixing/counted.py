"""What the sources of a mixture hold, counted, and what of their streams is needed for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.datasets.reports import Mixed, Tally
from transforms.kernels.records.digest import Digest
from transforms.kernels.schedules.mixture import Draft
from transforms.kernels.schedules.needed import buckets_holding, length_of_size
from transforms.shuffling.streams import Streams


@dataclass(frozen=True)
class Counted:
    """A mixture of counted sources.

    Attributes:
        draft: with the schedule counted.
        length: positions, or the most that may be needed.
        read: digest of each source, of one pass.
        footprints: of each stream's records, of one pass, in memory.
        small: which streams' passes are all made of the first one's records, held in memory.
        passes: begun, at most, of each stream.
        asked: as of Mixed.
        needed: how many buckets of each stream's first pass are spilled in the end; empty for all.
        reread: which streams have to be read once more for it.
    """

    draft: Draft
    length: int
    read: tuple[Digest, ...]
    footprints: tuple[int, ...]
    small: tuple[bool, ...]
    passes: tuple[int, ...]
    asked: tuple[float, ...] | None
    needed: tuple[int, ...] = ()
    reread: tuple[bool, ...] = ()

    def spilled(self, source: int) -> int:
        """Return how many passes of a stream are read."""
        return 1 if self.small[source] else max(self.passes[source], 1)

    def read_by_stream(self, *, union: bool) -> list[Digest]:
        """Return the digest of each stream, of one pass."""
        return [Digest.total(self.read)] if union else list(self.read)

    def beyond(self, tallies: Iterable[Tally]) -> list[Digest]:
        """Return the digest of what was read of each stream's first pass and not spilled."""
        total = [Digest()] * len(self.passes)
        for tally in tallies:
            if tally.reread == bool(self.reread and self.reread[tally.stream]):
                total[tally.stream] += tally.beyond
        return total

    def mixed(self, *, shards: int, unused: Sequence[Digest], union: bool) -> Mixed:
        """Sum up; ``unused`` of each stream, as far as shards don't report it."""
        used = self.draft.schedule.counts_before(self.length).tolist()
        begun = passes_begun(used, self.draft.amounts.records)
        return Mixed(
            length=self.length,
            shards=shards,
            records=tuple(used),
            passes=tuple(begun),
            accounted=tuple(
                max(many, 1) if self.small[source] else self.spilled(source)
                for source, many in enumerate(begun)
            ),
            unused=tuple(unused),
            asked=self.asked,
            union=union,
        )

    def about(self, sizes: Sequence[int]) -> int:
        """Return about how much all records together have of what one pass of each stream has."""
        used = self.draft.schedule.counts_before(self.length).tolist()
        return sum(
            count * size // max(records, 1)
            for count, records, size in zip(used, self.draft.amounts.records, sizes, strict=True)
        )


def passes_begun(used: Sequence[int], records: Sequence[int]) -> list[int]:
    """Return how many passes each stream begins that gives so many records and has so many."""
    return [-(-count // have) if have else 0 for count, have in zip(used, records, strict=True)]


def by_stream(tallies: Iterable[Tally], streams: Streams) -> list[Tally]:
    """Add tallies up, stream by stream; none where nothing is tallied."""
    if not streams.tallied:
        return []
    nothing = [np.zeros(buckets, np.int64) for buckets in streams.buckets]
    total = [Tally(i, False, none, none, Digest()) for i, none in enumerate(nothing)]
    for tally in tallies:
        total[tally.stream] += tally
    return total


def bound_size(found: Draft, length: int, first: list[Tally]) -> tuple[int, bool]:
    """Return a length that holds the end by bytes or tokens, and whether it surely does."""
    most = found.mixture.most
    if most is None or not first:
        return length, True
    bound = length_of_size(
        found.schedule,
        most,
        bound=length,
        records=found.amounts.records,
        sizes=found.amounts.of(found.mixture.measure),
        counts=[tally.records for tally in first],
        sizes_of=[tally.measured for tally in first],
    )
    if bound is None:  # more may be counted, of anything
        return length, not found.mixture.repeats_as_needed
    return min(bound + 1, length), True  # one more: the end must not look as if it were beyond


def needed_buckets(
    used: Sequence[int],
    small: Sequence[bool],
    first: list[Tally],
    streams: Streams,
    *,
    bounded: bool,
) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Return how many buckets of each first pass are needed, and which streams lack some of them."""
    if not first:
        return (), ()
    wanted = [
        buckets_holding(tally.records, many) if bounded and not held else len(tally.records)
        for tally, many, held in zip(first, used, small, strict=True)
    ]
    have = streams.first_needed
    found = tuple(map(max, wanted, have))
    return found, tuple(many > few for many, few in zip(found, have, strict=True))
