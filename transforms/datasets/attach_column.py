"""Attaching a column: values that somebody else found, put to the records that they are of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

import transforms.datasets.coders  # noqa: F401  # registers the coder of blocks
from transforms.datasets.compact import pack, unpack
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
CONTENT = None
"""In the place of a field: records are known by their contents."""


@dataclass(eq=False, kw_only=True)
class AttachColumn(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Attach a value to each record, by its id or content: (Origin, block) -> (blocks, spans).

    Records are rows, which get a last column, or JSON lines, which get a last key; all else of them
    stays (``kernels.records.attach``). The outputs are those of ReadRecords, and what follows it follows
    here: ``spans`` are of the records as they are now, with those that were left out counted as dropped.

    The values are held by every worker as sorted arrays, 16 bytes for a key and what the value takes,
    and about twice that while they are joined.

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
            raise UsageError(f"expected memory of up to a GiB, in bytes, got memory={self.memory}")
        if self.missing not in ("fail", "null", "leave_out"):
            raise UsageError(
                f"expected missing to be fail, null or leave_out, got {self.missing!r}"
            )

    def expand(self, located: Any) -> Any:
        """Gather the values in one place, then look up."""
        gathered = (
            self.values
            | "HashKeys" >> beam.ParDo(_HashKeys(self)).with_output_types(bytes)
            | "JoinValues"
            >> beam.CombineGlobally(partial(_joined, memory=self.memory)).with_output_types(bytes)
        )
        look_up = beam.ParDo(_LookUp(self), beam.pvalue.AsSingleton(gathered))
        outputs = look_up.with_output_types(Located, spans=SpanReports)
        return located | "AttachValues" >> outputs.with_outputs("spans", main="blocks")


class _HashKeys(beam.DoFn):  # type: ignore[misc]
    """Hashes keys of tables, and gives one table a bundle, packed."""

    def __init__(self, config: AttachColumn) -> None:
        self._config = config

    def start_bundle(self) -> None:
        self._tables: list[KeyedValues] = []
        self._bytes = 0

    def process(self, table: pa.RecordBatch) -> Iterator[Any]:
        found = KeyedValues.of(
            _keys_of(table), _cast(table.column(table.num_columns - 1), self._config)
        )
        self._tables.append(found)
        self._bytes += found.nbytes
        if self._bytes > self._config.memory:  # unless keys came several times
            self._tables = [_within(KeyedValues.join(self._tables), self._config.memory)]
            self._bytes = self._tables[0].nbytes
        yield from ()

    def finish_bundle(self) -> Iterator[Any]:
        if self._tables:
            joined, self._tables = KeyedValues.join(self._tables), []
            yield GlobalWindows.windowed_value(_packed(joined))


def _keys_of(table: pa.RecordBatch) -> Hashes:
    """Return the hashes of a table's keys."""
    names = table.schema.names
    if table.num_columns == 3 and all(column.type == pa.uint64() for column in table.columns[:2]):
        return table.column(0).to_numpy(), table.column(1).to_numpy()
    if table.num_columns != 2:
        raise DataError(
            "expected tables of keys and values, or of two columns of uint64 and values, got columns "
            f"{', '.join(names)}"
        )
    keys = table.column(0) if len(table) else pa.array([], pa.string())
    missing = validity(keys)
    if missing is not None:
        place = int(np.flatnonzero(~missing)[0])
        raise DataError(f"expected a key in {names[0]} for every value, got null in row {place}")
    return value_hashes(keys, name=names[0])


def _cast(values: pa.Array, config: AttachColumn) -> pa.Array:
    if config.kind is None or values.type == config.kind:
        return values
    try:
        return values.cast(config.kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"expected values for {config.name} that {config.kind} can hold, got {values.type}: {error}"
        ) from None


def _within(table: KeyedValues, memory: int) -> KeyedValues:
    if table.nbytes > memory:
        raise DataError(
            f"expected values that take at most {memory} bytes, {KEY_BYTES} a key and what each value "
            f"has, got {table.nbytes} for {len(table)} keys or more; give AttachColumn more memory, or "
            "attach the values in parts, each to its part of the records"
        )
    return table


def _packed(table: KeyedValues) -> bytes:
    columns = [pa.array(table.keys[0]), pa.array(table.keys[1]), table.values]
    return pack(pa.RecordBatch.from_arrays(columns, names=["hash0", "hash1", "value"]))


def _opened(packed: bytes) -> KeyedValues:
    table = unpack(packed)
    keys = table.column(0).to_numpy(), table.column(1).to_numpy()
    return KeyedValues(keys, table.column(2))


def _joined(many: Iterable[bytes], *, memory: int) -> bytes:
    return _packed(_within(KeyedValues.join([_opened(packed) for packed in many]), memory))


class _LookUp(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: AttachColumn) -> None:
        self._name, self._by, self._missing = config.name, config.by, config.missing
        self._kind = config.kind
        self._packed: bytes | None = None

    def start_bundle(self) -> None:
        self._found: dict[tuple[str, int], tuple[Digest, Digest, int]] = {}

    def process(self, element: Located, packed: bytes) -> Iterator[Located]:
        if packed is not self._packed:
            self._packed, self._table = packed, _opened(packed)
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
            f"{where(origin, block, place)}: expected a value of {self._name!r} for every record, "
            f"got none for {known}; give one, or set missing to null or leave_out"
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
