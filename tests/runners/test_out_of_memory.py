"""A job on Flink that runs out of memory fails, says what to do, and leaves nothing; it never hangs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipelines.shuffle
from pipelines.runners.clusters import explain_failure
from tests.runners.conftest import Cluster, Running
from transforms.errors import RunError

DEADLINE = 240  # seconds; it takes about 40, of which Flink waits 10 before it tries again
LOST = "TaskManager with id localhost:34401-13a563 is no longer reachable."


@pytest.fixture
def tight(stores: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a cluster whose one TaskManager has a heap of 96 MiB, and that begins a job again once."""
    flags = "--taskmanagers=1", "--memory=640m", "--attempts=1"
    cluster = Cluster(tmp_path_factory.mktemp("tight"), stores, *flags)
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.mark.runners
def test_a_job_that_runs_out_of_memory_fails_and_leaves_nothing(
    tight: Cluster, tmp_path: Path
) -> None:
    source, output = tmp_path / "in.txt", tmp_path / "out"
    source.write_bytes(b"x\n" * 1000)
    flags = f"--input={source}", f"--output={output}", "--num_shards=1"
    running = Running(
        *("tests.runners.hungry", *flags, *tight.flags),
        environment_=tight.environment,
        log=tmp_path / "log",
    )
    try:
        code = running.process.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        running.process.kill()
        raise
    assert code == 1, running.said()
    deaths = (tight.folder / "supervisor.log").read_text()
    codes = re.findall(r"taskmanager-0 ended with code (\S+)", deaths)
    assert set(codes) == {"3"}, deaths  # mostly twice: the second time Flink gives up
    assert deaths.count("Terminating due to java.lang.OutOfMemoryError") == len(codes)
    (error,) = re.findall(r"^error: .*", running.said(), re.M)
    assert re.search(r"out of memory.*give TaskManagers more memory", error)
    assert not output.exists()
    tight.wait_for_no_worker()
    assert pipelines.shuffle.run(flags).records == 1000  # into the same folder


SAID = {
    "lost": f"""org.apache.flink.runtime.jobmaster.JobMasterException: {LOST}
\tat org.apache.flink.runtime.jobmaster.JobMaster.x(JobMaster.java:1)
\tat java.base/java.util.concurrent.ForkJoinWorkerThread.run(Thread.java:1)""",
    "silent": """org.apache.flink.runtime.JobException: Recovery is suppressed by FixedDelay(1)
\tat x.Y.z(Y.java:1)
Caused by: java.util.concurrent.TimeoutException: Heartbeat of TaskManager with id x:1-2 timed out.
\t... 31 more""",
    "said": """java.lang.Exception: The data preparation for task 'x' caused an error: Java heap
\tat x.Y.z(Y.java:1)
Caused by: java.lang.OutOfMemoryError: Java heap space
\tat x.Y.z(Y.java:1)
Caused by: java.util.concurrent.ExecutionException: boo""",
    "other": "org.apache.flink.runtime.JobException: no slot\n\tat x.Y.z(Y.java:1)",
    "gone": """<_MultiThreadedRendezvous of RPC that terminated with:
\tstatus = StatusCode.UNAVAILABLE
\tdetails = "failed to connect to all addresses"
\tdebug_error_string = "UNKNOWN:x"
>""",
}
WHY = {
    "lost": rf"{LOST}; .*run out of memory.*give TaskManagers more memory",
    "silent": r"timed out\.; .*run out of memory.*give TaskManagers more memory",
    "said": r"a TaskManager ran out of memory \(java\.lang\.OutOfMemoryError: Java heap space\); give",
    "other": r"org\.apache\.flink\.runtime\.JobException: no slot$",
    "gone": r"failed to connect to all addresses \(is the cluster still there\?\)$",
}


@pytest.mark.parametrize("kind", SAID)
def test_what_flink_says_of_a_failure_is_said_with_what_to_do(kind: str) -> None:
    found = explain_failure(f"\n{SAID[kind]}\n", "FAILED", runner="FlinkRunner")
    assert isinstance(found, RunError)
    assert re.match(f"the job failed: .*{WHY[kind]}", str(found))
