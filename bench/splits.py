"""What splitting costs a worker beside reading: processor seconds per GB, and memory of counted splits.

Lines are read already, with their hashes, as ``ReadRecords`` gives them; hashing them is the yardstick.
Of shares: finding each record's split, and parting blocks. Of counted splits: the pass that counts, and
the memory that it takes, for records that are all different, which is the worst case; with labels too.
Of marks: the exchange by which contents of several splits or labels are found.

    python bench/splits.py --bytes=500000000 --count=1000000 --contents=20000000
"""

from __future__ import annotations

import argparse
import resource
import tempfile
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

from transforms.datasets.identity import FileId, Located, Origin, keep
from transforms.kernels.randomness import mix
from transforms.kernels.records import blocks, compiling
from transforms.kernels.records.contents import Hashes, content_hashes
from transforms.kernels.records.digest import record_hashes
from transforms.kernels.splitting.labels import Labels
from transforms.kernels.splitting.marks import SeveralMarks
from transforms.kernels.splitting.plan import Counted, Part, SplitPlan
from transforms.kernels.splitting.strata import Strata
from transforms.shuffling.spill_files import Spilling
from transforms.splitting.count_contents import CountContents
from transforms.splitting.find_several import FindSeveral, marked

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
            keep(origin, block, parts == split)
        taken["record_hashes"] += hashed - begin
        taken["shares"] += found - hashed
        taken["parting"] += time.thread_time() - found
    common.header("step", "s/GB", "of record_hashes")
    for name, seconds in taken.items():
        per = seconds / (count * BLOCK / 1e9)
        common.row(name, f"{per:.3f}", f"{seconds / taken['record_hashes']:.2f}")


def count_contents(asked: int, contents: int, labels: int | None) -> None:
    """Print what counting takes per million records, and of memory, in this process.

    Args:
        asked: records of the counted split.
        contents: that are there.
        labels: that are told apart; None for none.
    """
    plan = SplitPlan(parts=(Part("test", count=asked),))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as root:
        strata = None
        if labels is not None:
            every = {b"%d" % i: len(range(i, contents, labels)) for i in range(labels)}
            found = Strata.of(plan, "label", Labels.of(every))
            strata = root | "Strata" >> beam.Create([found])
        _ = (
            root
            | beam.Create(list(range(0, contents, _STEP)), reshuffle=False)
            | beam.Map(_numbered, contents, labels)
            | CountContents(plan=plan, contents=_hashes, strata=strata)
            | beam.Map(_require, min(asked, contents))
        )
    seconds = time.process_time() - begin
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    common.header(
        "requested", "contents", "labels", "s per million", "MiB more", "bytes per record requested"
    )
    common.row(
        f"{asked:,}",
        f"{contents:,}",
        "none" if labels is None else f"{labels:,}",
        f"{seconds / contents * 1e6:.3f}",
        f"{grown / common.MIB:.0f}",
        f"{grown / asked:.0f}",
    )


def _numbered(start: int, contents: int, labels: int | None) -> tuple[FileId, pa.RecordBatch]:
    """Return a block of records of nothing, whose contents are told by their places."""
    positions = np.arange(start, min(start + _STEP, contents), dtype=np.uint64)
    offsets = np.zeros(len(positions) + 1, np.int64)
    block = blocks.from_buffer(
        np.zeros(0, np.uint8), offsets=offsets, positions=positions, line_end=b"", hashed=False
    )
    if labels is not None:
        values = pa.array(positions.astype(np.int64) % labels)
        block = block.append_column("kept", pa.StructArray.from_arrays([values], names=["label"]))
    return FileId("web", "a.txt"), block


def time_marks(contents: int) -> None:
    """Print what it takes to find contents with several marks, per million records."""
    mean = contents // 2  # half of the records are there twice
    with tempfile.TemporaryDirectory() as folder:
        several = FindSeveral(spill=Spilling(folders=[folder]))
        begin = time.process_time()
        with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as root:
            _ = (
                root
                | beam.Create(list(range(0, contents, _STEP)), reshuffle=False)
                | beam.Map(_mark, mean)
                | several
                | beam.Map(_require_several, mean)
            )
        seconds = time.process_time() - begin
    common.header("records", "s per million to find contents with several marks")
    common.row(f"{contents:,}", f"{seconds / contents * 1e6:.3f}")


def _mark(start: int, mean: int) -> Located:
    numbers = np.arange(start, start + _STEP, dtype=np.uint64)
    hash0 = mix(numbers % np.uint64(mean))
    return marked(hash0, ~hash0, numbers // np.uint64(mean))


def _require_several(found: SeveralMarks, contents: int) -> None:
    if (found.contents, found.records) != (contents, 2 * contents):
        raise SystemExit(f"expected {contents} contents with two marks, got {found}")


def _hashes(_: Origin, block: pa.RecordBatch) -> Hashes:
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
    parser.add_argument("--labels", type=int, help="that counts tell apart; by default none")
    parser.add_argument("--records", type=int, default=1_000_000)
    args = parser.parse_args()
    machine.describe(Path.cwd(), terashuf=None)
    compiling.use_loops()
    count_contents(args.count, args.contents, args.labels)
    time_marks(args.records // (2 * _STEP) * 2 * _STEP)
    time_shares(int(args.bytes))


if __name__ == "__main__":
    main()
