"""Writing large shards by many workers: each lays its part down where it belongs in the file.

A shard's parts are rows, or documents, one after another; where each begins in the file follows from
counts. When all are written, one step per shard writes the index, reads the file back, a part at a time,
and compares what a reader sees with what was laid down; then it appears. The same reading gives the
file's SHA-256, which can't be made of its parts': so each byte is read once, by one worker a file.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np

from transforms.datasets.prepared import FileOfShard, PreparedShard
from transforms.datasets.write import HashedFile
from transforms.errors import DataError, LosslessError, RunError
from transforms.kernels.arrays import I64
from transforms.packing.laid import LaidSplit
from transforms.storage import files as storage
from transforms.storage import layout, parts
from transforms.trainers import raw
from transforms.trainers.contract import Dataset, ShardFacts
from transforms.trainers.digest import RowsDigest
from transforms.trainers.megatron import IDS, INDEX, Megatron, RowsOfIds
from transforms.trainers.megatron_index import EqualLengths, Lengths, write_index
from transforms.trainers.row_groups import few_at_once
from transforms.trainers.shards import AT_FAULT, Shard, ShardsToWrite, Stretch, WrittenShard
from transforms.workers.progress import Progress
from transforms.workers.round_robin import GroupRoundRobin
from transforms.workers.slots import Slot

_LENGTHS_READ = 1 << 19  # bytes of lengths at a time


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a shard that is written.

    Attributes:
        shard: the whole shard.
        facts: what it holds.
        file: its main file, which was begun.
        number, of: which part, and how many there are.
        stretch: its rows or documents, and bytes.
        first: number of its first part of an upload.
    """

    shard: Shard
    facts: ShardFacts
    file: parts.FileInParts
    number: int
    of: int
    stretch: Stretch
    first: int


@dataclass(frozen=True, kw_only=True)
class WrittenPart:
    """What a part came out as.

    Attributes:
        part: which.
        sent: what completing the file has to know of it.
        rows: how many a reader sees.
        dropped_rows, dropped_ids: that a reader doesn't see.
        digest: of what a reader sees (``RowsDigest``).
        lengths: URL of the lengths of its documents, int64 one after another; "" where all are one.
        hash: conservation hash of ``Laid.hash``.
    """

    part: Part
    sent: list[parts.Sent]
    rows: int
    dropped_rows: int
    dropped_ids: int
    digest: str
    lengths: str
    hash: int


class WriteInParts(beam.PTransform):  # type: ignore[misc]
    """Write the shards that many workers write: (name, LaidSplit) -> WrittenShard.

    Args:
        config: how splits become shards; ``ShardsToWrite.stretches`` says which go in parts.
    """

    def __init__(self, config: ShardsToWrite) -> None:
        self._config = config

    def expand(self, splits: Any) -> Any:
        """Begin the files, hand parts out, write them, complete the files."""
        found = beam.pvalue.AsDict(splits)
        numbered = tuple[int, Part]
        return (
            splits
            | "BeginFiles" >> beam.ParDo(_BeginFiles(self._config)).with_output_types(numbered)
            | "InTurn" >> GroupRoundRobin(Part)
            | "WritePart" >> beam.ParDo(_WritePart(self._config), found)
            | "ByFile" >> beam.GroupBy(_url_of)
            | "Complete" >> beam.ParDo(_Complete(self._config))
        )


def _url_of(written: WrittenPart) -> str:
    return written.part.file.url


class _Step(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: ShardsToWrite) -> None:
        # not the PTransform that it may be, which belongs to a pipeline
        names = ShardsToWrite.__dataclass_fields__
        self._config = ShardsToWrite(**{name: getattr(config, name) for name in names})

    def setup(self) -> None:
        storage.configure(self._config.storage_options)
        self._progress = Progress.open(self._config.progress)


class _BeginFiles(_Step):
    def process(self, split: tuple[str, LaidSplit]) -> Iterator[tuple[int, Part]]:
        config, turn = self._config, 0
        for shard in config.list_shards(split):
            found = config.stretches(shard, split[1])
            if not found:
                continue
            size = found[-1].offset + found[-1].size
            file = parts.begin(config.output, shard.path(IDS), size=size, run_id=config.run_id)
            facts, first = config.facts(shard, split[1]), 1
            for number, stretch in enumerate(found):
                yield (
                    turn,
                    Part(
                        shard=shard,
                        facts=facts,
                        file=file,
                        number=number,
                        of=len(found),
                        stretch=stretch,
                        first=first,
                    ),
                )
                turn, first = turn + 1, first + parts.numbers(stretch.size, of=size)


