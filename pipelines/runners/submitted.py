"""A job on a runner elsewhere: submitted, followed, cancelled when it is not wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.runners.runner import PipelineState

from pipelines.outputs.claim import Claim
from pipelines.recipes.cli import LOG
from pipelines.runners.clusters import explain_failure
from transforms.datasets.write_manifest import is_written

_TICK, _SAY_EVERY = 0.25, 10.0  # seconds between two looks, and between two lines of progress


class Submitted:
    """A pipeline that is submitted and followed by a thread; a base, each service's own says how.

    Attributes:
        runner: its name.
        result: of Beam's, from when it was submitted.
        ended: set when it has, or when it is left alone.
        unwanted: set when it shall end.
        left_alone: whether nobody knows how it ends.
        state: its last one.
        errors: what the service said of why it failed, as text.
        raised: why it couldn't be submitted or followed.
    """

    runner: str
    result: Any = None
    left_alone = False
    state: str = PipelineState.UNKNOWN
    raised: Exception | None = None

    def __init__(self, pipeline: beam.Pipeline) -> None:
        self._pipeline = pipeline
        self.ended, self.unwanted = threading.Event(), threading.Event()
        self.errors: list[str] = []
        threading.Thread(target=self._run, name="job", daemon=True).start()

    def _run(self) -> None:
        try:
            self.result = self._pipeline.run()
            self.follow()
        except Exception as error:  # whatever it is: the thread that waits raises it
            self.raised = error
        finally:
            self.ended.set()

    def follow(self) -> None:
        """Wait for its end, keeping the state, and the errors if it fails."""
        raise NotImplementedError

    def look(self) -> None:
        """Raise DovetailError where something is wrong that the service doesn't end it for."""

    def progress(self) -> str:
        """Return how far it is, in words; "" for nothing to be said."""
        return ""

    def cancel(self) -> None:
        """End it, if the service has it."""
        self.unwanted.set()
        if self.result is not None:
            try:
                self.result.cancel()
            except Exception as error:  # Beam raises many kinds; the run ends anyway
                LOG.warning("%s: the job could not be cancelled: %s", self.runner, error)

    def failure(self) -> BaseException:
        """Return why it failed."""
        text = "\n".join([*self.errors, str(self.raised or "")])
        return explain_failure(text, self.state, runner=self.runner)

    def wait(self, claim: Claim, *, tick: Callable[[], None]) -> None:
        """Wait for its end.

        Args:
            claim: where it writes; given up where the run shall end before its end.
            tick: is called some times a second meanwhile.

        Raises:
            DovetailError: what a worker raised, once; RunError for all else.
        """
        say_at = time.monotonic() + _SAY_EVERY
        try:
            while not self.ended.wait(_TICK):
                tick()
                self.look()
                if time.monotonic() >= say_at:
                    say_at = time.monotonic() + _SAY_EVERY
                    if said := self.progress():
                        LOG.info("%s", said)
        except BaseException:
            claim.give_up()
            self.cancel()
            raise
        if self.raised is None and (self.left_alone or self.state == PipelineState.DONE):
            return
        failure = self.failure()
        if claim.remote and is_written(claim.folder, claim.run_id):
            # it was done, and the runner, which lost a worker then, began again and found nothing
            LOG.warning("the dataset is complete, but the job failed afterwards: %s", failure)
            return
        raise failure
