"""From blocks of texts to documents in their final order, packed: the way of one split.

Records are tokenized and spilled, counted, and woven by a chain of stages. Where a stage ends may depend
on how its documents are packed (rows), and where the next one begins on that: so stages are laid down
and packed one after another, each by all workers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam

from transforms.datasets.read import ReadRecords, read_spans
from transforms.datasets.reports import SpanReports
from transforms.datasets.spans import Spans
from transforms.mixing.interleave import added, list_passes
from transforms.mixing.lay_out_stages import FindRest, LayOutStage
from transforms.mixing.ordering import Bounds, Ordering, count_of
from transforms.mixing.prove_documents import prove_documents
from transforms.mixing.shards import open_shard
from transforms.mixing.spill_tokens import SpillTokens, ToIds
from transforms.mixing.weigh_stages import count_items, find_bounds, list_items, weigh_stages
from transforms.packing.lay_documents import LaidChunk, LayDocuments
from transforms.packing.pack_documents import Begun, PackDocuments, end_split
from transforms.shuffling.partition import AllSpills
from transforms.storage import files as storage
from transforms.workers.progress import Watched
from transforms.workers.round_robin import GroupRoundRobin

MOST_TOGETHER = 1024
"""Passes of a small source that one reading serves: each is segmented anew, and needs no file for it."""


@dataclass(eq=False, kw_only=True)
class OrderDocuments(beam.PTransform):  # type: ignore[misc]
    """Tokenize, weave and pack one split: (blocks, spans) -> (split, spans).

    Takes what ReadRecords gives, or SplitRecords for one split (with ``SpansOfSplit``). ``split`` is one
    OrderedSplit, ``spans`` are of what was read again, None where nothing can be.

    Attributes:
        ordering: what is asked.
        work: what makes ids.
        reread: how sources are read again; None where they can't be.
        select: what takes the split's records out of those that are read again; None for all.
        formats: how many formats are written of it.
        progress: where to count, if somebody watches.
    """

    ordering: Ordering
    work: ToIds
    reread: ReadRecords | None = None
    select: Any = None
    formats: int = 1
    progress: Watched = None

    def expand(self, read: tuple[Any, Any]) -> tuple[Any, Any]:
        """Tokenize and spill, count, read what repeats again; then stage by stage order and pack."""
        located, spans = read
        asked = self.ordering
        once = located.pipeline | "Once" >> beam.Create([None])
        spill = SpillTokens(
            streams=asked.streams, spill=asked.spill, work=self.work, packing=asked.packing
        )
        first = located | "SpillFirst" >> spill
        spilled, made = [first.spills], first.made
        tallies = added(first.tallies, "First")
        weighed = once | "Weigh" >> beam.Map(
            weigh_stages,
            beam.pvalue.AsIter(spans),
            beam.pvalue.AsList(first.made),
            ordering=asked,
        )
        counts: Any = []  # each step takes its time to begin: none that has nothing to do
        if any(stage.mixture.is_drawn for stage in asked.stages):
            counts = beam.pvalue.AsList(
                weighed
                | "ListChunks" >> beam.FlatMap(list_items).with_output_types(tuple[int, Any])
                | "ChunksInTurn" >> GroupRoundRobin(Any)
                | "CountChunks" >> beam.FlatMap(count_items, beam.pvalue.AsSingleton(weighed))
                | "AddCounts" >> beam.CombinePerKey(_sum_up)
            )
        bounds = once | "FindBounds" >> beam.Map(
            find_bounds,
            beam.pvalue.AsSingleton(weighed),
            counts,
            beam.pvalue.AsList(tallies),
            beam.pvalue.AsList(first.made),
            ordering=asked,
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
        refs = tuple(spilled) | AllSpills(asked.spill, levels=asked.streams.levels)
        begun = once | "Begin" >> beam.Map(lambda _: Begun())
        laid = []
        for number, stage in enumerate(asked.stages):
            chunks = self._lay_stage(number, refs, bounds, begun)
            begun = (chunks, begun) | f"Pack{number}" >> PackDocuments(
                packing=asked.packing,
                key=replace(asked.key, stage=number),
                rows=count_of(stage, "rows"),
                endless=asked.is_endless(stage),
                budget=asked.budget,
                storage_options=asked.spill.storage_options,
            )
            laid.append(
                chunks
                | f"Number{number}"
                >> beam.Map(lambda chunk, number: (number, chunk), number).with_output_types(
                    tuple[int, LaidChunk]
                )
            )
        ended = begun | "EndSplit" >> beam.Map(_end_split, asked)
        rest = refs | "FindRest" >> beam.ParDo(
            FindRest(asked), beam.pvalue.AsSingleton(bounds), beam.pvalue.AsSingleton(ended)
        )
        split = once | "Prove" >> beam.Map(
            prove_documents,
            beam.pvalue.AsSingleton(bounds),
            beam.pvalue.AsSingleton(ended),
            beam.pvalue.AsSingleton(rest),
            beam.pvalue.AsList(tuple(laid) | "AllChunks" >> beam.Flatten()),
            beam.pvalue.AsList(made),
            beam.pvalue.AsList(tallies),
            beam.pvalue.AsIter(spans),
            ordering=asked,
        )
        return split, later

    def _lay_stage(self, number: int, refs: Any, bounds: Any, begun: Any) -> Any:
        """Lay the documents of a stage down, as far as it may go: PCollection of LaidChunk."""
        asked = self.ordering
        opened = functools.partial(open_shard, asked.streams, asked.spill.folders)
        return (
            refs
            | f"LayOut{number}"
            >> beam.ParDo(
                LayOutStage(asked),
                beam.pvalue.AsSingleton(bounds),
                beam.pvalue.AsSingleton(begun),
            ).with_output_types(tuple[int, bytes])
            | f"InTurn{number}" >> GroupRoundRobin(bytes)
            | f"Open{number}" >> beam.MapTuple(opened)
            | f"Order{number}"
            >> LayDocuments(
                folders=asked.spill.folders,
                sources=len(asked.streams.sources),
                formats=self.formats,
                run_id=asked.spill.run_id,
                slots=asked.spill.slots,
                storage_options=asked.spill.storage_options,
                progress=self.progress,
            )
        )


def _end_split(begun: Begun, ordering: Ordering) -> Begun:
    storage.configure(ordering.spill.storage_options)
    return end_split(begun, ordering.budget)


def _sum_up(many: Iterable[Any]) -> Any:
    """Return the sum of what there is one of at least."""
    first, *rest = many
    return sum(rest, start=first)


class _ListPasses(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: OrderDocuments) -> None:
        self._config = config

    def process(self, bounds: Bounds, spans: Iterable[SpanReports]) -> Iterator[tuple[int, Spans]]:
        config, counted = self._config, bounds.counted
        assert config.reread is not None
        # so many as make a run
        room = config.ordering.spill.run_bytes
        together = [min(max(room // max(one, 1), 1), MOST_TOGETHER) for one in counted.footprints]
        streams, span_bytes = config.ordering.streams, config.reread.span_bytes
        groups = (
            group
            for read in spans
            for group in list_passes(counted, read.opened(), streams, span_bytes, together)
        )
        yield from enumerate(groups)