class _WritePart(_Step):
    def process(
        self, element: tuple[int, Iterable[Part]], splits: Mapping[str, LaidSplit]
    ) -> Iterator[WrittenPart]:
        config, doing = self._config, self._progress.doing
        for part in element[1]:
            slot = Slot(config.run_id, config.slots)
            with doing("waiting for memory"):
                slot.take()
            with slot, doing(f"writing {part.file.path}, part {part.number} of {part.of}"):
                laid = splits[part.shard.split]
                write = partial(write_part, part, laid, config.dataset, self._progress)
                yield storage.retry(write, part.file.url)


def write_part(part: Part, laid: LaidSplit, dataset: Dataset, progress: Progress) -> WrittenPart:
    """Write one part; done twice it writes the same bytes to the same place.

    Args:
        part: which.
        laid: its split.
        dataset: what is true of all files.
        progress: where to count.

    Raises:
        DovetailError: it can't be written, or isn't of the size that the counts gave.
    """
    form, stretch = Megatron(), part.stretch
    laid = copy.copy(laid)
    laid.hash = 0
    digest, rows, dropped_rows, dropped_ids = RowsDigest(form.keeps(dataset)), 0, 0, 0
    documents = form.unit(dataset) == "documents"
    read = laid.read_documents if documents else laid.read_rows
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(
            parts.PartWriter(part.file, offset=stretch.offset, size=stretch.size, first=part.first)
        )
        writer, lengths, url = RowsOfIds(form, file, dataset), None, ""
        if documents:
            folder = storage.join(part.file.output, layout.TEMPORARY + part.file.run_id)
            url = storage.join(folder, f"{uuid.uuid4().hex}.lengths")
            storage.make_folder(folder)
            lengths = stack.enter_context(storage.open_write(url))
        for batch in few_at_once(read(stretch.begin, stretch.end)):
            seen = writer.write(batch, first=stretch.begin - part.shard.begin + rows)
            digest.add(seen)
            if lengths is not None:
                storage.write_all(lengths, np.diff(seen.offsets))
            rows += len(seen)
            dropped_rows += len(batch) - len(seen)
            dropped_ids += max(len(batch.ids) - len(seen.ids), 0)
            progress.add("write", bytes=batch.ids.nbytes, records=len(batch))
        sent = file.close()
    return WrittenPart(
        part=part,
        sent=sent,
        rows=rows,
        dropped_rows=dropped_rows,
        dropped_ids=dropped_ids,
        digest=digest.hexdigest(),
        lengths=url,
        hash=laid.hash,
    )


class _Complete(_Step):
    def process(self, element: tuple[str, Iterable[WrittenPart]]) -> Iterator[WrittenShard]:
        config, doing = self._config, self._progress.doing
        slot = Slot(config.run_id, config.slots)
        with doing("waiting for memory"):
            slot.take()
        written = sorted(element[1], key=lambda one: one.part.number)
        with slot, doing(f"reading {written[0].part.file.path} back"):
            yield storage.retry(partial(complete_shard, written, config.dataset), element[0])


