"""What each kernel takes, in processor seconds per GB of records, beside SHA-256 as a yardstick.

The kernels get what a worker gives them: chunks, runs and buckets of the sizes that the plan for
4 GB, 1 GiB of memory and two workers has, under the workers' settings of the allocator, and compiled
loops, unless ``--numpy`` asks for the passes that small jobs take. Each round runs all of them in
turn, so each round gives a ratio to SHA-256. The last line adds them up as often as a record meets
them in a shuffle.

    python bench/kernels.py --bytes=134217728 --rounds=5
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np
import pyarrow as pa

from pipelines.runners.worker_processes import ENVIRONMENT
from transforms.kernels.planning.plan import make_plan, share_memory
from transforms.kernels.randomness import file_key
from transforms.kernels.records import blocks, compiling, sorting
from transforms.kernels.records.digest import record_hashes
from transforms.kernels.records.lines import line_offsets
from transforms.shuffling import spill_pages

Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
YARDSTICK = "sha256"
CALLS = {"line_offsets": 2, "record_hashes": 2}  # when reading, and again on what is written
ALLOCATOR = {k: v for k, v in ENVIRONMENT.items() if k != "PYTHONSAFEPATH"}
PLAN = make_plan(input_bytes=4_000_000_000, workers=share_memory(common.GIB, count=2, processes=2))


def chunks_of(data: Bytes) -> list[Bytes]:
    """Cut a corpus into chunks of whole lines."""
    ends, at = [], 0
    offsets = line_offsets(data, 10)
    while at < offsets[-1]:
        at = int(offsets[np.searchsorted(offsets, at + PLAN.chunk_bytes, side="right") - 1])
        ends.append(at)
    return [data[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def time_kernels(data: Bytes) -> dict[str, float]:
    """Run every kernel over the corpus; return seconds by name."""
    taken: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begin = time.thread_time()
        out = work()
        taken[name] = time.thread_time() - begin
        return out

    chunks = chunks_of(data)
    timed(YARDSTICK, lambda: [hashlib.sha256(chunk.data).digest() for chunk in chunks])
    offsets = timed("line_offsets", lambda: [line_offsets(chunk, 10) for chunk in chunks])
    lines = list(zip(chunks, offsets, strict=True))
    timed("record_hashes", lambda: [record_hashes(c, o, b"\n") for c, o in lines])
    begins = np.cumsum([0, *map(len, chunks)]).astype(np.uint64)
    positions = [o[:-1].astype(np.uint64) + at for o, at in zip(offsets, begins[:-1], strict=True)]
    read = [
        blocks.from_buffer(c, offsets=o, positions=p, line_end=b"\n")
        for (c, o), p in zip(lines, positions, strict=True)
    ]
    pair = file_key(seed=0, epoch=0, source="default", pass_number=0, file_name="corpus")
    keyed = timed("with_keys", lambda: [blocks.with_keys(block, pair) for block in read])
    per_run = max(1, PLAN.run_bytes // blocks.block_footprint(keyed[0]))
    parts = [keyed[low : low + per_run] for low in range(0, len(keyed), per_run)]
    runs = timed("sort_run", lambda: [sorting.sort_run(part) for part in parts])
    cut = [
        list(spill_pages.cut_run(run, parts=PLAN.buckets, page_bytes=PLAN.page_bytes))
        for run in runs
    ]
    encoded = timed(
        "encode_page",
        lambda: [[spill_pages.encode_page(b, sources=1) for _, b in run] for run in cut],
    )
    pages = [pa.py_buffer(b"".join(parts)) for run in encoded for parts in run]
    decoded = timed(
        "decode_page",
        lambda: [spill_pages.decode_page(page).block for page in pages],
    )
    # a bucket's worth of pages, whatever their keys: the work is the same
    count = max(1, round(len(data) * PLAN.buckets / 4e9))
    groups = [decoded[i::count] for i in range(count)]
    timed("gather", lambda: [sorting.gather(group) for group in groups])
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, help="line file; its first --bytes are taken")
    parser.add_argument("--bytes", type=int, default=128 << 20, help="(default 128 MiB)")
    parser.add_argument("--rounds", type=int, default=5, help="(default 5)")
    parser.add_argument("--numpy", action="store_true", help="without compiled loops")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    with common.work_folder(args) as folder:
        file = common.corpus(args, folder, args.bytes)
        data = np.fromfile(file, np.uint8, args.bytes)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    data = data[: int(np.flatnonzero(data == 10)[-1]) + 1]
    print(f"- input: {len(data) / 1e9:.3f} GB of lines, one thread, {args.rounds} rounds")
    if args.numpy:
        compiling.tell(False)
    else:
        compiling.load_loops()
    rounds = []
    for number in range(args.rounds + 1):
        common.say(f"round {number} of {args.rounds}")
        rounds.append(time_kernels(data))
    del rounds[0]  # it warms up
    for taken in rounds:
        total = sum(seconds * CALLS.get(name, 1) for name, seconds in taken.items())
        taken["all, as often as in a shuffle"] = total
    common.header(
        "kernel",
        "seconds per GB, least / median / most",
        "GB/s, median",
        "over sha256, least / median / most",
    )
    for name in rounds[0]:
        seconds = [taken[name] / len(data) * 1e9 for taken in rounds]
        ratios = [taken[name] / taken[YARDSTICK] for taken in rounds]
        common.row(
            name,
            common.spread(seconds, 3),
            f"{1 / statistics.median(seconds):.2f}",
            common.spread(ratios),
        )


if __name__ == "__main__":
    main()
