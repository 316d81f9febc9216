"""What readers and writers report: digests travel as data, never as metrics, which double."""

from __future__ import annotations

from dataclasses import dataclass

from transforms.kernels.digest import Digest
from transforms.listing import SourceFile


@dataclass(frozen=True, slots=True)
class SpanReport:
    """What was read of a span, for the manifest.

    Attributes:
        digest: of its records.
        header: bytes of the file's header, counted in the span that begins the file.
        open_end: 1 where the file's last line had no separator, else 0.
    """

    file: SourceFile
    digest: Digest
    header: int
    open_end: int


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
