"""Mixtures prove themselves: a fault anywhere fails the run, names the source, publishes nothing."""

from __future__ import annotations

import json
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.verify import verify
from tests.pipelines.support import cut_otherwise
from tests.pipelines.test_mixtures import SMALL, mix
from transforms.datasets import read
from transforms.datasets.identity import FileIds, Origin
from transforms.errors import DataError, LosslessError
from transforms.kernels.records import blocks
from transforms.mixing import interleave, shard_layout, shards, small_sources
from transforms.mixing.packed_shards import Bucket, Cut
from transforms.shuffling import spill_files, spill_pages, streams

REPEATS = ["--repeats=books=2.5,code=7", "--num_shards=3"]
ALL = ["--weights=books=0.3,code=0.1,web=0.6", "--stop=all_exhausted", "--num_shards=3"]
LARGE = SMALL | {"bucket_bytes": 1500}  # no source is small enough to be held

Block = pa.RecordBatch
Patch = pytest.MonkeyPatch


def lose(block: Block) -> Block:
    """Leave the last record out."""
    return block.slice(0, len(block) - 1)


def double(block: Block) -> Block:
    """Have the first record twice."""
    return block.take(pa.array([0, *range(len(block))]))


def swap(block: Block) -> Block:
    """Have the first record twice, and the last not at all."""
    return lose(double(block))


HARMS = pytest.mark.parametrize("harm", [lose, double, swap])


def spilling(patch: Patch, harm: Callable[[Block], Block], *, told: bool) -> None:
    """Do harm to a page that is spilled; ``told`` where the table of pages is as the page is."""
    harmed: list[Block] = []

    def cut_run(run: Block, **how: int) -> Any:
        for part, block in spill_pages.cut_run(run, **how):
            if len(block) > 2 and not harmed:
                harmed.append(harm(block))
                yield part, harmed[0] if told else block
            else:
                yield part, block

    def encode_page(block: Block, **how: Any) -> Any:
        first = harmed and not told and len(harmed) == 1
        if first:
            harmed.append(block)
        return spill_pages.encode_page(harmed[0] if first else block, **how)

    other = types.SimpleNamespace(
        **{**vars(spill_pages), "cut_run": cut_run, "encode_page": encode_page}
    )
    patch.setattr(spill_files, "spill_pages", other)


def require_caught(tmp_path: Path, *flags: str, words: str, plan: dict[str, int] = LARGE) -> None:
    """Require that a run fails, says so in these words, and leaves nothing."""
    with cut_otherwise(**plan), pytest.raises((LosslessError, DataError), match=words):
        mix(tmp_path, *flags)
    assert not (tmp_path / "out").exists()


@HARMS
def test_what_is_spilled_otherwise_than_it_was_read_is_caught_before_anything_is_written(
    tmp_path: Path, harm: Callable[[Block], Block], monkeypatch: Patch
) -> None:
    spilling(monkeypatch, harm, told=True)
    require_caught(tmp_path, *REPEATS, words=r"source (books|code|web), pass \d: read")


@HARMS
@pytest.mark.parametrize("asked", [ALL, ["--max_records=1000"]], ids=["weights", "as one"])
def test_pages_that_hold_something_else_than_their_table_says_are_caught(
    tmp_path: Path, harm: Callable[[Block], Block], asked: list[str], monkeypatch: Patch
) -> None:
    spilling(monkeypatch, harm, told=False)
    require_caught(tmp_path, *asked, words=r"source|expected a page of .* as spilled")


@HARMS
def test_pages_of_a_small_source_too(
    tmp_path: Path, harm: Callable[[Block], Block], monkeypatch: Patch
) -> None:
    spilling(monkeypatch, harm, told=False)
    require_caught(tmp_path, *REPEATS, words=r"source|expected a page of .* as spilled", plan={})


@pytest.mark.parametrize("asked", [REPEATS, ALL])
def test_a_record_that_is_spilled_as_another_sources_is_caught(
    tmp_path: Path, asked: list[str], monkeypatch: Patch
) -> None:
    real = streams.Streams.number

    def number(self: streams.Streams, file: Origin) -> int:
        found = real(self, file)
        names = file.names if isinstance(file, FileIds) else [file.name]
        return found + 1 if "b.txt" in names else found

    monkeypatch.setattr(streams.Streams, "number", number)
    require_caught(tmp_path, *asked, words=r"source (books|code), pass 0: read")


@pytest.mark.parametrize("plan", [{}, LARGE], ids=["held", "read again"])
def test_a_record_that_is_laid_down_as_another_sources_is_caught(
    tmp_path: Path, plan: dict[str, int], monkeypatch: Patch
) -> None:
    def with_source(block: Block, drawn: Any) -> Block:
        other = drawn.copy()
        other[0] = (other[0] + 1) % 3
        return blocks.with_source(block, other)

    changed = types.SimpleNamespace(**{**vars(blocks), "with_source": with_source})
    monkeypatch.setattr(shards, "blocks", changed)
    require_caught(tmp_path, *REPEATS, words=r"data/train-0\S+: source \d should have", plan=plan)


