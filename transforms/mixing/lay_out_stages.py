"""Laying out stages: how far each may go, and which pages its documents come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import apache_beam as beam

from transforms.datasets.reports import Mixed
from transforms.errors import RunError
from transforms.kernels.planning.plan import count_shards
from transforms.kernels.records.digest import Digest
from transforms.kernels.schedules import stops
from transforms.kernels.schedules.mixture import Draft
from transforms.kernels.schedules.staged import left_of
from transforms.mixing.counted import Counted
from transforms.mixing.ordering import Bounds, Ordering, count_of, schedule_of
from transforms.mixing.packed_shards import Content, pack_content, pack_schedule
from transforms.mixing.shard_layout import Layout, StreamTables
from transforms.mixing.shards import MixedShard
from transforms.mixing.sizes_before import SizesBefore
from transforms.packing.pack_documents import Begun
from transforms.shuffling.file_ranges import write_references
from transforms.shuffling.packed import pack
from transforms.storage import files as storage

_ENDLESS = 1 << 62  # records, of a source that repeats from memory
_CHUNKS = 4  # chunks of documents, to a shard of the default size


def stage_of(
    ordering: Ordering, bounds: Bounds, begun: Begun, tables: StreamTables
) -> tuple[Counted, int, int]:
    """Find how far the next stage is laid down: what is counted, where it begins, where it ends.

    Raises:
        RunError: its end lies beyond what was spilled.
    """
    number = len(begun.records)
    lengths = list(begun.records)
    drafts, spilled, records = bounds.drafts, bounds.counted, bounds.amounts.records
    begin = sum(lengths)
    used = [0] * len(records)
    if number:
        before = schedule_of(drafts[:number], lengths)
        used = before.counts_before(begin).tolist()
    found, bound = drafts[number].ended(left_of(used, records))
    if ordering.max_records is not None:
        bound = min(bound, max(ordering.max_records - begin, 0))
    if ordering.is_full(begun):
        bound = 0
    while True:
        schedule = schedule_of([*drafts[:number], found], [*lengths, bound])
        sizes = SizesBefore(schedule, tables, records=records, small=spilled.small)
        end, short = _find_end(ordering, begun, sizes, begin, begin + bound)
        mixture = found.mixture
        if short is None or not mixture.repeats_as_needed or mixture.max_records is not None:
            break
        found, further = _count_on(found, bound, _room(spilled, tables, used))
        if further == bound:
            raise RunError(
                f"expected {short}, the documents drawn have fewer than estimated from mean "
                "lengths, because their lengths vary widely; pass --max_records too, or --stop"
            )
        bound = further
    schedule = schedule_of([*drafts[:number], found], [*lengths, end - begin])
    whole = replace(spilled.draft, schedule=schedule, bound=end)
    return replace(spilled, draft=whole, length=end), begin, end


def _find_end(
    ordering: Ordering, begun: Begun, sizes: SizesBefore, begin: int, bound: int
) -> tuple[int, str | None]:
    """Return where the next stage ends, and which number lies beyond a bound, in words."""
    stage, end, short = ordering.stages[len(begun.records)], bound, None
    budgets = [n for n in (count_of(stage, "tokens"), ordering.tokens_left(begun)) if n is not None]
    if budgets and bound > begin:
        end = sizes.find_end(begin, bound, min(budgets))
        short = f"{min(budgets):,} tokens" if end == bound else None
    rows = [n for n in (count_of(stage, "rows"), ordering.rows_left(begun)) if n is not None]
    if rows and end > begin and ordering.row_tokens is not None:
        far = sizes.find_end(begin, end, min(rows) * ordering.row_tokens - 1) + 1
        if end == bound:
            short = f"{min(rows):,} rows" if far > end else None
        end = min(far, end)
    return end, short


def _room(spilled: Counted, tables: StreamTables, used: Sequence[int]) -> list[int]:
    """Return how many records more each source has in what was spilled."""
    return [
        (_ENDLESS if small else sum(tables.stream(i, n).size for n in range(spilled.spilled(i))))
        - count
        for i, (small, count) in enumerate(zip(spilled.small, used, strict=True))
    ]


def _count_on(found: Draft, bound: int, room: Sequence[int]) -> tuple[Draft, int]:
    """Count a stage on to twice a bound, or as far as the sources have room for."""
    further = 2 * bound + 1
    found = found.counting_to(further)
    end = stops.stop_first(found.schedule, room)
    return found, max(bound, further if end is None else min(further, end))


class LayOutStage(beam.DoFn):  # type: ignore[misc]
    """Say which pages the chunks of a stage are made of, in a file of references."""

    def __init__(self, config: Ordering) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.spill.storage_options)

    def process(
        self, element: tuple[int, Iterable[bytes]], bounds: Bounds, begun: Begun
    ) -> Iterator[tuple[int, bytes]]:
        config = self._config
        tables = StreamTables(element[1], config.streams)
        far, begin, end = stage_of(config, bounds, begun, tables)
        layout = Layout(
            far,
            tables,
            bucket_bytes=config.bucket_bytes,
            beyond=[Digest()] * config.streams.count,
        )
        size = int(far.about(far.footprints) * (end - begin) / max(far.length, 1))
        chunks = min(count_shards(_CHUNKS * size), max(end - begin, 1))
        schedule = far.draft.schedule

        def pieces() -> Iterator[bytes]:
            yield pack_schedule(schedule)
            for number in range(chunks):
                low, high = (begin + (number + i) * (end - begin) // chunks for i in (0, 1))
                content = layout.content(low, high)
                shares = [share._replace(ends=False) for share in content.shares]
                content = content._replace(shares=shares)
                yield pack_content(content, schedule.known(low, high), config.spill.folders)

        where, *contents = write_references(config.spill.folders[0], pieces)
        for number, content in enumerate(contents):
            yield number, pack([chunks, content, where])


class FindRest(beam.DoFn):  # type: ignore[misc]
    """Say what the mixture came to, with the digests of what is left of the last buckets used."""

    def __init__(self, config: Ordering) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.spill.storage_options)

    def process(
        self, element: tuple[int, Iterable[bytes]], bounds: Bounds, begun: Begun
    ) -> Iterator[tuple[Mixed, list[Digest]]]:
        config, streams = self._config, self._config.streams
        tables = StreamTables(element[1], streams)
        schedule = schedule_of(bounds.drafts, begun.records)
        whole = replace(bounds.counted.draft, schedule=schedule)
        used = replace(bounds.counted, draft=whole, length=sum(begun.records))
        nothing = [Digest()] * streams.count
        layout = Layout(used, tables, bucket_bytes=config.bucket_bytes, beyond=nothing)
        mixed = layout.mixed(1)
        left = [Digest()] * len(streams.sources)
        shares = layout.last_shares()
        if shares:
            content = Content(0, len(shares), 1, shares)

            def pieces() -> Iterator[bytes]:
                yield pack_schedule(schedule)
                known = schedule.known(0, len(shares))
                yield pack_content(content, known, config.spill.folders)

            where, lies = write_references(config.spill.folders[0], pieces)
            left = MixedShard(
                0, 1, content=lies, schedule=where, streams=streams, folders=config.spill.folders
            ).unused()
        yield mixed, left
