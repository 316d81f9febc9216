"""What splitting costs a worker beside reading: processor seconds per GB, and memory of counted splits.

Lines are read already, with their hashes, as ``ReadRecords`` gives them; hashing them is the yardstick.
Of shares: finding each record's split, and parting blocks. Of counted splits: the pass that counts, and
the memory that it takes, for records that are all different, which is the worst case.

    python bench/splits.py --bytes=500000000 --count=1000000 --contents=20000000
"""

from __future__ import annotations

import argparse
import resource
import time
from fractions import Fraction
from pathlib import Path

import apache_beam as beam
import common
import machine
import numpy as np
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from transforms.datasets.identity import FileId
from transforms.kernels.randomness import mix
from transforms.kernels.records import blocks, compiling
from transforms.kernels.records.contents import Hashes, content_hashes
from transforms.kernels.records.digest import record_hashes
from transforms.kernels.splitting.plan import Counted, Part, SplitPlan
from transforms.splitting.count_contents import CountContents
from transforms.splitting.split_records import take

PLAN = SplitPlan(
    parts=(Part("validation", share=Fraction(1, 200)), Part("test", share=Fraction(1, 200)))
)
LINE = 287  # bytes, as of the corpora of fast.py
BLOCK = 2 << 20
_STEP = 10_000  # records of a block that is counted


def make_block(number: int) -> pa.RecordBatch:
    """Return a block of lines."""
    count = BLOCK // LINE
    offsets = np.arange(count + 1, dtype=np.int64) * LINE
    words = mix(np.arange(number << 32, (number << 32) + BLOCK // 8, dtype=np.uint64))
    values = words.view(np.uint8)[: int(offsets[-1])]
    positions = offsets[:-1].astype(np.uint64)
    return blocks.from_buffer(values, offsets=offsets, positions=positions, line_end=b"")


def time_shares(size: int) -> None:
    """Print what each step takes per GB."""
    taken = dict.fromkeys(("record_hashes", "shares", "parting"), 0.0)
    origin = FileId("web", "a.txt")
    count = max(size // BLOCK, 1)
    for number in range(count):
        block = make_block(number)
        begin = time.thread_time()
        record_hashes(*blocks.extents(block))
        hashed = time.thread_time()
        parts = PLAN.split(*content_hashes(block))
        found = time.thread_time()
        for split in range(len(PLAN.names)):
            take(origin, block, parts, split)
        taken["record_hashes"] += hashed - begin
        taken["shares"] += found - hashed
        taken["parting"] += time.thread_time() - found
    common.header("step", "s/GB", "of record_hashes")
    for name, seconds in taken.items():
        per = seconds / (count * BLOCK / 1e9)
        common.row(name, f"{per:.3f}", f"{seconds / taken['record_hashes']:.2f}")


def count_contents(asked: int, contents: int) -> None:
    """Print what counting takes per million records, and of memory, in this process."""
    plan = SplitPlan(parts=(Part("test", count=asked),))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as root:
        _ = (
            root
            | beam.Create(list(range(0, contents, _STEP)), reshuffle=False)
            | beam.Map(_numbered, contents)
            | CountContents(plan=plan, contents=_hashes)
            | beam.Map(_require, min(asked, contents))
        )
    seconds = time.process_time() - begin
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    common.header("asked", "contents", "s per million", "MiB more", "bytes per record asked")
    common.row(
        f"{asked:,}",
        f"{contents:,}",
        f"{seconds / contents * 1e6:.3f}",
        f"{grown / common.MIB:.0f}",
        f"{grown / asked:.0f}",
    )


def _numbered(start: int, contents: int) -> tuple[FileId, pa.RecordBatch]:
    """Return a block of records of nothing, whose contents are told by their places."""
    positions = np.arange(start, min(start + _STEP, contents), dtype=np.uint64)
    offsets = np.zeros(len(positions) + 1, np.int64)
    block = blocks.from_buffer(
        np.zeros(0, np.uint8), offsets=offsets, positions=positions, line_end=b"", hashed=False
    )
    return FileId("web", "a.txt"), block


def _hashes(block: pa.RecordBatch) -> Hashes:
    hash0 = mix(blocks.column(block, "position"))
    return hash0, ~hash0


def _require(counted: tuple[Counted, ...], records: int) -> None:
    if counted[0].records != records:
        raise SystemExit(f"expected {records} records, got {counted[0].records}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=float, default=5e8)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--contents", type=int, default=20_000_000)
    args = parser.parse_args()
    machine.describe(Path.cwd(), terashuf=None)
    compiling.use_loops()
    count_contents(args.count, args.contents)
    time_shares(int(args.bytes))


if __name__ == "__main__":
    main()
