"""The bytes of a split dataset are a function of files, recipe and seeds, and of nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pipelines.jobs.split_job
import pipelines.split
from tests.pipelines import splits
from tests.pipelines.support import write_tree
from transforms.kernels.planning.plan import Plan

WORDS = ["a", "poème", "the abc", "x" * 50]
FILES = {
    f"{folder}{number}.jsonl": b"".join(
        json.dumps(
            {"id": i, "text": f"{WORDS[i % 4]} {i % 700}", "site": i % 9, "y": i % 700 % 3}
        ).encode()
        + b"\n"
        for i in range(number * 300, number * 300 + 500)
    )
    for number, folder in enumerate(["", "", "deep/", "deep/er/"])
}
KINDS = {
    "in order": ["--fractions=train=0.6,validation=0.3,test=0.1", "--num_shards=4"],
    "shuffled": ["--fractions=validation=0.3", "--shuffle", "--seed=3", "--num_shards=3"],
    "counts": ["--counts=train=400,test=rest", "--stratify=y", "--split_seed=1"],
    "identity": ["--counts=train=400,test=rest", "--by=identity", "--shuffle"],
}
TINY = {"span_bytes": 9_000, "run_bytes": 30_000, "bucket_bytes": 15_000, "page_bytes": 5_000}
THREADS = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]


@contextlib.contextmanager
def cut_otherwise(**sizes: int) -> Iterator[None]:
    """Run with some of the plan's figures replaced."""
    real: Any = pipelines.split.make_plan

    def make_plan(**given: Any) -> Plan:
        return dataclasses.replace(real(**given), **sizes)

    with pytest.MonkeyPatch.context() as patch:
        for module in (pipelines.split, pipelines.jobs.split_job):
            patch.setattr(module, "make_plan", make_plan)
        yield


@pytest.fixture(scope="module", params=KINDS)
def baseline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Split once in the plainest way: the corpus, the flags, the shards, the manifest."""
    root = tmp_path_factory.mktemp("reproducible")
    corpus = write_tree(root / "in", FILES)
    flags = [f"--input={corpus}", *KINDS[request.param]]
    manifest = splits.run(root / "out", *flags)
    return flags, splits.shards(root / "out"), manifest


@pytest.mark.parametrize(
    ("more", "sizes"),
    [
        pytest.param(["--memory=1GiB"], {}, id="1GiB"),
        pytest.param(THREADS, TINY, id="threads, tiny"),
        pytest.param(["--direct_num_workers=2", "--memory=600MiB"], TINY, id="processes, tiny"),
        pytest.param([], {"span_bytes": 900}, id="short spans"),
        pytest.param([], {"run_bytes": 1, "page_bytes": 1}, id="a run a block"),
        pytest.param(["--direct_num_workers=2"], {}, id="processes", marks=pytest.mark.slow),
    ],
)
def test_how_the_work_is_done_changes_no_byte(
    baseline: Any, more: list[str], sizes: dict[str, int], tmp_path: Path
) -> None:
    flags, shards, manifest = baseline
    with cut_otherwise(**sizes):
        found = splits.run(
            tmp_path / "out", *flags, *more, one="--direct_num_workers=2" not in more
        )
    assert splits.shards(tmp_path / "out") == shards
    own = {"run_id", "started", "ended"}
    assert found.model_dump(exclude=own) == manifest.model_dump(exclude=own)


def test_a_copy_of_the_files_elsewhere_gives_the_same(baseline: Any, tmp_path: Path) -> None:
    flags, shards, _ = baseline
    write_tree(tmp_path / "some where/else", FILES)
    splits.run(tmp_path / "out", f"--input={tmp_path}/some where/else/**", *flags[1:])
    assert splits.shards(tmp_path / "out") == shards
