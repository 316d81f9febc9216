"""Interleaving: several shuffled sources woven into one sequence by a schedule."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa

from transforms.datasets.identity import REREAD
from transforms.datasets.read import ReadRecords, read_spans
from transforms.datasets.reports import Mixed, SpanReports, Tally
from transforms.datasets.spans import Spans, cut_files, group_spans
from transforms.errors import RunError, UsageError
from transforms.kernels.arrays import I64
from transforms.kernels.planning.plan import count_shards
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.schedules.mixture import Amounts, Draft, Item, Mixture, asked_shares, draft
from transforms.kernels.schedules.needed import cut_needed, needed_share, surely_below
from transforms.mixing.counted import Counted, bound_size, by_stream, needed_buckets, passes_begun
from transforms.mixing.end_by_size import find_end, sizes_before
from transforms.mixing.packed_shards import pack_content, pack_schedule
from transforms.mixing.shard_layout import Layout, StreamTables
from transforms.mixing.shards import open_shard
from transforms.shuffling.file_ranges import write_references
from transforms.shuffling.packed import pack
from transforms.shuffling.partition import AllSpills, PartitionIntoBuckets
from transforms.shuffling.spill_files import Spilling
from transforms.shuffling.streams import Streams
from transforms.storage import files as storage
from transforms.workers.round_robin import GroupRoundRobin

_A_SHARD = 4  # buckets of a source: of those at its edges a shard reads more than it holds
_LEAST_BUCKET = 4 << 20  # bytes, below which segments would be small before much is saved


@dataclass(eq=False, kw_only=True)
class InterleaveSources(beam.PTransform):  # type: ignore[misc]
    """Weave sources into one sequence: (blocks, spans) -> (shards, spans, mixed).

    Takes the outputs of ReadRecords (or of BlocksFromRecords). ``shards`` are for WriteShards,
    ``spans`` with those of later passes and ``mixed``, one element of type Mixed, for WriteManifest.

    Attributes:
        mixture: what is asked.
        streams: how records are cut; see ``plan_streams``.
        spill: how they are spilled.
        reread: how sources are read again for their later passes; None where they can't be, and
            only those that fit in memory can repeat.
        num_shards, shard_records: one of them, or neither: shards of about 256 MiB.
        bucket_bytes: footprint of all buckets that are held at once.
    """

    mixture: Mixture
    streams: Streams
    spill: Spilling
    reread: ReadRecords | None = None
    num_shards: int | None = None
    shard_records: int | None = None
    bucket_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        if (self.mixture.measure == "tokens") != (self.streams.measure is not None):
            raise ValueError(
                f"expected streams that count {self.mixture.measure}, as the mixture does, got "
                f"{self.streams.measure}; make them with plan_streams"
            )

    def expand(self, read: tuple[Any, Any]) -> tuple[Any, Any, Any]:
        """Count, find the end, read what repeats again, hand out."""
        located, spans = read
        spill = PartitionIntoBuckets(streams=self.streams, spill=self.spill)
        once = located.pipeline | "Once" >> beam.Create([None])
        first = located | "SpillFirst" >> spill
        spilled = [first.spills]
        tallies = added(first.tallies, "First")
        drafts = once | "Weigh" >> beam.Map(
            _weigh, beam.pvalue.AsIter(spans), beam.pvalue.AsList(tallies), config=self
        )
        counts = (
            drafts
            | "ListChunks" >> beam.FlatMap(_items).with_output_types(tuple[int, Any])
            | "ChunksInTurn" >> GroupRoundRobin(Any)
            | "CountChunks" >> beam.FlatMap(_count, beam.pvalue.AsSingleton(drafts))
            | "AddCounts" >> beam.CombinePerKey(_add)
        )
        counted = once | "FindEnd" >> beam.Map(
            _find_end,
            beam.pvalue.AsSingleton(drafts),
            beam.pvalue.AsList(counts),
            beam.pvalue.AsIter(spans),
            beam.pvalue.AsList(tallies),
            config=self,
        )
        every = spans
        if self.reread is not None and (self.mixture.may_repeat or self.streams.tallied):
            later = (
                counted
                | "ListPasses"
                >> beam.ParDo(_ListPasses(self), beam.pvalue.AsIter(spans)).with_output_types(
                    tuple[int, Spans]
                )
                | "PassesInTurn" >> GroupRoundRobin(Spans)
                | "ReadPasses" >> read_spans(self.reread)
            )
            more = later.blocks | "SpillPasses" >> spill
            spilled.append(more.spills)
            tallies = (tallies, added(more.tallies, "Later")) | "AllTallies" >> beam.Flatten()
            every = (spans, later.spans) | "AllSpans" >> beam.Flatten()
        laid_out = (
            tuple(spilled)
            | AllSpills(self.spill, levels=self.streams.levels)
            | "LayOut"
            >> beam.ParDo(
                _LayOut(self), beam.pvalue.AsSingleton(counted), beam.pvalue.AsList(tallies)
            )
            .with_output_types(tuple[int, bytes], mixed=Mixed)
            .with_outputs("mixed", main="shards")
        )
        opened = beam.MapTuple(functools.partial(open_shard, self.streams, self.spill.folders))
        shards = laid_out.shards | "InTurn" >> GroupRoundRobin(bytes) | "Open" >> opened
        return shards, every, laid_out.mixed

    def count_shards(self, counted: Counted) -> int:
        """Return how many shards a mixture makes, of what was ``counted`` of it."""
        if self.shard_records is not None:
            return max(1, -(-counted.length // self.shard_records))
        if self.num_shards is not None:
            return self.num_shards
        return count_shards(counted.about(counted.draft.amounts.bytes))

    def shard_range(self, number: int, of: int, length: int) -> tuple[int, int]:
        """Return which positions [begin, end) of ``length`` shard ``number`` of ``of`` holds."""
        size = self.shard_records
        if size is not None:
            return number * size, min((number + 1) * size, length)
        return number * length // of, (number + 1) * length // of


def plan_streams(
    mixture: Mixture,
    *,
    amounts: Amounts,
    about: Sequence[float],
    size: int,
    expected: Sequence[float] | None = None,
    exact: bool = False,
    shards: int = 1,
    token_column: str = "input_ids",
) -> Streams:
    """Cut streams into buckets so that one of each source fits in memory together; in one level.

    A shard's writer reads every bucket that its range touches, so that some are cut for each shard.

    Nothing of this changes a byte of the output.

    Args:
        mixture: what is asked.
        amounts: of the sources, about.
        about: bytes of the output that each source makes, about.
        size: footprint for one bucket of each.
        expected: how many records of each source come out, about, where no more shall be spilled.
        exact: whether ``amounts`` are exact.
        shards: of the output, about.
        token_column: of rows, holds the tokens, where these are counted.
    """
    if mixture.is_union:
        amounts, about = amounts.together(), [sum(about)]
        expected = None if expected is None else [sum(expected)]
    total = sum(about) or 1.0
    shares = [(share / total + 1 / len(about)) / 2 for share in about]
    # one bucket at a time is gathered, which takes twice its size; the others lie there once. Light
    # ones are gathered together, while what is left of those before them lies there too
    batch = size // 16 if not mixture.is_union and min(shares) < 1 / 100 else 0
    room = size * (2 - max(shares)) - 3 * batch
    limits = [max(int(room * share), 1 << 12) for share in shares]
    buckets = []
    for i, (count, held) in enumerate(zip(amounts.records, amounts.bytes, strict=True)):
        wanted = blocks.footprint(count, held) / (limits[i] * 3 / 4)
        finer = min(_A_SHARD * shards * held / max(about[i], 1), held / _LEAST_BUCKET)
        buckets.append(max(1, math.ceil(max(wanted, finer))))
    needed, sure = list(buckets), [surely_below(1.0)] * len(buckets)
    for i, used in enumerate(expected or ()):
        share = needed_share(
            mixture,
            expected=used,
            records=amounts.records[i],
            fewest=min(amounts.records),
            exact=exact,
        )
        sure[i] = surely_below(share)
        buckets[i], needed[i] = cut_needed(share, buckets=buckets[i], size=amounts.bytes[i])
    return Streams(
        sources=mixture.sources,
        union=mixture.is_union,
        seed=mixture.seed,
        epoch=mixture.epoch,
        buckets=tuple(buckets),
        limits=tuple(limits),
        batch_bytes=batch,
        needed=tuple(needed),
        sure=tuple(sure),
        partitions=(1,) * len(buckets),
        measure=token_column if mixture.measure == "tokens" else None,
    )


def _read(spans: Iterable[SpanReports], sources: Sequence[str]) -> list[Digest]:
    """Add up what the first pass read of each source."""
    total = dict.fromkeys(sources, Digest())
    for reports in spans:
        for source, found in reports.opened().of_pass(0).by_source():
            total[source] += found.digest
    return list(total.values())


def _weigh(
    _: None, spans: Iterable[SpanReports], tallies: list[Tally], config: InterleaveSources
) -> Draft:
    read = _read(spans, config.mixture.sources)
    if config.mixture.is_union:
        read = [Digest.total(read)]
    tokens: tuple[int, ...] = ()
    if config.mixture.measure == "tokens":  # no digest counts them
        tokens = tuple(int(t.measured.sum()) for t in by_stream(tallies, config.streams))
    amounts = Amounts(tuple(d.records for d in read), tuple(d.bytes for d in read), tokens)
    try:
        return draft(config.mixture, amounts)
    except UsageError as error:  # found out in the work, when the sources had been counted
        raise RunError(str(error)) from None  # workers pass on text, whose first error counts


def _items(uncounted: Draft) -> Iterator[tuple[int, Item]]:
    yield from enumerate(uncounted.items())


def _count(
    numbered: tuple[int, Iterable[Item]], uncounted: Draft
) -> Iterator[tuple[tuple[int, int, int], I64]]:
    for item in numbered[1]:
        source, begin, end = uncounted.added_as(item)
        yield (source, begin, end), uncounted.count(item)


def _add(many: Iterable[Any]) -> Any:
    return functools.reduce(operator.add, many)


def added(tallies: Any, label: str) -> Any:
    """Add tallies up by stream: PCollection of Tally, of each bundle, to one of each stream."""
    return (
        tallies
        | f"{label}ByStream" >> beam.Map(lambda tally: ((tally.stream, tally.reread), tally))
        | f"{label}AddTallies" >> beam.CombinePerKey(_add)
        | f"{label}Tallies" >> beam.Values()
    )


def _find_end(
    _: None,
    uncounted: Draft,
    counts: list[tuple[tuple[int, int, int], I64]],
    spans: Iterable[SpanReports],
    tallies: list[Tally],
    config: InterleaveSources,
) -> Counted:
    found, length = uncounted.counted((Item(*item), row) for item, row in counts).ended()
    first = by_stream(tallies, config.streams)
    length, bounded = bound_size(found, length, first)
    used = found.schedule.counts_before(length).tolist()
    streams = config.streams
    footprints = _footprints(spans, config)
    passes = passes_begun(used, found.amounts.records)
    small = [
        many > 1 and 2 * cost <= limit  # beside it lie the passes that are made of it
        for many, cost, limit in zip(passes, footprints, streams.limits, strict=True)
    ]
    if config.reread is None and any(
        many > 1 and not fits for many, fits in zip(passes, small, strict=True)
    ):
        raise RunError(
            "a source that repeats is too large for memory, and there are no files to read it "
            "from again; pass more memory, or weights and a stop that use it once"
        )
    read = tuple(_read(spans, config.mixture.sources))
    asked = asked_shares(found.mixture, found.amounts)
    needed, reread = needed_buckets(used, small, first, config.streams, bounded=bounded)
    return Counted(
        found, length, read, footprints, tuple(small), tuple(passes), asked, needed, reread
    )


def _footprints(spans: Iterable[SpanReports], config: InterleaveSources) -> tuple[int, ...]:
    """Return how much memory the records of each stream take, in one pass."""
    total = dict.fromkeys(config.mixture.sources, 0)
    for reports in spans:
        for source, found in reports.opened().of_pass(0).by_source():
            payload = int(found.column("payload").sum())
            total[source] += blocks.footprint(found.digest.records, payload)
    return (sum(total.values()),) if config.streams.union else tuple(total.values())


class _ListPasses(beam.DoFn):  # type: ignore[misc]
    """List the spans of the passes after the first, of sources that have to be read again."""

    def __init__(self, config: InterleaveSources) -> None:
        self._config = config

    def process(
        self, counted: Counted, spans: Iterable[SpanReports]
    ) -> Iterator[tuple[int, Spans]]:
        config = self._config
        assert config.reread is not None
        span_bytes = config.reread.span_bytes
        groups = (
            group
            for read in spans
            for group in list_passes(counted, read.opened(), config.streams, span_bytes)
        )
        yield from enumerate(groups)


def list_passes(
    counted: Counted,
    read: SpanReports,
    streams: Streams,
    span_bytes: int,
    together: Sequence[int] | None = None,
) -> Iterator[Spans]:
    """Yield what is to be read again of the files whose beginnings were read in a first pass.

    Args:
        counted: how many passes of each stream are needed.
        read: reports of the first pass.
        streams: how records are cut.
        span_bytes: of an input file that one worker reads.
        together: of each stream, how many of its passes one reading serves; their number then stands
            where that of buckets does, and the reading is that of the first. None for one each.
    """
    begins = (read.column("pass_number") == 0) & (read.column("start") == 0)
    for name, found in SpanReports(read.table.filter(pa.array(begins))).by_source():
        source = 0 if streams.union else streams.sources.index(name)
        cut = cut_files(found.table, found.column("number"), span_bytes)
        for group in group_spans(cut):
            if counted.reread and counted.reread[source]:
                yield group.of_pass(REREAD, buckets=counted.needed[source])
            if not counted.small[source]:
                passes, step = counted.passes[source], together[source] if together else 1
                for first in range(1, passes, step):
                    many = min(step, passes - first)
                    yield group.of_pass(first, buckets=many if many > 1 else 0)


class _LayOut(beam.DoFn):  # type: ignore[misc]
    """Say which pages each shard is made of, in a file of references."""

    def __init__(self, config: InterleaveSources) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.spill.storage_options)

    def process(
        self, element: tuple[int, Iterable[bytes]], counted: Counted, tallies: list[Tally]
    ) -> Iterator[Any]:
        config = self._config
        tables = StreamTables(element[1], config.streams)
        counted = find_end(counted, tables)
        beyond = counted.beyond(tallies)
        layout = Layout(counted, tables, bucket_bytes=config.bucket_bytes, beyond=beyond)
        layout.require_read()
        shards = config.count_shards(counted)

        def pieces() -> Iterator[bytes]:
            whole = counted.draft.schedule
            yield pack_schedule(whole)
            for number in range(shards):
                content = layout.content(*config.shard_range(number, shards, counted.length))
                known = whole.known(content.begin, content.end)
                yield pack_content(content, known, config.spill.folders)

        schedule, *contents = write_references(config.spill.folders[0], pieces)
        for number, content in enumerate(contents):
            yield number, pack([shards, content, schedule])
        mixed = layout.mixed(shards)
        if config.streams.measure is not None:
            mixed = replace(
                mixed,
                tokens=tuple(sizes_before(counted, tables).by_stream(counted.length)),
                tokens_read=counted.draft.amounts.tokens,
                token_column=config.streams.measure,
            )
        yield beam.pvalue.TaggedOutput("mixed", mixed)
