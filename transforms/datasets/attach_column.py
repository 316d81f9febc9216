"""Attaching a column: values that somebody else found, put to the records that they are of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from transforms.datasets.coders import BlockCoder  # and registers it
from transforms.datasets.identity import Located, Origin, keep
from transforms.datasets.read_values import where
from transforms.datasets.reports import SpanReport, SpanReports
from transforms.datasets.source_files import SourceFile
from transforms.errors import DataError, UsageError
from transforms.kernels.arrays import I64
from transforms.kernels.records import blocks
from transforms.kernels.records.arrow_values import validity
from transforms.kernels.records.attach import attach
from transforms.kernels.records.contents import (
    Hashes,
    content_hashes,
    field_of,
    value_hashes,
)
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.keyed_values import KEY_BYTES, KeyedValues

Missing = Literal["fail", "null", "leave_out"]
_PIECE = 16 << 20  # bytes of keys and values that go to workers at once
_DIGEST = 16
CONTENT = None
"""In the place of a field: records are known by their contents."""


@dataclass(eq=False, kw_only=True)
class AttachColumn(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Attach a value to each record, by its id or content: (Origin, block) -> (blocks, spans).

    Records are rows, which get a last column, or JSON lines, which get a last key; all else of them
    stays (``kernels.records.attach``). The outputs are those of ReadRecords, and what follows it follows
    here: ``spans`` are of the records as they are now, with those that were left out counted as dropped.

    The values are held by every worker as sorted arrays, 16 bytes for a key and what the value takes;
    while they are joined, three times that, beside what the runner holds of them.

    Attributes:
        name: of the column or key; no record has it.
        values: a PCollection of tables (RecordBatch): a column of ids or contents and one of values; or
            uint64, uint64 and values, keys as ``contents.content_hashes`` gives them. ``ReadValues``
            makes such of files. A key may come several times, with the same value.
        by: the field that is the record's id: a column of rows, or kept beside it
            (``ReadOptions.beside``). Text, an integer or a boolean; ``7`` and ``"7"`` are the same id.
            None for the content: the text, where there is one beside the record or in a column ``text``,
            else the whole line or row.
        missing: what becomes of a record without a value: an error that names it, a null, or it is left
            out.
        kind: the type in which rows get the values; None for the one in which they come.
        memory: bytes that the values may take, at most a GiB; more are refused.
    """

    name: str
    values: Any
    by: str | None = CONTENT
    missing: Missing = "fail"
    kind: pa.DataType | None = None
    memory: int = 256 << 20

    def __post_init__(self) -> None:
        if not 0 < self.memory <= 1 << 30:
            raise UsageError(
                f"expected memory of 1 byte to 1 GiB, in bytes, got memory={self.memory}"
            )
        if self.missing not in ("fail", "null", "leave_out"):
            raise UsageError(
                f"expected missing to be fail, null or leave_out, got {self.missing!r}"
            )

    def expand(self, located: Any) -> Any:
        """Hash keys, hand them to every worker, look up."""
        hashed = self.values | "HashKeys" >> beam.ParDo(_HashKeys(self)).with_output_types(bytes)
        look_up = beam.ParDo(_LookUp(self), beam.pvalue.AsIter(hashed))
        outputs = look_up.with_output_types(Located, spans=SpanReports)
        return located | "AttachValues" >> outputs.with_outputs("spans", main="blocks")


class _HashKeys(beam.DoFn):  # type: ignore[misc]
    """Hashes keys of tables, and joins small ones."""

    def __init__(self, config: AttachColumn) -> None:
        self._name, self._kind = config.name, config.kind

    def start_bundle(self) -> None:
        self._tables: list[KeyedValues] = []

    def process(self, table: pa.RecordBatch) -> Iterator[bytes]:
        values = _cast(table.column(table.num_columns - 1), self._name, self._kind)
        self._tables.append(KeyedValues.of(_keys_of(table), values))
        if sum(found.nbytes for found in self._tables) >= _PIECE:
            yield self._joined()

    def finish_bundle(self) -> Iterator[Any]:
        if self._tables:
            yield GlobalWindows.windowed_value(self._joined())

    def _joined(self) -> bytes:
        tables, self._tables = self._tables, []
        return _packed(KeyedValues.join(tables))


def _keys_of(table: pa.RecordBatch) -> Hashes:
    """Return the hashes of a table's keys."""
    names = table.schema.names
    if table.num_columns == 3 and all(column.type == pa.uint64() for column in table.columns[:2]):
        return table.column(0).to_numpy(), table.column(1).to_numpy()
    if table.num_columns != 2:
        raise DataError(
            "expected tables with a column of keys and one of values, or with two columns of "
            f"uint64 and one of values, got columns {', '.join(names)}"
        )
    keys = table.column(0) if len(table) else pa.array([], pa.string())
    missing = validity(keys)
    if missing is not None:
        place = int(np.flatnonzero(~missing)[0])
        raise DataError(
            f"expected a key in {names[0]} for every value, got null in row {place}; leave "
            "such rows out"
        )
    return value_hashes(keys, name=names[0])


def _cast(values: pa.Array, name: str, kind: pa.DataType | None) -> pa.Array:
    if kind is None or values.type == kind:
        return values
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"expected values for {name} that fit {kind}, got {values.type}: {error}"
        ) from None


