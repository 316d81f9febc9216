"""Worker processes: which ends are deaths, and that none is left."""

from __future__ import annotations

import logging
import os
import random
import re
import runpy
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import apache_beam as beam
import numpy as np
import psutil
import pytest

from pipelines.jobs import execute
from pipelines.recipes.settings import Settings
from pipelines.runners import forked, worker_processes
from pipelines.runners.local import run_local
from pipelines.runners.worker_processes import Worker, WorkerProcesses
from tests.pipelines.support import ROOT, environment, make_lines, read_shards, run
from transforms.errors import WorkerError
from transforms.kernels.planning.plan import Workers
from transforms.workers.follow_launcher import SOCKETS

WAITING = {"CONTROL_API_SERVICE_DESCRIPTOR": "url: 'unix:/nowhere/control'", "WORKER_ID": "w"}
"""Variables of a worker that waits for its runner for some time."""

KINDS = pytest.mark.parametrize("fork", [True, False], ids=["forked", "anew"])


def wait_for_deaths(processes: WorkerProcesses) -> list[int]:
    """Wait until one has died; pytest ends what takes for ever."""
    while not processes.deaths():
        time.sleep(0.05)
    return [death.code for death in processes.deaths()]


def hand_out(processes: WorkerProcesses, variables: dict[str, str] = WAITING) -> Worker:
    """Hand one out, and wait until it is there."""
    worker = processes.hand_out(variables)
    while not worker.pid and worker.poll() is None:
        time.sleep(0.01)
    return worker


@KINDS
def test_a_worker_that_dies_is_a_death_and_one_that_was_told_to_end_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fork: bool
) -> None:
    monkeypatch.setattr(worker_processes, "_GRACE", 0.1)
    with WorkerProcesses(3, log_file=tmp_path / "log", fork=fork) as processes:
        slow, struck, _ = (hand_out(processes) for _ in range(3))
        processes.end(slow)  # it waits for its runner, and ends only when it is killed
        assert slow.poll() == -signal.SIGKILL
        assert processes.deaths() == []
        os.kill(struck.pid, signal.SIGTERM)
        assert wait_for_deaths(processes) == [-signal.SIGTERM]
        assert processes.deaths()[0].who == f"worker process {struck.pid}"
        processes.kill()
        assert [death.code for death in processes.deaths()] == [-signal.SIGTERM]


@KINDS
def test_no_worker_outlives_the_run(tmp_path: Path, fork: bool) -> None:
    with WorkerProcesses(2, log_file=tmp_path / "log", fork=fork) as processes:
        pids = [hand_out(processes).pid, hand_out(processes).pid]
        assert len(set(pids)) == 2
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert psutil.Process().children() == []


def test_workers_that_nobody_wanted_end_with_the_run(tmp_path: Path) -> None:
    for fork in (True, False):
        with WorkerProcesses(2, log_file=tmp_path / "log", fork=fork):
            assert len(psutil.Process().children()) == (1 if fork else 2)
        assert psutil.Process().children() == []


def test_a_worker_that_died_before_it_was_wanted_is_a_death(tmp_path: Path) -> None:
    with WorkerProcesses(1, log_file=tmp_path / "log", fork=False) as processes:
        processes._all[0].kill()
        processes._all[0].wait()
        processes.hand_out({"WORKER_ID": "w"})
        assert [death.code for death in processes.deaths()] == [-signal.SIGKILL]


@KINDS
def test_how_a_worker_ended_by_itself_is_known_and_why_is_in_the_log(
    tmp_path: Path, fork: bool
) -> None:
    with WorkerProcesses(1, log_file=tmp_path / "log", fork=fork) as processes:
        hand_out(processes, {"WORKER_ID": "w"})  # no address
        assert wait_for_deaths(processes) == [1]
    assert "KeyError: 'CONTROL_API_SERVICE_DESCRIPTOR'" in (tmp_path / "log").read_text()


