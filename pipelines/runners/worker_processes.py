"""Worker processes of a local run: started early, handed to Beam's runner, ended with the run.

They start before the launcher has imported Beam, so that the imports overlap. Until the runner
wants them they wait for a line on standard input: the variables by which Beam's worker finds it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import transforms
from pipelines.runners import local_worker

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


def open_log(path: Path | str) -> BinaryIO:
    """Open a log for appending that nobody but the user reads; no link is followed there."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o600), "ab")


class WorkerProcesses:
    """Processes that run ``local_worker``; a context, at whose end none is left.

    Args:
        count: how many.
        log_file: takes what they print.
    """

    def __init__(self, count: int, *, log_file: Path) -> None:
        paths = [str(Path(transforms.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        path = os.pathsep.join(filter(None, paths))
        self._lock = threading.Lock()
        self._all: list[subprocess.Popen[bytes]] = []
        self._told_to_end: set[int] = set()
        try:
            with open_log(log_file) as log:
                for _ in range(count):
                    self._all.append(
                        subprocess.Popen(
                            [sys.executable, "-m", local_worker.__name__, str(os.getpid())],
                            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": path},
                            stdin=subprocess.PIPE,
                            stdout=log,
                            stderr=log,
                        )
                    )
        except BaseException:
            self.kill()
            raise
        self._waiting = list(self._all)

    def __enter__(self) -> WorkerProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def hand_out(self, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Let one that waits be Beam's worker, with these environment variables; return it."""
        with self._lock:
            process = self._waiting.pop()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(variables).encode() + b"\n")
            process.stdin.close()
        except BrokenPipeError:  # it died; ``deaths`` says so
            pass
        return process

    def deaths(self) -> list[int]:
        """Return the codes of those that ended badly and by themselves, as of ``subprocess``."""
        alone = [process for process in self._all if process.pid not in self._told_to_end]
        return [code for process in alone if (code := process.poll())]

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for a worker that Beam has told to end, not for ever."""
        if process.poll() is None:
            self._told_to_end.add(process.pid)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End all that are left, and wait until they are gone."""
        for process in self._all:
            if process.poll() is None:
                self._told_to_end.add(process.pid)
                process.kill()
        for process in self._all:
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
