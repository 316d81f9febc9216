"""What readers and writers report: digests travel as data, never as metrics, which double."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from transforms.files import SourceFile
from transforms.kernels.digest import Digest
from transforms.kernels.schedule import I64
from transforms.token_counts import TokenCounts


@dataclass(frozen=True, slots=True)
class Quarantine:
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
        pass_number: of the source, from 0; or ``read.AGAIN``.
        payload: bytes of memory that its good records take.
        blank: lines that are no records, as they are blank (``transforms.formats.lines``).
        marks: byte order marks that were taken off.
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


@dataclass(frozen=True, eq=False)
class Tally:
    """What one bundle has read of one stream's first pass.

    Attributes:
        stream: its number.
        again: whether the pass was read once more.
        records, bytes: int64[buckets], of each bucket.
        beyond: digest of the records beyond the buckets that were wanted; they were not spilled.
    """

    stream: int
    again: bool
    records: I64
    bytes: I64
    beyond: Digest

    def __add__(self, other: Tally) -> Tally:
        return replace(
            self,
            records=self.records + other.records,
            bytes=self.bytes + other.bytes,
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


@dataclass(frozen=True, slots=True)
class Mapped:
    """What became of one span's records that were changed on their way.

    Attributes:
        read: digest of the records before.
        written: after.
        counts: of tokens.
    """

    file: SourceFile
    read: Digest
    written: Digest
    counts: TokenCounts


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
    """

    length: int
    shards: int
    records: tuple[int, ...]
    passes: tuple[int, ...]
    accounted: tuple[int, ...]
    unused: tuple[Digest, ...]
    asked: tuple[float, ...] | None
    union: bool