def test_a_fork_server_that_dies_takes_its_workers_along_and_is_named(tmp_path: Path) -> None:
    with WorkerProcesses(2, log_file=tmp_path / "log", fork=True) as processes:
        workers = [hand_out(processes), hand_out(processes)]
        found = [psutil.Process(worker.pid) for worker in workers]
        assert processes.fork_server is not None
        os.kill(processes.fork_server.pid, signal.SIGKILL)
        assert wait_for_deaths(processes) == [-signal.SIGKILL]
        assert re.fullmatch(r"the workers' fork server, process \d+,", processes.deaths()[0].who)
        assert [worker.wait(10) for worker in workers] == [-signal.SIGKILL] * 2
        assert hand_out(processes).wait(10) == -signal.SIGKILL
        with pytest.raises(WorkerError, match=r"fork server, process .*, was killed by signal 9"):
            processes.fork_server.end_call()
    assert not [process for process in found if process.is_running()]


def test_a_launcher_that_is_killed_takes_all_along_and_leaves_no_socket(tmp_path: Path) -> None:
    (tmp_path / "sockets").mkdir()
    variables = {**WAITING, SOCKETS: str(tmp_path / "sockets")}
    script = (
        "import sys, time; from pathlib import Path;"
        "from pipelines.runners.worker_processes import WorkerProcesses;"
        f"processes = WorkerProcesses(2, log_file=Path({str(tmp_path / 'log')!r}), fork=True);"
        f"workers = [processes.hand_out({variables!r}) for _ in range(2)];"
        "[time.sleep(0.01) for _ in iter(lambda: all(worker.pid for worker in workers), True)];"
        "print(processes.fork_server.pid, *(worker.pid for worker in workers), flush=True);"
        "time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment(), text=True
    ) as launcher:
        assert launcher.stdout is not None
        pids = [int(pid) for pid in launcher.stdout.readline().split()]
        found = [psutil.Process(pid) for pid in pids]
        assert len(found) == 3
        launcher.kill()
    psutil.wait_procs(found, 10)
    assert not [process for process in found if process.is_running()]
    assert not (tmp_path / "sockets").exists()


def test_workers_are_forked_from_a_process_of_one_thread_that_holds_nothing_of_theirs(
    tmp_path: Path,
) -> None:
    with WorkerProcesses(2, log_file=tmp_path / "log", fork=True) as processes:
        workers = [hand_out(processes), hand_out(processes)]
        server = processes.fork_server
        assert server is not None
        found = psutil.Process(server.pid)
        assert found.num_threads() == 1
        while [child.name() for child in found.children()] != ["dovetail-worker"] * 2:
            time.sleep(0.01)  # they take the name when all else is done
        server.begin_call("pipelines.runners.fork_server:threads")
        assert len(server.end_call()) == 1
        links = [
            os.readlink(link)
            for worker in workers
            for link in Path(f"/proc/{worker.pid}/fd").iterdir()
            if link.exists() or link.is_symlink()
        ]
        own = [os.readlink(link) for link in Path(f"/proc/{server.pid}/fd").iterdir()]
        assert not {link for link in own if link.startswith("socket:")} & set(links)
    assert "anew" not in (tmp_path / "log").read_text()


def test_where_there_are_threads_a_worker_starts_anew_and_works(tmp_path: Path) -> None:
    with WorkerProcesses(1, log_file=tmp_path / "log", fork=True) as processes:
        assert processes.fork_server is not None
        processes.fork_server.begin_call("tests.pipelines.runners.test_worker_processes:linger")
        processes.fork_server.end_call()

        def build(root: Any) -> None:
            root | beam.Create([str(tmp_path / "command")]) | beam.Map(write_command)

        run_local(build, workers=Workers(1, 1, 1 << 20), processes=processes)
    assert "local_worker" in (tmp_path / "command").read_text()
    assert (
        "a worker starts as a new process, because these threads can't be forked"
        in (tmp_path / "log").read_text()
    )


def write_command(path: str) -> None:
    """Note by which command this process began."""
    Path(path).write_text(" ".join(psutil.Process().cmdline()))


def linger() -> None:
    """Leave a thread behind."""
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def test_a_fork_server_that_is_busy_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forked, "_GRACE", None)
    with WorkerProcesses(2, log_file=tmp_path / "log", fork=True) as processes:
        assert processes.fork_server is not None
        processes.fork_server.begin_call("time:sleep", 60)
    assert processes.fork_server._process.returncode == -signal.SIGKILL
    assert processes.deaths() == []


