"""Writing: shards in order, digested as they are written, published whole; the manifest last."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np

from transforms import layout, storage
from transforms.budget import Place
from transforms.errors import DataError
from transforms.formats.lines import LineFormat
from transforms.kernels import blocks
from transforms.kernels.digest import Digest, record_hashes
from transforms.kernels.lines import line_offsets
from transforms.manifest import make_manifest
from transforms.progress import Progress
from transforms.reports import ShardReport, SpanReport
from transforms.shuffle import Ordered, Shard
from transforms.worker import follow_launcher


@dataclass(eq=False, kw_only=True)
class WriteShards(beam.PTransform):  # type: ignore[misc]
    """Write shards as line files: Shard -> ShardReport.

    A shard is written under a temporary name, then renamed, so a reader never sees a part of one,
    and a retried writer writes the same bytes again.

    Attributes:
        output: URL of the dataset's folder.
        run_id: whose marker has to stand in the output to publish; "" for none, in a pipeline that
            guards its output itself.
        split, extension: of the shards' names.
        line_format: separator, and header for the top of each shard.
        bucket_bytes: footprint of what is sorted at once.
        sources: how many sources the records are of.
        places: how many bundles of a process hold payload.
        release: give a plain shard's spill space back once it is published; only where the runner
            never runs a writer a second time.
        launcher: pid of the local process whose end ends the workers.
        progress: local folder for the counts of ``transforms.progress``, if somebody watches.
    """

    output: str
    run_id: str = ""
    split: str = "train"
    extension: str = ".txt"
    line_format: LineFormat = field(default_factory=LineFormat)
    bucket_bytes: int = 64 << 20
    sources: int = 1
    places: int = 1
    release: bool = False
    launcher: int | None = None
    progress: str | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, shards: Any) -> Any:
        """One step."""
        return shards | "Write" >> beam.ParDo(_Write(self))


class _Write(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: WriteShards) -> None:
        self._config = config

    def setup(self) -> None:
        config = self._config
        follow_launcher(config.launcher)
        self._progress = Progress.open(config.progress)
        if not config.run_id:  # else whoever owns the output has made it, and may take it away
            storage.make_folder(storage.join(config.output, layout.TEMPORARY))

    def process(self, shard: Shard) -> Iterator[ShardReport]:
        config = self._config
        path = layout.shard_path(
            split=config.split, number=shard.number, of=shard.of, extension=config.extension
        )
        temporary = storage.join(
            config.output, layout.TEMPORARY + config.run_id, f"{uuid.uuid4().hex}{config.extension}"
        )
        place, doing = Place(config.run_id, config.places), self._progress.doing
        with doing("waiting for memory"):
            place.take()
        with place, doing(f"gathering {path}"), storage.open_write(temporary) as file:
            report = write_lines(
                file,
                shard.ordered(limit=config.bucket_bytes, sources=config.sources),
                shard=shard,
                path=path,
                line_format=config.line_format,
                sources=config.sources,
                progress=self._progress,
            )
        with doing(f"publishing {path}"):
            _publish(temporary, config.output, path, run_id=config.run_id)
        if config.release:
            shard.release()
        yield report


def write_lines(
    file: Any,
    ordered: Iterator[Ordered],
    *,
    shard: Shard,
    path: str,
    line_format: LineFormat,
    sources: int,
    progress: Progress | None = None,
) -> ShardReport:
    """Write records as lines and check what is written against what was read.

    Raises:
        DataError: a record holds the separator.
        LosslessError: the digest of what is written is not that of what was read.
    """
    progress = progress or Progress.open(None)
    hasher = hashlib.sha256(line_format.header)
    size = storage.write_all(file, line_format.header)
    total = [Digest()] * sources
    for block, expected in ordered:
        data = blocks.payload(block)
        written = _digest_lines(data, block, line_format.separator, path=path, sources=sources)
        blocks.compare_digests(written, expected, what=path)
        total = blocks.add_digests(total, written)
        hasher.update(data)
        with progress.doing(f"writing {path}"):
            size += storage.write_all(file, data)
        progress.add("write", bytes=len(data), records=len(block))
    return ShardReport(
        shard.number, shard.of, path, sum(d.records for d in total), size, hasher.hexdigest(), total
    )


def _digest_lines(
    data: memoryview, block: Any, separator: int, *, path: str, sources: int
) -> list[Digest]:
    """Digest the bytes themselves, split anew: what a reader will see, not what we mean."""
    values = np.frombuffer(data, np.uint8)
    offsets = line_offsets(values, separator)
    if len(offsets) - 1 != len(block) or offsets[-1] != len(values):
        raise DataError(
            f"{path}: expected {len(block)} lines, but the records would be read back as "
            f"{len(offsets) - 1}: a record holds the separator {bytes([separator])!r} or doesn't "
            "end in it; choose another --separator"
        )
    hash0, hash1 = record_hashes(values, offsets, bytes([separator]))
    return blocks.digests_by_source(block, hash0, hash1, np.diff(offsets) - 1, sources=sources)


@dataclass(eq=False, kw_only=True)
class WriteManifest(beam.PTransform):  # type: ignore[misc]
    """Compare what was read with what was written, and write the manifest last of all.

    ``(spans, shards) -> None``, a tuple of PCollections of SpanReport and of ShardReport.

    Attributes:
        output: URL of the dataset's folder.
        sources: names of the sources.
        recipe: what determines the output, as JSON-able data.
        seed, epoch, started: for the manifest.
        separator, header_bytes: what a reader needs to find the records again.
        run_id: as for WriteShards.
        expected: ``fingerprint`` of the listing that has to be read whole, if there was one.
    """

    output: str
    sources: Sequence[str]
    recipe: dict[str, Any]
    seed: int
    epoch: int
    started: str
    separator: int = 10
    header_bytes: int = 0
    run_id: str = ""
    expected: str | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, reports: Any) -> Any:
        """One step, which waits for both branches."""
        spans, shards = reports
        return (
            shards.pipeline
            | "Once" >> beam.Create([None])
            | "CheckAndWrite"
            >> beam.Map(
                _write_manifest, beam.pvalue.AsList(spans), beam.pvalue.AsList(shards), config=self
            )
        )


def _write_manifest(
    _: None, spans: list[SpanReport], shards: list[ShardReport], config: WriteManifest
) -> None:
    manifest = make_manifest(
        spans,
        shards,
        sources=config.sources,
        recipe=config.recipe,
        seed=config.seed,
        epoch=config.epoch,
        started=config.started,
        separator=config.separator,
        header_bytes=config.header_bytes,
        run_id=config.run_id,
        expected=config.expected,
    )
    temporary = storage.join(config.output, layout.TEMPORARY + config.run_id, layout.MANIFEST)
    with storage.open_write(temporary) as file:
        storage.write_all(file, manifest.model_dump_json(indent=1).encode() + b"\n")
    _publish(temporary, config.output, layout.MANIFEST, run_id=config.run_id)


def _publish(temporary: str, output: str, path: str, *, run_id: str) -> None:
    """Rename a finished file to its place, as long as the output is still this run's."""
    with layout.publishing:
        if run_id:
            layout.require_marker(output, run_id)
        storage.rename(temporary, storage.join(output, path))
