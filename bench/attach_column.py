"""Attaching: what a value costs a JSON line and a row, what AttachColumn's table takes, windows.

    python bench/attach_column.py kernel REVIEWS.jsonl     # MB/s and µs a record, on one core
    python bench/attach_column.py memory --keys=6000000    # of one process, runner and worker at once
    python bench/attach_column.py windows                  # ns a token, as arrays and as blocks

Times are processor time, the best of a few rounds.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from transforms.datasets.attach_column import AttachColumn
from transforms.datasets.identity import FileId
from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.windows import windows
from transforms.kernels.records import blocks, compiling
from transforms.kernels.records.attach import attach
from transforms.packing.window_tokens import WindowTokens

MIB = 1 << 20
RECORDS = 8192  # of a block
KEYS = 500_000  # of a table


def best(do: Callable[[], object], rounds: int) -> float:
    found = []
    for _ in range(rounds):
        begin = time.process_time()
        do()
        found.append(time.process_time() - begin)
    return min(found)


def kernel(path: Path, rounds: int) -> None:
    values = np.frombuffer(path.read_bytes(), np.uint8)
    offsets = np.concatenate([[0], np.flatnonzero(values == 10) + 1])
    positions = offsets[:-1].astype(np.uint64)
    lines = blocks.from_buffer(
        values, offsets=offsets, positions=positions, line_end=b"\n", hashed=False
    )
    record = pa.StructArray.from_arrays(
        [blocks.bare(lines).cast(pa.large_string())], names=["text"]
    )
    rows = blocks.without_hashes(blocks.from_rows(record, positions=positions))
    weights = pa.array(np.exp(np.sin(np.arange(len(lines)))))
    compiling.use_loops()
    for name, block in (("JSON lines", lines), ("rows", rows)):

        def each(block: pa.RecordBatch = block) -> None:
            for at in range(0, len(block), RECORDS):
                attach(block.slice(at, RECORDS), "weight", weights.slice(at, RECORDS))

        each()
        took = best(each, rounds)
        rate, cost = len(values) / took / 1e6, took / len(block) * 1e6
        print(
            f"{name}: {rate:,.0f} MB/s, {cost:.2f} µs a record of {len(values) / len(block):.0f} B"
        )


def _table(number: int) -> pa.RecordBatch:
    ids = np.arange(number * KEYS, (number + 1) * KEYS)
    return pa.record_batch({"id": pa.array(ids), "value": pa.array(ids % 7)})


def memory(keys: int) -> None:
    ids = pa.StructArray.from_arrays([pa.array(np.arange(0, keys, 60))], names=["id"])
    block = blocks.from_rows(ids, positions=np.arange(len(ids), dtype=np.uint64))
    before, begin = peak(), time.process_time()
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as root:
        table = beam.Map(_table).with_output_types(pa.RecordBatch)
        values = root | beam.Create(range(keys // KEYS)) | table
        records = root | "Records" >> beam.Create([(FileId("s", "f"), block)])
        records | AttachColumn(name="value", values=values, by="id", memory=1 << 30)
    took = time.process_time() - begin
    print(
        f"{keys:,} keys with an integer each, {24 * keys / MIB:.0f} MiB: peak "
        f"{peak() - before:,.0f} MiB over what was there before, {took:.1f} s"
    )


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def window(rounds: int) -> None:
    tokens, length, step = 2_000_000, 8, 20_000
    ids = (np.arange(tokens) * 7919 % 30_000).astype(np.uint32)
    offsets = offsets_of([100] * (tokens // 100))
    lists: Any = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(ids))
    record = pa.StructArray.from_arrays([lists], names=["input_ids"])
    block = blocks.from_rows(record, positions=np.arange(len(record), dtype=np.uint64))

    def arrays() -> None:
        for at in range(0, tokens, step):
            windows(ids, offsets, length=length, pad=0, tokens=(at, at + step))

    def as_blocks() -> None:
        for _ in WindowTokens(length=length).windows_of(FileId("s", "f"), block):
            pass

    for name, do in (("arrays", arrays), ("blocks", as_blocks)):
        print(f"windows of {length} as {name}: {best(do, rounds) / tokens * 1e9:.0f} ns a token")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["kernel", "memory", "windows"])
    parser.add_argument("path", type=Path, nargs="?", help="JSON lines, of kernel")
    parser.add_argument("--keys", type=int, default=6_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.what == "kernel":
        kernel(args.path or parser.error("kernel: expected a file of JSON lines"), args.rounds)
    elif args.what == "memory":
        memory(args.keys)
    else:
        window(args.rounds)


if __name__ == "__main__":
    main()
