"""Input files: what each is, and very many of them in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, overload

import pyarrow as pa

from transforms.formats.detection import FileFormat, Kind
from transforms.kernels.records.compact import pack, unpack

_BATCH = 4096  # files that are packed together

FIELDS = (
    ("source", pa.large_string()),
    ("name", pa.large_string()),
    ("url", pa.large_string()),
    ("size", pa.int64()),
    ("version", pa.large_string()),
    ("kind", pa.string()),
    ("compression", pa.string()),
)
"""Columns of a table of files; the last two are ``told``."""
SCHEMA = pa.schema(FIELDS)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input file.

    Attributes:
        source: name of its source.
        name: its path below the source's root without a codec's suffix, a part of its records'
            identity.
        url: where it lies.
        size: bytes.
        version: changes when the file does.
        told: kind and compression that the manifest of a dataset of ours says; None for other files.
    """

    source: str
    name: str
    url: str
    size: int
    version: str
    told: tuple[Kind, str] | None = None

    @property
    def format(self) -> FileFormat | None:
        """What the file is, where that is told."""
        return FileFormat.told(*self.told) if self.told else None

    @property
    def row(self) -> tuple[Any, ...]:
        """Its row in a table of files."""
        told = self.told or (None, None)
        return self.source, self.name, self.url, self.size, self.version, *told

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> SourceFile:
        """Return the file of a row, or of the beginning of a longer one."""
        source, name, url, size, version, kind, compression = row[: len(FIELDS)]
        told = None if kind is None else (kind, compression)
        return cls(source, name, url, size, version, told)


def table_of(rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    """Return a table of rows."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(list(c), f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def rows_of(table: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Yield a table's rows."""
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


class Files(Sequence[SourceFile]):
    """A listing of files, held as packed tables: about 15 bytes a file, where an object takes 500.

    Args:
        tables: of the columns of FIELDS.
    """

    def __init__(self, tables: Iterable[pa.RecordBatch] = ()) -> None:
        self.packed: list[bytes] = []
        self._begins = [0]
        for table in tables:
            for begin in range(0, len(table), _BATCH):
                part = table.slice(begin, _BATCH)
                self.packed.append(pack(part))
                self._begins.append(self._begins[-1] + len(part))

    @classmethod
    def of(cls, files: Iterable[SourceFile]) -> Files:
        """Hold files."""
        if isinstance(files, Files):
            return files
        rest = iter(files)
        parts = iter(lambda: list(islice(rest, _BATCH)), [])
        return cls(table_of((file.row for file in part), SCHEMA) for part in parts)

    @classmethod
    def join(cls, parts: Iterable[Files]) -> Files:
        """Hold several listings as one."""
        found = cls()
        for part in parts:
            found.packed += part.packed
            found._begins += [found._begins[-1] + begin for begin in part._begins[1:]]
        return found

    def tables(self) -> Iterator[pa.RecordBatch]:
        """Yield all files as tables, in order."""
        return map(unpack, self.packed)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(int(table.column("size").to_numpy().sum()) for table in self.tables())

    def __len__(self) -> int:
        return self._begins[-1]

    def __iter__(self) -> Iterator[SourceFile]:
        for table in self.tables():
            yield from map(SourceFile.of_row, rows_of(table))

    @overload
    def __getitem__(self, place: int) -> SourceFile: ...
    @overload
    def __getitem__(self, place: slice) -> list[SourceFile]: ...
    def __getitem__(self, place: int | slice) -> SourceFile | list[SourceFile]:
        """Return a file, or a list of some."""
        wanted = range(len(self))[place]
        if isinstance(wanted, int):
            return self[wanted : wanted + 1][0]
        if wanted.step < 1:
            return list(self)[place]  # type: ignore[index]
        found: list[SourceFile] = []
        for packed, begin, end in zip(self.packed, self._begins, self._begins[1:], strict=False):
            first = -(-(begin - wanted.start) // wanted.step)
            last = -(-(end - wanted.start) // wanted.step)
            if mine := [number - begin for number in wanted[max(first, 0) : max(last, 0)]]:
                some = unpack(packed).take(pa.array(mine))
                found += map(SourceFile.of_row, rows_of(some))
        return found

    def __repr__(self) -> str:
        return f"Files of {len(self)}"
