"""What dies during a job on Flink changes no byte and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.pipelines.support import Tree, environment, read_shards, read_tree
from tests.runners.conftest import Cluster, Running, wait_for

pytestmark = pytest.mark.runners

SHARDS = 24
FLAGS = "--num_shards=24", "--memory=230MiB", "--parallelism=2"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file of lines that takes a while."""
    path = tmp_path_factory.mktemp("large") / "lines.txt"
    line = b"x" * 230
    with path.open("wb") as file:
        for begin in range(0, 1_000_000, 10_000):
            file.write(b"".join(b"%d %s\n" % (i, line) for i in range(begin, begin + 10_000)))
    return path


@pytest.fixture(scope="module")
def expected(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    output = tmp_path_factory.mktemp("direct") / "out"
    flags = f"--input={corpus}", f"--output={output}", "--num_shards=24"
    log = output.with_suffix(".log")
    Running("pipelines.shuffle", *flags, environment_=environment(), log=log).end()
    return read_shards(output)


def partitioning(output: Path) -> bool:
    """Return whether a run is spilling."""
    return any(output.glob("_tmp-*/spill/*.pages"))


def writing(output: Path) -> bool:
    """Return whether shards are written, and not all are."""
    return 1 <= len(list((output / "data").glob("*"))) < SHARDS


def kill_taskmanager(flink: Cluster) -> None:
    """Kill one that is at work."""
    names = [name for name in ("taskmanager-0", "taskmanager-1") if flink.workers(name)]
    flink.process(names[0]).kill()


def kill_worker(flink: Cluster) -> None:
    """Kill the Python worker that has worked most."""
    workers = [w for name in ("taskmanager-0", "taskmanager-1") for w in flink.workers(name)]
    max(workers, key=lambda one: sum(one.cpu_times()[:2])).kill()


def start(corpus: Path, output: Path, flink: Cluster, *more: str) -> Running:
    flags = f"--input={corpus}", f"--output={output}", *FLAGS, *flink.flags, *more
    log = output.with_suffix(".log")
    return Running("pipelines.shuffle", *flags, environment_=flink.environment, log=log)


def require_whole(output: Path, expected: Tree, flink: Cluster) -> None:
    assert read_shards(output) == expected
    assert {name.partition("/")[0] for name in read_tree(output)} == {"data", "manifest.json"}
    flink.wait_for_no_worker()
    flink.wait_until_whole()


def failures(flink: Cluster) -> list[object]:
    """Return what Flink saw go wrong in the newest job."""
    jobs = flink.ask("jobs/overview")["jobs"]
    newest = max(jobs, key=lambda job: job["start-time"])["jid"]
    return list(flink.ask(f"jobs/{newest}/exceptions")["exceptionHistory"]["entries"])


@pytest.mark.parametrize("stage", [partitioning, writing], ids=lambda stage: stage.__name__)
@pytest.mark.parametrize("kill", [kill_taskmanager, kill_worker], ids=lambda kill: kill.__name__)
def test_a_death_changes_no_byte_and_leaves_nothing(
    stage: Callable[[Path], bool],
    kill: Callable[[Cluster], None],
    corpus: Path,
    expected: Tree,
    flink: Cluster,
    tmp_path: Path,
) -> None:
    output = tmp_path / "out"
    running = start(corpus, output, flink)
    wait_for(lambda: stage(output), stage.__name__)
    kill(flink)
    assert not (output / "manifest.json").exists(), "the kill came too late to show anything"
    running.end()
    assert failures(flink), "the kill hit nothing that was at work"
    require_whole(output, expected, flink)


def test_without_the_process_that_submitted_it_a_job_ends_well_and_clears_up(
    corpus: Path, expected: Tree, flink: Cluster, tmp_path: Path
) -> None:
    output, scratch = tmp_path / "out", tmp_path / "made" / "for-it"
    running = start(corpus, output, flink, f"--temp_location={scratch}")
    wait_for(lambda: any(scratch.glob("dovetail-*/*.pages")), "spill files")
    children = psutil.Process(running.process.pid).children(recursive=True)
    running.process.kill()
    running.process.wait()
    # its lock ended with it, but its workers live: they give signs of life, or end meanwhile
    late = start(corpus, output, flink)
    assert re.search(
        r"--output=\S+: (another run is writing there|the folder holds a dataset)", late.end(code=2)
    )
    wait_for(lambda: not (output / "_incomplete.json").exists(), "the marker's end")
    require_whole(output, expected, flink)
    assert not [child for child in children if child.is_running()]
    assert not scratch.parent.exists()


def test_an_interrupt_cancels_the_job_and_clears_the_output(
    corpus: Path, flink: Cluster, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    running = start(corpus, output, flink)
    wait_for(lambda: partitioning(output), "spill files")
    running.process.send_signal(signal.SIGINT)
    running.end(code=130)
    states = {job["state"] for job in flink.ask("jobs/overview")["jobs"]}
    assert states <= {"FINISHED", "FAILED", "CANCELED"}
    time.sleep(1)  # in which a late worker would write
    assert not output.exists() or read_tree(output) == {}


def test_a_bad_record_ends_the_job_with_its_own_message(flink: Cluster, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"a": 1}\n' * 500 + "{\n")
    flags = f"--input={source}", f"--output={tmp_path / 'out'}", "--check=json", *flink.flags
    log = tmp_path / "log"
    running = Running("pipelines.shuffle", *flags, environment_=flink.environment, log=log)
    said = running.end(code=1)
    assert re.search(
        rf"^error: (file://)?{source}: the line at byte 4500 \(line \d+\) is a bad record: ",
        said,
        re.M,
    )
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
