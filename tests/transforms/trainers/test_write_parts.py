"""Shards that many workers write in parts are those that one worker writes, and nothing less appears."""

from __future__ import annotations

import copy
import hashlib
import io
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that

from tests.transforms.trainers.megatron_oracle import read_indexed
from tests.transforms.trainers.support import (
    LENGTH,
    batches_of,
    dataset_of,
    digest_of,
    rows_for,
    write,
)
from transforms.errors import LosslessError, RunError
from transforms.kernels.packing.rows import Rows
from transforms.storage import parts
from transforms.trainers import shards, write_parts
from transforms.trainers.complete_shard import Part, WrittenPart, complete_shard
from transforms.trainers.contract import Dataset
from transforms.trainers.megatron import Megatron
from transforms.trainers.shards import ShardsToWrite, WrittenShard
from transforms.trainers.write_parts import WriteInParts
from transforms.workers.progress import Progress

FORM = Megatron()
DATASETS = {
    name: dataset_of(kind, options={"megatron": name})  # type: ignore[arg-type]
    for name, kind in (("documents", "none"), ("rows", "best_fit"))
}


class Laid:
    """A split in memory, as writers read one."""

    def __init__(self, all_rows: Rows) -> None:
        self._all, self.hash = all_rows, 0

    @property
    def rows(self) -> int:
        return len(self._all)

    documents = rows

    def facts(self, begin: int, end: int) -> tuple[int, int]:
        some = self._all.slice(begin, end)
        return len(some.ids), int(some.filler.sum())

    def places_before(self, document: int) -> int:
        return int(self._all.offsets[document])

    def streams_between(self, begin: int, end: int) -> int:
        return end - begin

    def read_rows(self, begin: int, end: int) -> Iterator[Rows]:
        for batch in batches_of(self._all.slice(begin, end), 3, 50, 1):
            self.hash += len(batch)
            yield batch

    read_documents = read_rows


@pytest.fixture(params=["documents", "rows"])
def dataset(request: pytest.FixtureRequest) -> Dataset:
    return DATASETS[request.param]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "PART_BYTES", 1000)
    monkeypatch.setattr(parts, "LEAST", 200)


def config_of(output: Path | str, dataset: Dataset, **more: Any) -> ShardsToWrite:
    given = {"output": str(output), "formats": ("megatron",), "dataset": dataset} | more
    return ShardsToWrite(**given)


def begin(config: ShardsToWrite, laid: Laid) -> list[Part]:
    step = write_parts._BeginFiles(config)
    return [part for _, part in step.process(("train", laid))]  # type: ignore[arg-type]


def write_all(written: list[Part], laid: Laid, dataset: Dataset) -> list[WrittenPart]:
    progress = Progress.open(None)
    return [write_parts.write_part(part, laid, dataset, progress) for part in written]  # type: ignore[arg-type]


def seen_in(folder: Path) -> dict[str, bytes]:
    """Return the files that a reader looks at."""
    return {path.name: path.read_bytes() for path in (folder / "data").glob("*")}


def test_the_files_are_those_of_one_writer(tmp_path: Path, dataset: Dataset) -> None:
    rows = rows_for(FORM, dataset, count=400)
    laid, found = Laid(rows), list[WrittenShard]()
    config = config_of(tmp_path, dataset, num_shards=2)

    def check(shards_written: list[WrittenShard]) -> None:
        found.extend(shards_written)
        assert [one.shard.number for one in sorted(found, key=lambda w: w.shard.number)] == [0, 1]
        assert sum(one.hash for one in found) == 400
        for written in (one.shard for one in found):
            half = rows.slice(200 * written.number, 200 * written.number + 200)
            alone = write(FORM, dataset, [half])
            for file, suffix in zip(written.files, (".bin", ".idx"), strict=True):
                data = (tmp_path / file.path).read_bytes()
                assert data == alone[suffix]
                assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
            assert written.digest == digest_of(FORM, dataset, [FORM.seen(half, dataset)])
            filler = int(half.filler.sum())
            assert (written.rows, written.ids, written.filler) == (200, len(half.ids), filler)

    with Pipeline() as pipeline:
        splits = pipeline | beam.Create([("train", laid)])
        assert_that(splits | WriteInParts(config), check)
    assert sorted(seen_in(tmp_path)) == [
        f"train-0000{number}-of-00002{suffix}" for number in (0, 1) for suffix in (".bin", ".idx")
    ]


def test_parts_in_any_order_and_twice(tmp_path: Path, dataset: Dataset) -> None:
    rows = rows_for(FORM, dataset, count=300)
    laid = Laid(rows)
    planned = begin(config_of(tmp_path, dataset, num_shards=1), laid)
    assert len(planned) > 4
    order = [*planned, *planned[::2]]
    random.Random(1).shuffle(order)
    done = {one.part.number: one for one in write_all(order, laid, dataset)}
    assert seen_in(tmp_path) == {} if (tmp_path / "data").exists() else True
    written = [done[number] for number in range(len(planned))]
    first = complete_shard(written, dataset)
    assert complete_shard(written, dataset) == first  # as a retried step does
    alone = write(FORM, dataset, [rows])
    names = {suffix: f"train-00000-of-00001{suffix}" for suffix in alone}
    assert seen_in(tmp_path) == {names[suffix]: data for suffix, data in alone.items()}


