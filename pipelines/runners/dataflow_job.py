"""A job on Dataflow: submitted, watched, cancelled when it is not wanted, or left alone."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.runner import PipelineState

from pipelines.outputs.claim import Claim
from pipelines.recipes.cli import LOG
from pipelines.runners.new_pipeline import new_pipeline
from pipelines.runners.submitted import Submitted
from transforms.errors import RunError, UsageError

_FIRST, _GROWS, _MOST = 0.5, 1.5, 10.0  # seconds between two questions after the state
_LAST_MESSAGES = 40.0  # seconds in which Dataflow may come to say why a job failed


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
        claim: where is written; handed over to the pipeline where nobody waits.
        beam_flags: for Beam, settled.
        wait: for the job's end.
        tick: is called some times a second meanwhile.

    Raises:
        DovetailError: as of ``Submitted.wait``; UsageError where Beam can't take the flags.
    """
    options = PipelineOptions(list(beam_flags))
    cloud = options.view_as(GoogleCloudOptions)
    cloud.job_name = cloud.job_name or f"dovetail-{claim.run_id}"
    try:
        pipeline = new_pipeline(DataflowRunner(), options)
    except ValueError as error:
        raise UsageError(f"Beam can't make a Dataflow job from the flags: {error}") from None
    build(pipeline)
    job = _Job(pipeline, cloud, wait=wait)
    job.wait(claim, tick=tick)
    if job.left_alone:
        claim.hand_over()
        LOG.info(
            "the pipeline checks and publishes by itself; %s has a manifest when it is complete",
            claim.folder,
        )


class _Job(Submitted):
    runner = "DataflowRunner"

    def __init__(self, pipeline: beam.Pipeline, cloud: Any, *, wait: bool) -> None:
        self._cloud, self._wait = cloud, wait
        super().__init__(pipeline)

    def follow(self) -> None:
        """Follow the job, unless nobody waits for it."""
        self._tell()
        self.left_alone = not (self._wait and self.result.has_job)
        if self.left_alone:
            return
        # not Beam's wait_until_finish, which looks every 5 seconds and can't be ended
        pause = _FIRST
        while not PipelineState.is_terminal(self.state):
            if self.unwanted.wait(pause):
                return
            pause = min(pause * _GROWS, _MOST)
            self.state = self.result.state
        if self.state != PipelineState.DONE:
            self.errors = self._why()

    def _tell(self) -> None:
        """Say where a person finds it."""
        if not self.result.has_job:
            LOG.info("Dataflow: job template written to %s", self._cloud.template_location)
            return
        LOG.info(
            "Dataflow: job %s, https://console.cloud.google.com/dataflow/jobs/%s/%s?project=%s",
            self._cloud.job_name,
            self._cloud.region,
            self.result.job_id(),
            self._cloud.project,
        )

    def progress(self) -> str:
        """Return the job's state and what is counted."""
        counts: dict[str, int] = {}
        with contextlib.suppress(Exception):  # the job goes on without its counts
            client = self.result._runner.dataflow_client
            counts = counters(client.get_job_metrics(self.result.job_id()).metrics)
        more = "".join(f", {name} {value:,}" for name, value in counts.items())
        return f"Dataflow: {self.state.lower()}{more}"

    def _why(self) -> list[str]:
        """Return the errors that a job ended with, the last one first; they may come late."""
        from google.cloud.dataflow import JobMessageImportance

        client, end = self.result._runner.dataflow_client, time.monotonic() + _LAST_MESSAGES
        while True:
            messages, token = client.list_messages(self.result.job_id())
            while token:
                more, token = client.list_messages(self.result.job_id(), page_token=token)
                messages = [*messages, *more]
            errors = [
                message.message_text
                for message in messages
                if message.message_importance == JobMessageImportance.JOB_MESSAGE_ERROR
            ]
            late = self.state != PipelineState.FAILED or time.monotonic() > end
            if errors or late or self.unwanted.wait(1.0):
                return errors[::-1]

    def failure(self) -> BaseException:
        """Return why it failed, or why Dataflow doesn't take it."""
        if self.raised is None:
            return super().failure()
        said = " ".join(str(self.raised).split())
        return RunError(
            f"Dataflow refused the job ({type(self.raised).__name__}: {said}); check "
            "--project, --region, --temp_location and the permissions of the credentials"
        )


def counters(metrics: Iterable[Any]) -> dict[str, int]:
    """Return our counters of a job by name, those of all steps together, committed ones only."""
    found: Counter[str] = Counter()
    for metric in metrics:
        context = metric.name.context
        if context.get("namespace") == "dovetail" and "tentative" not in context:
            found[metric.name.name] += int(metric.scalar)
    return dict(sorted(found.items()))
