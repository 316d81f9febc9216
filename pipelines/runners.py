"""Where the work is done: what differs between runners, and is looked at before work starts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines.values import write_size
from transforms import storage
from transforms.errors import RunError, UsageError, from_traceback
from transforms.heartbeat import DEAD
from transforms.kernels.plan import LEAST_PAYLOAD, MIB, STORE_BASE, WORKER_BASE, Workers

if TYPE_CHECKING:
    from pipelines.recipe import RunSettings

S = TypeVar("S", bound="RunSettings")
CLUSTERS = ("FlinkRunner", "DataflowRunner")
"""Runners whose workers are elsewhere, and go on when the process that submitted the work ends."""

PORTABLE = ("FlinkRunner", "PrismRunner")
"""Runners that take a pipeline by Beam's job service; see ``pipelines.remote``."""

_PYTHON = re.compile(r"^Traceback .*?^((?:\w+\.)*\w+:? [^\n]*)", re.MULTILINE | re.DOTALL)
_CAUSE = re.compile(r"^Caused by: ([^\n]*)", re.MULTILINE)  # Java's
_JAVA = re.compile(r"^((?:\w+\.)+\w+(?:Exception|Error): [^\n]*)", re.MULTILINE)
_RPC = re.compile(r'^\s*details = "([^\n]+)"$', re.MULTILINE)  # of a service that is gone
_FULL = re.compile(r"java\.lang\.OutOfMemoryError(?:: [^\n]*)?")
_LOST = re.compile(
    r"TaskManager with id \S+ (?:is no longer reachable|timed out)|task ?manager '.*was lost"
)
_MORE = (
    "give TaskManagers more memory (taskmanager.memory.process.size; --memory of "
    "deploy/flink/cluster.py)"
)

WORKER_MEMORY = 1 << 30
"""What a worker process of a cluster may take where nobody said."""


def patience_of(runner: str) -> float:
    """Return for how many seconds a run's workers may be silent without being taken for dead."""
    return 900.0 if runner == "DataflowRunner" else DEAD  # machines are found, and load an image


def settle_runner(
    settings: S, beam_flags: Sequence[str], urls: Iterable[tuple[str, str]]
) -> tuple[S, Sequence[str]]:
    """Ask a cluster what it is, if one is to do the work; return settings and Beam's flags, filled in.

    Args:
        settings: as given.
        beam_flags: the user's own, for Beam.
        urls: flag and value of all that workers read and write.

    Raises:
        UsageError: there is no such cluster, or it can't do the work as it was asked; names the flag.
    """
    match settings.runner:
        case "FlinkRunner":
            from pipelines.flink import settle_flink

            return settle_flink(settings, beam_flags, urls)
        case "DataflowRunner":
            from pipelines.dataflow import settle_dataflow

            return settle_dataflow(settings, beam_flags, urls)
    for flag, given in (
        ("--parallelism", settings.parallelism),
        ("--shared_filesystem", settings.shared_filesystem),
        ("--no_wait", settings.no_wait),
    ):
        if given:
            also = ", or give --workers" if flag == "--parallelism" else ""
            raise UsageError(
                f"{flag} is for clusters, and --runner={settings.runner} works on this machine; leave "
                f"it out{also}"
            )
    return settings, beam_flags


def refuse_unshared(settings: RunSettings, urls: Iterable[tuple[str, str]], *, where: str) -> None:
    """Raise UsageError where something lies on this machine's disks, which workers don't see.

    ``where`` names the flag that says that the workers are elsewhere, with its value.
    """
    if settings.shared_filesystem:
        return
    for flag, url in urls:
        if url != "-" and storage.is_local(url):
            raise UsageError(
                f"{flag}={url}: a path on this machine, which the workers of {where} don't see; give "
                "a URL that they can reach (s3://, gs://, hdfs://), or --shared_filesystem if the path "
                "is the same folder on all machines"
            )


def share_cluster(settings: RunSettings, *, stores: bool = False, window: int = 0) -> Workers:
    """Return the workers of a cluster: each a process that has ``--memory`` for itself.

    Args:
        settings: whose parallelism is known.
        stores: whether they use stores.
        window: bytes that each one's decoder holds of a compressed file.

    Raises:
        UsageError: memory is too little; says what works.
    """
    memory = WORKER_MEMORY if settings.memory is None else settings.memory
    base = WORKER_BASE + (STORE_BASE if stores else 0) + window
    if memory < base + LEAST_PAYLOAD:
        raise UsageError(
            f"--memory={write_size(memory)} is too little for a worker process of the cluster, "
            f"{base // MIB} MiB of which the process itself takes; "
            f"--memory={math.ceil((base + LEAST_PAYLOAD) / MIB)}MiB works"
        )
    count = settings.parallelism or 1
    return Workers(count, count, memory - base, memory)


def says(beam_flags: Sequence[str], name: str) -> bool:
    """Return whether a flag is among those for Beam."""
    return any(flag == f"--{name}" or flag.startswith(f"--{name}=") for flag in beam_flags)


def beam_options(beam_flags: Sequence[str]) -> dict[str, Any]:
    """Return the values of all of Beam's options, by name."""
    from apache_beam.options.pipeline_options import PipelineOptions

    return dict(PipelineOptions(list(beam_flags)).get_all_options())


def explain_failure(text: str, state: str, *, runner: str) -> BaseException:
    """Make an error that a person can read of what a runner reports of a job that failed.

    Args:
        text: all that it says, with workers' tracebacks.
        state: the job's last one, for where it says nothing.
        runner: its name.
    """
    found = from_traceback(text)
    if found is not None:
        return found
    full = _FULL.search(text)
    if full is not None and runner == "FlinkRunner":
        return RunError(f"the job failed: a TaskManager ran out of memory ({full[0]}); {_MORE}")
    lines = _PYTHON.findall(text) or _CAUSE.findall(text) or _JAVA.findall(text)
    lines = lines or [f"{said} (is the cluster still there?)" for said in _RPC.findall(text)]
    why = lines[-1] if lines else text.strip().rpartition("\n")[2] or f"its state is {state}"
    if _LOST.search(why):  # a Java that ends for want of memory can't tell anybody
        why += (
            "; one that is lost each time has mostly run out of memory (its own output says so, and its "
            f"exit code is 3): {_MORE}"
        )
    return RunError(f"the job failed: {why}")
