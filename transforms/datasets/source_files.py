"""Input files: what each is, and very many of them in little memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from transforms.datasets.compact import pack, unpack
from transforms.datasets.sieve import kinds_of
from transforms.formats.detection import FileFormat, Kind
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.row_hashes import row_hashes
from transforms.storage.layout import EXTENSION

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


class Files(Iterable[SourceFile]):
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

    def every(self, step: int) -> list[SourceFile]:
        """Return the first file, and every one that lies a multiple of ``step`` behind it."""
        found: list[SourceFile] = []
        for packed, begin, end in zip(self.packed, self._begins, self._begins[1:], strict=False):
            if mine := range(-begin % step, end - begin, step):
                found += map(SourceFile.of_row, rows_of(unpack(packed).take(pa.array(mine))))
        return found

    def __repr__(self) -> str:
        return f"Files of {len(self)}"


def fingerprint(files: Iterable[SourceFile]) -> str:
    """Return a hash of a listing: it changes when a file comes, goes or changes."""
    return fingerprint_of(Digest.total(map(table_digest, Files.of(files).tables())))


def fingerprint_of(digest: Digest) -> str:
    """Return the fingerprint of a listing whose tables have this ``table_digest`` together."""
    return str(digest.to_json())


def table_digest(table: pa.RecordBatch) -> Digest:
    """Return a table of files' part of the listing's digest, which no order of theirs changes."""
    names = ["source", "name", "url", "version"]
    hashes = row_hashes(pa.StructArray.from_arrays([table.column(name) for name in names], names))
    return Digest.of_hashes(*hashes, table.column("size").to_numpy())


def extension(files: Iterable[SourceFile]) -> str:
    """Return the extension that all files share, ``.txt`` where they don't, or where it is odd.

    Empty files have no say. All names of JSON lines are one, ``.jsonl``.
    """
    found: set[str] = set()
    for table in Files.of(files).tables():
        names = table.filter(pc.greater(table.column("size"), 0)).column("name").to_pylist()
        found |= {os.path.splitext(name)[1] for name in names}
    if len(found) > 1 and kinds_of(found) == {".jsonl"}:
        return ".jsonl"
    shared = found.pop() if len(found) == 1 else ""
    return shared if EXTENSION.fullmatch(shared) else ".txt"
