"""The bytes of a split dataset are a function of files, recipe and seeds, and of nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import pipelines.jobs.split_job
import pipelines.split
from tests.pipelines import splits
from tests.pipelines.support import write_tree
from transforms.datasets.manifest import Manifest
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
THREADS = ["--workers=2", "--direct_running_mode=multi_threading"]


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


PROCESSES = ["--workers=2"]
WAYS: dict[str, tuple[list[str], dict[str, int]]] = {
    "1GiB": (["--memory=1GiB"], {}),
    "threads, tiny": (THREADS, TINY),
    "processes, tiny": ([*PROCESSES, "--memory=600MiB"], TINY),
    "short spans": ([], {"span_bytes": 900}),
    "a run a block": ([], {"run_bytes": 1, "page_bytes": 1}),
    "processes": (PROCESSES, {}),
}
QUICK = {
    *(("in order", way) for way in ("threads, tiny", "processes, tiny", "short spans")),
    *(("shuffled", way) for way in ("1GiB", "threads, tiny", "a run a block")),
    *(("counts", way) for way in ("threads, tiny", "short spans")),
    *(("identity", way) for way in ("processes, tiny", "a run a block")),
}
CASES = [
    pytest.param(kind, way, marks=[] if (kind, way) in QUICK else pytest.mark.slow)
    for kind in KINDS
    for way in WAYS
]


class Baseline(NamedTuple):
    """How a corpus comes out in the plainest way."""

    flags: list[str]
    shards: dict[str, bytes]
    manifest: Manifest


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Baseline]:
    """Return what splits the corpus once in the plainest way, for each kind of split."""
    corpus = write_tree(tmp_path_factory.mktemp("in"), FILES)

    @functools.cache
    def split(kind: str) -> Baseline:
        output = tmp_path_factory.mktemp("out") / "out"
        flags = [f"--input={corpus}", *KINDS[kind]]
        manifest = splits.run(output, *flags)
        return Baseline(flags, splits.shards(output), manifest)

    return split


@pytest.mark.parametrize(("kind", "way"), CASES)
def test_how_the_work_is_done_changes_no_byte(
    baseline: Callable[[str], Baseline], kind: str, way: str, tmp_path: Path
) -> None:
    flags, shards, manifest = baseline(kind)
    more, sizes = WAYS[way]
    with cut_otherwise(**sizes):
        found = splits.run(tmp_path / "out", *flags, *more, one="--workers=2" not in more)
    assert splits.shards(tmp_path / "out") == shards
    own = {"run_id", "started", "ended"}
    assert found.model_dump(exclude=own) == manifest.model_dump(exclude=own)


@pytest.mark.parametrize("kind", ["in order", "identity"])
def test_a_copy_of_the_files_elsewhere_gives_the_same(
    baseline: Callable[[str], Baseline], kind: str, tmp_path: Path
) -> None:
    flags, shards, _ = baseline(kind)
    write_tree(tmp_path / "some where/else", FILES)
    splits.run(tmp_path / "out", f"--input={tmp_path}/some where/else/**", *flags[1:])
    assert splits.shards(tmp_path / "out") == shards
