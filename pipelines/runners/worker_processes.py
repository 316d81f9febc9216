"""Worker processes of a local run: started early, handed to Beam's runner, ended with the run.

Where it can be they are forked from one process, which imports Beam while the launcher does, and what
the command needs beside it (``fork_server.py``). Elsewhere each is an interpreter of its own, which
imports at the same time, and waits for a line on standard input: the variables by which Beam's worker
finds its runner.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import transforms
from pipelines.runners import local_worker
from pipelines.runners.forked import ForkServer, can_fork

_GRACE = 5.0  # seconds in which a worker may end by itself
ENVIRONMENT = {
    # a folder of the user's called `pipelines` or `transforms` must not shadow ours
    "PYTHONSAFEPATH": "1",
    "TOKENIZERS_PARALLELISM": "false",  # workers are as many as cores
    # freed buffers of a run serve the next one: fresh ones cost page faults, a third of the time
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MIMALLOC_PURGE_DELAY": "10000",
}
_ONE_THREAD = {  # before workers are forked: of libraries that make theirs when they are loaded
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


def environment() -> dict[str, str]:
    """Return the environment variables of processes of ours."""
    paths = [str(Path(transforms.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def open_log(path: Path | str) -> BinaryIO:
    """Open a log for appending that nobody but the user reads; no link is followed there."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o600), "ab")


class Worker(Protocol):
    """A worker process: what ``subprocess.Popen`` and ``ForkedWorker`` have in common."""

    @property
    def pid(self) -> int:
        """Of its process."""

    def poll(self) -> int | None:
        """Return how it ended, None while it is alive."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""

    def kill(self) -> None:
        """Kill it."""


class Death(NamedTuple):
    """The end of a process that nobody told to end.

    Attributes:
        who: "worker process 1234".
        code: as of ``subprocess``, negative for a signal.
    """

    who: str
    code: int


class WorkerProcesses:
    """Processes that run ``local_worker``; a context, at whose end none is left.

    Args:
        count: how many.
        log_file: takes what they print.
        fork: whether they are forked; by default where it is possible.
    """

    def __init__(self, count: int, *, log_file: Path, fork: bool | None = None) -> None:
        variables = environment()
        self._lock = threading.Lock()
        self._all: list[Worker] = []
        self._waiting: list[subprocess.Popen[bytes]] = []
        self._told_to_end: set[int] = set()  # by their places in ``_all``
        self.fork_server: ForkServer | None = None
        with open_log(log_file) as log:
            if can_fork() if fork is None else fork:
                self.fork_server = ForkServer({**variables, **_ONE_THREAD}, log)
                return
            try:
                for _ in range(count):
                    self._waiting.append(
                        subprocess.Popen(
                            [sys.executable, "-m", local_worker.__name__, str(os.getpid())],
                            env=variables,
                            stdin=subprocess.PIPE,
                            stdout=log,
                            stderr=log,
                        )
                    )
                    self._all.append(self._waiting[-1])
            except BaseException:
                self.kill()
                raise

    def __enter__(self) -> WorkerProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def hand_out(self, variables: Mapping[str, str]) -> Worker:
        """Let one be Beam's worker, with these environment variables; return it."""
        if self.fork_server is not None:
            with self._lock:
                self._all.append(self.fork_server.fork(variables))
                return self._all[-1]
        with self._lock:
            process = self._waiting.pop()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(variables).encode() + b"\n")
            process.stdin.close()
        except BrokenPipeError:  # it died; ``deaths`` says so
            pass
        return process

    def deaths(self) -> list[Death]:
        """Return those that ended badly and by themselves."""
        if self.fork_server is not None and (code := self.fork_server.death) is not None:
            return [Death(f"the workers' fork server, process {self.fork_server.pid},", code)]
        return [
            Death(f"worker process {worker.pid}", code)
            for place, worker in enumerate(self._all)
            if place not in self._told_to_end and (code := worker.poll())
        ]

    def end(self, worker: Worker) -> None:
        """Wait for a worker that Beam has told to end, not for ever."""
        self._tell(worker)
        try:
            worker.wait(_GRACE)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()

    def kill(self) -> None:
        """End all that are left, and wait until they are gone."""
        for worker in self._all:
            self._tell(worker)
        if self.fork_server is not None:
            self.fork_server.close()
            return
        for worker in self._all:
            worker.kill()
        for worker in self._all:
            worker.wait()
        for process in self._waiting:
            assert process.stdin is not None
            process.stdin.close()

    def _tell(self, worker: Worker) -> None:
        """Note that its end is wanted, unless it has ended already."""
        if worker.poll() is None:
            self._told_to_end.add(self._all.index(worker))
