"""Workers that are forked, as their launcher sees them: a fork server, and what it says of each."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing import Pipe
from typing import Any, BinaryIO

import psutil

from pipelines.recipes.cli import LOG
from pipelines.runners import fork_server
from transforms.errors import WorkerError

_GRACE = 5.0  # seconds in which the fork server may end by itself


def can_fork() -> bool:
    """Whether workers can be forked here; they are started anew where the user says so, too.

    macOS has ``os.fork``, but its own libraries don't outlive one; there is no ``prctl`` either.
    """
    return sys.platform == "linux" and os.environ.get("DOVETAIL_FORK", "1") != "0"


class ForkedWorker:
    """A worker, with those methods of ``subprocess.Popen`` that are needed."""

    def __init__(self, server: ForkServer, number: int) -> None:
        self._server, self._number = server, number
        self._ended = threading.Event()
        self.pid = 0  # until it is forked
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return how it ended, None while it is alive."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return how it ended.

        Raises:
            subprocess.TimeoutExpired: it is alive after ``timeout`` seconds.
        """
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("worker", timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """Kill it: by the fork server, which knows whether its number is still its own."""
        self._server.ask("kill", self._number)

    def end(self, code: int) -> None:
        """Note that it has ended."""
        if self.returncode is None:
            self.returncode = code
            self._ended.set()


class ForkServer:
    """The fork server of a run.

    Args:
        environment: of it and its workers.
        log: takes what they print.
    """

    def __init__(self, environment: Mapping[str, str], log: BinaryIO) -> None:
        self._lock = threading.Lock()
        self._workers: list[ForkedWorker] = []
        self._answers: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._fell = self._told_to_end = False
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    fork_server.__name__,
                    str(theirs.fileno()),
                    str(os.getpid()),
                ],
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._ears = threading.Thread(target=self._hear, name="fork-server", daemon=True)
        self._ears.start()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def death(self) -> int | None:
        """How it ended, as of ``subprocess``, where it did so by itself."""
        return None if self._told_to_end else self._process.poll()

    def fork(self, variables: Mapping[str, str]) -> ForkedWorker:
        """Have a worker forked, soon, with these environment variables."""
        with self._lock:
            worker = ForkedWorker(self, len(self._workers))
            self._workers.append(worker)
        self.ask("fork", worker._number, dict(variables))
        if self._fell:
            worker.end(self._process.wait())
        return worker

    def ask(self, *what: Any) -> None:
        """Send something; where the fork server has ended nobody minds: ``death`` says so."""
        try:
            with self._lock:
                self._connection.send(what)
        except OSError:
            pass

    def begin_call(self, function: str, *arguments: Any) -> None:
        """Have a function called before workers are forked, ``"module:name"``; ``end_call`` returns."""
        self.ask("call", function, arguments)

    def warm(self, function: str, *arguments: Any) -> None:
        """Have a function called for what it leaves behind; should it fail, workers do without."""
        self.ask("warm", function, arguments)

    def end_call(self) -> Any:
        """Return what a function returned that ``begin_call`` had called; they come in order.

        Raises:
            Exception: what it raised; WorkerError where the process ended.
        """
        kind, value = self._answers.get()
        if kind == "raised":
            raise value
        return value

    def close(self) -> None:
        """End it and its workers; return when they are gone."""
        self._told_to_end = self.death is None
        if not self._workers:  # there is nothing to be cleared, and it may be busy for seconds
            self._process.kill()
        self.ask("end")
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.returncode:  # else it waited for them; so the kernel ends them
            psutil.wait_procs(_alive(self._workers), _GRACE)
        self._ears.join(_GRACE)
        self._connection.close()

    def _hear(self) -> None:
        try:
            while True:
                said = self._connection.recv()
                if said[0] == "forked":
                    self._workers[said[1]].pid = said[2]
                elif said[0] == "ended":
                    self._workers[said[1]].end(said[2])
                elif said[0] == "log":
                    LOG.log(*said[1:])
                else:
                    self._answers.put(said)
        except (EOFError, OSError):
            pass
        code = self._process.wait()
        with self._lock:
            self._fell = True
            workers = list(self._workers)
        for worker in workers:
            worker.end(code)
        self._answers.put(("raised", died(f"the workers' fork server, process {self.pid},", code)))


def died(who: str, code: int) -> WorkerError:
    """Return an error that says how a process ended, by its code as of ``subprocess``, or of a shell."""
    number = code - 128 if code > 128 else -code
    how = f"was killed by signal {number}" if number > 0 else f"ended with code {code}"
    why = (
        "; the system kills processes when memory runs out: pass less --memory"
        if number == 9
        else ""
    )
    return WorkerError(f"{who} {how}{why}")


def _alive(workers: list[ForkedWorker]) -> list[psutil.Process]:
    found = []
    for worker in workers:
        try:
            process = psutil.Process(worker.pid)
            if worker.pid and process.name() == fork_server.WORKER_NAME:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found
