"""Windowing: rows of ids to rows of a context and its target, as n-gram models take them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from apache_beam.transforms.window import GlobalWindows

import transforms.datasets.coders  # noqa: F401  # registers the coder of blocks
from transforms.datasets.identity import FileId, Located, Origin
from transforms.datasets.reports import SpanReport, SpanReports
from transforms.datasets.source_files import SourceFile
from transforms.errors import DataError, UsageError
from transforms.kernels.arrays import I64, U64
from transforms.kernels.packing.windows import places_in_documents, require_window, windows
from transforms.kernels.randomness import KeyPair, derive, mix, record_keys
from transforms.kernels.records import blocks
from transforms.kernels.records.arrow_values import elements, validity

_OF_DOCUMENT = derive(0, "windows")  # nothing is drawn by it: documents' counters must not overlap


@dataclass(eq=False, kw_only=True)
class WindowTokens(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Make rows of a context and its target of rows of ids: (Origin, block) -> (blocks, spans).

    A document of m ids makes m rows: each id is a target once, with the ``length`` ids before it as its
    context, padded on the left. The outputs are those of ReadRecords, and what follows it follows here:
    a window is known by its document and its place in it, so shuffled windows have an order of their
    own. Blocks hold windows of one file each.

    Attributes:
        length: ids of a context, at least 1.
        pad: the id that stands before a document's first.
        column: of the rows, lists of integers.
        context, target: columns of what is made, a list of ``length`` integers and an integer.
        block_bytes: of ids and their footprint at which a block is handed on. An id takes
            ``length`` + 1 times its size.
    """

    length: int
    pad: int = 0
    column: str = "input_ids"
    context: str = "context"
    target: str = "target"
    block_bytes: int = 2 << 20

    def __post_init__(self) -> None:
        if self.length < 1:
            raise UsageError(f"expected a context of at least 1 token, got length={self.length}")
        if self.context == self.target:
            raise UsageError(
                f"expected different names for context and target, got {self.context!r} for both"
            )

    def expand(self, located: Any) -> Any:
        """One step."""
        window = beam.ParDo(_Window(self)).with_output_types(Located, spans=SpanReports)
        return located | "WindowTokens" >> window.with_outputs("spans", main="blocks")

    def windows_of(self, file: Origin, block: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Yield the windows of a block's documents, in order, some at a time.

        Args:
            file: for errors.
            block: of rows.

        Raises:
            DataError: the rows have no such column of ids, or a row none.
        """
        ids, offsets = self._ids(file, block)
        documents = blocks.column(block, "position")
        several = "source" in block.schema.names and len(block) > 0
        source = int(blocks.column(block, "source")[0]) if several else None
        width = ids.dtype.itemsize * (self.length + 1)
        step = max(self.block_bytes // (width + blocks.ROW_COST), 1)
        for begin in range(0, len(ids), step):
            end = min(begin + step, len(ids))
            contexts, targets = windows(
                ids, offsets, length=self.length, pad=self.pad, tokens=(begin, end)
            )
            kind = pa.from_numpy_dtype(ids.dtype)
            columns = [
                pa.FixedSizeListArray.from_arrays(pa.array(contexts.ravel(), kind), self.length),
                pa.array(targets, kind),
            ]
            rows = pa.StructArray.from_arrays(columns, names=[self.context, self.target])
            positions = _positions(documents, offsets, begin, end)
            yield blocks.from_rows(rows, positions=positions, source=source)

    def _ids(self, file: Origin, block: pa.RecordBatch) -> tuple[Any, I64]:
        kind = block.schema.field("record").type
        at = kind.get_field_index(self.column) if pt.is_struct(kind) else -1
        if at < 0 or not _is_ids(kind.field(at).type):
            got = kind.field(at).type if at >= 0 else "no such column"
            raise DataError(
                f"{file.name_of(0)} of source {file.source}: expected rows with a column "
                f"{self.column} of lists of integers, got {got}; tokenize the texts first, or "
                "pass another column"
            )
        lists = block.column("record").field(at)
        self._require(file, block, validity(lists), "ids")
        inner, offsets = elements(lists)
        missing = validity(inner)
        if missing is not None:
            whole = np.ones(len(block), bool)
            whole[np.searchsorted(offsets, np.flatnonzero(~missing), side="right") - 1] = False
            self._require(file, block, whole, "only ids")
        ids = inner.to_numpy()
        try:
            require_window(self.length, self.pad, ids.dtype)
        except ValueError as error:
            raise DataError(f"{file.name_of(0)} of source {file.source}: {error}") from None
        return ids, offsets

    def _require(self, file: Origin, block: pa.RecordBatch, valid: Any, what: str) -> None:
        if valid is None:
            return
        place = int(np.flatnonzero(~valid)[0])
        row = int(blocks.column(block, "position")[place])
        raise DataError(
            f"{file.name_of(place)} of source {file.source}: row {row}: expected {what} in "
            f"{self.column}, got null"
        )


def _is_ids(kind: pa.DataType) -> bool:
    lists = pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind)
    return bool(lists and pt.is_integer(kind.value_type))


def _positions(documents: U64, offsets: I64, begin: int, end: int) -> U64:
    """Return uint64[end - begin], what stands for each window's place in its file."""
    places = places_in_documents(offsets, begin, end)
    of = np.searchsorted(offsets, np.arange(begin, end) - places, side="right") - 1
    halves = (mix(documents ^ np.uint64(half)) for half in _OF_DOCUMENT)
    pair = KeyPair(*(half[of] for half in halves))  # type: ignore[arg-type]  # of each window
    return record_keys(pair, places.astype(np.uint64))


class _Window(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: WindowTokens) -> None:
        self._config = config

    def start_bundle(self) -> None:
        self._made: dict[tuple[str, int], SpanReport] = {}

    def process(self, element: Located) -> Iterator[tuple[FileId, pa.RecordBatch]]:
        for file, part in element[0].each(element[1]):
            for block in self._config.windows_of(file, part):
                self._report(file, block)
                yield file, block

    def _report(self, file: FileId, block: pa.RecordBatch) -> None:
        key = file.source, file.pass_number
        found = self._made.get(key)
        (digest,) = blocks.digests(block, sources=1)
        payload = blocks.payload_bytes(block)
        if found is not None:
            digest, payload = found.digest + digest, found.payload + payload
        self._made[key] = SpanReport(
            SourceFile(file.source, name="", url="", size=0, version=""),
            digest,
            payload=payload,
            pass_number=file.pass_number,
        )

    def finish_bundle(self) -> Iterator[Any]:
        if self._made:
            windowed = GlobalWindows.windowed_value(SpanReports.of(list(self._made.values())))
            yield beam.pvalue.TaggedOutput("spans", windowed)
