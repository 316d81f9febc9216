"""The fork server of a local run: it imports everything once, and workers are forked from it.

What it has imported and loaded, its workers have too, in the same pages of memory, at the price of a
fork. (multiprocessing's "forkserver" is the same idea; its processes run one function each, and nobody
hears how they ended.) A fork copies the thread that forks, and locks as they stand, so there must be
one thread: OpenBLAS and jemalloc get variables that keep them from making theirs
(``worker_processes.py``), gRPC and Arrow make theirs when they are first used, which is in the workers.
Where there are more all the same, a worker begins as an interpreter of its own instead.

It ends when its launcher does, by the end of the connection between them, and its workers with it: by
its hand, or the kernel's where it is killed itself.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import logging
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

from pipelines.runners import local_worker
from transforms.errors import DovetailError, WorkerError
from transforms.workers.follow_launcher import SOCKETS

_LOG = logging.getLogger("dovetail")
_LOOK = 1.0  # seconds after which it looks whether its launcher is alive, should the end go unheard
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # of <sys/prctl.h>
WORKER_NAME = "dovetail-worker"
"""What ``ps -o comm`` and ``top`` show for a worker; 15 bytes are the most."""


def threads() -> list[str]:
    """Return the names of this process's threads, as the system knows them."""
    found = []
    for number in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{number}/comm", encoding="utf-8") as file:
            found.append(file.read().strip())
    return found


class _ToLauncher(logging.Handler):
    """Hands on what is said to people; the launcher knows how much they want to hear."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line."""
        self._connection.send(("log", record.levelno, record.getMessage()))


class _Server:
    """Does what its launcher asks for, in one thread.

    It is asked by ``("call", function, arguments)``, ``("warm", function, arguments)`` (a call whose
    result nobody wants), ``("fork", number, variables)``, ``("kill", number)`` and ``("end",)``. It says
    ``("log", level, text)`` and then ``("returned", value)`` or ``("raised", error)`` of a call;
    ``("forked", number, pid)`` and ``("ended", number, code)`` of a worker, its code as of
    ``subprocess``.
    """

    def __init__(self, connection: Connection, launcher: int) -> None:
        self._connection, self._launcher = connection, launcher
        self._workers: dict[int, int] = {}  # by pid: their numbers
        self._sockets: set[str] = set()
        self._imported = False
        _LOG.addHandler(_ToLauncher(connection))
        _LOG.setLevel(logging.DEBUG)
        _LOG.propagate = False

    def serve(self) -> Mapping[str, str] | None:
        """Return None at the end; in a worker, which is a copy of this process, its variables."""
        ears, mouth = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # without one nothing is written:
        signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
        while True:
            ready = wait([self._connection, ears], _LOOK if self._imported else 0)
            if ears in ready:
                os.read(ears, 4096)
            try:
                self._reap()
                if self._connection in ready:
                    asked = self._connection.recv()
                elif os.getppid() != self._launcher:
                    raise EOFError
                else:
                    self._import_all()
                    continue
                if asked[0] == "fork":
                    self._import_all()
                    if self._fork(asked[1], asked[2]):
                        signal.set_wakeup_fd(-1)
                        os.close(ears)
                        os.close(mouth)
                        return asked[2]  # type: ignore[no-any-return]
                elif asked[0] == "call":
                    self._connection.send(self._call(*asked[1:]))
                elif asked[0] == "warm":
                    _LOG.disabled = True  # the launcher has said it
                    self._call(*asked[1:])
                    _LOG.disabled = False
                elif asked[0] == "kill":
                    for pid in [pid for pid, number in self._workers.items() if number == asked[1]]:
                        os.kill(pid, signal.SIGKILL)
                else:
                    self._end()
                    return None
            except (EOFError, ConnectionError):  # the launcher has ended
                self._end()
                for folder in self._sockets:  # a launcher that was killed couldn't take them away
                    shutil.rmtree(folder, ignore_errors=True)
                return None

    def _import_all(self) -> None:
        if not self._imported:
            self._imported = True
            local_worker.import_all()

    def _call(self, function: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
        module, _, name = function.partition(":")
        try:
            return "returned", getattr(importlib.import_module(module), name)(*arguments)
        except Exception as error:
            if not isinstance(error, DovetailError):
                traceback.print_exc()
            return "raised", _sendable(error)

    def _fork(self, number: int, variables: Mapping[str, str]) -> bool:
        """Fork a worker; return whether this is the worker."""
        if SOCKETS in variables:
            self._sockets.add(variables[SOCKETS])
        others = threads()[1:]
        # what is here stays here: collections in workers neither look through it nor, by the marks
        # they leave in it, take pages of their own
        gc.freeze()
        sys.stdout.flush()
        sys.stderr.flush()
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            raise RuntimeError("no worker could be forked") from error
        if pid:
            self._workers[pid] = number
            self._connection.send(("forked", number, pid))
            return False
        self._connection.close()
        _LOG.handlers.clear()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _call_prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:  # it ended before that
            os._exit(1)
        _call_prctl(_PR_SET_NAME, ctypes.c_char_p(WORKER_NAME.encode()))
        if others:
            logging.warning(
                "a worker starts as a new process, because these threads can't be forked: %s",
                others,
            )
            _start_anew(self._launcher, variables)
        gc.enable()
        if state := sys.modules.get("numpy.random"):  # `random` sees to its own
            state.seed()
        return True

    def _reap(self) -> None:
        for pid in list(self._workers):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                number = self._workers.pop(pid)
                self._connection.send(("ended", number, os.waitstatus_to_exitcode(status)))

    def _end(self) -> None:
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
        for pid in self._workers:
            os.waitpid(pid, 0)


def _call_prctl(option: int, argument: Any) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}, …) failed")


def _sendable(error: Exception) -> Exception:
    """Return an error, or its words where the launcher couldn't unpickle it, and would wait for ever."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))  # as the connection does
    except Exception:
        return WorkerError(f"{type(error).__name__}: {error}")
    return error


def _start_anew(launcher: int, variables: Mapping[str, str]) -> None:
    """Become an interpreter that imports for itself, and finds its variables on standard input."""
    line = os.memfd_create("variables")
    os.write(line, json.dumps(dict(variables)).encode() + b"\n")
    os.lseek(line, 0, os.SEEK_SET)
    os.dup2(line, 0)
    os.execv(sys.executable, [sys.executable, "-m", local_worker.__name__, str(launcher)])


def main(connection: str, launcher: str) -> None:
    """Serve; then, in a worker, work. Ends without taking the interpreter apart, which costs time."""
    gc.disable()  # until workers are forked: what is collected leaves holes that they would fill
    code = 1
    try:
        local_worker.begin()
        os.set_inheritable(int(connection), False)
        variables = _Server(Connection(int(connection)), int(launcher)).serve()
        if variables is not None:
            local_worker.work(variables)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
