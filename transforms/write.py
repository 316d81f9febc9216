"""Writing shards: in order, digested as they are written, published whole."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np

from transforms import layout, storage
from transforms.budget import Place
from transforms.errors import DataError
from transforms.kernels import blocks
from transforms.kernels.digest import Digest, record_hashes
from transforms.kernels.lines import line_offsets
from transforms.read import LineFormat
from transforms.shuffle import Ordered, Shard
from transforms.worker import follow_launcher


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What one shard came out as, for the manifest."""

    number: int
    of: int
    path: str
    records: int
    bytes: int
    sha256: str
    digests: list[Digest]


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
        launcher: pid of the local process whose end ends the workers.
    """

    output: str
    run_id: str = ""
    split: str = "train"
    extension: str = ".txt"
    line_format: LineFormat = field(default_factory=LineFormat)
    bucket_bytes: int = 64 << 20
    sources: int = 1
    places: int = 1
    launcher: int | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, shards: Any) -> Any:
        """One step."""
        return shards | "Write" >> beam.ParDo(_Write(self))


class _Write(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: WriteShards) -> None:
        self._config = config

    def setup(self) -> None:
        follow_launcher(self._config.launcher)

    def process(self, shard: Shard) -> Iterator[ShardReport]:
        config = self._config
        path = layout.shard_path(
            split=config.split, number=shard.number, of=shard.of, extension=config.extension
        )
        temporary = storage.join(
            config.output, layout.TEMPORARY + config.run_id, f"{uuid.uuid4().hex}{config.extension}"
        )
        with Place(config.run_id, config.places), storage.open_write(temporary) as file:
            report = write_lines(
                file,
                shard.ordered(limit=config.bucket_bytes, sources=config.sources),
                shard=shard, path=path, line_format=config.line_format, sources=config.sources,
            )
        if config.run_id:
            layout.require_marker(config.output, config.run_id)
        storage.rename(temporary, storage.join(config.output, path))
        yield report


def write_lines(
    file: Any,
    ordered: Iterator[Ordered],
    *,
    shard: Shard,
    path: str,
    line_format: LineFormat,
    sources: int,
) -> ShardReport:
    """Write records as lines and check what is written against what was read.

    Raises:
        DataError: a record holds the separator.
        LosslessError: the digest of what is written is not that of what was read.
    """
    hasher = hashlib.sha256(line_format.header)
    size = storage.write_all(file, line_format.header)
    total = [Digest()] * sources
    for block, expected in ordered:
        data = blocks.payload(block)
        written = _digest_lines(data, block, line_format.separator, path=path, sources=sources)
        blocks.compare_digests(written, expected, what=path)
        total = blocks.add_digests(total, written)
        hasher.update(data)
        size += storage.write_all(file, data)
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
    hash0, hash1 = record_hashes(values, offsets[:-1], offsets[1:] - 1)
    return blocks.digests_by_source(
        block, hash0, hash1, np.diff(offsets) - 1, sources=sources
    )
