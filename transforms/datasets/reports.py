"""What readers and writers report: digests travel as data, never as metrics, which double."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.datasets.compact import pack, unpack
from transforms.datasets.source_files import FIELDS, SourceFile, rows_of, table_of
from transforms.datasets.token_counts import TokenCounts
from transforms.kernels.arrays import I64, U64
from transforms.kernels.records.digest import PARTS, Digest


class Quarantine(NamedTuple):
    """A file that holds the bad records of one span."""

    path: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SpanReport:
    """What was read of a span, for the manifest.

    Attributes:
        digest: of its good records.
        dropped: of its bad records, which go no further.
        covered: how much of the file all of them are: bytes of lines as they are when they aren't
            compressed, line ends and header included, or rows.
        whole: how much the file holds, in the same unit; None where the span couldn't know.
        quarantine: where the bad records are kept.
        pass_number: of the source, from 0; or ``read.REREAD``.
        payload: bytes of memory that its good records take.
        number: the file's place in the listing.
        start: where in the file the span begins.
        blank: lines that are no records, as they are blank (``transforms.formats.lines``).
        marks: byte order marks that were taken off.
        trailing: bytes behind the last member of a compressed file that belong to nothing.
    """

    file: SourceFile
    digest: Digest
    dropped: Digest = field(default_factory=Digest)
    covered: int = 0
    whole: int | None = None
    quarantine: Quarantine | None = None
    pass_number: int = 0
    payload: int = 0
    blank: int = 0
    marks: int = 0
    trailing: int = 0
    number: int = 0
    start: int = 0


_COUNTS = (
    "covered",
    "whole",
    "pass_number",
    "number",
    "start",
    "payload",
    "blank",
    "marks",
    "trailing",
)
_DIGEST = tuple(zip(PARTS, (pa.int64(), pa.int64(), pa.uint64(), pa.uint64()), strict=True))
REPORT_SCHEMA = pa.schema(
    [
        *FIELDS,
        *((name, pa.int64()) for name in _COUNTS),
        *_DIGEST,
        *((f"dropped_{name}", kind) for name, kind in _DIGEST),
        ("quarantine_path", pa.string()),
        ("quarantine_records", pa.int64()),
        ("quarantine_bytes", pa.int64()),
        ("quarantine_sha256", pa.string()),
    ]
)
"""A span's report as a row; ``whole`` and what is of a quarantine may be null."""


class SpanReports:
    """What was read of several spans, as a table with the columns of REPORT_SCHEMA.

    Args:
        table: open, or packed: a runner that hands on very many of them holds them all.
    """

    def __init__(self, table: pa.RecordBatch | bytes) -> None:
        self._table = table

    @property
    def table(self) -> pa.RecordBatch:
        """The table; of packed ones it is unpacked each time."""
        return unpack(self._table) if isinstance(self._table, bytes) else self._table

    @property
    def packed(self) -> bytes:
        """The table, packed."""
        return self._table if isinstance(self._table, bytes) else pack(self._table)

    def opened(self) -> SpanReports:
        """Return what is not packed."""
        return SpanReports(self.table)

    @classmethod
    def of(cls, reports: Iterable[SpanReport]) -> SpanReports:
        """Put reports into a table."""
        counts, nothing = attrgetter(*_COUNTS), (None,) * len(Quarantine._fields)
        rows = (
            (*r.file.row, *counts(r), *r.digest.parts, *r.dropped.parts, *(r.quarantine or nothing))
            for r in reports
        )
        return cls(table_of(rows, REPORT_SCHEMA))

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[SpanReport]:
        for row in rows_of(self.table):
            rest = iter(row[len(FIELDS) :])
            counts = dict(zip(_COUNTS, rest, strict=False))
            digest, dropped = (Digest(*islice(rest, len(PARTS))) for _ in range(2))
            apart = None if row[-1] is None else Quarantine(*rest)
            file = SourceFile.of_row(row)
            yield SpanReport(file, digest, dropped=dropped, quarantine=apart, **counts)

    def column(self, name: str) -> Any:
        """Return a column of numbers as an array."""
        return self.table.column(name).to_numpy()

    @property
    def digest(self) -> Digest:
        """Of all good records."""
        return self._total("")

    @property
    def dropped(self) -> Digest:
        """Of all bad records."""
        return self._total("dropped_")

    def _total(self, of: str) -> Digest:
        sums = (self.column(of + name).sum() for name in PARTS)  # of uint64 mod 2**64
        return Digest(*map(int, sums))

    def of_pass(self, number: int) -> SpanReports:
        """Return those of one pass."""
        mine = self.column("pass_number") == number
        return self if mine.all() else SpanReports(self.table.filter(pa.array(mine)))

    def by_source(self) -> Iterator[tuple[str, SpanReports]]:
        """Yield each source's."""
        names = self.table.column("source")
        for name in pc.unique(names).to_pylist():
            yield name, SpanReports(self.table.filter(pc.equal(names, name)))


