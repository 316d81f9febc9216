"""PartitionIntoBuckets: every record gets its key, and runs are sorted and bounded."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from tests.transforms.helpers import THREADS, Row, collect, create, make_rows, rows_of
from tests.transforms.kernels import oracles
from transforms.identity import FileId
from transforms.kernels import blocks
from transforms.kernels.randomness import file_key
from transforms.partition import PartitionIntoBuckets, _SortRuns

FILES = (FileId("s", "a"), FileId("s", "b"), FileId("t", "a"))
RECORDS = [row.record for row in make_rows(40)]
ROW_BYTES = 64


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


def partition(*, seed: int = 5, epoch: int = 0, run_bytes: int = 1 << 20, **options: Any) -> Any:
    return collect(
        lambda root: (
            root
            | create(LOCATED, spread=bool(options))
            | PartitionIntoBuckets(seed=seed, epoch=epoch, run_bytes=run_bytes)
        ),
        **options,
    )


@pytest.mark.parametrize("options", [{}, THREADS], ids=["one bundle", "three"])
@pytest.mark.parametrize("run_bytes", [1, 2500, 1 << 20])
def test_every_record_comes_out_once_under_its_own_key_in_sorted_runs(
    run_bytes: int, options: dict[str, Any]
) -> None:
    runs = partition(run_bytes=run_bytes, **options)
    assert sorted(row for run in runs for row in rows_of([run])) == oracle(5, 0)
    for run in runs:
        keys = [row.key for row in rows_of([run])]
        assert keys == sorted(keys)


@pytest.mark.parametrize("run_bytes", [2500, 5000])
def test_a_run_is_as_large_as_it_may_be_and_no_larger(run_bytes: int) -> None:
    sizes = [blocks.block_footprint(run) for run in partition(run_bytes=run_bytes)]
    largest = max(blocks.block_footprint(block) for _, block in LOCATED)
    assert max(sizes) <= run_bytes
    assert min(sizes[:-1]) > run_bytes - largest  # the last one has what is left


def test_a_block_larger_than_a_run_is_a_run_of_its_own() -> None:
    assert sorted(map(len, partition(run_bytes=1))) == [10] * len(LOCATED)


@pytest.mark.parametrize(("seed", "epoch"), [(6, 0), (5, 1), (0, 5), (2**64 - 1, 0)])
def test_seed_and_epoch_decide_the_keys(seed: int, epoch: int) -> None:
    found = sorted(rows_of(partition(seed=seed, epoch=epoch)))
    assert found == oracle(seed, epoch)
    assert not {row.key for row in found} & {row.key for row in oracle(5, 0)}


def test_a_bundle_that_was_given_up_leaves_nothing_to_the_next() -> None:
    """A worker keeps its DoFn from bundle to bundle, and an error may end one at any point."""
    step = _SortRuns(PartitionIntoBuckets(seed=5))
    step.setup()
    step.start_bundle()
    assert list(step.process(LOCATED[0])) == []
    step.start_bundle()
    assert list(step.process(LOCATED[1])) == []
    (run,) = step.finish_bundle()
    assert len(run.value) == 10
    assert {row.record for row in rows_of([run.value])} == set(RECORDS[10:20])


def test_nothing_gives_no_run() -> None:
    none = collect(
        lambda root: (
            root
            | beam.Create([]).with_output_types(tuple[FileId, pa.RecordBatch])
            | PartitionIntoBuckets(seed=0)
        )
    )
    assert none == []
