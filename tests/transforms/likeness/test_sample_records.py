"""A sample is the first records by key, however they were read, and no more than was allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.transforms.helpers import THREADS, collect
from transforms.datasets.identity import FileId
from transforms.datasets.read import ReadRecords
from transforms.formats.readers import ReadOptions
from transforms.kernels.randomness import content_keys, split_pair
from transforms.kernels.records import blocks
from transforms.likeness.sample_records import SampleRecords, SampleSize, read_sample
from transforms.likeness.seen import LONGEST, TEXT
from transforms.shuffling.spill_files import Spilling
from transforms.splitting.contents_of import by_identity

TEXTS = [f"text {i} " + "é" * (i * i % 97) for i in range(3000)]


def write_lines(folder: Path, texts: list[str]) -> dict[str, list[str]]:
    folder.mkdir()
    third = len(texts) // 3
    for i in range(3):
        part = texts[i * third : (i + 1) * third if i < 2 else None]
        (folder / f"{i}.txt").write_text("".join(f"{text}\n" for text in part))
    return {f"source{i}": [str(folder / f"{i}.txt")] for i in range(3)}  # three groups of spans


def sample(
    sources: dict[str, list[str]],
    tmp_path: Path,
    size: SampleSize,
    *,
    span_bytes: int = 1 << 14,
    times: Any = None,
    **options: Any,
) -> Any:
    reading = ReadRecords(
        sources=sources, options=ReadOptions(chunk_bytes=1 << 12), span_bytes=span_bytes
    )
    sampling = SampleRecords(
        seed=3, size=size, spill=Spilling(folders=[str(tmp_path / "spill")]), times=times
    )
    (packed,) = collect(lambda root: (root | reading).blocks | sampling, **options)
    assert len(packed) < 1000 + 20 * size.records
    return read_sample(packed)


def by_key(texts: list[str]) -> list[str]:
    """Every text in the order of its key, one record at a time."""
    third, found = len(texts) // 3, []
    pair = split_pair(3, "like", "sample")
    for i in range(3):
        part = texts[i * third : (i + 1) * third if i < 2 else None]
        at = 0
        for text in part:
            block = blocks.from_records([b""], np.array([at], np.uint64), line_end=b"\n")
            hashes = by_identity(FileId(f"source{i}", f"{i}.txt"), block)
            found.append((int(content_keys(pair, *hashes)[0]), text))
            at += len(text.encode()) + 1
    return [text for _, text in sorted(found)]


@pytest.mark.parametrize("records", [1, 100, 2000, 5000])
def test_a_sample_is_the_first_by_key_however_records_are_read(
    tmp_path: Path, records: int
) -> None:
    sources = write_lines(tmp_path / "in", TEXTS)
    want = by_key(TEXTS)[:records]
    for name, more in (
        ("one", {"span_bytes": 1 << 30}),
        ("many", {"span_bytes": 1 << 12, **THREADS}),
    ):
        found = sample(sources, tmp_path / name, SampleSize(records), **more)
        assert found.column("seen").field(TEXT).to_pylist() == want
        assert len(list((tmp_path / name / "spill").iterdir())) == (3 if name == "many" else 1)


def test_bytes_bound_a_sample_over_all_bundles_together(tmp_path: Path) -> None:
    sources = write_lines(tmp_path / "in", TEXTS)
    size = SampleSize(2000, bytes=60_000)
    ones = sample(sources, tmp_path / "one", size, span_bytes=1 << 30)
    found = sample(sources, tmp_path / "many", size, span_bytes=1 << 12, **THREADS)
    assert found.equals(ones)
    assert 50_000 < int(blocks.column(found, "size").sum()) <= 60_000
    assert found.column("seen").field(TEXT).to_pylist() == by_key(TEXTS)[: len(found)]


def test_long_texts_are_cut_at_a_character(tmp_path: Path) -> None:
    long = "xé" * LONGEST
    sources = write_lines(tmp_path / "in", [long, "short", "x" * LONGEST])
    found = sample(sources, tmp_path, SampleSize()).column("seen").field(TEXT).to_pylist()
    assert sorted(map(len, found)) == [5, (LONGEST + 2) * 2 // 3 - 1, LONGEST]
    assert all(long.startswith(text) for text in found if "é" in text)


def test_copies_are_sampled_by_keys_of_their_own(tmp_path: Path) -> None:
    def times(origin: Any, block: Any, told: Any) -> Any:
        return np.array([int(text[5:6] == b"7") * 3 for text in blocks.records(block)], np.int64)

    sources = write_lines(tmp_path / "in", TEXTS)
    found = sample(sources, tmp_path, SampleSize(200), times=times)
    texts = found.column("seen").field(TEXT).to_pylist()
    assert len(texts) == 200
    assert len({*texts}) > 90
    assert all(text.startswith("text 7") for text in texts)
    everything = sample(sources, tmp_path, SampleSize(), times=times)
    assert len(everything) == 3 * sum(text.startswith("text 7") for text in TEXTS)


def test_nothing_gives_no_sample(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_bytes(b"")
    assert sample({"default": [str(tmp_path / "in")]}, tmp_path, SampleSize()) is None
