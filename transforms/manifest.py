"""The manifest: what was read, what was written, and the proof that they are the same."""

from __future__ import annotations

import datetime
import platform
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from transforms.errors import DataError, LosslessError
from transforms.kernels import blocks
from transforms.kernels.digest import Digest
from transforms.kernels.randomness import ORDER_VERSION
from transforms.listing import SourceFile, fingerprint
from transforms.reports import ShardReport, SpanReport
from transforms.version import VERSION

FORMAT_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DigestEntry(_Part):
    """A digest: records, their bytes without line ends, and two 64-bit sums as 32 hex digits."""

    records: int = Field(ge=0)
    bytes: int = Field(ge=0)
    hash: str = Field(pattern=r"^[0-9a-f]{32}$")


class FileEntry(_Part):
    """An input file: its name below the source's root, its size in bytes, what was read of it."""

    name: str
    size: int
    records: int
    digest: DigestEntry


class SourceEntry(_Part):
    """A source and its files, sorted by name."""

    name: str
    digest: DigestEntry
    files: list[FileEntry]


class ShardEntry(_Part):
    """A shard: its path below the manifest's folder, and what it holds."""

    path: str
    records: int
    bytes: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(_Part):
    """``manifest.json``. ``bytes`` are those of the shard files."""

    format: Literal["dovetail-manifest"] = "dovetail-manifest"
    format_version: int = FORMAT_VERSION
    order_version: int = ORDER_VERSION
    run_id: str
    started: str
    ended: str
    seed: int
    epoch: int
    records: int
    bytes: int
    digest: DigestEntry
    recipe: dict[str, Any]
    separator: int = Field(ge=0, le=255)
    header_bytes: int = Field(ge=0)
    shards: list[ShardEntry]
    sources: list[SourceEntry]
    versions: dict[str, str]


def now() -> str:
    """Return the time as ISO 8601, in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Return the versions of what shapes the output."""
    return {
        "dovetail": VERSION,
        "python": platform.python_version(),
        **{name: version(name) for name in ("apache-beam", "fsspec", "numpy", "pyarrow")},
    }


def make_manifest(
    spans: Sequence[SpanReport],
    shards: Sequence[ShardReport],
    *,
    sources: Sequence[str],
    recipe: dict[str, Any],
    seed: int,
    epoch: int,
    started: str,
    separator: int,
    header_bytes: int,
    run_id: str,
    expected: str | None,
) -> Manifest:
    """Compare what was read with what was written, and sum up; arguments as of WriteManifest.

    Raises:
        LosslessError: a shard is missing or double, or a source's digests differ.
        DataError: a file was not read whole.
    """
    shards = sorted(shards, key=lambda shard: shard.number)
    of = shards[0].of if shards else 0
    if [shard.number for shard in shards] != list(range(of)) or not shards:
        raise LosslessError(
            f"expected shards 0 to {of - 1}, got {[shard.number for shard in shards]}; this is a "
            "fault of Dovetail or of the runner: please report it"
        )
    files: dict[SourceFile, list[SpanReport]] = defaultdict(list)
    for span in spans:
        files[span.file].append(span)
    listing = sorted(files, key=lambda file: (file.source, file.name))
    if expected is not None and fingerprint(listing) != expected:
        raise LosslessError("not all of the files that were listed were read; run again")
    entries: dict[str, list[FileEntry]] = {name: [] for name in sources}
    read: dict[str, Digest] = dict.fromkeys(sources, Digest())
    for file in listing:
        digest = _file_digest(file, files[file])
        read[file.source] += digest
        entries[file.source].append(
            FileEntry(name=file.name, size=file.size, records=digest.records, digest=_entry(digest))
        )
    written = [Digest.total(shard.digests[i] for shard in shards) for i in range(len(read))]
    blocks.compare_digests(
        written, list(read.values()), what=f"the sources {', '.join(read)}, counted from 0"
    )
    total = Digest.total(written)
    return Manifest(
        run_id=run_id,
        started=started,
        ended=now(),
        seed=seed,
        epoch=epoch,
        records=total.records,
        bytes=sum(shard.bytes for shard in shards),
        digest=_entry(total),
        recipe=recipe,
        separator=separator,
        header_bytes=header_bytes,
        shards=[
            ShardEntry(path=s.path, records=s.records, bytes=s.bytes, sha256=s.sha256)
            for s in shards
        ],
        sources=[
            SourceEntry(name=name, digest=_entry(read[name]), files=entries[name]) for name in read
        ],
        versions=versions(),
    )


def _file_digest(file: SourceFile, spans: list[SpanReport]) -> Digest:
    """Add up a file's spans; every byte must be a record's, a line end's or the header's."""
    digest = Digest.total(span.digest for span in spans)
    covered = digest.bytes + digest.records + sum(s.header - s.open_end for s in spans)
    if file.url and covered != file.size:
        raise DataError(
            f"{file.url}: expected to read {file.size} bytes, read {covered}; the file changed "
            "during the run, or its storage is at fault: run again"
        )
    return digest


def _entry(digest: Digest) -> DigestEntry:
    return DigestEntry(**digest.to_json())
