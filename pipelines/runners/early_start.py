"""A run's worker processes, started while it is still planned where there will be some for certain.

What takes long, such as loading a model, is called in their fork server: what it leaves there all
workers have, and the launcher has its result. Without a fork server the launcher calls it itself.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.recipes.settings import RunSettings
from pipelines.runners.forked import can_fork
from pipelines.runners.machine import cores_available
from pipelines.runners.uncollected import uncollected
from pipelines.runners.worker_processes import WorkerProcesses
from transforms.errors import WorkerError


@dataclass(frozen=True)
class Call:
    """A function that is named, so that another process can call it.

    Attributes:
        function: "module:name".
        arguments: can be pickled.
    """

    function: str
    arguments: tuple[Any, ...] = ()

    def __call__(self) -> Any:
        """Call it here."""
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)(*self.arguments)


class EarlyStart:
    """A run's worker processes, if it comes to have any; a context, at whose end none is left.

    Their log is left to whoever takes them; before, it goes with them.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._processes: WorkerProcesses | None = None
        self._called: list[Call] = []
        self._log: Path | None = None  # until they are taken

    def __enter__(self) -> EarlyStart:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._stack.close()
        if self._log is not None and not isinstance(error, WorkerError):  # which names it
            self._log.unlink(missing_ok=True)

    def begin(self, settings: RunSettings, log_file: str) -> None:
        """Start the fork server, if flags say that there will be worker processes, and it can be."""
        if can_fork() and _has_processes(settings):
            self._log = Path(log_file)
            self._start(0, self._log)

    def call(self, wanted: Call, *, shared: bool = True) -> Callable[[], Any]:
        """Have a function called in the fork server, or else here and now; return what gives its result.

        Args:
            wanted: the function.
            shared: whether it may be called in the fork server; it has to leave no thread there.

        Raises:
            Exception: as the function does, at once or from what is returned.
        """
        server = self._processes.fork_server if self._processes is not None else None
        if server is None or not shared:
            with uncollected():
                value = wanted()
            return lambda: value
        server.begin_call(wanted.function, *wanted.arguments)
        self._called.append(wanted)
        with uncollected():
            import pipelines.runners.local  # noqa: F401  # imports Beam, while the fork server does too

        return self._end_call

    def _end_call(self) -> Any:
        assert self._processes is not None
        assert self._processes.fork_server is not None
        try:
            return self._processes.fork_server.end_call()
        except WorkerError as error:
            raise WorkerError(f"{error} (the workers' log: {self._log})") from error

    def take(self, count: int, log_file: Path, warm: Call | None = None) -> WorkerProcesses:
        """Return the processes, started if they weren't.

        Args:
            count: of workers.
            log_file: takes what they print.
            warm: is called before they are forked, unless that was done.
        """
        self._log = None
        processes = self._processes or self._start(count, log_file)
        if warm is not None and warm not in self._called and processes.fork_server is not None:
            processes.fork_server.warm(warm.function, *warm.arguments)
        return processes

    def _start(self, count: int, log_file: Path) -> WorkerProcesses:
        processes = WorkerProcesses(count, log_file=log_file)
        self._processes = self._stack.enter_context(processes)
        return self._processes


def _has_processes(settings: RunSettings) -> bool:
    """Whether flags alone say that there will be worker processes."""
    count, mode = settings.workers, settings.direct_running_mode
    if settings.plan or settings.runner != "DirectRunner" or mode not in (None, "multi_processing"):
        return False
    if mode is None:
        return count is not None and (count or cores_available()) > 1
    return True
