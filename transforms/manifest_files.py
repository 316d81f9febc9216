"""The listing of input files as a Parquet file, where they are too many for a JSON that people read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import layout, storage
from transforms.errors import DataError
from transforms.manifest import DigestEntry, FileEntry, Manifest, SourceEntry

MOST = 1000
"""Input files that the manifest itself lists."""

_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("name", pa.string()),
        ("size", pa.int64()),
        ("records", pa.int64()),
        ("bytes", pa.int64()),
        ("hash", pa.string()),
        ("dropped_records", pa.int64()),
        ("dropped_bytes", pa.int64()),
        ("dropped_hash", pa.string()),
    ]
)


def to_parquet(sources: Sequence[SourceEntry]) -> bytes:
    """Return the listing of all sources' files as a Parquet file."""
    rows = [_row(source.name, file) for source in sources for file in source.files]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_pylist(rows, _SCHEMA), sink, compression="zstd", write_page_checksum=True
    )
    return bytes(sink.getvalue())


def _row(source: str, file: FileEntry) -> dict[str, object]:
    lost = file.dropped
    return {
        "source": source,
        "name": file.name,
        "size": file.size,
        "records": file.records,
        "bytes": file.digest.bytes,
        "hash": file.digest.hash,
        "dropped_records": lost.records if lost else None,
        "dropped_bytes": lost.bytes if lost else None,
        "dropped_hash": lost.hash if lost else None,
    }


def with_files(manifest: Manifest, folder: str) -> Manifest:
    """Return a manifest with all its sources' files, read from their listing where there is one.

    Raises:
        DataError: the listing is missing or is not what was written.
    """
    if manifest.files_listing is None:
        return manifest
    url = storage.join(folder, manifest.files_listing.path)
    why = layout.why_not_read(folder, manifest.files_listing.path)
    if why is not None:
        raise DataError(f"{url}: {why}")
    try:
        data = storage.read_all(url)
    except FileNotFoundError:
        raise DataError(f"{url}: missing, and the manifest refers to it") from None
    if manifest.files_listing.sha256 != hashlib.sha256(data).hexdigest():
        raise DataError(f"{url}: its bytes differ from what was written (SHA-256)")
    found: dict[str, list[FileEntry]] = {source.name: [] for source in manifest.sources}
    try:
        for source, entry in _entries(pq.read_table(pa.BufferReader(data))):
            found[source].append(entry)
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{url}: expected a listing of the manifest's sources and their files, got something else: "
            f"{type(error).__name__}: {error}"
        ) from None
    sources = [s.model_copy(update={"files": found[s.name]}) for s in manifest.sources]
    return manifest.model_copy(update={"sources": sources})


def _entries(table: pa.Table) -> Iterator[tuple[str, FileEntry]]:
    for row in table.to_pylist():
        digest = DigestEntry(records=row["records"], bytes=row["bytes"], hash=row["hash"])
        lost = None
        if row["dropped_hash"] is not None:
            lost = DigestEntry(
                records=row["dropped_records"],
                bytes=row["dropped_bytes"],
                hash=row["dropped_hash"],
            )
        yield (
            row["source"],
            FileEntry(
                name=row["name"],
                size=row["size"],
                records=row["records"],
                digest=digest,
                dropped=lost,
            ),
        )