def test_what_is_called_before_the_fork_returns_or_raises(tmp_path: Path) -> None:
    with WorkerProcesses(1, log_file=tmp_path / "log", fork=True) as processes:
        server = processes.fork_server
        assert server is not None
        server.begin_call("builtins:int", "12")
        server.begin_call("pipelines.recipes.values:parse_size", "much")
        assert server.end_call() == 12
        with pytest.raises(ValueError, match="expected a size"):
            server.end_call()


def test_an_error_that_cannot_be_sent_is_raised_by_its_words(tmp_path: Path) -> None:
    with WorkerProcesses(1, log_file=tmp_path / "log", fork=True) as processes:
        server = processes.fork_server
        assert server is not None
        server.begin_call("tests.pipelines.runners.test_worker_processes:raise_odd_error")
        with pytest.raises(WorkerError, match="OddError: expected a, got b"):
            server.end_call()


class OddError(Exception):
    """One that pickle can't make again."""

    def __init__(self, want: str, got: str) -> None:
        super().__init__(f"expected {want}, got {got}")


def raise_odd_error() -> None:
    """Raise it."""
    raise OddError("a", "b")


def test_a_fork_server_whose_imports_fail_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "first" / "apache_beam"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise OSError(5, 'the disk fails')")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    with WorkerProcesses(1, log_file=tmp_path / "log", fork=True) as processes:
        assert wait_for_deaths(processes) == [1]
    assert "the disk fails" in (tmp_path / "log").read_text()


def test_a_fork_server_that_ends_by_itself_is_named_whatever_its_code(tmp_path: Path) -> None:
    with WorkerProcesses(1, log_file=tmp_path / "log", fork=True) as processes:
        assert processes.fork_server is not None
        processes.fork_server.begin_call("os:_exit", 0)
        assert wait_for_deaths(processes) == [0]


def test_workers_that_start_anew_write_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").write_bytes(make_lines(300))
    asked: list[bool] = []
    real = WorkerProcesses.hand_out

    def hand_out(self: WorkerProcesses, variables: Any) -> Worker:
        asked.append(self.fork_server is not None)
        return real(self, variables)

    monkeypatch.setattr(WorkerProcesses, "hand_out", hand_out)
    for number, name in enumerate(("anew", "forked")):
        monkeypatch.setenv("DOVETAIL_FORK", str(number))
        flags = [f"--output={tmp_path / name}", "--num_shards=3", "--workers=2"]
        run(f"--input={tmp_path / 'in'}", *flags)
    assert asked == [False, False, True, True]
    assert read_shards(tmp_path / "anew") == read_shards(tmp_path / "forked")


def test_workers_that_were_forked_have_random_states_of_their_own(tmp_path: Path) -> None:
    with WorkerProcesses(2, log_file=tmp_path / "log", fork=True) as processes:

        def build(root: Any) -> None:
            numbers = root | beam.Create(range(50)) | beam.Reshuffle()
            numbers | beam.Map(write_states, folder=str(tmp_path / "states"))

        (tmp_path / "states").mkdir()
        assert processes.fork_server is not None
        processes.fork_server.begin_call("numpy.random:random")  # it has a state from now on
        run_local(build, workers=Workers(2, 2, 1 << 20), processes=processes)
        pids = {worker.pid for worker in processes._all}
    states = [path.read_text().split() for path in (tmp_path / "states").iterdir()]
    assert {int(path.name) for path in (tmp_path / "states").iterdir()} == pids
    assert len(states) == 2
    assert all(a != b for a, b in zip(*states, strict=True))


def write_states(_: int, folder: str) -> None:
    """Note what the generators of this process would give, the first time."""
    path = Path(folder, str(os.getpid()))
    if not path.exists():
        time.sleep(0.2)  # the other worker takes some of the work
        path.write_text(f"{random.random()} {np.random.random()}")


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
        ("PrismRunner", 2, 0, "submitting the job to PrismRunner;"),
        ("FlinkRunner", 8, 8, "submitting the job to FlinkRunner;"),
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
