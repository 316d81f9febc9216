"""A job on Dataflow: submitted, watched, cancelled when it is not wanted, or left alone."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.runner import PipelineState

from pipelines.cli import LOG
from pipelines.clusters import explain_failure
from pipelines.output import Claim
from transforms.errors import RunError, UsageError
from transforms.write import is_written

_FIRST, _GROWS, _MOST = 0.5, 1.5, 10.0  # seconds between two questions after the state
_SAY_EVERY = 10.0  # seconds between two lines of progress
_LAST_MESSAGES = 40.0  # seconds in which Dataflow may come to say why a job failed
_TICK = 0.25


def run_on_dataflow(
    build: Callable[[beam.Pipeline], Any],
    claim: Claim,
    *,
    beam_flags: Sequence[str],
    wait: bool,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Submit a pipeline, and follow it to its end where that is wanted.

    The launcher of a Flex template (which gives --template_location) never waits: there the job's
    description is left for the service, which creates the job when the launcher has ended.

    Args:
        build: adds the transforms to a pipeline.
        claim: where is written; handed over to the pipeline where nobody waits, given up where the
            run shall end before its end.
        beam_flags: for Beam, settled.
        wait: for the job's end.
        tick: is called some times a second meanwhile.

    Raises:
        DovetailError: what a worker raised, once; UsageError where Beam can't take the flags; RunError
            for all else.
    """
    options = PipelineOptions(list(beam_flags))
    cloud = options.view_as(GoogleCloudOptions)
    cloud.job_name = cloud.job_name or f"dovetail-{claim.run_id}"
    try:
        pipeline = beam.Pipeline(runner=DataflowRunner(), options=options)
    except ValueError as error:
        raise UsageError(f"Beam can't make a job for Dataflow of the flags: {error}") from None
    build(pipeline)
    job = _Job(pipeline, cloud, wait=wait)
    try:
        while not job.ended.wait(_TICK):
            tick()
    except BaseException:
        claim.give_up()
        job.cancel()
        raise
    if job.raised is not None:
        raise _refused(job.raised)
    if job.left_alone:
        claim.hand_over()
        LOG.info(
            "the pipeline proves and publishes by itself; %s has a manifest then", claim.folder
        )
        return
    if job.state != PipelineState.DONE:
        failure = explain_failure("\n".join(job.errors), job.state, runner="DataflowRunner")
        if is_written(claim.folder, claim.run_id):
            LOG.warning("the dataset is complete, though the job failed then: %s", failure)
            return
        raise failure


class _Job:
    """A pipeline that is submitted and followed by a thread.

    Attributes:
        ended: set when it has, or when it is left alone.
        left_alone: whether nobody knows how it ends.
        state: its last one.
        errors: what Dataflow said of why it failed.
        raised: why it couldn't be submitted or followed.
    """

    def __init__(self, pipeline: beam.Pipeline, cloud: Any, *, wait: bool) -> None:
        self._pipeline, self._cloud, self._wait = pipeline, cloud, wait
        self._result: Any = None
        self._unwanted = threading.Event()
        self.ended = threading.Event()
        self.left_alone = False
        self.state = PipelineState.UNKNOWN
        self.errors: list[str] = []
        self.raised: Exception | None = None
        threading.Thread(target=self._run, name="job", daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = self._pipeline.run()
            self._tell()
            self.left_alone = not (self._wait and self._result.has_job)
            if not self.left_alone:
                self._follow()
        except Exception as error:  # whatever it is: the thread that waits raises it
            self.raised = error
        finally:
            self.ended.set()

    def _tell(self) -> None:
        """Say where a person finds it."""
        if not self._result.has_job:
            LOG.info("Dataflow: the job is described in %s", self._cloud.template_location)
            return
        LOG.info(
            "Dataflow: job %s, https://console.cloud.google.com/dataflow/jobs/%s/%s?project=%s",
            self._cloud.job_name,
            self._cloud.region,
            self._result.job_id(),
            self._cloud.project,
        )

    def _follow(self) -> None:
        # not Beam's wait_until_finish, which looks every 5 seconds and can't be ended
        pause, say_at = _FIRST, time.monotonic() + _SAY_EVERY
        while not PipelineState.is_terminal(self.state):
            if self._unwanted.wait(pause):
                return
            pause = min(pause * _GROWS, _MOST)
            self.state = self._result.state
            if time.monotonic() >= say_at:
                say_at = time.monotonic() + _SAY_EVERY
                self._say()
        if self.state != PipelineState.DONE:
            self.errors = self._why()

    def _say(self) -> None:
        counts: dict[str, int] = {}
        with contextlib.suppress(Exception):  # the job goes on without its counts
            client = self._result._runner.dataflow_client
            counts = counters(client.get_job_metrics(self._result.job_id()).metrics)
        LOG.info(
            "Dataflow: %s%s", self.state.lower(), "".join(f", {k} {v:,}" for k, v in counts.items())
        )

    def _why(self) -> list[str]:
        """Return the errors that a job ended with, the last one first; they may come late."""
        from google.cloud.dataflow import JobMessageImportance

        client, end = self._result._runner.dataflow_client, time.monotonic() + _LAST_MESSAGES
        while True:
            messages, token = client.list_messages(self._result.job_id())
            while token:
                more, token = client.list_messages(self._result.job_id(), page_token=token)
                messages = [*messages, *more]
            errors = [
                message.message_text
                for message in messages
                if message.message_importance == JobMessageImportance.JOB_MESSAGE_ERROR
            ]
            late = self.state != PipelineState.FAILED or time.monotonic() > end
            if errors or late or self._unwanted.wait(1.0):
                return errors[::-1]

    def cancel(self) -> None:
        """End it, if Dataflow has it."""
        self._unwanted.set()
        if self._result is not None and self._result.has_job:
            try:
                self._result.cancel()
            except Exception as error:  # Beam and Google raise many kinds; the run ends anyway
                LOG.warning("Dataflow: the job can't be cancelled: %s", error)


def counters(metrics: Iterable[Any]) -> dict[str, int]:
    """Return our counters of a job by name, those of all steps together, committed ones only."""
    found: Counter[str] = Counter()
    for metric in metrics:
        context = metric.name.context
        if context.get("namespace") == "dovetail" and "tentative" not in context:
            found[metric.name.name] += int(metric.scalar)
    return dict(sorted(found.items()))


def _refused(error: Exception) -> RunError:
    said = " ".join(str(error).split())
    return RunError(
        f"Dataflow doesn't take the job ({type(error).__name__}: {said}); look at --project, --region, "
        "--temp_location and what the credentials may do"
    )