def complete_shard(written: Sequence[WrittenPart], dataset: Dataset) -> WrittenShard:
    """Write the index of a shard whose parts are all written, and let both files appear.

    The index appears first: without the main file nobody takes it for a shard, and the main one appears
    when both are read back. Done twice it does the same again.

    Args:
        written: its parts, in order.
        dataset: what is true of all files.

    Raises:
        LosslessError: what is read isn't what was laid down.
    """
    part = written[0].part
    shard, file, facts = part.shard, part.file, part.facts
    if [one.part.number for one in written] != list(range(part.of)):
        raise RunError(
            f"{file.url}: expected parts 0 to {part.of - 1}, got {[w.part.number for w in written]}; "
            "run again, and report this"
        )
    form, path = Megatron(), shard.path(INDEX)
    rows, length = sum(one.rows for one in written), dataset.packing.length
    lengths: Lengths = _PartLengths([one.lengths for one in written])
    if form.unit(dataset) == "rows" and length is not None:
        lengths = EqualLengths(rows, length)
    with layout.publish(file.output, path, run_id=file.run_id) as opened:
        index = HashedFile(opened)
        write_index(index, lengths, form.dtype(dataset))  # type: ignore[arg-type]  # a file, to it
    proof = _Proof(written, dataset)

    def check(url: str) -> None:
        with storage.open_read(storage.join(file.output, path)) as other:
            proof.read(url, other)

    parts.complete(file, [one for w in written for one in w.sent], check=check)
    return WrittenShard(
        PreparedShard(
            epoch=shard.epoch,
            format=shard.name,
            split=shard.split,
            number=shard.number,
            of=shard.of,
            files=[
                FileOfShard(path=file.path, bytes=file.size, sha256=proof.sha256),
                FileOfShard(path=path, bytes=index.tell(), sha256=index.hasher.hexdigest()),
            ],
            rows=facts.rows,
            ids=facts.ids,
            filler=facts.filler,
            digest=proof.digest,
            dropped_rows=sum(one.dropped_rows for one in written),
            dropped_ids=sum(one.dropped_ids for one in written),
        ),
        sum(one.hash for one in written) % (1 << 64),
    )


class _Proof:
    """Reads a shard back: its SHA-256, and its digest, where those of all parts are right.

    Attributes:
        sha256, digest: of what was read.
    """

    def __init__(self, written: Sequence[WrittenPart], dataset: Dataset) -> None:
        self._written, self._dataset = written, dataset
        self.sha256 = self.digest = ""

    def read(self, url: str, index: Any) -> None:
        """Read it.

        Args:
            url: of the main file, which may lie under another name yet.
            index: the other one, open for reading.

        Raises:
            LosslessError: it isn't what was laid down.
        """
        form = Megatron()
        keeps = form.keeps(self._dataset)
        whole, pending = RowsDigest(keeps), iter(self._written)
        current, digest, missing = next(pending), RowsDigest(keeps), 0
        missing = current.rows
        with storage.open_read(url) as file:
            ids = _HashedReader(file)
            try:
                for rows in form.read({IDS: ids, INDEX: index}, self._dataset):  # type: ignore[dict-item]
                    whole.add(rows)
                    begin = 0
                    while begin < len(rows):
                        while not missing:
                            _require_same(current, digest)
                            current, digest = next(pending), RowsDigest(keeps)
                            missing = current.rows
                        end = min(begin + missing, len(rows))
                        digest.add(rows.slice(begin, end))
                        missing, begin = missing - (end - begin), end
            except DataError as error:
                raise LosslessError(f"{error}, as soon as it was written; {AT_FAULT}") from error
        _require_same(current, digest)
        for one in pending:
            _require_same(one, RowsDigest(keeps))
        self.sha256, self.digest = ids.hasher.hexdigest(), whole.hexdigest()


def _require_same(part: WrittenPart, found: RowsDigest) -> None:
    if found.hexdigest() != part.digest:
        raise LosslessError(
            f"{part.part.file.path}: read back as soon as it was written, part {part.part.number} of "
            f"{part.part.of} should have the digest {part.digest}, but has {found.hexdigest()}; "
            f"{AT_FAULT}"
        )


class _PartLengths:
    """The lengths of a shard's documents, which lie in a file for each part."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls

    def __iter__(self) -> Iterator[I64]:
        for url in self._urls:
            with storage.open_read(url) as file:
                while data := raw.read_exactly(file, _LENGTHS_READ):  # type: ignore[arg-type]
                    yield np.frombuffer(data, np.int64)


class _HashedReader(io.RawIOBase):
    """A file that hashes what is read of it from its beginning on."""

    def __init__(self, file: Any) -> None:
        self._file, self._at, self._hashed = file, 0, 0
        self.hasher = hashlib.sha256()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = int(self._file.seek(offset, whence))
        return self._at

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        got = int(self._file.readinto(view) or 0)
        if self._at == self._hashed:
            self.hasher.update(view[:got])
            self._hashed += got
        self._at += got
        return got
