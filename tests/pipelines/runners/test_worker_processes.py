"""Worker processes: which ends are deaths, and that none is left."""

from __future__ import annotations

import logging
import os
import runpy
import signal
import stat
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from pipelines.jobs import execute
from pipelines.recipes.recipe import Settings
from pipelines.runners import worker_processes
from pipelines.runners.worker_processes import WorkerProcesses
from tests.pipelines.support import ROOT
from transforms.kernels.planning.plan import Workers


def wait_for_deaths(processes: WorkerProcesses) -> list[int]:
    """Wait until one has died; pytest ends what takes for ever."""
    while not processes.deaths():
        time.sleep(0.05)
    return processes.deaths()


def test_a_worker_that_dies_is_a_death_and_one_that_was_told_to_end_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_processes, "_GRACE", 0.1)
    with WorkerProcesses(3, log_file=tmp_path / "log") as processes:
        slow, struck, _ = processes._all
        processes.end(slow)  # it waits for its variables, and ends only when it is killed
        assert slow.returncode == -signal.SIGKILL
        assert processes.deaths() == []
        struck.send_signal(signal.SIGTERM)
        assert wait_for_deaths(processes) == [-signal.SIGTERM]
        processes.kill()
        assert processes.deaths() == [-signal.SIGTERM]


def test_workers_that_nobody_wanted_end_with_the_run(tmp_path: Path) -> None:
    with WorkerProcesses(2, log_file=tmp_path / "log") as processes:
        pids = [process.pid for process in processes._all]
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_a_worker_that_died_before_it_was_wanted_is_a_death(tmp_path: Path) -> None:
    with WorkerProcesses(1, log_file=tmp_path / "log") as processes:
        processes._all[0].kill()
        processes._all[0].wait()
        processes.hand_out({"WORKER_ID": "w"})
        assert processes.deaths() == [-signal.SIGKILL]


@pytest.mark.parametrize("kind", ["processes", "threads", "beam"])
def test_nobody_else_reads_the_workers_log(tmp_path: Path, kind: str) -> None:
    log = tmp_path / "log"
    former = os.umask(0)
    try:
        if kind == "processes":
            with WorkerProcesses(1, log_file=log):
                pass
        elif kind == "beam":
            with execute._beam_log(log, debug=False):
                logging.getLogger("apache_beam").warning("héard")
        else:
            worker_processes.open_log(log).close()
    finally:
        os.umask(former)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    if kind == "beam":
        assert log.read_text() == "héard\n"


def test_a_link_in_place_of_the_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        worker_processes.open_log(tmp_path / "log")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("runner", "count", "processes", "said"),
    [
        ("DirectRunner", 2, 2, "starting 2 worker processes;"),
        ("DirectRunner", 1, 1, "starting 1 worker process;"),
        ("DirectRunner", 2, 0, "starting 2 worker threads;"),
        ("DirectRunner", 1, 0, "starting 1 worker thread;"),
        ("PrismRunner", 2, 0, "handing the job to PrismRunner;"),
        ("FlinkRunner", 8, 8, "handing the job to FlinkRunner;"),
    ],
)
def test_it_is_said_what_happens_while_nothing_moves(
    runner: Any, count: int, processes: int, said: str
) -> None:
    job = SimpleNamespace(
        settings=Settings(output="o", runner=runner), workers=Workers(count, processes, 0)
    )
    assert execute._beginning(cast(execute.Planned, job)).startswith(said)


def test_nobody_else_reads_what_workers_of_a_local_flink_cluster_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))  # the script puts its own folder first
    script = runpy.run_path(str(ROOT / "deploy" / "flink" / "cluster.py"))
    worker = script["_write_worker"](tmp_path, 1)
    assert str(tmp_path / "log") in worker.read_text()
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700
