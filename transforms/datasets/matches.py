"""What patterns match, as a source's files: named, sorted by name, each once, in little memory."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fsspec.implementations.local import LocalFileSystem

from transforms.datasets.compact import pack, unpack
from transforms.datasets.source_files import SCHEMA
from transforms.errors import InputError
from transforms.formats.codecs import strip_suffix
from transforms.formats.foreign import HEAD, foreign
from transforms.storage import files as storage
from transforms.storage.walk import Match

_AT_ONCE = 1 << 14  # files of which more than a row of a table is held
_RANGE, _SAMPLED = 1 << 16, 64  # files that are sorted together, of which one is looked at before
_MATCHES = pa.schema([("path", pa.large_string()), *list(SCHEMA)[2:]])


def pack_matches(fs: Any, matches: Iterable[Match]) -> Iterator[bytes]:
    """Pack matches, as many as there are at once in a folder: what fsspec says of each takes a kB."""
    rest = iter(matches)
    local = isinstance(fs, LocalFileSystem)
    while part := list(islice(rest, _AT_ONCE)):
        paths = [path for path, _ in part]
        urls = [f"file://{path}" if local else fs.unstrip_protocol(path) for path in paths]
        for url, (path, info) in zip(urls, part, strict=True):
            _require_readable(url, path if local else None, info)
        sizes = [int(info["size"]) for _, info in part]
        versions = [storage.version_of(info) for _, info in part]
        told = zip(*(info.get("told") or (None, None) for _, info in part), strict=True)
        arrays = [
            pa.array(values, field.type)
            for values, field in zip([paths, urls, sizes, versions, *told], _MATCHES, strict=True)
        ]
        yield pack(pa.RecordBatch.from_arrays(arrays, schema=_MATCHES))


def _named(table: pa.RecordBatch, source: str, root: str) -> pa.RecordBatch:
    """Give matches their source, and names below its root."""
    below = root.rstrip("/") + "/"
    names = []
    for path in table.column("path").to_pylist():
        name = path
        if root and path.startswith(below):
            name = path[len(below) :]
        elif root:
            name = os.path.relpath(path, root).replace(os.sep, "/")
        names.append(strip_suffix(name))
    columns = [pa.repeat(pa.scalar(source, pa.large_string()), len(table))]
    columns += [pa.array(names, pa.large_string()), *table.columns[1:]]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def sort_matches(found: list[bytes], source: str, root: str) -> Iterator[pa.RecordBatch]:
    """Yield a source's files sorted by name, each once; empties the list.

    Raises:
        InputError: two have one name.
    """
    last: tuple[str, str] | None = None
    for packed in _ranges_of_names(found, source, root):
        table = pa.Table.from_batches(map(unpack, packed), SCHEMA).combine_chunks()
        packed.clear()
        order = pc.sort_indices(table, [("name", "ascending"), ("url", "ascending")])
        for begin in range(0, len(table), _AT_ONCE):
            part = table.take(order[begin : begin + _AT_ONCE])
            (batch,) = part.combine_chunks().to_batches()
            names, urls = (batch.column(c).to_pylist() for c in ("name", "url"))
            once = []
            for place, name_url in enumerate(zip(names, urls, strict=True)):
                if name_url == last:  # two patterns match it
                    continue
                if last is not None and name_url[0] == last[0]:
                    raise InputError(
                        f"source {source}: two files have the name {name_url[0]}: {last[1]} and "
                        f"{name_url[1]}; {_remedy_for_twins(last[1], name_url[1])}"
                    )
                once.append(place)
                last = name_url
            yield batch if len(once) == len(batch) else batch.take(pa.array(once, pa.int64()))


def _remedy_for_twins(*urls: str) -> str:
    """Say what to do about two files of one name: an archive's other name would not help."""
    for url in urls:
        kind = foreign(storage.read_range(url, 0, HEAD).tobytes())
        if kind is not None:
            return f"{url} is {kind.word}: {kind.remedy}"
    return "put them in two sources (NAME=PATTERN), or rename one"


def _ranges_of_names(found: list[bytes], source: str, root: str) -> list[list[bytes]]:
    """Name matches, and put them apart by ranges of names: to sort all at once takes much room."""
    some: list[str] = []
    total = 0
    for place, packed in enumerate(found):
        table = _named(unpack(packed), source, root)
        found[place] = pack(table)
        some += table.column("name").take(pa.array(range(0, len(table), _SAMPLED))).to_pylist()
        total += len(table)
    count = -(-total // _RANGE)
    some.sort()
    edges = [some[len(some) * i // count] for i in range(1, count)]
    if not edges:
        return [found]
    ranges: list[list[bytes]] = [[] for _ in range(count)]
    for place, packed in enumerate(found):
        table = unpack(packed)
        found[place] = b""
        names = table.column("name").to_pylist()
        which = np.array([bisect_right(edges, name) for name in names])
        for number in np.unique(which).tolist():
            ranges[number].append(pack(table.filter(pa.array(which == number))))
    return ranges


def _require_readable(url: str, path: str | None, info: Mapping[str, Any]) -> None:
    """Raise InputError where a file can't be opened or named in a manifest, or not as it lies there.

    Args:
        url: of the file.
        path: of a local one.
        info: of one on a store.
    """
    try:
        url.encode()
    except UnicodeEncodeError:
        raise InputError(f"{url!r}: the file's name is not UTF-8; rename it") from None
    if path is not None and not os.access(path, os.R_OK):
        raise InputError(
            f"{url}: can't be read (permission denied); change its permissions, or pass patterns "
            "that leave it out"
        )
    if info["size"] is None:
        raise InputError(
            f"{url}: the server doesn't say how large the file is, so its parts can't be "
            "requested; download it first, and pass the local file"
        )
    encoding = info.get("contentEncoding")  # Google's: it decompresses, and then gives no ranges
    if path is None and encoding:
        raise InputError(
            f"{url}: stored with Content-Encoding: {encoding}, so the store sends other bytes "
            f"than it holds; remove that (gcloud storage objects update {url} "
            "--clear-content-encoding), and give it the name of a compressed file (.gz)"
        )
