"""Mixtures of many sources, whose small buckets are gathered together."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.verify import verify
from tests.pipelines.mixture_oracle import Asked, mix_plainly
from tests.pipelines.support import cut_otherwise, join_shards, make_lines, run, split, write_tree
from tests.pipelines.test_mixtures import flags_of
from transforms.datasets.manifest import Manifest
from transforms.datasets.write import Ordered
from transforms.errors import LosslessError
from transforms.kernels.randomness import KeyPair
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.ranges import WHOLE, KeyRange
from transforms.mixing import shards
from transforms.mixing.packed_shards import Share
from transforms.mixing.shards import SourceReader
from transforms.shuffling import gather
from transforms.shuffling.gather import Piece
from transforms.shuffling.groups import BlockGroup, Page
from transforms.shuffling.streams import Streams

SIZES = {"run_bytes": 200_000, "bucket_bytes": 600_000, "page_bytes": 3000}
SOURCES = {f"s{i:03d}": {"a.txt": make_lines(40 + i, name=f"source {i}")} for i in range(120)} | {
    "large": {"l.txt": make_lines(9000, name="large")}
}
WEIGHTS = {name: Fraction(9000 if name == "large" else 30 + i) for i, name in enumerate(SOURCES)}
ASKED = {
    "first exhausted": Asked(weights=WEIGHTS),
    "all exhausted": Asked(weights=WEIGHTS, stop="all_exhausted", seed=4),
    "stratified": Asked(weights=WEIGHTS, interleave="stratified"),
    "repeats": Asked(repeats={"s003": Fraction("2.5"), "s119": Fraction("0.5")}, epoch=1),
    "so many bytes": Asked(weights=WEIGHTS, max_bytes=200_000),
}


def mix(tmp_path: Path, *flags: str) -> Manifest:
    for name, files in SOURCES.items():
        write_tree(tmp_path / name, files)
    inputs = [f"--input={name}={tmp_path / name}" for name in SOURCES]
    with cut_otherwise(**SIZES):
        return run(*inputs, f"--output={tmp_path / 'out'}", "--num_shards=3", *flags)


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_many_sources_are_mixed_as_one_position_at_a_time_says(
    tmp_path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[int] = []
    alone: list[int] = []

    def gather_batch(pieces: list[Piece], **named: Any) -> list[Ordered]:
        together.append(len(pieces))
        return gather.gather_batch(pieces, **named)

    def gather_piece(*given: Any, **named: Any) -> Any:
        alone.append(1)
        return gather.gather_piece(*given, **named)

    monkeypatch.setattr(shards, "gather_batch", gather_batch)
    monkeypatch.setattr(shards, "gather_piece", gather_piece)
    mix(tmp_path, *flags_of(asked))
    assert max(together) > 3
    assert len(alone) > 2  # the large source's
    assert split(join_shards(tmp_path / "out")) == mix_plainly(SOURCES, asked)
    assert verify(str(tmp_path / "out"))[1] == []


@pytest.mark.parametrize("fault", ["lost", "doubled", "swapped", "another's"])
def test_what_is_read_otherwise_than_it_was_spilled_is_caught(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def read_batch(wanted: Any) -> list[list[Page]]:
        found = [list(part) for part in gather_read(wanted)]
        if done or len(found) < 2:
            return found
        done.append(fault)
        (page, *_), (other, *_) = found[:2]
        rows = {
            "lost": list(range(1, len(page.block))),
            "doubled": [0, *range(len(page.block))],
            "swapped": [0, 0, *range(2, len(page.block))],
        }
        if fault == "another's":
            found[0], found[1] = [other], [page]
        else:
            found[0][0] = Page(page.block.take(rows[fault]), page.digests)
        return found

    gather_read = gather.read_batch
    monkeypatch.setattr(gather, "read_batch", read_batch)
    with pytest.raises(LosslessError, match=r"source s?\d|source large|train-0\d*-of"):
        mix(tmp_path, *flags_of(ASKED["first exhausted"]))
    assert done
    assert not (tmp_path / "out").exists()


def block_of(*records: bytes) -> pa.RecordBatch:
    positions = np.arange(len(records), dtype=np.uint64)
    return blocks.with_keys(blocks.from_records(records, positions, line_end=b"\n"), KeyPair(1, 2))


def test_a_part_of_a_small_bucket_is_checked_where_all_of_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block = block_of(b"a", b"b", b"c")
    digests = blocks.digests(block, sources=1)
    pages = [[Page(block, digests)], [Page(block, [digests[0] + Digest(1, 1, 1, 1)])]]
    monkeypatch.setattr(gather, "read_batch", lambda _: [list(part) for part in pages])
    middle = Piece(BlockGroup([]), WHOLE, 1, 1)
    with pytest.raises(LosslessError, match="the second"):
        gather.gather_batch([middle._replace(what=name) for name in ("the first", "the second")])


def test_a_bucket_that_is_larger_than_planned_is_not_held_whole() -> None:
    streams = Streams(
        sources=("a",), union=False, seed=0, epoch=0, buckets=(2,), limits=(9,), batch_bytes=40
    )
    piece = Piece(BlockGroup([]), WHOLE, footprint=9)
    assert shards._is_light(piece, 0, streams)
    assert not shards._is_light(piece._replace(footprint=10), 0, streams)


def test_a_bucket_without_pages_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "read_batch", lambda _: [[]])
    with pytest.raises(LosslessError, match="the bucket: expected pages"):
        gather.gather_batch([Piece(BlockGroup([]), WHOLE, 0, 1, what="the bucket")])


def test_a_small_bucket_waits_until_the_large_one_before_it_is_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Buckets that are read in parts give some records now and others later."""
    streams = Streams(
        sources=("a",), union=False, seed=0, epoch=0, buckets=(2,), limits=(9,), batch_bytes=40
    )
    pieces = [Piece(BlockGroup([]), KeyRange(i, 2), footprint=100 - 99 * i) for i in range(2)]
    parts = [Ordered(block_of(text), [Digest()]) for text in (b"1", b"2")]
    monkeypatch.setattr(shards, "_pieces", lambda *_: pieces)
    monkeypatch.setattr(shards, "_gather", lambda *_: iter(parts))
    reader = SourceReader(Share(0, 0, 3, 3, [], small=False, ends=False), streams)
    assert not reader.lacks(3)  # the first one is large
    assert [blocks.records(block) for block in reader.take(1)] == [[b"1"]]
    assert not reader.lacks(2)
    assert [blocks.records(block) for block in reader.take(1)] == [[b"2"]]
