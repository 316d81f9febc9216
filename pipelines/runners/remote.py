"""Running a pipeline elsewhere: submitted to a job service, watched, cancelled when it is not wanted."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    DebugOptions,
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
)
from apache_beam.portability.api import beam_fn_api_pb2_grpc, beam_job_api_pb2
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer, FlinkRunner
from apache_beam.runners.portability.prism_runner import PrismJobServer, PrismRunner
from apache_beam.runners.runner import PipelineState
from apache_beam.runners.worker.sdk_worker_main import (
    _get_data_buffer_time_limit_ms,
    _get_state_cache_size_bytes,
)
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor

from pipelines.outputs.claim import Claim
from pipelines.recipes.cli import LOG
from pipelines.runners import tether
from pipelines.runners.flink import Flink
from pipelines.runners.new_pipeline import new_pipeline
from pipelines.runners.sockets import socket_folder
from pipelines.runners.submitted import Submitted
from transforms.errors import DataError, UsageError, from_traceback

_EVERY = 0.25  # seconds between two questions after the state
_LAST_MESSAGES = 5.0  # seconds in which messages may come after the end
_LOOK_EVERY = 3.0  # seconds between two looks at why a job has begun again


def run_remote(
    build: Callable[[beam.Pipeline], Any],
    claim: Claim,
    runner: str,
    *,
    beam_flags: Sequence[str] = (),
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Run a pipeline to its end on a portable runner; arguments as of ``run_on_dataflow``.

    Args:
        runner: FlinkRunner or PrismRunner.

    Raises:
        DovetailError: as of ``Submitted.wait``.
    """
    name = f"dovetail-{claim.run_id}"  # of the job, by which it is found again
    options = PipelineOptions([*beam_flags, f"--job_name={name}"])
    with contextlib.ExitStack() as stack:
        if runner == "PrismRunner":
            stack.enter_context(_worker_pool(options, claim.sockets))
        portable = stack.enter_context(_serving(runner))
        pipeline = new_pipeline(portable, options)
        build(pipeline)
        master = options.view_as(FlinkRunnerOptions).flink_master
        on_flink = runner == "FlinkRunner"
        job = _FlinkJob(pipeline, master, name) if on_flink else _Job(pipeline)
        job.wait(claim, tick=tick)


class _Job(Submitted):
    runner = "PrismRunner"

    def follow(self) -> None:
        """Follow the job, by its service."""
        messages = threading.Thread(target=self._listen, name="messages", daemon=True)
        messages.start()
        while not PipelineState.is_terminal(self.state):
            time.sleep(_EVERY)
            self.state = self.result.state
        messages.join(_LAST_MESSAGES)

    def _listen(self) -> None:
        # not Beam's wait_until_finish, which prints what it hears by the root logger
        with contextlib.suppress(Exception):  # the service is gone: its state says why
            for message in self.result._message_stream:
                said = message.message_response
                if said.importance == beam_job_api_pb2.JobMessage.JOB_MESSAGE_ERROR:
                    self.errors.append(said.message_text)


class _FlinkJob(_Job):
    """One that the cluster is asked about too: how far it is, and what no other attempt can mend."""

    runner = "FlinkRunner"

    def __init__(self, pipeline: beam.Pipeline, master: str, name: str) -> None:
        self._flink, self._name = Flink(master), name
        self._look_at = time.monotonic() + _LOOK_EVERY
        super().__init__(pipeline)

    def look(self) -> None:
        """Look now and then what a worker raised; cheap enough to call often.

        Raises:
            DataError, UsageError: Flink would try again some times.
        """
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_EVERY
            found = from_traceback(self._flink.failure(self._name))
            if isinstance(found, DataError | UsageError):
                raise found

    def progress(self) -> str:
        """Return how many tasks are done."""
        return f"Flink: {self._flink.progress(self._name) or 'the job is being submitted'}"

    def cancel(self) -> None:
        """Tell the service, if it has the job, and the cluster."""
        super().cancel()
        if not self._flink.cancel(self._name):
            LOG.warning(
                "Flink: the job %s could not be cancelled; see %s", self._name, self._flink.url
            )

    def failure(self) -> BaseException:
        """Return why it failed, by what the cluster says too."""
        self.errors.append(self._flink.failure(self._name))
        return super().failure()


@contextlib.contextmanager
def _worker_pool(options: PipelineOptions, sockets: str | None = None) -> Iterator[None]:
    """Let Prism find workers, which are threads of ours, by a unix socket, unless the user has others.

    Beam's own pool listens on all network interfaces, and starts a worker for whoever asks.
    """
    portable = options.view_as(PortableOptions)
    if portable.environment_type not in (None, "LOOPBACK"):
        yield
        return
    experiments = options.view_as(DebugOptions).experiments or []
    servicer = BeamFnExternalWorkerPoolServicer(
        state_cache_size=_get_state_cache_size_bytes(options),
        data_buffer_time_limit_ms=_get_data_buffer_time_limit_ms(experiments),
    )
    with socket_folder(sockets) as folder:
        portable.environment_type = "EXTERNAL"
        portable.environment_config = f"unix:{folder}/pool"
        server = grpc.server(thread_pool_executor.shared_unbounded_instance())
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(servicer, server)
        server.add_insecure_port(portable.environment_config)
        server.start()
        try:
            yield
        finally:
            server.stop(1).wait()


@contextlib.contextmanager
def _serving(runner: str) -> Iterator[Any]:
    """Give a runner whose job service, if it starts one, ends here and with this process."""
    portable = _OnFlink() if runner == "FlinkRunner" else _OnPrism()
    try:
        yield portable
    finally:
        if portable.server is not None:
            with contextlib.suppress(Exception):  # it never came up
                portable.server.stop()


def _tethered(server: Any) -> Any:
    command, endpoint = server
    # by its file: a folder of the user's may be called pipelines
    return [sys.executable, "-I", tether.__file__, *command], endpoint


class _FlinkServer(FlinkJarJobServer):  # type: ignore[misc]  # Beam's classes are untyped
    def subprocess_cmd_and_endpoint(self) -> Any:
        return _tethered(super().subprocess_cmd_and_endpoint())


class _PrismServer(PrismJobServer):  # type: ignore[misc]  # as above
    def subprocess_cmd_and_endpoint(self) -> Any:
        return _tethered(super().subprocess_cmd_and_endpoint())


# Beam's own wrap the server so that it ends with the process; that sets signal handlers, which only
# the main thread can, and which would take the place of ours
class _OnFlink(FlinkRunner):  # type: ignore[misc]  # as above
    server: Any = None

    def default_job_server(self, options: Any) -> Any:
        flink = options.view_as(FlinkRunnerOptions)
        flink.flink_master = self.add_http_scheme(flink.flink_master)
        self.server = _FlinkServer(options)
        return self.server


class _OnPrism(PrismRunner):  # type: ignore[misc]  # as above
    server: Any = None

    def default_job_server(self, options: Any) -> Any:
        self.server = _PrismServer(options)
        return self.server
