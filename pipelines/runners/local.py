"""Running a pipeline on this machine: Beam's FnApiRunner, watched."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import endpoints_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    EmbeddedGrpcWorkerHandler,
    GrpcWorkerHandler,
    WorkerHandler,
)
from apache_beam.transforms.environments import Environment, python_sdk_capabilities
from google.protobuf import json_format, text_format

from pipelines.runners.forked import died
from pipelines.runners.new_pipeline import new_pipeline
from pipelines.runners.sockets import ReachedBySocket, SocketRunner, socket_folder
from pipelines.runners.worker_processes import Death, WorkerProcesses
from transforms.errors import RunError, from_traceback
from transforms.kernels.planning.plan import Workers
from transforms.workers.follow_launcher import SOCKETS

_GRACE = 3.0  # seconds in which a pipeline may end by itself after a worker did
_LAST_WORK = 10.0  # seconds in which threads may come to notice that the run was given up
_PROCESS, _THREAD = "dovetail:local_worker:v1", "dovetail:local_thread:v1"
_GONE = "its worker process is gone"
_LAST_LINE = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b[^\n]*", re.MULTILINE)

_runs: dict[bytes, WorkerProcesses] = {}


def run_local(
    build: Callable[[beam.Pipeline], Any],
    *,
    workers: Workers,
    processes: WorkerProcesses | None = None,
    beam_flags: Sequence[str] = (),
    tick: Callable[[], None] = lambda: None,
    give_up: Callable[[], None] = lambda: None,
    sockets: str | None = None,
) -> None:
    """Run a pipeline to its end.

    Args:
        build: adds the transforms to a pipeline.
        workers: how many.
        processes: that do the work; without them it is done in this process, by threads.
        beam_flags: the user's own, for Beam.
        tick: is called about four times a second meanwhile.
        give_up: is called where the run shall end before its end; work on threads then ends soon.
        sockets: a folder to be made for those of the workers, where that is possible.

    Raises:
        DovetailError: what a worker raised, once; WorkerError where a worker process died.
    """
    # which environment works is said by the runner: all other modes would bring servers of Beam's
    options = PipelineOptions(
        list(beam_flags), direct_num_workers=workers.count, direct_running_mode="in_memory"
    )
    key = secrets.token_bytes(8)
    raised: list[BaseException] = []
    ended = threading.Event()

    def work() -> None:
        try:
            pipeline.run().wait_until_finish()
        except BaseException as error:
            raised.append(error)
        finally:
            ended.set()

    deaths: list[Death] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(_Quiet())
        if processes is None and workers.count == 1:
            runner = FnApiRunner()  # works in one thread, by calls
        else:
            folder = stack.enter_context(socket_folder(sockets))
            environment = _Threads() if processes is None else _Processes(key)
            runner = SocketRunner(folder, environment)
        if processes is not None:
            _runs[key] = processes
        pipeline = new_pipeline(runner, options)
        build(pipeline)
        # its own thread, so that this one can watch, and end it all
        threading.Thread(target=work, name="pipeline", daemon=True).start()
        try:
            while not ended.wait(0.25):
                tick()
                deaths = processes.deaths() if processes is not None else []
                if deaths and not ended.wait(_GRACE):
                    break
        finally:
            if given_up := not ended.is_set():
                give_up()
            if processes is not None and (not ended.is_set() or raised):
                deaths = processes.deaths()
                processes.kill()
            # what worker processes did ended with them; threads of ours have yet to notice
            ended.wait(_LAST_WORK if processes is None else _GRACE)
            _runs.pop(key, None)
    if raised:
        raise _translate(raised[0], deaths) from raised[0]
    if given_up:
        raise died(*deaths[0])


@Environment.register_urn(_PROCESS, bytes)
class _Processes(Environment):  # type: ignore[misc]  # Beam's classes are untyped
    """Says in the pipeline's graph that work is done by the processes of a run."""

    urn = _PROCESS

    def __init__(self, key: bytes, *args: Any) -> None:
        super().__init__(*(args or (python_sdk_capabilities(),)))
        self.key = key

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        return self.urn, self.key

    @classmethod
    def from_runner_api_parameter(cls, key: bytes, *args: Any) -> Environment:
        return cls(key, *args[:-1])  # the last one is the context


@Environment.register_urn(_THREAD, bytes)
class _Threads(_Processes):
    """Says that work is done by threads of this process."""

    urn = _THREAD

    def __init__(self, key: bytes = b"{}", *args: Any) -> None:
        super().__init__(key, *args)


@WorkerHandler.register_environment(_THREAD, bytes)
class _ThreadHandler(ReachedBySocket, EmbeddedGrpcWorkerHandler):  # type: ignore[misc]  # as above
    """Stands between the runner and one thread; Beam starts it."""


@WorkerHandler.register_environment(_PROCESS, bytes)
class _ProcessHandler(ReachedBySocket, GrpcWorkerHandler):  # type: ignore[misc]  # as above
    """Stands between the runner and one process."""

    def __init__(self, key: bytes, *args: Any) -> None:
        super().__init__(*args)
        self._processes = _runs[key]

    def start_worker(self) -> None:
        control = endpoints_pb2.ApiServiceDescriptor(url=self.control_address)
        options = self.provision_info.provision_info.pipeline_options
        self._process = self._processes.hand_out(
            {
                "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(control),
                "PIPELINE_OPTIONS": json_format.MessageToJson(options),
                "WORKER_ID": self.worker_id,
                SOCKETS: os.path.dirname(self._grpc_server.control_port),
            }
        )
        threading.Thread(target=self._watch, name="watch-worker", daemon=True).start()

    def _watch(self) -> None:
        """Let the runner go on when its worker is gone: by itself it waits for ever."""
        if self._process.wait():
            self.control_conn.abort(RuntimeError(_GONE))

    def stop_worker(self) -> None:
        self._processes.end(self._process)


class _Quiet:
    """Keeps what Beam's and gRPC's threads say of workers that are gone off the terminal."""

    _lock = threading.Lock()
    _runs = 0  # at once: the first one takes the hook's place, the last one puts it back
    _before: Callable[[threading.ExceptHookArgs], Any]

    def __enter__(self) -> None:
        with _Quiet._lock:
            if not _Quiet._runs:
                _Quiet._before, threading.excepthook = threading.excepthook, _Quiet._hear
            _Quiet._runs += 1

    def __exit__(self, *_: object) -> None:
        with _Quiet._lock:
            _Quiet._runs -= 1
            if not _Quiet._runs:
                threading.excepthook = _Quiet._before

    @staticmethod
    def _hear(args: threading.ExceptHookArgs) -> None:
        thread = args.thread.name if args.thread else ""
        if not (thread.startswith("beam_control") or args.exc_type.__module__.startswith("grpc")):
            _Quiet._before(args)


def _translate(error: BaseException, deaths: list[Death]) -> BaseException:
    if not isinstance(error, Exception):
        return error
    text = str(error)
    found = from_traceback(f"{type(error).__module__}.{type(error).__qualname__}: {text}")
    if found is not None:
        return found
    if deaths:
        return died(*deaths[0])
    lines = _LAST_LINE.findall(text)
    return RunError(f"a worker failed: {lines[-1] if lines else f'{type(error).__name__}: {text}'}")
