"""Compiling on a second core, in the first run: what tokenizing needs beside its law's kernels.

numba compiles on one thread of a process. Meanwhile another process compiles the loops that read and
write, and the kernels of ``off``, with which samples are compared; what it compiled is kept on disk,
where this process finds it. It is a help and no more: whatever it hasn't done is compiled here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from pipelines.runners.machine import cores_available
from pipelines.runners.worker_processes import environment
from transforms.workers.follow_launcher import follow_launcher

ROOM = 1 << 30
"""Bytes of ``--memory`` from which on there is room for a second process that compiles."""
_PATIENCE = 60.0  # seconds


class CompileBeside:
    """A process that compiles; a context, at whose end there is none.

    Args:
        model: arguments of ``Tokenizer.load``; None where its kernels aren't wanted.
        memory: of the whole run, in bytes; None for what it is by default.
    """

    def __init__(self, model: Mapping[str, Any] | None, *, memory: int | None) -> None:
        self._wanted = json.dumps(model)
        self._can = cores_available() > 1 and (memory is None or memory >= ROOM)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> CompileBeside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._process is not None:
            if error is not None:
                self._process.kill()
            self._process.wait()

    def start(self) -> None:
        """Start it, where a second core and memory for it are there."""
        if self._can:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(os.getpid()), self._wanted],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def wait(self) -> None:
        """Wait for its end, if it was started; not for ever."""
        if self._process is not None:
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()


def main(launcher: str, model: str) -> None:
    """Compile, in this process; end with whoever wanted it."""
    follow_launcher(int(launcher))
    from transforms.kernels.records import json_loops, loops

    arguments = json.loads(model)
    if arguments is not None:
        from transforms.tokenization.sampling import OFF
        from transforms.tokenization.tokenizer import Tokenizer

        Tokenizer.load(**arguments).prepare(OFF)
    json_loops.load()
    loops.load()


if __name__ == "__main__":
    main(*sys.argv[1:])