def _packed(table: KeyedValues) -> bytes:
    """Return a table as bytes, behind a digest of them."""
    columns = [pa.array(table.keys[0]), pa.array(table.keys[1]), table.values]
    batch = pa.RecordBatch.from_arrays(columns, names=["hash0", "hash1", "value"])
    encoded = BlockCoder().encode(batch)  # as it is: hashes can't be compressed
    return hashlib.blake2b(encoded, digest_size=_DIGEST).digest() + encoded


def _opened(packed: bytes) -> KeyedValues:
    with pa.ipc.open_stream(pa.py_buffer(packed)[_DIGEST:]) as reader:
        table = reader.read_next_batch()
    keys = table.column(0).to_numpy(), table.column(1).to_numpy()
    return KeyedValues(keys, table.column(2))


def _joined(pieces: Iterable[bytes], memory: int) -> KeyedValues:
    """Join packed tables.

    Raises:
        DataError: they take more than so many bytes; or as ``KeyedValues.join``.
    """
    tables: list[KeyedValues] = []
    total = 0
    for piece in pieces:
        tables.append(_opened(piece))
        total += tables[-1].nbytes
        if total > memory:  # unless keys came several times
            tables = [KeyedValues.join(tables)]
            total = tables[0].nbytes
        if total > memory:
            raise DataError(
                f"expected keys and values of at most {memory:,} bytes ({KEY_BYTES} per key, and "
                f"each value's own), got {total:,} for at least {len(tables[0]):,} keys; pass "
                "AttachColumn more memory, or attach the values in parts, each to its part of "
                "the records"
            )
    return KeyedValues.join(tables)


class _LookUp(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: AttachColumn) -> None:
        self._name, self._by, self._missing = config.name, config.by, config.missing
        self._kind, self._memory = config.kind, config.memory
        self._table = KeyedValues.join([])
        self._joined_of: list[bytes] | None = None

    def start_bundle(self) -> None:
        self._found: dict[tuple[str, int], tuple[Digest, Digest, int]] = {}
        self._looked = False

    def _require_table(self, pieces: Iterable[bytes]) -> None:
        """Join the table once a bundle, unless it is that of the bundle before."""
        if self._looked:
            return
        digests = sorted(piece[:_DIGEST] for piece in pieces)
        if digests != self._joined_of:
            self._table = KeyedValues.join([])  # let go of the one before
            self._table, self._joined_of = _joined(pieces, self._memory), digests
        self._looked = True

    def process(self, element: Located, pieces: Iterable[bytes]) -> Iterator[Located]:
        self._require_table(pieces)
        origin, block = element
        places = self._places(block)
        block = blocks.without_kept(block)
        missing = places < 0
        dropped = Digest()
        if missing.any() and self._missing == "fail":
            self._refuse(origin, element[1], int(np.flatnonzero(missing)[0]))
        if missing.any() and self._missing == "leave_out":
            dropped = _digest(block.filter(pa.array(missing)))
            kept = keep(origin, block, ~missing)
            places = places[~missing]
            origin, block = (origin, block.slice(0, 0)) if kept is None else kept
        values = self._table.values.take(pa.array(places, mask=places < 0))
        if len(self._table) == 0 and self._kind is not None:
            values = pa.nulls(len(places), self._kind)
        made = attach(block, self._name, values, name_of=origin.name_of)
        self._report(origin, made, dropped)
        if len(made):
            yield origin, made

    def _places(self, block: pa.RecordBatch) -> I64:
        """Return where in the table the value of each record is, -1 where there is none."""
        if self._by is None:
            return self._table.places(content_hashes(block))
        ids = field_of(block, self._by, why="to attach values by it")
        places = self._table.places(value_hashes(ids, name=self._by))
        valid = validity(ids)
        return places if valid is None else np.where(valid, places, -1)

    def _refuse(self, origin: Origin, block: pa.RecordBatch, place: int) -> None:
        known = "its content"
        if self._by is not None:
            known = f"{self._by}={field_of(block, self._by)[place].as_py()!r:.80}"
        raise DataError(
            f"{where(origin, block, place)}: expected a value of {self._name!r} for every "
            f"record, got none for {known}; add one, or set missing to null or leave_out"
        )

    def _report(self, origin: Origin, made: pa.RecordBatch, dropped: Digest) -> None:
        key = origin.source, origin.pass_number
        digest, gone, payload = self._found.get(key, (Digest(), Digest(), 0))
        payload += blocks.payload_bytes(made)
        self._found[key] = digest + _digest(made), gone + dropped, payload

    def finish_bundle(self) -> Iterator[Any]:
        if self._found:
            reports = SpanReports.of(_reports(self._found))
            yield beam.pvalue.TaggedOutput("spans", GlobalWindows.windowed_value(reports))


def _reports(
    found: Mapping[tuple[str, int], tuple[Digest, Digest, int]],
) -> Iterator[SpanReport]:
    for (source, number), (digest, dropped, payload) in found.items():
        file = SourceFile(source, name="", url="", size=0, version="")
        yield SpanReport(file, digest, dropped=dropped, payload=payload, pass_number=number)


def _digest(block: pa.RecordBatch) -> Digest:
    return Digest.total(blocks.digests(blocks.without_source(block), sources=1))
