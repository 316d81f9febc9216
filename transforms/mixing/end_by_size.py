"""Where a mixture ends by bytes or tokens: at the last position before which records have so many."""

from __future__ import annotations

from dataclasses import replace

from transforms.errors import RunError
from transforms.kernels.schedules import stops
from transforms.mixing.counted import Counted
from transforms.mixing.shard_layout import StreamTables
from transforms.mixing.sizes_before import SizesBefore


def sizes_before(counted: Counted, tables: StreamTables) -> SizesBefore:
    """Return the sizes of a mixture's records before positions."""
    draft = counted.draft
    return SizesBefore(draft.schedule, tables, records=draft.amounts.records, small=counted.small)


def find_end(counted: Counted, tables: StreamTables) -> Counted:
    """Return a mixture with the length that it has, counted on where its ``most`` lay beyond.

    Raises:
        RunError: it lies even beyond what can be counted of what was spilled.
    """
    mixture = counted.draft.mixture
    most = mixture.most
    if most is None:
        return counted
    end = sizes_before(counted, tables).find_end(0, counted.length, most)
    if _is_short(counted, end):
        counted = _count_on(counted, most)
        end = sizes_before(counted, tables).find_end(0, counted.length, most)
    if _is_short(counted, end):
        what = mixture.measure
        raise RunError(
            f"--max_{what}={most}: the records drawn have fewer {what} than estimated from mean "
            "lengths, because their lengths vary widely; pass --max_records too, or --stop"
        )
    return replace(counted, length=end)


def _is_short(counted: Counted, end: int) -> bool:
    """Return whether the end may lie beyond the positions that were counted."""
    mixture = counted.draft.mixture
    return mixture.repeats_as_needed and end == counted.length and end != mixture.max_records


def _count_on(counted: Counted, most: int) -> Counted:
    """Count on as far as the passes go that were spilled, or, held in memory, are enough."""
    draft = counted.draft
    sizes = draft.amounts.of(draft.mixture.measure)
    amounts = zip(draft.amounts.records, sizes, counted.small, strict=True)
    have = [
        records * (most // max(size, 1) + 1 if small else counted.spilled(source))
        for source, (records, size, small) in enumerate(amounts)
    ]
    while (end := stops.stop_first(draft.schedule, [min(n, 1 << 62) for n in have])) is None:
        draft = draft.counting_to(draft.schedule.counted_to + 1)
    end = min(end, draft.mixture.max_records or end)
    return replace(counted, draft=draft, length=max(end, counted.length))
