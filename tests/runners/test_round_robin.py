"""Flink's workers get as many groups each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.support import make_lines
from tests.runners.conftest import Cluster, Running, wait_for

pytestmark = pytest.mark.runners

SHARDS = 40  # by numbers alone as keys 16 and 24


def test_the_work_is_dealt_out_evenly(flink: Cluster, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(make_lines(1000))
    words = [f"--input={tmp_path / 'in.txt'}", f"--output={tmp_path / 'out'}", *flink.flags]
    words += [f"--num_shards={SHARDS}", "--parallelism=2", "--memory=300MiB"]
    Running("pipelines.shuffle", *words, environment_=flink.environment, log=tmp_path / "log").end()
    newest = max(flink.ask("jobs/overview")["jobs"], key=lambda job: job["start-time"])["jid"]

    def read() -> list[int]:
        """Return how many groups each worker has read; Flink's pages are some seconds old."""
        (step,) = (
            step
            for step in flink.ask(f"jobs/{newest}")["vertices"]
            if "ShuffleWithinBuckets/InTurn" in step["name"] and "GroupReduce" in step["name"]
        )
        subtasks = flink.ask(f"jobs/{newest}/vertices/{step['id']}")["subtasks"]
        return [one["metrics"]["read-records"] for one in subtasks]

    wait_for(lambda: sum(read()) >= SHARDS, "all groups to be read")
    assert read() == [SHARDS // 2] * 2
