"""What a manifest says of a split: its rows, what stands in them, and what of each source is used."""

from __future__ import annotations

from collections.abc import Sequence

from transforms.datasets.prepared import (
    MOST_PASSES,
    PassEntry,
    SourceOfSplit,
    SplitEntry,
    StageEntry,
)
from transforms.kernels.packing.counts import Counts
from transforms.kernels.packing.figures import figures
from transforms.kernels.records.digest import Digest
from transforms.mixing.prove_documents import OfStage, OrderedSplit
from transforms.packing.laid import PackedPart
from transforms.packing.lay_documents import OfPass


def split_entry(split: OrderedSplit, *, epoch: int | None, asked: str | None) -> SplitEntry:
    """Return the entry of a split.

    Args:
        split: laid down and proved.
        epoch: level of its folders.
        asked: what was asked for, None for the rest.
    """
    parts = split.begun.parts
    counts = sum((part.used for part in parts), start=Counts())
    documents = sum(one.digest.records for stage in split.stages for one in stage.passes)
    tokens = sum(one.tokens for stage in split.stages for one in stage.passes)
    shares = figures(counts, split.packing)
    stages, first = [], 0
    for part, stage in zip(parts, split.stages, strict=True):
        stages.append(_stage(split, part, stage, first))
        first += part.rows
    return SplitEntry(
        split=split.name,
        epoch=epoch,
        asked=asked,
        records=Digest.total(split.read.values()).records,
        documents=documents,
        tokens=tokens,
        empty=0
        if split.packing.kind == "none"
        else sum(part.part.index.empty_before(part.part.documents) for part in parts),
        rows=counts.rows,
        special=counts.special,
        filler=counts.filler,
        cut=tokens - counts.tokens - counts.truncated - counts.dropped,
        dropped=counts.truncated + counts.dropped,
        long=counts.long,
        padding=shares.padding,
        truncation=shares.truncation,
        concatenation=shares.concatenation,
        stages=stages,
    )


def _stage(split: OrderedSplit, part: PackedPart, stage: OfStage, first: int) -> StageEntry:
    documents = sum(one.digest.records for one in stage.passes)
    tokens = sum(one.tokens for one in stage.passes)
    names = list(split.read)
    sources = []
    for number, name in enumerate(names):
        mine = [one for one in stage.passes if one.source == number]
        made = [one for (source, _), one in split.made.items() if source == name]
        have, some = sum(one.digest.records for one in mine), sum(one.tokens for one in mine)
        sources.append(
            SourceOfSplit(
                source=name,
                asked=stage.asked[number] if stage.asked else None,
                records=split.read[name].records,
                share_of_documents=have / documents if documents else 0.0,
                share_of_tokens=some / tokens if tokens else 0.0,
                documents=have,
                tokens=some,
                tokenized_documents=sum(one.made.records for one in made),
                tokenized_tokens=sum(one.counts.tokens for one in made),
                passes_begun=len(mine),
                passes=_passes(mine),
            )
        )
    return StageEntry(
        first_row=first, rows=part.rows, documents=documents, tokens=tokens, sources=sources
    )


def _passes(found: Sequence[OfPass]) -> list[PassEntry]:
    return [
        PassEntry(
            number=one.number,
            documents=one.digest.records,
            tokens=one.tokens,
            digest=one.digest.to_json()["hash"],
        )
        for one in found[:MOST_PASSES]
    ]
