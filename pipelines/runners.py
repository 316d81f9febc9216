"""Where the work is done: what differs between runners, and is looked at before work starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from transforms import storage
from transforms.errors import UsageError
from transforms.kernels.plan import LEAST_PAYLOAD, MIB, STORE_BASE, WORKER_BASE, Workers

if TYPE_CHECKING:
    from pipelines.recipe import RunSettings

S = TypeVar("S", bound="RunSettings")
CLUSTERS = ("FlinkRunner", "DataflowRunner")
"""Runners whose workers are elsewhere, and go on when the process that submitted the work ends."""

PORTABLE = ("FlinkRunner", "PrismRunner")
"""Runners that take a pipeline by Beam's job service; see ``pipelines.remote``."""

WORKER_MEMORY = 1 << 30
"""What a worker process of a cluster may take where nobody said."""

ENGINE_MOST = 250 * MIB
"""Bytes of input that may cross through Flink's own GroupByKey; see docs/flink.md."""


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
            raise UsageError(
                "--runner=DataflowRunner: expected DirectRunner, FlinkRunner or PrismRunner"
            )
    for flag, given in (
        ("--parallelism", settings.parallelism),
        ("--shared_filesystem", settings.shared_filesystem),
    ):
        if given:
            raise UsageError(
                f"{flag} is for clusters, and --runner={settings.runner} works on this machine; leave "
                "it out, or give --direct_num_workers"
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
            f"--memory={memory / MIB:.0f}MiB is too little for a worker process of the cluster, "
            f"{base // MIB} MiB of which the process itself takes; "
            f"--memory={math.ceil((base + LEAST_PAYLOAD) / MIB)}MiB works"
        )
    count = settings.parallelism or 1
    return Workers(count, count, memory - base)


def choose_exchange(runner: str, asked: str, input_bytes: int) -> str:
    """Return how records cross between workers: ``files`` or ``engine``.

    Raises:
        UsageError: engine on Flink, for more than it holds.
    """
    if asked != "engine":
        return "files"
    if runner == "FlinkRunner" and input_bytes > ENGINE_MOST:
        raise UsageError(
            f"--exchange=engine: {input_bytes / 1e6:.0f} MB of input, and Flink's own grouping holds "
            f"what it groups in its TaskManagers' memory: up to {ENGINE_MOST // MIB} MiB was seen to "
            "work; leave --exchange out, which takes files"
        )
    return "engine"
