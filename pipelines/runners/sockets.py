"""How the launcher and the workers of a local run talk: by unix sockets that only the user can reach.

Beam's own server listens on all network interfaces, asks nobody who they are, and hands out any file
that the launcher can read. The one here serves control, data and state, which is what workers need.
Nothing is staged, so there is nothing to hand out; workers write a log of their own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import tempfile
import types
from collections.abc import Iterator
from typing import Any

import grpc
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, fn_runner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    DATA_BUFFER_TIME_LIMIT_MS,
    BeamFnControlServicer,
    GrpcStateServicer,
    WorkerHandler,
    WorkerHandlerManager,
)
from apache_beam.runners.worker.data_plane import BeamFnDataServicer
from apache_beam.transforms.environments import Environment
from apache_beam.utils import thread_pool_executor

from transforms.errors import RunError

_OPTIONS = [
    # a stage's whole input may be one message
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # workers ask every 20 seconds whether we are there
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
]

_NOT_IN_ADDRESSES = frozenset("%#?,")  # gRPC reads them as parts of a URL, or waits for ever


@contextlib.contextmanager
def socket_folder(wanted: str | None = None) -> Iterator[str]:
    """Make a folder for sockets that only the user may enter; it goes in the end.

    A socket's path has at most 107 bytes, not every file system has sockets, and in an address some
    characters stand for something else, so several places are tried.

    Args:
        wanted: the folder to make, if it can be; else, or without it, one with a name of its own in the
            folder for temporary files, or elsewhere.

    Raises:
        RunError: none of them will do.
    """
    places = list(dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"]))
    others = (os.path.join(place, f"dovetail-{secrets.token_hex(6)}") for place in places)
    why = ""
    for folder in [wanted, *others] if wanted else others:
        try:
            _make(folder)
        except OSError as error:
            why = why or str(error)
            continue
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    raise RunError(
        f"no folder for the workers' sockets could be made in {', '.join(places)} ({why}); set TMPDIR "
        "to a local folder with a short path"
    )


def _make(folder: str) -> None:
    """Make a folder and try a socket there; one that is there already is somebody else's."""
    if odd := _NOT_IN_ADDRESSES & set(folder):
        raise OSError(f"{folder}: no address of a socket may have {min(odd)!r} in it")
    os.mkdir(folder, 0o700)
    try:
        path = os.path.join(folder, "control")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(path)
        os.unlink(path)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class SocketRunner(FnApiRunner):  # type: ignore[misc]  # Beam's classes are untyped
    """Beam's runner on this machine, which listens in a folder and nowhere else.

    Args:
        folder: of ``socket_folder``.
        environment: of the pipeline's work; its handler is a ``ReachedBySocket``.
    """

    def __init__(self, folder: str, environment: Environment) -> None:
        super().__init__(default_environment=environment)
        self._folder = folder

    def run_stages(self, *args: Any) -> Any:
        """Run the stages with a manager of ours; Beam has no other place to say so."""

        def manager(*args: Any) -> _Manager:
            return _Manager(self._folder, *args)

        run = types.FunctionType(
            FnApiRunner.run_stages.__code__,
            {**vars(fn_runner), "WorkerHandlerManager": manager},
        )
        return run(self, *args)


class ReachedBySocket(WorkerHandler):  # type: ignore[misc]  # as above
    """A mixin, in front of a GrpcWorkerHandler: addresses are ``unix:PATH``."""

    def host_from_worker(self) -> str:
        """Return what stands before the colon of an address; "ports" are paths."""
        return "unix"


class _Manager(WorkerHandlerManager):  # type: ignore[misc]  # as above
    def __init__(self, folder: str, environments: Any, *args: Any) -> None:
        super().__init__(environments, *args)
        server: _Server | None = None
        for environment in environments.values():
            if environment.urn == python_urns.EMBEDDED_PYTHON:
                continue  # works in this thread, by calls
            handler, _ = WorkerHandler._registered_environments[environment.urn]
            if not issubclass(handler, ReachedBySocket):
                raise RunError(
                    f"a local run would listen on the network for workers of {environment.urn}; this "
                    "is a fault of Dovetail: please report it"
                )
            if server is None:
                server = _Server(folder, self.state_servicer, self)
        self._grpc_server = server


class _Server:
    """What Beam's GrpcServer is to the handlers of workers, on unix sockets."""

    def __init__(self, folder: str, state: Any, manager: WorkerHandlerManager) -> None:
        self.control_handler = BeamFnControlServicer(manager)
        self.data_plane_handler = BeamFnDataServicer(DATA_BUFFER_TIME_LIMIT_MS)
        self._server = grpc.server(
            thread_pool_executor.shared_unbounded_instance(), options=_OPTIONS
        )
        # a socket for each, so that none waits for another's bytes in one connection
        self.control_port, self.data_port, self.state_port = (
            os.path.join(folder, name) for name in ("control", "data", "state")
        )
        for path in (self.control_port, self.data_port, self.state_port):
            self._server.add_insecure_port(f"unix:{path}")
        beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(self.control_handler, self._server)
        beam_fn_api_pb2_grpc.add_BeamFnDataServicer_to_server(self.data_plane_handler, self._server)
        beam_fn_api_pb2_grpc.add_BeamFnStateServicer_to_server(
            GrpcStateServicer(state), self._server
        )
        self._server.start()

    def close(self) -> None:
        """End, as Beam's does."""
        self.control_handler.done()
        self._server.stop(_GRACE).wait()


_GRACE = 5.0  # seconds in which calls may end by themselves