@dataclass(frozen=True, eq=False)
class Tally:
    """What one bundle has read of one stream's first pass.

    Attributes:
        stream: its number.
        reread: whether the pass was read once more.
        records, measured: int64[buckets], of each bucket; what is measured, ``Streams.measure`` says.
        beyond: digest of the records beyond the buckets that were wanted; they were not spilled.
    """

    stream: int
    reread: bool
    records: I64
    measured: I64
    beyond: Digest

    def __add__(self, other: Tally) -> Tally:
        return replace(
            self,
            records=self.records + other.records,
            measured=self.measured + other.measured,
            beyond=self.beyond + other.beyond,
        )


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What one shard came out as, for the manifest.

    Attributes:
        digests: of its records, per source.
        unused: of the records beside them that nothing uses, per source.
    """

    number: int
    of: int
    path: str
    records: int
    bytes: int
    sha256: str
    digests: list[Digest]
    unused: list[Digest] = field(default_factory=list)


@dataclass(eq=False)
class ShardReports:
    """What shards came out as, added up: thousands of shards with thousands of digests each.

    Attributes:
        shards: each one's report, without its digests.
        digests, unused: uint64[sources, 4], sums over the shards.
    """

    shards: list[ShardReport]
    digests: U64
    unused: U64

    @classmethod
    def of(cls, reports: Iterable[ShardReport | ShardReports], *, sources: int) -> ShardReports:
        """Add reports up, some of which may be sums already."""
        found = cls([], np.zeros((sources, 4), np.uint64), np.zeros((sources, 4), np.uint64))
        for report in reports:
            if isinstance(report, ShardReports):
                found.shards += report.shards
                found.digests += report.digests
                found.unused += report.unused
            else:
                found.shards.append(replace(report, digests=[], unused=[]))
                _add_to(found.digests, report.digests)
                _add_to(found.unused, report.unused)
        return found


def _add_to(sums: U64, digests: list[Digest]) -> None:
    found = [(i, d) for i, d in enumerate(digests) if d != Digest()]
    if found:
        sums[[i for i, _ in found]] += np.array([d.parts for _, d in found], np.uint64)


def digests_in(sums: U64) -> list[Digest]:
    """Return the digest of each source, of uint64[sources, 4]."""
    return [Digest(*row) for row in sums.tolist()]


@dataclass(frozen=True, slots=True)
class Mapped:
    """What became of the records of one source in one shard, that were changed on their way.

    Attributes:
        source: its name.
        read: digest of the records before.
        written: after.
        counts: of tokens.
    """

    source: str
    read: Digest
    written: Digest
    counts: TokenCounts

    def __add__(self, other: Mapped) -> Mapped:
        return replace(
            self,
            read=self.read + other.read,
            written=self.written + other.written,
            counts=self.counts + other.counts,
        )


def add_up(parts: Iterable[Mapped]) -> list[Mapped]:
    """Return one for each source, sorted by its name."""
    total: dict[str, Mapped] = {}
    for part in parts:
        have = total.get(part.source)
        total[part.source] = part if have is None else have + part
    return [total[name] for name in sorted(total)]


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """What a mixture came to; a stream is a source, or all sources where they are shuffled as one.

    Attributes:
        length: positions in all.
        shards: how many.
        records: of each stream, in the output.
        passes: that each stream has begun.
        accounted: passes of each stream whose records are either in the output or unused.
        unused: digest of each stream's buckets that nothing is used of; what is unused of others,
            their shards report.
        asked: share of each source, as it was asked for; None where none was.
        union: whether all sources are shuffled as one.
        tokens: of each stream, in the output; None where they aren't counted.
        tokens_read: of one pass of each stream; None in the same way.
        token_column: which lists' lengths they are.
    """

    length: int
    shards: int
    records: tuple[int, ...]
    passes: tuple[int, ...]
    accounted: tuple[int, ...]
    unused: tuple[Digest, ...]
    asked: tuple[float, ...] | None
    union: bool
    tokens: tuple[int, ...] | None = None
    tokens_read: tuple[int, ...] | None = None
    token_column: str | None = None
