"""The listing of input files as a Parquet file, where they are too many for a JSON that people read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.datasets.files_read import FilesRead
from transforms.datasets.manifest import Manifest
from transforms.datasets.prepared import PreparedManifest
from transforms.errors import DataError
from transforms.kernels.records.digest import Digest
from transforms.storage import files as storage
from transforms.storage import layout

_ROWS = 1 << 16  # of a row group

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


class FileSums(NamedTuple):
    """What a source's files add up to: of good records, and of bad ones.

    ``unequal`` are names of files that have two different numbers of records.
    """

    digest: Digest = Digest()
    dropped: Digest = Digest()
    unequal: tuple[str, ...] = ()

    def __add__(self, other: tuple[Any, ...]) -> FileSums:
        return FileSums(*(mine + more for mine, more in zip(self, other, strict=True)))


def to_parquet(files: FilesRead) -> bytes:
    """Return the listing of all sources' files as a Parquet file."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, _SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        for begin in range(0, max(len(files), 1), _ROWS):
            writer.write_table(_rows(files, slice(begin, begin + _ROWS)))
    listing: bytes = sink.getvalue().to_pybytes()
    return listing


def _rows(files: FilesRead, some: slice) -> pa.Table:
    source = files.source[some].tolist()
    numbers = {name: values[some] for name, values in files.numbers.items()}
    none = numbers["dropped_records"] == 0
    return pa.table(
        {
            "source": [files.sources[i] for i in source],
            "name": files.name[some.start : some.stop].cast(pa.string()),
            "size": numbers["size"],
            "records": numbers["records"],
            "bytes": numbers["bytes"],
            "hash": _hex(numbers["hash0"], numbers["hash1"]),
            "dropped_records": pa.array(numbers["dropped_records"], mask=none),
            "dropped_bytes": pa.array(numbers["dropped_bytes"], mask=none),
            "dropped_hash": pa.array(
                _hex(numbers["dropped_hash0"], numbers["dropped_hash1"]), mask=none
            ),
        },
        _SCHEMA,
    )


def _hex(hash0: Any, hash1: Any) -> list[str]:
    return [f"{a:016x}{b:016x}" for a, b in zip(hash0.tolist(), hash1.tolist(), strict=True)]


def sum_files(manifest: Manifest | PreparedManifest, folder: str) -> dict[str, FileSums]:
    """Add up what the manifest, or its listing of files, says of each source's files.

    Raises:
        DataError: the listing is missing or is not what was written.
    """
    sums = {source.name: FileSums() for source in manifest.sources}
    if manifest.files_listing is None:
        for source in manifest.sources:
            for file in source.files:
                digest = Digest.from_json(file.digest.model_dump())
                lost = Digest.from_json(file.dropped.model_dump()) if file.dropped else Digest()
                unequal = (file.name,) if file.records != digest.records else ()
                sums[source.name] += (digest, lost, unequal)
        return sums
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
    try:
        for batch in pq.ParquetFile(pa.BufferReader(data)).iter_batches(_ROWS):
            for source, *found in _sums(batch):
                sums[source] += tuple(found)
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{url}: expected a listing of the manifest's sources and their files, it can't be "
            f"read: {type(error).__name__}: {error}"
        ) from None
    return sums


def _sums(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Yield name, digest and digest of bad records of each source in a part of a listing."""
    batch = batch.select(_SCHEMA.names)
    names = batch.column("source")
    for name in pc.unique(names).to_pylist():
        mine = batch.filter(pc.equal(names, name))
        lost = mine.filter(mine.column("dropped_hash").is_valid())
        yield name, _digest(mine, ""), _digest(lost, "dropped_"), ()


def _digest(rows: pa.RecordBatch, of: str) -> Digest:
    counts = [rows.column(f"{of}{name}").to_numpy() for name in ("records", "bytes")]
    parts = rows.column(f"{of}hash").to_pylist()
    if any(len(part) != 32 for part in parts):
        raise ValueError("expected hashes of 32 hex digits, got another length")
    hashes = (np.array([int(p[i : i + 16], 16) for p in parts], np.uint64) for i in (0, 16))
    sums = (int(values.sum()) for values in (*counts, *hashes))
    return Digest(*sums)
