"""The plan: from sizes and memory to shards, buckets and runs. Pure arithmetic.

The output depends on the number of shards only, which follows from recipe and listing. Everything
else here changes how the work is cut, never a byte of what comes out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict, Unpack

from transforms.errors import UsageError
from transforms.kernels.planning.levels import LOCAL_SEGMENT, STORE_SEGMENT, choose_partitions

MIB = 1 << 20
SHARD_BYTES = 256 * MIB
GIB = 1 << 30

LAUNCHER_BASE = 190 * MIB
"""What a launcher takes before it holds any payload: Python, Beam, Arrow, numpy."""
WORKER_BASE = 150 * MIB
"""What a further worker process takes before it holds any payload, shared pages split."""
FORK_SERVER_BASE = 120 * MIB
"""What the process takes that workers are forked from, measured by ``bench/start_up.py``."""
FORKED_BASE = 60 * MIB
"""What a worker process takes that was forked, beside the pages that all of them share."""
STORE_BASE = 96 * MIB
"""What each process takes beside that where it uses a store: the client (s3fs 60 MiB), and what is
read ahead or waits to be sent."""
_FILE_COST = 370  # bytes, measured with a million and two workers
LEAST_PAYLOAD = 24 * MIB
"""A worker with less would cut runs too small to be worth their overhead."""
GOOD_PAYLOAD = 96 * MIB
"""By default there are as many workers as each can have this much."""
SMALL = 64 * MIB
"""Up to this input, where its bytes take long (tokenizing, stores), one worker is as fast as several,
which take a second more to start."""
SMALL_TO_COMPRESS = 256 * MIB
"""The same where shards are compressed slowly: below this there is one shard, so one writer."""
SMALL_TO_SHUFFLE = 384 * MIB
"""The same for all other shuffles of local files (``bench/workers.py``)."""
RECORDS = 4
"""How many records of the largest size a worker may have to hold at once, with their copies."""
_MOST_PARTITIONS = 8192  # that are made for the sake of small shards


@dataclass(frozen=True, slots=True)
class Workers:
    """Who shares the machine's memory.

    Attributes:
        count: bundles that run at once.
        processes: worker processes beside the launcher; 0 where it does the work itself.
        payload: bytes that one bundle may hold.
        memory: bytes of the whole machine that all of them share.
        forked: the processes are forked from one.
    """

    count: int
    processes: int
    payload: int
    memory: int = 0
    forked: bool = False

    @property
    def slots(self) -> int:
        """Bundles that run at once inside one process."""
        return self.count if self.processes == 0 else self.count // self.processes


def files_room(files: int) -> int:
    """Return what a worker may take for input files beside its payload, in whole MiB.

    One of them lists them all, and one adds up what was read of them.
    """
    return files * _FILE_COST // MIB * MIB


class Taken(TypedDict, total=False):
    """What workers take beside their payload.

    Attributes:
        stores: whether they use stores.
        window: bytes that each bundle's decoder holds of a compressed file, and the like.
        forked: whether their processes are forked from one.
        shared: bytes of what each would load for itself, and forked processes have in common.
    """

    stores: bool
    window: int
    forked: bool
    shared: int


def base_memory(count: int, processes: int, **taken: Unpack[Taken]) -> int:
    """Return what so many workers, and the launcher, take before they hold any payload."""
    store = STORE_BASE if taken.get("stores") else 0
    base, copies = LAUNCHER_BASE + store + processes * (WORKER_BASE + store), count
    if processes and taken.get("forked"):
        base -= processes * (WORKER_BASE - FORKED_BASE) - FORK_SERVER_BASE
        copies = 1
    return base + count * taken.get("window", 0) + copies * taken.get("shared", 0)


def least_memory(count: int, processes: int, **taken: Unpack[Taken]) -> int:
    """Return the least memory that can be shared among workers; arguments as of ``share_memory``."""
    return base_memory(count, processes, **taken) + count * LEAST_PAYLOAD


def _size(size: int) -> str:
    """Write a number of bytes as a person would have given it."""
    units = {"MiB": MIB, "MB": 10**6}
    return next((f"{size // n}{unit}" for unit, n in units.items() if size % n == 0), str(size))


def share_memory(memory: int, *, count: int, processes: int, **taken: Unpack[Taken]) -> Workers:
    """Share ``memory`` (bytes, the whole machine's) among workers.

    Args:
        memory: bytes.
        count, processes: bundles at once, and worker processes beside the launcher.
        taken: beside payload.

    Raises:
        UsageError: it is too little; says what works.
    """
    base = base_memory(count, processes, **taken)
    least = least_memory(count, processes, **taken)
    if memory < least:
        need = math.ceil(least / MIB)
        alone = count > 1 and memory >= base_memory(1, 0, **taken) + LEAST_PAYLOAD
        fewer = ", or --workers=1 with this --memory" if alone else ""
        raise UsageError(
            f"--memory={_size(memory)} is too little for {count} "
            f"worker{'s' if count > 1 else ''}: the processes alone take {base // MIB} MiB; pass "
            f"--memory={need}MiB{fewer}"
        )
    forked = processes > 0 and taken.get("forked", False)
    return Workers(count, processes, (memory - base) // count, memory, forked)


def count_workers(
    memory: int,
    *,
    cores: int,
    input_bytes: int,
    small: int = SMALL,
    **taken: Unpack[Taken],
) -> int:
    """Return how many worker processes to start where nobody said: one a core, fewer where memory
    is short, none (the launcher works itself) where the input is small or memory for one only.

    ``small`` are the bytes of an input that is; other arguments as of ``share_memory``.
    """
    if input_bytes <= small:
        return 1
    for count in range(cores, 1, -1):
        if memory - base_memory(count, count, **taken) >= count * GOOD_PAYLOAD:
            return count
    return 1


def small_shuffle(compression: str, *, stores: bool) -> int:
    """Return the bytes of input up to which one worker shuffles as fast as several.

    Args:
        compression: of the shards.
        stores: whether anything lies on a store.
    """
    if stores:
        return SMALL
    return SMALL_TO_COMPRESS if compression in ("gzip", "bzip2", "xz") else SMALL_TO_SHUFFLE


@dataclass(frozen=True, slots=True)
class Plan:
    """How the work is cut.

    Attributes:
        partitions: ranges of keys that are grouped; for plain shards there is one a shard.
        buckets: ranges of keys at which runs are cut into segments; a multiple of ``partitions``.
        first: ranges of keys that are spilled by first, where segments would be too small otherwise;
            1 where runs are cut at their buckets at once.
        shards: how many, None where it follows from the count of records.
        span_bytes: of an input file that one worker reads.
        chunk_bytes: that are read at a time.
        run_bytes: footprint at which a run is sorted and handed on.
        bucket_bytes: footprint above which a range of keys is taken in halves.
        page_bytes: footprint above which a segment is cut into pages.
        segment_bytes: the least that a segment should have where the spill files lie.
        record_limit: the most bytes that a record may have.
    """

    partitions: int
    buckets: int
    first: int
    shards: int | None
    span_bytes: int
    chunk_bytes: int
    run_bytes: int
    bucket_bytes: int
    page_bytes: int
    segment_bytes: int
    record_limit: int


def count_shards(input_bytes: int, shard_bytes: int = SHARD_BYTES) -> int:
    """Return the default number of shards: input bytes over a shard's, rounded up to 1, 2 or 4k.

    Workers that write them, and trainers that read them, come in such numbers: with 15 shards one
    of two would stand idle at the end.
    """
    shards = max(1, -(-input_bytes // shard_bytes))
    return shards if shards <= 2 else math.ceil(shards / 4) * 4


def make_plan(
    *,
    input_bytes: int,
    workers: Workers,
    num_shards: int | None = None,
    shard_records: int | None = None,
    about_records: int = 0,
    rows: bool = False,
    spill_on_store: bool = False,
) -> Plan:
    """Plan a shuffle.

    Args:
        input_bytes: of all sources together.
        workers: who does it, and with how much memory.
        num_shards: asked for; by default ``count_shards``.
        shard_records: exactly this many records a shard (the last one has what is left).
        about_records: of the input, estimated.
        rows: records are rows, not lines.
        spill_on_store: spill files lie on a store.
    """
    # a run is alive twice while it is sorted, a bucket while it is gathered, and the allocators of
    # numpy and Arrow each keep what the other could use: measured, about 3.5 times its size
    most = min(workers.payload // 5, GIB)
    # large enough that segments (run * bucket / input) stay over 1 MiB, no larger: caches are small
    size = min(most, max(math.isqrt(input_bytes * MIB), 64 * MIB))
    shards = None
    if shard_records is None:
        shards = count_shards(input_bytes) if num_shards is None else num_shards
        partitions = shards
    else:
        # some to a shard, or its writer would sort much that belongs to others
        wished = min(4 * math.ceil(about_records / shard_records), _MOST_PARTITIONS)
        partitions = max(1, math.ceil(input_bytes / (size * 3 // 4)), wished)
    buckets = partitions
    while input_bytes / buckets > size * 3 / 4:
        buckets *= 2
    span = min(max(input_bytes // (workers.count * 16), 4 * MIB), 256 * MIB)
    least = STORE_SEGMENT if spill_on_store else LOCAL_SEGMENT
    return Plan(
        partitions=partitions,
        buckets=buckets,
        first=choose_partitions(
            input_bytes=input_bytes,
            runs=math.ceil(input_bytes / size),
            buckets=buckets,
            workers=workers.count,
            payload=workers.payload,
            segment_bytes=least,
        ),
        shards=shards,
        span_bytes=span,
        # lines are quickest where a chunk stays in a cache, rows where batches are few
        chunk_bytes=min(8 * MIB if rows else 2 * MIB, max(workers.payload // 32, MIB // 4)),
        run_bytes=size,
        bucket_bytes=size,
        page_bytes=max(size // 8, MIB // 4),
        segment_bytes=least,
        record_limit=min(workers.payload // RECORDS, GIB),
    )


def spill_bytes(*, input_bytes: int, records: int) -> int:
    """Return what the spill files of a run take on disk: payload, and key and offset a record."""
    return input_bytes + records * 16 + 16 * MIB
