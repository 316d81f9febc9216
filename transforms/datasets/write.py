"""Writing: shards in order, digested as they are written, and published whole."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import apache_beam as beam
import pyarrow as pa

from transforms.datasets.reports import ShardReport
from transforms.errors import DataError, LosslessError
from transforms.formats import compressed
from transforms.formats.read_back import shard_digest
from transforms.formats.writing import ShardFormat, open_writer
from transforms.kernels.records import blocks, compiling
from transforms.kernels.records.digest import Digest
from transforms.storage import files as storage
from transforms.storage import layout
from transforms.workers.follow_launcher import follow_launcher
from transforms.workers.progress import Progress, Watched
from transforms.workers.slots import Slot

_AT_FAULT = "its codec library, the memory or the disk is faulty; check them, then run again"


class Ordered(NamedTuple):
    """Records in their final order, and what the digests per source have to be of these and all
    before them that came without; None where that isn't known yet.
    """

    block: pa.RecordBatch
    expected: list[Digest] | None


class FileRecords(Protocol):
    """The records that one file is to hold, a range of all that there are."""

    @property
    def number(self) -> int:
        """Its place among the files."""

    @property
    def of(self) -> int:
        """How many files there are."""

    def ordered(self) -> Iterator[Ordered]:
        """Yield its records in order; walked again where writing has to be tried again."""

    def unused(self) -> list[Digest]:
        """Return the digests of what was read for it and isn't in it, by source; [] for nothing."""


class ToWrite(FileRecords, Protocol):
    """The records that one shard is to hold."""

    def release(self) -> None:
        """Give back the storage behind it that no other shard needs."""


@dataclass(eq=False, kw_only=True)
class WriteShards(beam.PTransform):  # type: ignore[misc]
    """Write shards: ToWrite, which plain and mixed shards are -> ShardReport.

    A shard appears under its name when it is whole, so a reader never sees a part of one, and a
    retried writer writes the same bytes again.

    Workers raise LosslessError where a shard's records aren't those that were read, or where a file,
    read back, isn't what was written.

    Attributes:
        output: URL of the dataset's folder.
        run_id: whose marker has to stand in the output to publish; "" for none, in a pipeline that
            guards its output itself.
        split, extension: of the shards' names.
        form: what shards are.
        sources: how many sources the records are of.
        slots: how many bundles of a process hold payload.
        release: give a plain shard's spill space back once it is published; only where the runner
            never runs a writer a second time.
        launcher, storage_options, progress, compiled: as of ReadRecords.
    """

    output: str
    run_id: str = ""
    split: str = "train"
    extension: str = ".txt"
    form: ShardFormat = field(default_factory=ShardFormat)
    sources: int = 1
    slots: int = 1
    release: bool = False
    launcher: int | None = None
    storage_options: dict[str, Any] | None = None
    progress: Watched = None
    compiled: bool | None = None

    def expand(self, shards: Any) -> Any:
        """One step."""
        return shards | "Write" >> beam.ParDo(ShardWriter(self))


class ShardWriter(beam.DoFn):  # type: ignore[misc]
    """Writes shards in a worker."""

    def __init__(self, config: WriteShards) -> None:
        self._config = config

    def setup(self) -> None:
        """Get ready, once a worker."""
        config = self._config
        follow_launcher(config.launcher)
        storage.configure(config.storage_options)
        compressed.load(config.form.codec_modules)
        compiling.tell(config.compiled)
        self._progress = Progress.open(config.progress)
        if not config.run_id:  # else whoever owns the output has made it, and may take it away
            storage.make_folder(storage.join(config.output, layout.TEMPORARY))

    def process(self, shard: ToWrite) -> Iterator[ShardReport]:
        yield self.write(shard)

    def write(self, shard: ToWrite) -> ShardReport:
        """Write one shard and publish it.

        Raises:
            DovetailError: it can't be written, or isn't what it has to be.
        """
        config = self._config
        path = layout.shard_path(
            split=config.split, number=shard.number, of=shard.of, extension=config.extension
        )

        def write() -> ShardReport:
            report: ShardReport

            def check(url: str) -> None:
                with doing(f"reading {path} back"):
                    _require_readable(url, report, config.form)

            publish = partial(layout.publish, config.output, path, run_id=config.run_id)
            with publish(check=None if config.form.is_plain else check) as file:
                report = write_shard(
                    file,
                    shard.ordered(),
                    shard=shard,
                    path=path,
                    form=config.form,
                    sources=config.sources,
                    progress=self._progress,
                )
            return report

        slot, doing = Slot(config.run_id, config.slots), self._progress.doing
        with doing("waiting for memory"):
            slot.take()
        with slot, doing(f"gathering {path}"):
            report = storage.retry(write, storage.join(config.output, path))
            report = replace(report, unused=shard.unused())
        if config.release:
            shard.release()
        return report


