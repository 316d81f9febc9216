"""From blocks of texts to documents in their final order, packed: the way of one split.

Records are tokenized and spilled, counted, and woven by a chain of stages. Where a stage ends may depend
on how its documents are packed (rows), and where the next one begins on that: so stages are laid down
and packed one after another, each by all workers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam
import numpy as np

from transforms.datasets.read import ReadRecords, read_spans
from transforms.datasets.reports import Mixed, SpanReports, Tally
from transforms.datasets.spans import Spans
from transforms.errors import LosslessError, RunError, UsageError
from transforms.kernels.arrays import I64
from transforms.kernels.packing.rows import Packing
from transforms.kernels.planning.plan import count_shards
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.schedules.mixture import Amounts, Draft, Item, asked_shares
from transforms.kernels.schedules.staged import (
    Stage,
    Until,
    counted,
    draft_stages,
    items_of,
    left_of,
)
from transforms.kernels.schedules.staged_schedule import StagedSchedule
from transforms.mixing.counted import Counted, by_stream, needed_buckets, passes_begun
from transforms.mixing.interleave import added, list_passes
from transforms.mixing.packed_shards import Content, pack_content, pack_schedule
from transforms.mixing.shard_layout import Layout, StreamTables
from transforms.mixing.shards import MixedShard
from transforms.mixing.sizes_before import SizesBefore
from transforms.mixing.spill_tokens import Made, SpillTokens, ToIds, add_made, require_tokenized
from transforms.packing.document_files import digests_of
from transforms.packing.lay_documents import LaidChunk, LayDocuments, OfPass, by_pass
from transforms.packing.pack_documents import Begun, Budget, PackDocuments, end_split
from transforms.packing.parts import PartKey
from transforms.shuffling.file_ranges import FileRange, write_references
from transforms.shuffling.packed import pack, unpack
from transforms.shuffling.partition import AllSpills
from transforms.shuffling.spill_files import Spilling
from transforms.shuffling.streams import Streams
from transforms.storage import files as storage
from transforms.workers.progress import Watched
from transforms.workers.round_robin import GroupRoundRobin

_CHUNKS = 4  # chunks of documents, to a shard of the default size


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


@dataclass(frozen=True)
class OfStage:
    """What a stage used, by source and pass."""

    passes: tuple[OfPass, ...]
    asked: tuple[float, ...] | None


@dataclass(frozen=True)
class OrderedSplit:
    """A split whose documents are in order and packed, and proved to be what was tokenized.

    Attributes:
        name: of the split.
        begun: its parts.
        stages: of each part, what it used.
        made: by source and pass, what was tokenized for it.
        mixed: what the mixture came to.
        read: digest of each source's texts in one pass.
        packing: how they are packed.
        hash: conservation hash of all documents that are used.
    """

    name: str
    begun: Begun
    stages: tuple[OfStage, ...]
    made: dict[tuple[str, int], Made]
    mixed: Mixed
    read: dict[str, Digest]
    packing: Packing
    hash: int


@dataclass(eq=False, kw_only=True)
class OrderDocuments(beam.PTransform):  # type: ignore[misc]
    """Tokenize, weave and pack one split: (blocks, spans) -> (split, spans).

    Takes what ReadRecords gives, or SplitRecords for one split (with ``SpansOfSplit``). ``split`` is one
    OrderedSplit, ``spans`` are of what was read again, None where nothing can be.

    Attributes:
        name: of the split.
        stages: in order, one at least.
        streams: how records are cut; its measure is the column of ids.
        spill: how they are spilled.
        work: what makes ids.
        sampled: whether each pass of a source has ids of its own.
        known: as of SpillTokens.
        packing, key, budget: as of PackDocuments.
        reread: how sources are read again; None where they can't be.
        select: what takes the split's records out of those that are read again; None for all.
        bucket_bytes: footprint of all buckets that are held at once.
        max_records, max_tokens: where the split ends at the latest.
        progress: where to count, if somebody watches.
    """

    name: str
    stages: tuple[Stage, ...]
    streams: Streams
    spill: Spilling
    work: ToIds
    sampled: bool
    known: Sequence[int]
    packing: Packing
    key: PartKey
    budget: Budget = field(default_factory=Budget)
    reread: ReadRecords | None = None
    select: Any = None
    bucket_bytes: int = 64 << 20
    max_records: int | None = None
    max_tokens: int | None = None
    progress: Watched = None

    def expand(self, read: tuple[Any, Any]) -> tuple[Any, Any]:
        """Tokenize and spill, count, read what repeats again; then stage by stage order and pack."""
        located, spans = read
        once = located.pipeline | "Once" >> beam.Create([None])
        spill = SpillTokens(
            streams=self.streams, spill=self.spill, work=self.work, known=self.known
        )
        first = located | "SpillFirst" >> spill
        spilled, made = [first.spills], first.made
        tallies = added(first.tallies, "First")
        weighed = once | "Weigh" >> beam.Map(
            self._weigh,
            beam.pvalue.AsIter(spans),
            beam.pvalue.AsList(tallies),
            beam.pvalue.AsList(first.made),
        )
        counts = (
            weighed
            | "ListChunks" >> beam.FlatMap(_items).with_output_types(tuple[int, Any])
            | "ChunksInTurn" >> GroupRoundRobin(Any)
            | "CountChunks" >> beam.FlatMap(_count, beam.pvalue.AsSingleton(weighed))
            | "AddCounts" >> beam.CombinePerKey(sum_up)
        )
        bounds = once | "FindBounds" >> beam.Map(
            self._find_bounds,
            beam.pvalue.AsSingleton(weighed),
            beam.pvalue.AsList(counts),
            beam.pvalue.AsList(tallies),
            beam.pvalue.AsList(first.made),
        )
        later = None
        if self.reread is not None:
            again = (
                bounds
                | "ListPasses"
                >> beam.ParDo(_ListPasses(self), beam.pvalue.AsIter(spans)).with_output_types(
                    tuple[int, Spans]
                )
                | "PassesInTurn" >> GroupRoundRobin(Spans)
                | "ReadPasses" >> read_spans(self.reread)
            )
            mine = again.blocks if self.select is None else again.blocks | "Select" >> self.select
            more = mine | "SpillPasses" >> spill
            spilled.append(more.spills)
            tallies = (tallies, added(more.tallies, "Later")) | "AllTallies" >> beam.Flatten()
            made = (made, more.made) | "AllMade" >> beam.Flatten()
            later = again.spans
        refs = tuple(spilled) | AllSpills(self.spill, levels=self.streams.levels)
        begun = once | "Begin" >> beam.Map(lambda _: Begun())
        laid = []
        for number, stage in enumerate(self.stages):
            chunks = self._lay_stage(number, refs, bounds, begun)
            begun = (chunks, begun) | f"Pack{number}" >> PackDocuments(
                packing=self.packing,
                key=replace(self.key, stage=number),
                rows=_rows_of(stage),
                budget=self.budget,
                storage_options=self.spill.storage_options,
            )
            laid.append(
                chunks
                | f"Number{number}"
                >> beam.Map(lambda chunk, number: (number, chunk), number).with_output_types(
                    tuple[int, LaidChunk]
                )
            )
        ended = begun | "EndSplit" >> beam.Map(self._end_split)
        rest = refs | "FindRest" >> beam.ParDo(
            _FindRest(self), beam.pvalue.AsSingleton(bounds), beam.pvalue.AsSingleton(ended)
        )
        split = once | "Prove" >> beam.Map(
            self._prove,
            beam.pvalue.AsSingleton(bounds),
            beam.pvalue.AsSingleton(ended),
            beam.pvalue.AsSingleton(rest),
            beam.pvalue.AsList(tuple(laid) | "AllChunks" >> beam.Flatten()),
            beam.pvalue.AsList(made),
            beam.pvalue.AsList(tallies),
            beam.pvalue.AsIter(spans),
        )
        return split, later

    def _lay_stage(self, number: int, refs: Any, bounds: Any, begun: Any) -> Any:
        """Lay the documents of a stage down, as far as it may go: PCollection of LaidChunk."""
        return (
            refs
            | f"LayOut{number}"
            >> beam.ParDo(
                _LayOut(self, number),
                beam.pvalue.AsSingleton(bounds),
                beam.pvalue.AsSingleton(begun),
            ).with_output_types(tuple[int, bytes])
            | f"InTurn{number}" >> GroupRoundRobin(bytes)
            | f"Open{number}" >> beam.MapTuple(functools.partial(_open, self))
            | f"Order{number}"
            >> LayDocuments(
                folders=self.spill.folders,
                sources=len(self.streams.sources),
                run_id=self.spill.run_id,
                slots=self.spill.slots,
                storage_options=self.spill.storage_options,
                progress=self.progress,
            )
        )

    @property
    def row_tokens(self) -> int | None:
        """Tokens of a row of which each is filled; None where a row is a document."""
        return self.packing.length if self.packing.kind in ("concat", "best_fit") else None

    def _weigh(
        self, _: None, spans: Iterable[SpanReports], tallies: list[Tally], made: list[Made]
    ) -> Weighed:
        streams = self.streams
        read = _read(spans, streams.sources)
        records, tokens = [], []
        found = add_made(made)
        for name, digest in read.items():
            mine = found.get((name, 0))
            records.append(digest.records)
            known = mine.known_records if mine else 0
            some = mine.known_tokens if mine else 0
            # of what follows from recipe and listing alone, or weights would follow from memory
            tokens.append(digest.records * some // known if known else 0)
        amounts = Amounts(tuple(records), tuple(d.bytes for d in read.values()), tuple(tokens))
        if streams.union:
            amounts = amounts.together()
        stages = [self._without_rows(stage, found) for stage in self.stages]
        try:
            return Weighed(tuple(draft_stages(stages, amounts)), amounts)
        except UsageError as error:  # found out in the work, when the sources had been counted
            raise RunError(str(error)) from None

    def _without_rows(self, stage: Stage, made: dict[tuple[str, int], Made]) -> Stage:
        """Return a stage that ends by rows as one that surely has them: by tokens, or by records."""
        rows = [n for n in (_rows_of(stage), self.budget.rows) if n is not None]
        if not rows or (stage.until is not None and stage.until.unit != "rows"):
            return stage
        most = min(rows)
        if self.row_tokens is not None:
            return replace(stage, until=Until("tokens", most * self.row_tokens))
        first = [found for (_, number), found in made.items() if number == 0]
        every = sum(found.made.records for found in first)
        empty = sum((*found.counts.lengths, 0)[0] for found in first)  # they make no row
        share = empty / every if every and self.packing.kind != "none" else 0.0
        return replace(
            stage, until=Until("records", int(most / max(1 - share, 1e-3) * 1.02) + 1000)
        )

    def _find_bounds(
        self,
        _: None,
        weighed: Weighed,
        counts: list[tuple[tuple[int, int, int, int], I64]],
        tallies: list[Tally],
        made: list[Made],
    ) -> Bounds:
        rows = ((key[0], Item(*key[1:]), row) for key, row in counts)
        amounts, ended = weighed.amounts, []
        used = np.zeros(self.streams.count, np.int64)
        for uncounted in counted(weighed.drafts, rows):
            found, length = uncounted.ended()
            ended.append(found)
            used += found.schedule.counts_before(length)
        repeats = any(
            found.mixture.repeats_as_needed
            or found.mixture.stop == "all_exhausted"
            or found.mixture.repeats is not None
            for found in ended
        )
        most = used.tolist()
        if not repeats:
            most = [min(n, have) for n, have in zip(most, amounts.records, strict=True)]
        streams, found_made = self.streams, add_made(made)
        costs = dict.fromkeys(streams.sources, 0)
        for (name, pass_number), one in found_made.items():
            if pass_number == 0:
                costs[name] += blocks.footprint(one.made.records, one.payload)
        footprints = (
            (sum(costs.values()),) if streams.union else tuple(costs[n] for n in streams.sources)
        )
        passes = passes_begun(most, amounts.records)
        small = [
            not self.sampled and many > 1 and 2 * cost <= limit
            for many, cost, limit in zip(passes, footprints, streams.limits, strict=True)
        ]
        if self.reread is None and any(
            many > 1 and not fits for many, fits in zip(passes, small, strict=True)
        ):
            raise RunError(
                "a source repeats, and there are no files to read it from again; give weights and a "
                "stop that use it once"
            )
        first = by_stream(tallies, streams)
        needed, reread = needed_buckets(most, small, first, streams, bounded=True)
        spilled = Counted(
            replace(ended[0], amounts=amounts),
            0,
            (),
            footprints,
            tuple(small),
            tuple(passes),
            asked_shares(ended[0].mixture, amounts),
            needed,
            reread,
        )
        return Bounds(tuple(ended), amounts, spilled)

    def stage_of(
        self, bounds: Bounds, begun: Begun, tables: StreamTables
    ) -> tuple[Counted, int, int]:
        """Find how far the next stage is laid down: what is counted, where it begins, where it ends.

        Raises:
            RunError: its end lies beyond what was spilled.
        """
        number = len(begun.records)
        stage, lengths = self.stages[number], list(begun.records)
        drafts, spilled, records = bounds.drafts, bounds.counted, bounds.amounts.records
        begin = sum(lengths)
        used = [0] * len(records)
        if number:
            before = _schedule(drafts[:number], lengths)
            used = before.counts_before(begin).tolist()
        found, bound = drafts[number].ended(left_of(used, records))
        if self.max_records is not None:
            bound = min(bound, max(self.max_records - begin, 0))
        if self._is_full(begun):
            bound = 0
        schedule = _schedule([*drafts[:number], found], [*lengths, bound])
        sizes = SizesBefore(schedule, tables, records=records, small=spilled.small)
        end = begin + bound
        budgets = [n for n in (self._tokens_of(stage), self._tokens_left(begun)) if n is not None]
        if budgets and bound:
            end = sizes.find_end(begin, begin + bound, min(budgets))
            self._require_enough(found, end == begin + bound, "tokens", min(budgets))
        rows = [n for n in (_rows_of(stage), self._rows_left(begun)) if n is not None]
        if rows and end > begin and self.row_tokens is not None:
            wanted = min(rows) * self.row_tokens
            far = sizes.find_end(begin, end, wanted - 1) + 1
            if far > end and end == begin + bound:
                self._require_enough(found, True, "rows", min(rows))
            end = min(far, end)
        schedule = _schedule([*drafts[:number], found], [*lengths, end - begin])
        whole = replace(spilled.draft, schedule=schedule, bound=end)
        return replace(spilled, draft=whole, length=end), begin, end

    def _require_enough(self, found: Draft, short: bool, unit: str, count: int) -> None:
        mixture = found.mixture
        if short and mixture.repeats_as_needed and mixture.max_records is None:
            raise RunError(
                f"{count:,} {unit} were asked for, and the documents drawn have fewer than expected by "
                "their mean lengths, which differ very much; give --max_records too, or --stop"
            )

    def _is_full(self, begun: Begun) -> bool:
        return self._tokens_left(begun) == 0 or self._rows_left(begun) == 0

    def _tokens_of(self, stage: Stage) -> int | None:
        return stage.until.count if stage.until and stage.until.unit == "tokens" else None

    def _tokens_left(self, begun: Begun) -> int | None:
        return None if self.max_tokens is None else max(self.max_tokens - begun.tokens, 0)

    def _rows_left(self, begun: Begun) -> int | None:
        return None if self.budget.rows is None else max(self.budget.rows - begun.rows, 0)

    def _end_split(self, begun: Begun) -> Begun:
        storage.configure(self.spill.storage_options)
        return end_split(begun, self.budget)

    def _prove(
        self,
        _: None,
        bounds: Bounds,
        begun: Begun,
        rest: tuple[Mixed, list[Digest]],
        chunks: list[tuple[int, LaidChunk]],
        made: list[Made],
        tallies: list[Tally],
        spans: Iterable[SpanReports],
    ) -> OrderedSplit:
        """Compare what was read, tokenized, laid down and left, and say what was used.

        Raises:
            LosslessError: something was lost or changed.
        """
        storage.configure(self.spill.storage_options)
        streams, spilled = self.streams, bounds.counted
        every = add_made(made)
        read = _read(spans, streams.sources)
        beyond = spilled.beyond(tallies)
        self._require_tokenized(every, read, beyond)
        stages = []
        laid = [Digest()] * len(streams.sources)
        for number, part in enumerate(begun.parts):
            laid_down = [chunk for stage, chunk in chunks if stage == number]
            passes: dict[tuple[int, int], OfPass] = {}
            for found in (one for chunk in laid_down for one in chunk.passes):
                key = found.source, found.number
                passes[key] = passes[key] + found if key in passes else found
            index = part.part.index
            for documents in index.read(part.part.documents, index.documents):
                for found in by_pass(documents, *digests_of(documents)):
                    passes[found.source, found.number] -= found
            used = tuple(passes[key] for key in sorted(passes) if passes[key].digest.records)
            for found in used:
                laid[found.source] += found.digest
            draft_ = bounds.drafts[number]
            stages.append(OfStage(used, asked_shares(draft_.mixture, draft_.amounts)))
        mixed, left = rest
        for stream in range(streams.count):
            mine = range(len(streams.sources)) if streams.union else range(stream, stream + 1)
            names = [streams.sources[i] for i in mine]
            have = Digest.total(laid[i] for i in mine) + mixed.unused[stream]
            have += Digest.total(left) if streams.union else left[stream]
            if spilled.small[stream]:
                (name,) = names
                first = every.get((name, 0))
                want = (first.made if first else Digest()).times(mixed.accounted[stream])
            else:
                want = Digest.total(one.made for (name, _), one in every.items() if name in names)
            if have != want:
                raise LosslessError(
                    f"{self.name}, source {', '.join(names)}: {want.records} documents were tokenized, "
                    f"{have.records} were put in order or left unused, or their ids changed; check "
                    "memory and disk, then run again"
                )
        hashes = (part.part.index.hash(0, part.part.documents) for part in begun.parts)
        return OrderedSplit(
            self.name,
            begun,
            tuple(stages),
            every,
            mixed,
            read,
            self.packing,
            sum(hashes) % (1 << 64),
        )

    def _require_tokenized(
        self, made: dict[tuple[str, int], Made], read: dict[str, Digest], beyond: list[Digest]
    ) -> None:
        streams = self.streams
        if not streams.union:
            by_name = dict(zip(streams.sources, beyond, strict=True))
            require_tokenized(made, read, by_name)
            return
        have = Digest.total(one.read for one in made.values()) + beyond[0]
        if have != Digest.total(read.values()):
            raise LosslessError(
                f"{self.name}: {have.records} records were tokenized or left out, expected "
                f"{Digest.total(read.values()).records}, or they changed; check memory and disk, then "
                "run again"
            )


def _rows_of(stage: Stage) -> int | None:
    return stage.until.count if stage.until and stage.until.unit == "rows" else None


def _schedule(drafts: Sequence[Draft], lengths: Sequence[int]) -> Any:
    if len(drafts) == 1:
        return drafts[0].schedule
    return StagedSchedule([found.schedule for found in drafts], lengths)


def _read(spans: Iterable[SpanReports], sources: Sequence[str]) -> dict[str, Digest]:
    """Add up what the first pass read of each source."""
    total = dict.fromkeys(sources, Digest())
    for reports in spans:
        for source, found in reports.opened().of_pass(0).by_source():
            total[source] += found.digest
    return total


def _items(weighed: Weighed) -> Iterator[tuple[int, tuple[int, Item]]]:
    yield from enumerate(items_of(weighed.drafts))


def _count(
    numbered: tuple[int, Iterable[tuple[int, Item]]], weighed: Weighed
) -> Iterator[tuple[tuple[int, int, int, int], I64]]:
    for number, item in numbered[1]:
        one = weighed.drafts[number]
        source, begin, end = one.added_as(item)
        yield (number, source, begin, end), one.count(item)


def sum_up(many: Iterable[Any]) -> Any:
    """Return the sum of what there is one of at least."""
    first, *rest = many
    return sum(rest, start=first)


class _ListPasses(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: OrderDocuments) -> None:
        self._config = config

    def process(self, bounds: Bounds, spans: Iterable[SpanReports]) -> Iterator[tuple[int, Spans]]:
        config = self._config
        assert config.reread is not None
        groups = (
            group
            for read in spans
            for group in list_passes(
                bounds.counted, read.opened(), config.streams, config.reread.span_bytes
            )
        )
        yield from enumerate(groups)


class _LayOut(beam.DoFn):  # type: ignore[misc]
    """Say which pages the chunks of a stage are made of, in a file of references."""

    def __init__(self, config: OrderDocuments, number: int) -> None:
        self._config, self._number = config, number

    def setup(self) -> None:
        storage.configure(self._config.spill.storage_options)

    def process(
        self, element: tuple[int, Iterable[bytes]], bounds: Bounds, begun: Begun
    ) -> Iterator[tuple[int, bytes]]:
        config = self._config
        tables = StreamTables(element[1], config.streams)
        far, begin, end = config.stage_of(bounds, begun, tables)
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


def _open(config: OrderDocuments, number: int, packed: Iterable[bytes]) -> MixedShard:
    (one,) = packed
    (of, content, schedule), _ = unpack(one)
    return MixedShard(
        number,
        of,
        content=FileRange.of(content),
        schedule=FileRange.of(schedule),
        streams=config.streams,
        folders=config.spill.folders,
    )


class _FindRest(beam.DoFn):  # type: ignore[misc]
    """Say what the mixture came to, with the digests of what is left of the last buckets used."""

    def __init__(self, config: OrderDocuments) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.spill.storage_options)

    def process(
        self, element: tuple[int, Iterable[bytes]], bounds: Bounds, begun: Begun
    ) -> Iterator[tuple[Mixed, list[Digest]]]:
        config, streams = self._config, self._config.streams
        tables = StreamTables(element[1], streams)
        schedule = _schedule(bounds.drafts, begun.records)
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
