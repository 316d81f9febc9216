"""The proof that a split's documents are what was read and tokenized, and what they used of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from transforms.datasets.reports import Mixed, SpanReports, Tally
from transforms.errors import LosslessError
from transforms.kernels.packing.rows import Packing
from transforms.kernels.records.digest import Digest
from transforms.kernels.schedules.mixture import asked_shares
from transforms.mixing.ordering import Bounds, Ordering, read_once
from transforms.mixing.spill_tokens import Made, add_made, require_tokenized
from transforms.packing.documents import digests_of
from transforms.packing.lay_documents import LaidChunk, OfPass, by_pass
from transforms.packing.pack_documents import Begun
from transforms.storage import files as storage


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


def prove_documents(  # noqa: PLR0917  # Beam's side inputs
    _: None,
    bounds: Bounds,
    begun: Begun,
    rest: tuple[Mixed, list[Digest]],
    chunks: list[tuple[int, LaidChunk]],
    made: list[Made],
    tallies: list[Tally],
    spans: Iterable[SpanReports],
    ordering: Ordering,
) -> OrderedSplit:
    """Compare what was read, tokenized, laid down and left, and say what was used.

    Raises:
        LosslessError: something was lost or changed.
    """
    storage.configure(ordering.spill.storage_options)
    streams, spilled = ordering.streams, bounds.counted
    every = add_made(made)
    read = read_once(spans, streams.sources)
    beyond = spilled.beyond(tallies)
    _require_tokenized(ordering, every, read, beyond)
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
                f"{ordering.name}, source {', '.join(names)}: {want.records:,} documents were "
                f"tokenized, but {have.records:,} were put in order or left unused, or their ids "
                "changed; check memory and disk, then run again"
            )
    hashes = (part.part.index.hash(0, part.part.documents) for part in begun.parts)
    return OrderedSplit(
        ordering.name,
        begun,
        tuple(stages),
        every,
        mixed,
        read,
        ordering.packing,
        sum(hashes) % (1 << 64),
    )


def _require_tokenized(
    ordering: Ordering,
    made: dict[tuple[str, int], Made],
    read: dict[str, Digest],
    beyond: list[Digest],
) -> None:
    streams = ordering.streams
    if not streams.union:
        by_name = dict(zip(streams.sources, beyond, strict=True))
        require_tokenized(made, read, by_name)
        return
    have = Digest.total(one.read for one in made.values()) + beyond[0]
    if have != Digest.total(read.values()):
        raise LosslessError(
            f"{ordering.name}: expected {Digest.total(read.values()).records:,} records "
            f"tokenized or left out, got {have.records:,}, or they changed; check memory and "
            "disk, then run again"
        )
