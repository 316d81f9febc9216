"""Runs of ``dovetail split``, and their datasets read back: slow and plain."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import pipelines.split
from pipelines.verify import verify
from tests.pipelines.support import split as lines_of
from tests.transforms.formats.samples import UNPACK
from transforms.datasets.manifest import Manifest

ONE = ("--workers=1", "--direct_running_mode=in_memory")
"""Flags of a run in this process."""


def run(output: Path, *flags: object, one: bool = True) -> Manifest:
    """Split in this process, and verify what came out."""
    found = pipelines.split.run([f"--output={output}", *(ONE if one else ()), *map(str, flags)])
    assert isinstance(found, Manifest)
    assert verify(str(output))[1] == []
    return found


def shards(folder: Path) -> dict[str, bytes]:
    """Return the bytes of a dataset's shards, by name."""
    return {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())}


def lines(folder: Path, name: str, *, header: bytes = b"") -> list[bytes]:
    """Return a split's lines in order, without their ends."""
    found = []
    for path in _shards_of(folder, name):
        codec = {"gz": "gzip", "zst": "zstd"}.get(path.suffix[1:], "none")
        data = UNPACK[codec](path.read_bytes())
        assert data.startswith(header)
        assert data.endswith(b"\n") or len(data) == len(header)
        found += lines_of(data[len(header) :])
    return found


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return a split's rows in order."""
    found: list[dict[str, Any]] = []
    for path in _shards_of(folder, name):
        found += _table(path).to_pylist()
    return found


def _table(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path)
    is_file = path.read_bytes().startswith(b"ARROW1")
    with (pa.ipc.open_file if is_file else pa.ipc.open_stream)(path) as reader:
        return reader.read_all()


def _shards_of(folder: Path, name: str) -> list[Path]:
    found = sorted((folder / "data").glob(f"{name}-*"))
    counts = {path.name.split("-of-")[1].partition(".")[0] for path in found}
    assert counts == {f"{len(found):05d}"}
    return found


def sides(found: Mapping[str, Sequence[Any]]) -> dict[Any, set[str]]:
    """Return in which splits each value stands."""
    out: dict[Any, set[str]] = {}
    for name, values in found.items():
        for value in values:
            out.setdefault(value, set()).add(name)
    return out


def parted(values: Sequence[Any], found: Mapping[Any, set[str]]) -> tuple[int, int]:
    """Return how many different values stand in several splits, and how many of all those are."""
    several = {value for value, names in found.items() if len(names) > 1}
    return len(several), sum(value in several for value in values)


def texts(folder: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the texts of each split of a dataset of JSON lines."""
    return {name: [json.loads(line)["text"] for line in lines(folder, name)] for name in names}


def require_counts(manifest: Manifest, found: Mapping[str, Sequence[Any]]) -> None:
    """Require that the manifest says of each split how many records it has."""
    assert manifest.splits is not None
    assert {entry.name: entry.records for entry in manifest.splits} == {
        name: len(values) for name, values in found.items()
    }


def require_all(given: Sequence[Any], found: Mapping[str, Sequence[Any]]) -> None:
    """Require that the splits hold together what was given, each as often."""
    assert Counter(given) == Counter(value for values in found.values() for value in values)
