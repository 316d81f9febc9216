"""What runners have in common whose workers are elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

from pipelines.recipes.settings import RunSettings
from transforms.errors import RunError, UsageError, from_traceback
from transforms.kernels.planning.plan import MIB
from transforms.storage import files as storage

S = TypeVar("S", bound=RunSettings)
CLUSTERS = ("FlinkRunner", "DataflowRunner")
"""Runners whose workers are elsewhere, and go on when the process that submitted the work ends."""

PORTABLE = ("FlinkRunner", "PrismRunner")
"""Runners that take a pipeline by Beam's job service; see ``pipelines.runners.remote``."""

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


def span_bytes_for(runner: str, span_bytes: int) -> int:
    """Return how large spans are that a runner hands out, by how large others hand them out.

    A cluster hands all of them out before any is read: many are more even.
    """
    return max(span_bytes // 8, MIB) if runner in CLUSTERS else span_bytes


def refuse_unshared(settings: RunSettings, urls: Iterable[tuple[str, str]], *, where: str) -> None:
    """Raise UsageError where something lies on this machine's disks, which workers don't see.

    ``where`` names the flag that says that the workers are elsewhere, with its value.
    """
    if settings.shared_filesystem:
        return
    instead = "pass a URL that they can reach (s3://, gs://, hdfs://)"
    if settings.runner != "DataflowRunner":
        instead += ", or --shared_filesystem if the path is the same folder on all machines"
    for flag, url in urls:
        if url != "-" and storage.is_local(url):
            raise UsageError(
                f"{flag}={url}: a path on this machine, which the workers of {where} can't "
                f"see; {instead}"
            )


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
            "; a TaskManager that is lost every time has usually run out of memory (its own "
            f"output says so, and its exit code is 3): {_MORE}"
        )
    return RunError(f"the job failed: {why}")
