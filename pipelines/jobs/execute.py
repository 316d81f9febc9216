"""Doing the work: a pipeline, its workers, its log and its progress."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.inputs.preflight import Inputs
from pipelines.outputs.claim import Claim
from pipelines.recipes.cli import LOG
from pipelines.recipes.recipe import CommonRecipe
from pipelines.recipes.settings import RunSettings
from pipelines.recipes.wording import write_count
from pipelines.runners.clusters import PORTABLE
from pipelines.runners.early_start import Call, EarlyStart
from pipelines.runners.uncollected import uncollected
from pipelines.runners.worker_processes import open_log
from transforms.errors import DataError, DovetailError
from transforms.kernels.planning.plan import Workers
from transforms.storage import files as storage
from transforms.workers.progress import Stage

_building = threading.Lock()


@dataclass(frozen=True)
class Planned:
    """A run that has been planned; each command's own adds what its pipeline needs.

    Attributes:
        recipe: what comes out.
        settings: how the work is done.
        inputs: what is read.
        workers: who does it.
        claim: where is written.
        started: when, for the manifest.
        warm: what is done once for all worker processes, where they are forked.
    """

    recipe: CommonRecipe
    settings: RunSettings
    inputs: Inputs
    workers: Workers
    claim: Claim
    started: str
    warm: Call | None = field(default=None, kw_only=True)

    @property
    def compiled(self) -> bool | None:
        """Whether workers pass over records by compiled loops; None for when they pay."""
        return None


def execute(
    build: Callable[[Any], object],
    job: Planned,
    *,
    totals: Mapping[Stage, int | None],
    beam_flags: Sequence[str],
    early: EarlyStart,
) -> int:
    """Run a pipeline; return the peak of memory. A failure leaves its log, and names it.

    Args:
        build: adds the transforms to a pipeline.
        job: what was planned.
        totals: of the stages that are shown, where they are known.
        beam_flags: the user's own, for Beam.
        early: has the worker processes.
    """
    from pipelines.jobs.watch import PeakMemory, tree_memory, watching

    claim, build = job.claim, _without_cells(build)
    peak = PeakMemory()
    log_file = Path(claim.log_file)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_beam_log(log_file, debug=job.settings.debug))
        LOG.info("%s", _beginning(job))
        try:
            processes = None
            if job.workers.processes and not claim.remote:
                processes = early.take(job.workers.processes, log_file, job.warm)
                stack.enter_context(processes)
            live = not (job.settings.debug or job.settings.quiet)
            watch = None
            if not claim.remote:  # there the workers can't reach what we would watch
                watch = stack.enter_context(watching(claim.progress, totals, live=live))
            if (
                job.workers.slots > 1 and not job.settings.debug
            ):  # Beam prints their tracebacks to standard error itself
                text = io.TextIOWrapper(open_log(log_file), encoding="utf-8")
                log = stack.enter_context(text)
                stack.enter_context(contextlib.redirect_stderr(log))

            def tick() -> None:
                peak.tick()
                if watch is not None:
                    watch.tick()

            if job.settings.runner in PORTABLE:
                from pipelines.runners.remote import run_remote

                run_remote(build, claim, job.settings.runner, beam_flags=beam_flags, tick=tick)
            elif job.settings.runner == "DataflowRunner":
                from pipelines.runners.dataflow_job import run_on_dataflow

                wait = not job.settings.no_wait
                run_on_dataflow(build, claim, beam_flags=beam_flags, wait=wait, tick=tick)
            else:
                with uncollected():
                    from pipelines.runners.local import run_local  # imports Beam, as the workers do

                run_local(
                    build,
                    workers=job.workers,
                    processes=processes,
                    beam_flags=beam_flags,
                    tick=tick,
                    give_up=claim.give_up,
                    sockets=claim.sockets,
                )
        except DovetailError as error:
            if isinstance(error, DataError):
                _name_what_changed(job)
            hint = f" (the workers' log: {log_file})" if log_file.exists() else ""
            raise type(error)(f"{error}{hint}") from error
        except BaseException:
            log_file.unlink(missing_ok=True)
            raise
    log_file.unlink(missing_ok=True)
    return max(peak.bytes, tree_memory())


def _without_cells(build: Callable[[Any], object]) -> Callable[[Any], object]:
    """Keep Beam from putting a notebook's cell numbers into labels, for which it imports pandas."""

    def built(root: Any) -> None:
        from apache_beam import pipeline

        with _building:
            alter = pipeline.alter_label_if_ipython
            pipeline.alter_label_if_ipython = lambda *_: None
            try:
                build(root)
            finally:
                pipeline.alter_label_if_ipython = alter

    return built


def _beginning(job: Planned) -> str:
    """Say what happens while nothing moves yet."""
    if job.settings.runner != "DirectRunner":
        return f"submitting the job to {job.settings.runner}; it may take some minutes to start"
    kind, plural = ("process", "es") if job.workers.processes else ("thread", "s")
    workers = write_count(job.workers.count, f"worker {kind}", plural=plural)
    return f"starting {workers}; reading begins in a few seconds"


def _name_what_changed(job: Planned) -> None:
    """Raise DataError where an input is no longer what it was, which is why a run may fail."""
    from transforms.datasets.read import check_unchanged

    local = all(storage.is_local(file.url) for file in job.inputs.files)
    for _ in storage.in_parallel(check_unchanged, job.inputs.files, limit=1 if local else 16):
        pass


class _PrivateLog(logging.FileHandler):
    def _open(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(open_log(self.baseFilename), encoding="utf-8")


@contextlib.contextmanager
def _beam_log(log_file: Path, *, debug: bool) -> Iterator[None]:
    """Send what Beam logs to a file; in debug mode to standard error too."""
    beam = logging.getLogger("apache_beam")
    handler = _PrivateLog(log_file, delay=True)
    beam.addHandler(handler)
    propagated = beam.propagate
    beam.propagate = debug
    try:
        yield
    finally:
        beam.propagate = propagated
        beam.removeHandler(handler)
        handler.close()