def write_shard(
    file: Any,
    ordered: Iterator[Ordered],
    *,
    shard: ToWrite,
    path: str,
    form: ShardFormat,
    sources: int,
    progress: Progress | None = None,
) -> ShardReport:
    """Write records and check what is written against what was read.

    What is encoded is checked when it is read back; here only to name the source, if there are
    several.

    Args:
        file: binary, open for writing; it isn't closed.
        ordered: blocks in their order, with what they have to be.
        shard: which one it is.
        path: of the shard, for the report and errors.
        form: what shards are.
        sources: how many sources the records are of.
        progress: where to count; None for nowhere.

    Raises:
        DataError: a record can't be written so that a reader finds it again.
        LosslessError: the digest of what is written is not that of what was read.
    """
    progress = progress or Progress.open(None)
    sink = HashedFile(file)
    total = waiting = nothing = [Digest()] * sources
    writer = open_writer(sink, form, path=path)
    for block, expected in ordered:
        if form.kind != "lines" and blocks.is_rows(block) != (form.records_are == "rows"):
            has = "rows" if blocks.is_rows(block) else "lines"
            raise DataError(
                f"{path}: expected {form.records_are} (records_are of the ShardFormat), got {has}"
            )
        with progress.doing(f"writing {path}"):
            hashes = writer.write(block)
            if hashes is None and sources > 1:
                hashes = blocks.hashes(blocks.without_hashes(block))
        if hashes is not None:
            written = blocks.digests_by_source(block, *hashes, sources=sources)
            waiting = blocks.add_digests(waiting, written)
        if expected is not None:
            if hashes is not None:
                blocks.compare_digests(waiting, expected, what=path)
            total, waiting = blocks.add_digests(total, expected), nothing
        progress.add("write", bytes=blocks.payload_bytes(block), records=len(block))
    writer.close()
    return ShardReport(
        shard.number,
        shard.of,
        path,
        sum(d.records for d in total),
        sink.tell(),
        sink.hasher.hexdigest(),
        total,
    )


def _require_readable(url: str, report: ShardReport, form: ShardFormat) -> None:
    """Raise LosslessError where a shard, decoded again, isn't what was to be written."""
    try:
        with storage.open_read(url) as file:
            found = shard_digest(
                file, path=report.path, size=report.bytes, form=form, just_written=True
            )
    except DataError as error:
        raise LosslessError(f"{error}, as soon as it was written; {_AT_FAULT}") from error
    want = Digest.total(report.digests)
    if found != want:
        raise LosslessError(
            f"{report.path}: read back as soon as it was written, it should have "
            f"{want.records:,} records of {want.bytes:,} bytes with digest "
            f"{want.to_json()['hash']}, but has {found.records:,} of {found.bytes:,} with "
            f"{found.to_json()['hash']}; {_AT_FAULT}"
        )


class HashedFile(io.RawIOBase):
    """A file that hashes what is written to it.

    Args:
        file: open for writing.

    Attributes:
        hasher: SHA-256 of what was written.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._size = 0
        self.hasher = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        self.hasher.update(data)
        size = storage.write_all(self._file, data)
        self._size += size
        return size
