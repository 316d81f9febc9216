"""What of a mixture's streams is needed, once their buckets have been counted, and what is lacking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from transforms.datasets.reports import Tally
from transforms.kernels.records.digest import Digest
from transforms.kernels.schedules.mixture import Draft
from transforms.kernels.schedules.needed import buckets_holding, length_of_bytes
from transforms.shuffling.streams import Streams


def by_stream(tallies: Iterable[Tally], streams: Streams) -> list[Tally]:
    """Add tallies up, stream by stream; none where nothing is tallied."""
    if not streams.tallied:
        return []
    nothing = [np.zeros(buckets, np.int64) for buckets in streams.buckets]
    total = [Tally(i, False, none, none, Digest()) for i, none in enumerate(nothing)]
    for tally in tallies:
        total[tally.stream] += tally
    return total


def bound_bytes(found: Draft, length: int, first: list[Tally]) -> tuple[int, bool]:
    """Return a length that holds the end by bytes, and whether it surely does."""
    most = found.mixture.max_bytes
    if most is None or not first:
        return length, True
    bound = length_of_bytes(
        found.schedule,
        most,
        bound=length,
        records=found.amounts.records,
        sizes=found.amounts.bytes,
        counts=[tally.records for tally in first],
        bytes_of=[tally.bytes for tally in first],
    )
    if bound is None:  # more may be counted, of anything
        return length, not found.mixture.repeats_as_needed
    return min(bound + 1, length), True  # one more: the end must not look as if it were beyond


def reached(
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
    until = tuple(map(max, wanted, streams.reach))
    return until, tuple(many > reach for many, reach in zip(until, streams.reach, strict=True))