def test_a_small_shard_has_one_writer(tmp_path: Path, dataset: Dataset) -> None:
    laid = Laid(rows_for(FORM, dataset, count=20))
    assert begin(config_of(tmp_path, dataset), laid) == []
    assert not (tmp_path / "_tmp-").exists()


def test_other_formats_and_stores_have_one_writer(tmp_path: Path, dataset: Dataset) -> None:
    laid = Laid(rows_for(FORM, dataset, count=400))
    assert begin(config_of(tmp_path, dataset, formats=("flat",)), laid) == []
    config = replace(config_of(tmp_path, dataset), output="memory://out")
    assert begin(config, laid) == []


def test_no_part_but_the_last_is_smaller_than_stores_take(tmp_path: Path) -> None:
    dataset = DATASETS["documents"]
    lengths = np.array([5000, *[1] * 3000, 4000, *[30] * 100, 3000], np.int64)
    each = np.arange(len(lengths) + 1, dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.full(int(lengths.sum()), 3, np.uint16)
    laid = Laid(Rows(ids, offsets, lengths, each, np.zeros(len(lengths), np.int64)))
    planned = [part.stretch for part in begin(config_of(tmp_path, dataset, num_shards=1), laid)]
    assert planned[0].begin == planned[0].offset == 0
    assert planned[-1].end == len(lengths)
    for one, other in zip(planned, planned[1:], strict=False):
        assert (one.end, one.offset + one.size) == (other.begin, other.offset)
    assert all(one.size >= 200 for one in planned)
    assert sum(one.size for one in planned) == 2 * len(ids)


@pytest.mark.parametrize("byte", [0, 1500, -1])
def test_damage_on_the_way_names_the_part_and_shows_nothing(
    tmp_path: Path, dataset: Dataset, byte: int
) -> None:
    laid = Laid(rows_for(FORM, dataset, count=300))
    planned = begin(config_of(tmp_path, dataset, num_shards=1), laid)
    written = write_all(planned, laid, dataset)
    place = Path(planned[0].file.upload)
    data = bytearray(place.read_bytes())
    data[byte] ^= 1
    place.write_bytes(bytes(data))
    at = byte % len(data)
    (number,) = (
        part.number
        for part in planned
        if part.stretch.offset <= at < part.stretch.offset + part.stretch.size
    )
    with pytest.raises(LosslessError, match=f"part {number} of {len(planned)}|expected one from 0"):
        complete_shard(written, dataset)
    assert not any(name.endswith(".bin") for name in seen_in(tmp_path))


def test_between_the_index_and_the_ids_there_is_no_shard(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_for(FORM, dataset, count=300)
    laid = Laid(rows)
    written = write_all(begin(config_of(tmp_path, dataset, num_shards=1), laid), laid, dataset)

    def die(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parts, "complete", die)
        with pytest.raises(KeyboardInterrupt):
            complete_shard(written, dataset)
    assert set(seen_in(tmp_path)) == {"train-00000-of-00001.idx"}  # and no manifest
    complete_shard(written, dataset)
    assert set(seen_in(tmp_path).values()) == set(write(FORM, dataset, [rows]).values())


def test_a_missing_part_is_noticed(tmp_path: Path, dataset: Dataset) -> None:
    laid = Laid(rows_for(FORM, dataset, count=300))
    written = write_all(begin(config_of(tmp_path, dataset), laid), laid, dataset)
    with pytest.raises(RunError, match="expected parts 0 to"):
        complete_shard(written[:-1], dataset)
    assert not (tmp_path / "data").exists()


def test_counts_that_are_wrong_are_noticed(tmp_path: Path, dataset: Dataset) -> None:
    laid = Laid(rows_for(FORM, dataset, count=300))
    planned = begin(config_of(tmp_path, dataset), laid)
    wrong = copy.copy(planned[1])
    stretch = planned[1].stretch
    object.__setattr__(wrong, "stretch", stretch._replace(begin=stretch.begin + 1))
    with pytest.raises(RunError, match=f"expected a part of {stretch.size} bytes at"):
        write_all([wrong], laid, dataset)


def test_rows_of_each_part_begin_where_they_should(tmp_path: Path) -> None:
    dataset = DATASETS["rows"]
    rows = rows_for(FORM, dataset, count=300)
    for part in begin(config_of(tmp_path, dataset, num_shards=1), Laid(rows)):
        assert part.stretch.offset == part.stretch.begin * LENGTH * 2
        assert part.stretch.size == (part.stretch.end - part.stretch.begin) * LENGTH * 2


def test_what_is_read_back_is_what_the_notes_say(tmp_path: Path) -> None:
    dataset = replace(DATASETS["documents"], ids=70_000)
    rows = rows_for(FORM, dataset, count=300)
    laid = Laid(rows)
    planned = begin(config_of(tmp_path, dataset, num_shards=1), laid)
    complete_shard(write_all(planned, laid, dataset), dataset)
    data, index = (seen_in(tmp_path)[f"train-00000-of-00001{s}"] for s in (".bin", ".idx"))
    found = read_indexed(data, index)
    ends = rows.offsets.tolist()
    assert found.code == 4
    assert found.documents == [rows.ids[b:e].tolist() for b, e in zip(ends, ends[1:], strict=False)]
    assert io.BytesIO(data).getbuffer().nbytes == 4 * len(rows.ids)