def test_a_record_that_is_laid_down_twice_and_another_never_is_caught(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    harmed: list[Block] = []

    def join(found: list[Block]) -> Block:
        block = blocks.join(found)
        if len(block) < 2:
            return block
        harmed.append(block)
        return swap(block)

    changed = types.SimpleNamespace(**{**vars(blocks), "join": join})
    monkeypatch.setattr(shards, "blocks", changed)
    some = SMALL | {"bucket_bytes": 16_000}  # of records that are laid down at a time
    require_caught(tmp_path, *ALL, words=r"data/train-0\S+: source \d should have", plan=some)
    assert harmed


@pytest.mark.parametrize("asked", [REPEATS, ALL], ids=["repeats", "weights"])
@pytest.mark.parametrize("fault", ["one further", "one less", "a bucket left out", "twice"])
def test_a_layout_that_gives_a_shard_other_ranks_is_caught(
    tmp_path: Path, fault: str, asked: list[str], monkeypatch: Patch
) -> None:
    real = shard_layout.Layout._cut
    done: list[str] = []

    def cut(self: shard_layout.Layout, *given: Any) -> Cut:
        found = real(self, *given)
        number, skip, take, size = found.buckets[0]
        if done or take < 2 or len(found.buckets) < 2:
            return found
        done.append(fault)
        changed = {
            "one further": [Bucket(number, skip + 1, take - 1, size), *found.buckets[1:]],
            "one less": [Bucket(number, skip, take - 1, size), *found.buckets[1:]],
            "a bucket left out": found.buckets[1:],
            "twice": [found.buckets[0], *found.buckets],
        }[fault]
        return found._replace(buckets=changed)

    monkeypatch.setattr(shard_layout.Layout, "_cut", cut)
    require_caught(tmp_path, *asked, words=r"source (books|code|web)\b")
    assert done


def test_a_pass_of_a_small_source_that_is_no_permutation_is_caught(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    real = small_sources.pass_order

    def pass_order(keys: Any, number: int, **rest: Any) -> Any:
        order = np.array(real(keys, number, **rest))
        if number == 1:
            order[0] = order[1]
        return order

    monkeypatch.setattr(small_sources, "pass_order", pass_order)
    require_caught(tmp_path, *REPEATS, words=r"source (books|code):", plan={})


@pytest.mark.parametrize("times", [0, 2])
def test_a_writer_that_miscounts_what_it_left_unused_is_caught(
    tmp_path: Path, times: int, monkeypatch: Patch
) -> None:
    real = shards.MixedShard.unused
    monkeypatch.setattr(
        shards.MixedShard,
        "unused",
        lambda self: [digest.times(times) for digest in real(self)],
    )
    require_caught(tmp_path, *REPEATS, words=r"source books: expected .* in 3 passes")


@pytest.mark.parametrize("length", ["same", "other"])
def test_a_file_that_changes_between_passes_is_caught(
    tmp_path: Path, length: str, monkeypatch: Patch
) -> None:
    """Even where its size and times say that it didn't."""
    path = tmp_path / "books/b.txt"
    real = interleave._ListPasses.process

    def process(self: Any, *given: Any) -> Any:
        data, status = path.read_bytes(), path.stat()
        changed = data.replace(b"book3", b"cook3") if length == "same" else data[:-20]
        assert changed != data
        path.write_bytes(changed)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return real(self, *given)

    monkeypatch.setattr(interleave._ListPasses, "process", process)
    if length == "other":
        monkeypatch.setattr(read, "check_unchanged", lambda file: None)
    require_caught(tmp_path, *REPEATS, words=r"source books, pass 1: read|books/b\.txt")


def test_a_pass_that_nobody_read_is_caught(tmp_path: Path, monkeypatch: Patch) -> None:
    real = interleave._ListPasses.process
    monkeypatch.setattr(
        interleave._ListPasses,
        "process",
        lambda *given: (
            found for found in real(*given) if all(span.pass_number != 2 for span in found[1])
        ),
    )
    require_caught(tmp_path, *REPEATS, words=r"source books, pass 2: read 127 .* spilled 0")


def test_a_lost_table_of_pages_is_caught(tmp_path: Path, monkeypatch: Patch) -> None:
    real = shard_layout.read_tables
    monkeypatch.setattr(
        shard_layout, "read_tables", lambda packed: real([p for p in packed if p][1:])
    )
    require_caught(tmp_path, *ALL, words=r"source (books|code|web), pass 0: read")


def test_the_plans_above_read_sources_again(tmp_path: Path) -> None:
    with cut_otherwise(**LARGE):
        manifest = mix(tmp_path, *REPEATS)
    assert [part.passes_read for part in manifest.mixture or ()] == [3, 7, 1]
    spans = [part.unused.records for part in manifest.mixture or ()]
    assert spans == [64, 0, 0]


EDITS: dict[str, Any] = {
    "asked": 0.25,
    "share_of_records": 0.25,
    "share_of_bytes": 0.25,
    "passes_begun": 9,
    "passes_finished": 9,
    "passes_read": 9,
    "source": "other",
    "written.records": 5,
    "written.bytes": 5,
    "written.hash": "f" * 32,
    "unused.records": 5,
    "unused.bytes": 5,
    "unused.hash": "f" * 32,
}


@pytest.mark.parametrize("asked", [ALL, REPEATS, ["--max_records=100"]], ids=["w", "r", "one"])
def test_verify_finds_every_edit_of_a_mixture_in_the_manifest(
    tmp_path: Path, asked: list[str]
) -> None:
    mix(tmp_path, *asked)
    path = tmp_path / "out/manifest.json"
    text = path.read_bytes()
    assert verify(str(tmp_path / "out"))[1] == []
    for field, value in EDITS.items():
        content = json.loads(text)
        *outer, last = field.split(".")
        entry = content["mixture"][1]
        for name in outer:
            entry = entry[name]
        entry[last] = value
        path.write_text(json.dumps(content))
        assert verify(str(tmp_path / "out"))[1], field
    content = json.loads(text)
    for entries in (content["mixture"][1:], content["mixture"][::-1], None):
        path.write_text(json.dumps(content | {"mixture": entries}))
        assert verify(str(tmp_path / "out"))[1]
