"""PartitionIntoBuckets: every record gets its key, and runs that are spilled are sorted and bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from tests.transforms import helpers
from tests.transforms.helpers import THREADS, Row, collect, create, make_rows, size_of, spilled_rows
from tests.transforms.kernels import oracles
from transforms.datasets.identity import FileId
from transforms.kernels.randomness import file_key
from transforms.kernels.records import blocks
from transforms.shuffling.partition import AllSpills, SpillRuns
from transforms.shuffling.spill_files import Spilling
from transforms.shuffling.streams import Streams
from transforms.storage import files as storage

FILES = (FileId("s", "a"), FileId("s", "b"), FileId("t", "a"))
RECORDS = [row.record for row in make_rows(40)]


def make_block(first: int, last: int) -> pa.RecordBatch:
    positions = np.arange(first, last, dtype=np.uint64)
    return blocks.from_records(RECORDS[first:last], positions, line_end=b"\n")


# the same positions in every file: only the file's name keeps them apart
LOCATED = [(file, make_block(low, low + 10)) for file in FILES for low in range(0, 40, 10)]


def oracle(seed: int, epoch: int) -> list[Row]:
    out = []
    for file in FILES:
        pair = file_key(
            seed=seed, epoch=epoch, source=file.source, pass_number=0, file_name=file.name
        )
        out += [
            Row(oracles.record_key(pair.k0, pair.k1, i), record) for i, record in enumerate(RECORDS)
        ]
    return sorted(out)


def partition(
    folder: Path, *, seed: int = 5, epoch: int = 0, run_bytes: int = 1 << 20, **options: Any
) -> list[list[Row]]:
    """Return the records of each run that was spilled."""
    step = helpers.partition(folder, seed=seed, epoch=epoch, run_bytes=run_bytes)
    spills = collect(
        lambda root: (root | create(LOCATED, spread=bool(options)) | step).spills, **options
    )
    return list(map(spilled_rows, spills))


@pytest.mark.parametrize("options", [{}, THREADS], ids=["one bundle", "three"])
@pytest.mark.parametrize("run_bytes", [1, 2500, 1 << 20])
def test_every_record_is_spilled_once_under_its_own_key_in_sorted_runs(
    tmp_path: Path, run_bytes: int, options: dict[str, Any]
) -> None:
    runs = partition(tmp_path, run_bytes=run_bytes, **options)
    assert sorted(row for run in runs for row in run) == oracle(5, 0)
    for run in runs:
        keys = [row.key for row in run]
        assert keys == sorted(keys)


@pytest.mark.parametrize("run_bytes", [2500, 5000])
def test_a_run_is_as_large_as_it_may_be_and_no_larger(tmp_path: Path, run_bytes: int) -> None:
    sizes = [size_of(run) for run in partition(tmp_path, run_bytes=run_bytes)]
    largest = max(blocks.block_footprint(block) for _, block in LOCATED)
    assert max(sizes) <= run_bytes
    assert min(sizes[:-1]) > run_bytes - largest  # the last one has what is left


def test_a_block_larger_than_a_run_is_a_run_of_its_own(tmp_path: Path) -> None:
    assert sorted(map(len, partition(tmp_path, run_bytes=1))) == [10] * len(LOCATED)


@pytest.mark.parametrize(("seed", "epoch"), [(6, 0), (5, 1), (0, 5), (2**64 - 1, 0)])
def test_seed_and_epoch_decide_the_keys(tmp_path: Path, seed: int, epoch: int) -> None:
    found = sorted(row for run in partition(tmp_path, seed=seed, epoch=epoch) for row in run)
    assert found == oracle(seed, epoch)
    assert not {row.key for row in found} & {row.key for row in oracle(5, 0)}


def test_a_bundle_that_was_given_up_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    """A worker keeps its DoFn from bundle to bundle, and an error may end one at any point."""
    spill = Spilling(folders=[str(tmp_path)])
    step = SpillRuns(Streams.as_one(["s"], seed=5), spill, measure=None)
    step.setup()
    step.start_bundle()
    assert list(step.process(LOCATED[0])) == []
    step.start_bundle()
    assert list(step.process(LOCATED[1])) == []
    (found,) = step.finish_bundle()
    assert {row.record for row in spilled_rows(found.value)} == set(RECORDS[10:20])
    assert len(spilled_rows(found.value)) == 10


def test_nothing_gives_no_run(tmp_path: Path) -> None:
    nothing = beam.Create([]).with_output_types(tuple[FileId, pa.RecordBatch])
    assert collect(lambda root: (root | nothing | helpers.partition(tmp_path)).spills) == []


@pytest.mark.parametrize("partition", [0, 1])
def test_the_first_level_is_given_back_once_with_the_options_of_its_store(
    monkeypatch: pytest.MonkeyPatch, partition: int
) -> None:
    """Whoever gives it back may be a worker that did nothing before."""
    done: list[Any] = []
    monkeypatch.setattr(storage, "configure", done.append)
    monkeypatch.setattr(storage, "remove_tree", done.append)
    spill = Spilling(folders=["memory://spills"], release=True, storage_options={"a": 1})
    step = AllSpills(spill, levels=2, partitions=2)
    assert step._give_back(partition, [b""]) == (partition, [b""])
    assert done == ([{"a": 1}, "memory://spills/first"] if partition == 0 else [])
