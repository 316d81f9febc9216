"""Splits laid down: in the input's order and shuffled, proved, whatever threads and spans."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.transforms.helpers import THREADS, run
from transforms.datasets.manifest import Manifest
from transforms.datasets.read import ReadRecords
from transforms.datasets.write import WriteShards
from transforms.errors import LosslessError
from transforms.kernels.records.digest import Digest
from transforms.kernels.splitting.plan import Part, SplitPlan
from transforms.shuffling.spill_files import Spilling
from transforms.shuffling.streams import Streams
from transforms.splitting.contents_of import by_content, by_identity
from transforms.splitting.count_contents import CountContents
from transforms.splitting.place_by_plan import PlaceByPlan
from transforms.splitting.placed import Placed
from transforms.splitting.split_in_order import SplitInOrder
from transforms.splitting.split_shuffled import ShuffledSplit, SplitShuffled
from transforms.splitting.write_split_manifest import WriteSplitManifest, make_split_manifest

PARTS = (Part("validation", share=Fraction(1, 5)), Part("test", share=Fraction(1, 10)))
LINES = [b"record %d" % (i % 700) + b" x" * (i % 7) for i in range(3000)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(3):
        (folder / f"{number}.txt").write_bytes(b"\n".join(LINES[number * 1000 :][:1000]) + b"\n")
    return folder


def lay_down(
    corpus: Path,
    output: Path,
    *,
    plan: SplitPlan,
    shuffled: bool = False,
    by: Any = by_content,
    units: int = 4,
    span_bytes: int = 5000,
    shard_bytes: int = 256 << 20,
    **options: Any,
) -> Manifest:
    sources = {"a": [str(corpus / "[01].txt")], "b": [str(corpus / "2.txt")]}
    reading = ReadRecords(sources=sources, span_bytes=span_bytes)
    spill = Spilling(folders=[str(output / "_tmp-000000000000")])
    writing = {
        name: WriteShards(output=str(output), split=name, extension=".txt", sources=2)
        for name in plan.names
    }
    placing = PlaceByPlan(plan=plan, contents=by)

    def build(root: Any) -> Any:
        told = None
        if plan.is_counted:
            read = root | "ReadToCount" >> reading
            told = read.blocks | CountContents(plan=plan, contents=by)
        if shuffled:
            streams = Streams.as_one(list(sources), seed=3, buckets=2)
            laid = root | SplitShuffled(
                reading=reading,
                placing=placing,
                told=told,
                splits={
                    name: ShuffledSplit(streams=streams, spill=spill, shards=2, writing=one)
                    for name, one in writing.items()
                },
            )
        else:
            laid = root | SplitInOrder(
                reading=reading,
                placing=placing,
                told=told,
                writing=writing,
                largest=plan.names[0],
                units=units,
                shard_bytes=shard_bytes,
                spill=spill,
            )
        asked = {name: None for name in plan.names}
        return laid | WriteSplitManifest(
            output=str(output), sources=list(sources), recipe={}, seed=0, epoch=0, asked=asked
        )

    run(build, **options)
    return Manifest.model_validate_json((output / "manifest.json").read_bytes())


def lines_of(output: Path, split: str) -> list[bytes]:
    files = sorted((output / "data").glob(f"{split}-*"))
    return b"".join(file.read_bytes() for file in files).splitlines()


def bytes_of(output: Path) -> dict[str, str]:
    files = sorted((output / "data").iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_each_split_has_the_order_of_the_input(corpus: Path, tmp_path: Path) -> None:
    manifest = lay_down(corpus, tmp_path, plan=SplitPlan(parts=PARTS), shard_bytes=4000)
    found = {name: lines_of(tmp_path, name) for name in ("train", "validation", "test")}
    assert sum(map(len, found.values())) == len(LINES)
    where = {line: name for name, lines in found.items() for line in lines}
    for name, lines in found.items():
        assert lines == [line for line in LINES if where[line] == name], name
    assert [split.name for split in manifest.splits or []] == ["train", "validation", "test"]
    assert [split.records for split in manifest.splits or []] == [*map(len, found.values())]
    assert manifest.records == len(LINES)
    assert len(list((tmp_path / "data").glob("validation-*"))) > 1


@pytest.mark.parametrize("shuffled", [False, True])
def test_bundles_and_threads_change_no_byte(corpus: Path, tmp_path: Path, shuffled: bool) -> None:
    plan = SplitPlan(parts=(*PARTS, Part("small", count=50)))
    once, again = tmp_path / "once", tmp_path / "again"
    lay_down(corpus, once, plan=plan, shuffled=shuffled)
    lay_down(corpus, again, plan=plan, shuffled=shuffled, **THREADS)
    assert bytes_of(once) == bytes_of(again)
    if shuffled:
        third = tmp_path / "third"
        lay_down(corpus, third, plan=plan, shuffled=shuffled, span_bytes=1700)
        assert bytes_of(once) == bytes_of(third)
    small = lines_of(once, "small")
    assert 0 < len(small) <= 50


def test_shuffled_splits_hold_what_those_in_order_hold(corpus: Path, tmp_path: Path) -> None:
    plan = SplitPlan(parts=PARTS)
    lay_down(corpus, tmp_path / "order", plan=plan)
    lay_down(corpus, tmp_path / "shuffled", plan=plan, shuffled=True)
    for name in plan.names:
        order, shuffled = (lines_of(tmp_path / way, name) for way in ("order", "shuffled"))
        assert order != shuffled
        assert Counter(order) == Counter(shuffled)


def test_by_identity_a_count_is_exact_and_duplicates_part(corpus: Path, tmp_path: Path) -> None:
    plan = SplitPlan(parts=(Part("some", count=1000),), rest="others")
    lay_down(corpus, tmp_path, plan=plan, by=by_identity)
    some, others = lines_of(tmp_path, "some"), lines_of(tmp_path, "others")
    assert (len(some), len(others)) == (1000, 2000)
    assert set(some) & set(others)


def test_a_split_without_a_record_has_one_empty_shard(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(3):
        (corpus / f"{number}.txt").write_bytes(b"")
    manifest = lay_down(corpus, tmp_path / "out", plan=SplitPlan(parts=PARTS), units=1)
    assert [(s.path, s.records) for s in manifest.shards] == [
        (f"data/{name}-00000-of-00001.txt", 0) for name in ("train", "validation", "test")
    ]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["records"] == 0


def test_a_record_that_went_nowhere_is_found(corpus: Path, tmp_path: Path) -> None:
    manifest = lay_down(corpus, tmp_path, plan=SplitPlan(parts=PARTS))
    assert manifest.splits is not None
    total = sum(int(split.read.hash[:16], 16) for split in manifest.splits) % 2**64
    assert manifest.left_out is None
    assert f"{total:016x}" == manifest.digest.hash[:16]


def test_what_was_read_and_placed_has_to_agree() -> None:
    class Files:
        def digests(self, *, dropped: bool = False) -> dict[str, Digest]:
            return {"a": Digest(0, 0, 0, 0) if dropped else Digest(2, 10, 3, 4)}

    class Config:
        max_bad, asked, sources = None, {"train": None}, ["a"]

    one = Placed("train", "a", Digest(1, 5, 1, 2), Digest(1, 5, 1, 2))
    files, config = Files(), Config()
    with pytest.raises(
        LosslessError, match=r"left out\), source a: expected splits that hold the 2 rec.* got 1 of"
    ):
        make_split_manifest(files, {}, [one], config)  # type: ignore[arg-type]
