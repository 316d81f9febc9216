"""Laying documents down: a mixture's records, as rows of ids, to document files in their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.datasets.write import FileRecords
from transforms.kernels.arrays import I64, U64
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.packing.document_files import DocumentFile, DocumentWriter
from transforms.packing.documents import Documents, digests_of, documents_in
from transforms.storage import files as storage
from transforms.workers.progress import Progress, Watched
from transforms.workers.slots import Slot


class OfPass(NamedTuple):
    """What documents of one source in one pass come to."""

    source: int
    number: int
    digest: Digest
    tokens: int

    def __add__(self, other: OfPass) -> OfPass:  # type: ignore[override]
        return self._replace(digest=self.digest + other.digest, tokens=self.tokens + other.tokens)

    def __sub__(self, other: OfPass) -> OfPass:
        return self._replace(digest=self.digest - other.digest, tokens=self.tokens - other.tokens)


@dataclass(frozen=True, slots=True)
class LaidChunk:
    """Documents of one range of positions, laid down.

    Attributes:
        number, of: its place among the chunks, and how many there are.
        file: where they lie.
        digests: of its records as rows of ids, per source.
        unused: of the records beside them that nothing uses, per source.
        passes: the same documents by source and pass.
    """

    number: int
    of: int
    file: DocumentFile
    digests: list[Digest]
    unused: list[Digest]
    passes: list[OfPass]


class Chunk(FileRecords, Protocol):
    """A range of a mixture's positions, as ``mixing.shards.MixedShard`` is."""

    def first_ranks(self) -> Mapping[int, tuple[int, int]]:
        """Return, of each source, the rank of its first record, and how many records a pass has."""


@dataclass(eq=False, kw_only=True)
class LayDocuments(beam.PTransform):  # type: ignore[misc]
    """Write chunks of a mixture to document files: Chunk -> LaidChunk.

    Attributes:
        folders: URLs of folders of temporary files, which take turns.
        sources: how many sources the records are of.
        formats: how many times they will be written, which is counted for who watches.
        run_id, slots: whose budget of memory this is, and how many bundles of a process hold payload.
        storage_options: of fsspec, for the stores; None leaves them as they are.
        progress: where to count, if somebody watches.
    """

    folders: Sequence[str]
    sources: int = 1
    formats: int = 1
    run_id: str = ""
    slots: int = 1
    storage_options: dict[str, Any] | None = None
    progress: Watched = None

    def expand(self, chunks: Any) -> Any:
        """One step."""
        return chunks | "Lay" >> beam.ParDo(_Lay(self))


class _Lay(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: LayDocuments) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.storage_options)
        self._progress = Progress.open(self._config.progress)

    def process(self, chunk: Chunk) -> Iterator[LaidChunk]:
        config = self._config
        slot = Slot(config.run_id, config.slots)
        with self._progress.doing("waiting for memory"):
            slot.take()
        folder = config.folders[chunk.number % len(config.folders)]
        with slot, self._progress.doing(f"putting documents in order, part {chunk.number}"):
            yield storage.retry(lambda: self._lay(chunk, folder), folder)

    def _lay(self, chunk: Chunk, folder: str) -> LaidChunk:
        walk = _Walk(chunk, self._config, self._progress)
        file = DocumentWriter(folder).write(walk.documents())
        return LaidChunk(
            chunk.number,
            chunk.of,
            file,
            walk.total,
            chunk.unused(),
            [walk.passes[key] for key in sorted(walk.passes)],
        )


class _Walk:
    """Walks a chunk's records, proves what they are, and counts them by source and pass."""

    def __init__(self, chunk: Chunk, config: LayDocuments, progress: Progress) -> None:
        sources, self._formats = config.sources, config.formats
        self._chunk, self._sources, self._progress = chunk, sources, progress
        self._ranks = dict(chunk.first_ranks())
        self.total = [Digest()] * sources
        self.passes: dict[tuple[int, int], OfPass] = {}

    def documents(self) -> Iterator[Documents]:
        waiting = nothing = [Digest()] * self._sources
        for block, expected in self._chunk.ordered():
            if not len(block):
                continue
            documents = documents_in(block, self._passes_of(block))
            hashes = digests_of(documents)  # of what is written, not of what it was taken from
            mine = blocks.digests_by_source(block, *hashes, sources=self._sources)
            waiting = blocks.add_digests(waiting, mine)
            if expected is not None:
                blocks.compare_digests(waiting, expected, what="documents put in order")
                self.total, waiting = blocks.add_digests(self.total, expected), nothing
            self._count(documents, *hashes)
            self._progress.add(
                "order",
                bytes=blocks.payload_bytes(block),
                records=len(block),
                payload=documents.ids.nbytes * self._formats,
            )
            yield documents

    def _passes_of(self, block: pa.RecordBatch) -> npt.NDArray[np.uint32]:
        """Return each record's pass: a source's records come in the order of their ranks."""
        out = np.zeros(len(block), np.uint32)
        if not self._ranks:
            return out
        several = "source" in block.schema.names
        of = blocks.column(block, "source") if several else np.zeros(len(block), np.uint16)
        for source in np.flatnonzero(np.bincount(of)).tolist():
            mine = np.flatnonzero(of == source)
            first, records = self._ranks[source]
            out[mine] = (first + np.arange(len(mine))) // max(records, 1)
            self._ranks[source] = first + len(mine), records
        return out

    def _count(self, documents: Documents, hash0: U64, hash1: U64, size: I64) -> None:
        for found in by_pass(documents, hash0, hash1, size):
            key = found.source, found.number
            self.passes[key] = self.passes[key] + found if key in self.passes else found


def by_pass(documents: Documents, hash0: U64, hash1: U64, size: I64) -> Iterator[OfPass]:
    """Yield what documents come to by source and pass; the arrays are of their records' digests."""
    codes = (documents.sources.astype(np.int64) << 32) | documents.passes
    if len(codes) and codes[0] == codes.min() == codes.max():  # nearly always of one source
        (digest,) = blocks.digests_between(np.array([0, len(codes)]), hash0, hash1, size)
        code = int(codes[0])
        yield OfPass(code >> 32, code & 0xFFFFFFFF, digest, int(documents.offsets[-1]))
        return
    order = np.argsort(codes, kind="stable")
    found, begins = np.unique(codes[order], return_index=True)
    edges = np.append(begins, len(order))
    lengths = np.diff(documents.offsets)[order]
    digests = blocks.digests_between(edges, hash0[order], hash1[order], size[order])
    sums = np.add.reduceat(lengths, begins) if len(begins) else lengths[:0]
    for code, digest, tokens in zip(found.tolist(), digests, sums.tolist(), strict=True):
        yield OfPass(code >> 32, code & 0xFFFFFFFF, digest, tokens)
