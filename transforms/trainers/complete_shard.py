"""Completing a shard that was written in parts: its index, and the proof of what it holds."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.datasets.prepared import FileOfShard
from transforms.datasets.write import HashedFile
from transforms.errors import DataError, LosslessError, RunError
from transforms.kernels.arrays import I64
from transforms.storage import files as storage
from transforms.storage import layout, parts
from transforms.trainers import raw
from transforms.trainers.contract import Dataset, ShardFacts
from transforms.trainers.digest import RowsDigest
from transforms.trainers.megatron import IDS, INDEX, Megatron
from transforms.trainers.megatron_index import EqualLengths, Lengths, write_index
from transforms.trainers.shards import AT_FAULT, Shard, Stretch, WrittenShard

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
            f"{file.url}: expected parts 0 to {part.of - 1}, got "
            f"{[w.part.number for w in written]}: a bug in Dovetail or the runner; run again, "
            "and report it"
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
    files = [
        FileOfShard(path=file.path, bytes=file.size, sha256=proof.sha256),
        FileOfShard(path=path, bytes=index.tell(), sha256=index.hasher.hexdigest()),
    ]
    return WrittenShard(
        shard.entry(
            facts,
            files,
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
