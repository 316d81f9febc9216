"""Somebody's own records: from the elements of a pipeline to blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

import transforms.datasets.coders  # noqa: F401  # registers the coder of blocks
from transforms.datasets.identity import FileId, Located
from transforms.datasets.reports import SpanReport, SpanReports
from transforms.datasets.source_files import SourceFile
from transforms.errors import DataError
from transforms.kernels.randomness import derive
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest

Id = str | int | bytes


@dataclass(eq=False, kw_only=True)
class BlocksFromRecords(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Gather a bounded PCollection of records into blocks: (id, bytes), or bytes -> (blocks, spans).

    The outputs are those of ReadRecords, and what follows it follows here. Where a record comes out
    depends on its id alone, not on bundles, workers or the order of the elements. An id is a str,
    an int or bytes (``1`` and ``"1"`` are two ids) that no other record of the source has.

    Without ids a record's identity is the digest of its content and its number among its equals.
    Numbering them takes one grouping, through which the payload travels: give ids where the records
    are more than the runner can group.

    Attributes:
        source: name of the source.
        ids: whether elements are ``(id, record)``.
        separator: the byte that ends a record in line files, 0 to 255; WriteShards refuses a record
            that holds it.
        block_bytes: footprint at which a block is handed on.
    """

    source: str = "default"
    ids: bool = True
    separator: int = 10
    block_bytes: int = 2 << 20

    def expand(self, records: Any) -> Any:
        """Find each record's position, gather."""
        whole = records | "OneWindow" >> beam.WindowInto(GlobalWindows())
        if self.ids:
            placed = whole | "PlaceById" >> beam.Map(_place_by_id).with_output_types(
                tuple[bytes, bytes]
            )
        else:
            placed = (
                whole
                | "DigestContent"
                >> beam.Map(_digest_content).with_output_types(tuple[bytes, bytes])
                | "GroupEquals" >> beam.GroupByKey()
                | "NumberEquals"
                >> beam.FlatMapTuple(_number_equals).with_output_types(tuple[bytes, bytes])
            )
        gather = beam.ParDo(_GatherBlocks(self)).with_output_types(Located, spans=SpanReports)
        return placed | "GatherBlocks" >> gather.with_outputs("spans", main="blocks")


def position_of(*identity: Id) -> bytes:
    """Return what stands for the offset in a file: 8 bytes, little-endian, hashed from an identity.

    The seed has no part in it, as it has none in an offset; it comes in with the record's key.
    """
    return derive(0, *identity).k0.to_bytes(8, "little")


def _place_by_id(element: Any) -> tuple[bytes, bytes]:
    if not isinstance(element, tuple | list) or len(element) != 2:
        raise DataError(
            f"expected pairs of (id, record), got {element!r:.80} of type {type(element).__name__}; "
            "give each record its id, or set ids=False"
        )
    identity, record = element
    if not isinstance(identity, Id):
        raise DataError(
            f"expected an id of type str, int or bytes, got {identity!r} of type "
            f"{type(identity).__name__}; convert it, or drop the ids and set ids=False"
        )
    return position_of(identity), _checked(record)


def _digest_content(record: bytes) -> tuple[bytes, bytes]:
    return hashlib.blake2b(_checked(record), digest_size=16).digest(), record


def _number_equals(digest: bytes, equals: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for number, record in enumerate(equals):
        yield position_of(digest, number), record


def _checked(record: bytes) -> bytes:
    if not isinstance(record, bytes):
        raise DataError(
            f"expected records of type bytes, got {type(record).__name__}; encode them, and "
            "check that ids fits the elements: True for (id, record), False for the record alone"
        )
    return record


class _GatherBlocks(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: BlocksFromRecords) -> None:
        self._config = config

    def start_bundle(self) -> None:
        self._total = Digest()
        self._clear()

    def _clear(self) -> None:
        self._positions: list[bytes] = []
        self._records: list[bytes] = []
        self._gathered = 0

    def process(self, element: tuple[bytes, bytes]) -> Iterator[Any]:
        position, record = element
        cost = blocks.footprint(1, len(record) + 1)
        if self._records and self._gathered + cost > self._config.block_bytes:
            yield self._block()
        self._positions.append(position)
        self._records.append(record)
        self._gathered += cost

    def finish_bundle(self) -> Iterator[Any]:
        if self._records:
            yield GlobalWindows.windowed_value(self._block())
        file = SourceFile(self._config.source, name="", url="", size=0, version="")
        payload = self._total.bytes + self._total.records  # their separators too
        report = SpanReports.of([SpanReport(file, self._total, payload=payload)])
        yield beam.pvalue.TaggedOutput("spans", GlobalWindows.windowed_value(report))

    def _block(self) -> tuple[FileId, pa.RecordBatch]:
        block = blocks.from_records(
            self._records,
            np.frombuffer(b"".join(self._positions), "<u8"),
            line_end=bytes([self._config.separator]),
        )
        self._clear()
        self._total += Digest.total(blocks.digests(block, sources=1))
        return FileId(self._config.source, ""), block
