"""How many workers a run starts, and what memory each may take."""

from __future__ import annotations

import math

from pipelines.recipes.settings import RunSettings
from pipelines.recipes.wording import write_count, write_memory, write_size
from pipelines.runners.clusters import CLUSTERS
from pipelines.runners.forked import can_fork
from pipelines.runners.machine import cores_available, memory_available
from transforms.errors import UsageError
from transforms.kernels.planning.plan import (
    LEAST_PAYLOAD,
    MIB,
    SMALL,
    STORE_BASE,
    WORKER_BASE,
    Taken,
    Workers,
    count_workers,
    least_memory,
    share_memory,
)

WORKER_MEMORY = 1 << 30
"""What a worker process of a cluster may take where nobody said."""


def choose_workers(
    settings: RunSettings,
    input_bytes: int,
    *,
    stores: bool = False,
    window: int = 0,
    shared: int = 0,
    small: int = SMALL,
) -> Workers:
    """Choose workers from flags, cores, memory and size.

    ``window`` is what each one's decoder holds, ``shared`` what they have in common where they are
    forked, ``small`` as of ``count_workers``.

    Raises:
        UsageError: flags that contradict each other, or too little memory.
    """
    if settings.runner in CLUSTERS:
        return _share_cluster(settings, stores=stores, window=window + shared)
    taken = Taken(stores=stores, window=window, forked=can_fork(), shared=shared)
    there = memory_available()
    memory = settings.memory if settings.memory is not None else there // 2
    if memory > there:
        raise UsageError(
            f"--memory={memory / 2**30:.1f}GiB: this machine, or its control group, has "
            f"{there / 2**30:.1f} GiB; pass less"
        )
    cores = cores_available()
    count, mode = settings.workers, settings.direct_running_mode
    if settings.runner == "PrismRunner":  # Prism is a process, its workers are threads of ours
        mode = "multi_threading"
    if count is None:
        fits = count_workers(
            memory,
            cores=cores,
            input_bytes=input_bytes,
            small=small,
            **taken,
        )
        count = 1 if mode == "in_memory" else fits
    count = count or cores
    if mode == "in_memory" and count > 1:
        raise UsageError(
            f"--workers={count} and --direct_running_mode=in_memory: in memory, one worker "
            "runs in the launcher; pass multi_processing or multi_threading"
        )
    if mode is None:
        mode = "multi_processing" if count > 1 else "in_memory"
    processes = count if mode == "multi_processing" else 0
    least = least_memory(count, processes, **taken)
    if settings.memory is None and memory < least:  # --memory isn't to blame
        blame, remedy = "", f"--memory={math.ceil(least / MIB)}MiB"
        if settings.workers:
            blame, remedy = f"--workers={count}: ", "fewer"
        raise UsageError(
            f"{blame}{write_count(count, 'worker')} need{'s' if count == 1 else ''} "
            f"{write_memory(least)} of memory, but a run takes half of this machine's, which is "
            f"{write_memory(memory)}; pass {remedy}"
        )
    return share_memory(memory, count=count, processes=processes, **taken)


def _share_cluster(settings: RunSettings, *, stores: bool, window: int) -> Workers:
    """Return the workers of a cluster: each a process that has ``--memory`` for itself."""
    memory = WORKER_MEMORY if settings.memory is None else settings.memory
    base = WORKER_BASE + (STORE_BASE if stores else 0) + window
    if memory < base + LEAST_PAYLOAD:
        raise UsageError(
            f"--memory={write_size(memory)} is too little for a worker process of the cluster: "
            f"the process alone takes {base // MIB} MiB; pass "
            f"--memory={math.ceil((base + LEAST_PAYLOAD) / MIB)}MiB"
        )
    count = settings.parallelism or 1
    return Workers(count, count, memory - base, memory)
