"""Corpora on disk, runs of the commands, datasets read back: slow and plain, to be trusted."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

import pipelines.shuffle
from tests.transforms.kernels import oracles
from transforms.datasets.manifest import Manifest
from transforms.kernels.planning import levels
from transforms.kernels.planning.plan import Plan
from transforms.kernels.records.digest import Digest

ROOT = Path(pipelines.shuffle.__file__).parent.parent
Tree = dict[str, bytes]


def make_lines(count: int, *, name: str = "r") -> bytes:
    """Make lines that are all different, of many lengths."""
    return b"".join(b"%s%d%s\n" % (name.encode(), i, b"." * (i * i % 61)) for i in range(count))


def write_tree(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def read_tree(root: Path) -> Tree:
    """Read every file below a folder; a folder without any is there as ``name/``."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in files:
            path = Path(folder, name)
            found[str(path.relative_to(root))] = path.read_bytes()
        if not folders and not files:
            found[f"{Path(folder).relative_to(root)}/"] = b""
    return found


def flip(path: Path, at: int = 0, bit: int = 1) -> None:
    """Flip a bit of one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(data)


def swap(one: Path, other: Path) -> None:
    """Let two files hold each what the other one held."""
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def unless_given(usual: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Return flags that are usual, but for those that are given: a command takes each once."""
    given = {flag.partition("=")[0] for flag in flags}
    return [flag for flag in usual if flag.partition("=")[0] not in given]


def run(*flags: object) -> Manifest:
    """Shuffle in this process."""
    return pipelines.shuffle.run([str(flag) for flag in flags])


def command(
    *words: object,
    python: Sequence[str] = ("-m", "pipelines.shuffle"),
    cwd: Path | None = None,
    stdin: bytes = b"",
) -> subprocess.CompletedProcess[bytes]:
    """Run a command as a person does, in a process of its own."""
    return subprocess.run(
        [sys.executable, *python, *map(str, words)],
        cwd=cwd,
        env=environment(),
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
    )


def environment() -> dict[str, str]:
    """Return the environment in which a process finds our packages, from any folder."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@contextlib.contextmanager
def cut_otherwise(**sizes: int) -> Iterator[list[Plan]]:
    """Run with some of the plan's figures replaced; gives the plans that were made so.

    Small segments alone are no reason for a second level then.
    """
    real: Callable[..., Plan] = pipelines.shuffle.make_plan
    made: list[Plan] = []

    def make_plan(**given: Any) -> Plan:
        made.append(dataclasses.replace(real(**given), **{"segment_bytes": 0, **sizes}))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines.shuffle, "make_plan", make_plan)
        yield made


@contextlib.contextmanager
def cut_twice(**sizes: int) -> Iterator[list[Plan]]:
    """Run a mixture in two levels, of each source that has four buckets and two runs; else as above."""
    with (
        pytest.MonkeyPatch.context() as patch,
        cut_otherwise(**{"segment_bytes": 1 << 60, **sizes}) as made,
    ):
        patch.setattr(levels, "LEAST_PARTITIONS", 2)
        yield made


def count_asked(patch: pytest.MonkeyPatch) -> Counter[str]:
    """Count requests for temporary files to a store in memory from now on, by their kind."""
    counts: Counter[str] = Counter()

    def count(method: str) -> None:
        real = getattr(MemoryFileSystem, method)

        def counted(self: Any, path: Any, *args: Any, **more: Any) -> Any:
            if str(path).endswith((".pages", ".references")):
                counts[method] += 1
                counts[f"{method} {str(path).rpartition('.')[2]}"] += 1
            return real(self, path, *args, **more)

        patch.setattr(MemoryFileSystem, method, counted)

    for method in ("cat_file", "pipe_file", "rm_file"):
        count(method)
    return counts


def read_shards(folder: Path) -> Tree:
    """Return a dataset's shards by file name, in order."""
    return {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())}


def join_shards(folder: Path) -> bytes:
    """Return the whole permutation."""
    return b"".join(read_shards(folder).values())


def split(data: bytes, separator: bytes = b"\n") -> list[bytes]:
    """Split into records; a last one without a separator counts, nothing after the last doesn't."""
    records = data.split(separator)
    return records if records[-1] else records[:-1]


def count_records(files: Mapping[str, bytes], separator: bytes = b"\n") -> Counter[bytes]:
    """Count the records of some files."""
    return Counter(record for data in files.values() for record in split(data, separator))


def shuffle_plainly(
    sources: Mapping[str, Mapping[str, bytes]], *, seed: int = 0, epoch: int = 0
) -> list[bytes]:
    """Put the records of sources into the order that DESIGN.md defines, in plain Python."""
    keyed = []
    for source, files in sources.items():
        for name, data in files.items():
            hasher = hashlib.blake2b(digest_size=16, person=b"dovetail")
            for label in (1, seed, epoch, source, 0, name):  # order version first, pass 0
                text = str(label).encode()
                tag = b"i" if isinstance(label, int) else b"s"
                hasher.update(tag + len(text).to_bytes(8, "little") + text)
            k0, k1 = (int.from_bytes(hasher.digest()[i : i + 8], "little") for i in (0, 8))
            position = 0
            for record in split(data):
                keyed.append((oracles.record_key(k0, k1, position), record))
                position += len(record) + 1
    return [record for _, record in sorted(keyed)]


def write_splits(root: Path, splits: Mapping[str, bytes], *flags: object) -> Path:
    """Write a dataset of several splits, each shuffled by itself; return its folder, ``root/splits``.

    Args:
        root: a folder.
        splits: the lines of each; each is a source of its own.
        flags: of all of them.
    """
    folder, parts = root / "splits", {}
    for name, data in splits.items():
        write_tree(root / "in", {f"{name}/lines.jsonl": data})
        out = root / f"of-{name}"
        given = (f"--input={name}={root / 'in' / name}", f"--output={out}", f"--split_name={name}")
        run(*given, *flags)
        parts[name] = json.loads((out / "manifest.json").read_bytes())
        shutil.copytree(out / "data", folder / "data", dirs_exist_ok=True)
    manifest = dict(next(iter(parts.values())))
    total = Digest.total(Digest.from_json(part["digest"]) for part in parts.values())
    manifest |= {
        "records": total.records,
        "bytes": sum(part["bytes"] for part in parts.values()),
        "digest": total.to_json(),
        "sources": [source for _, part in sorted(parts.items()) for source in part["sources"]],
        "shards": [shard for part in parts.values() for shard in part["shards"]],
        "splits": [
            {
                "name": name,
                "asked": None if name == "train" else "0.1",
                **{field: part[field] for field in ("records", "bytes", "digest")},
                "read": part["digest"],
            }
            for name, part in parts.items()
        ],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
