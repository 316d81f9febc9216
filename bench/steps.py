"""Where the time of shuffling zstd lines or Parquet goes: each step of a worker, alone, on one core.

A corpus of JSON lines is written as one file of either kind, and goes the way that a worker takes with
it: read into blocks, a run of all of them sorted and cut into pages, pages decoded, their records
gathered in order, written as a shard, and that read back. Columns are user and system CPU seconds a GB
of lines. Steps that are indented are parts of the one above, taken alone. What a command takes beside:
interpreters that start, the runner, files written, and a copy or two between the steps.

    python bench/steps.py --bytes=2.5e8 --rounds=3 --seed_file=POEMS.jsonl
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import common
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from backports import zstd
from formats import make
from kernels import ALLOCATOR, PLAN

from transforms.formats.detection import FileFormat
from transforms.formats.read_back import shard_digest
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import open_span
from transforms.formats.writing import ShardFormat, open_writer
from transforms.kernels.randomness import file_key
from transforms.kernels.records import blocks, find_bad, sorting
from transforms.kernels.records.compiling import use_loops
from transforms.shuffling import spill_pages

_CHUNK = {"parquet": 8 << 20, "zstd": PLAN.chunk_bytes}
_PIECE = 1 << 18


class Steps:
    """CPU seconds by step, over rounds."""

    def __init__(self) -> None:
        self.taken: dict[str, list[tuple[float, float]]] = {}

    def time(self, name: str, work: Callable[..., Any], *given: Any) -> Any:
        """Do it, note what it took, and return what it gave."""
        begin = os.times()
        found = work(*given)
        end = os.times()
        self.taken.setdefault(name, []).append((end.user - begin.user, end.system - begin.system))
        return found


def walk(steps: Steps, path: Path, kind: str) -> None:
    """Take all the steps once."""
    size = path.stat().st_size
    form = ShardFormat(compression="zstd")
    told = FileFormat.told("lines", "zstd")
    options = ReadOptions(chunk_bytes=_CHUNK[kind])
    schema = None
    if kind == "parquet":
        schema = pq.read_schema(path)
        form = ShardFormat(kind="parquet", compression="zstd", schema=schema, records_are="rows")
        told = FileFormat.told("parquet", "zstd")
        options = ReadOptions(chunk_bytes=_CHUNK[kind], rows=True)

    def read() -> list[pa.RecordBatch]:
        with path.open("rb", buffering=0) as file:
            task = ReadTask(name=path.name, size=size, stop=size, options=options)
            return [found.block for found in open_span(file, task, told=told)]

    def write(found: list[pa.RecordBatch]) -> bytes:
        sink = io.BytesIO()
        writer = open_writer(sink, form, path=path.name)
        for block in found:
            writer.write(block)
        writer.close()
        return sink.getvalue()

    found = steps.time("read into blocks", read)
    steps.time("- the codec's or Arrow's decoding", decode, path.read_bytes(), kind)
    if schema is not None:
        rows = [pa.RecordBatch.from_struct_array(block.column("record")) for block in found]
        steps.time("- UTF-8", each, find_bad.bad_rows, rows)
    bare = list(map(blocks.without_hashes, found))
    steps.time("- digests", each, blocks.hashes, bare)
    pair = file_key(seed=0, epoch=0, source="s", pass_number=0, file_name=path.name)
    keyed = steps.time("keys", each, partial(blocks.with_keys, pair=pair), found)
    found.clear()
    pages = steps.time("cut into pages", cut, steps.time("sort a run", sorting.sort_run, keyed))
    decoded = steps.time("decode pages", each, spill_pages.decode_page, pages)
    order = steps.time("gather", each, lambda page: sorting.gather([page.block]), decoded)
    data = steps.time("write a shard", write, order)
    steps.time("- the codec's or Arrow's encoding", encode, order, schema, data)
    steps.time("SHA-256 of a shard", hashlib.sha256, data)
    steps.time("read it back", read_back, data, form)
    steps.time("- the codec's or Arrow's decoding of it", decode, data, kind)


def each(work: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    """Do the same with each."""
    return [work(item) for item in items]


def cut(run: pa.RecordBatch) -> list[pa.Buffer]:
    """Cut a run into pages, encoded."""
    parts = spill_pages.cut_run(run, parts=32, page_bytes=PLAN.page_bytes)
    return [spill_pages.encode_page(page, sources=1) for _, page in parts]


def read_back(data: bytes, form: ShardFormat) -> None:
    """Do what a worker does before a shard appears."""
    shard_digest(io.BytesIO(data), path="s", size=len(data), form=form, just_written=True)


def decode(data: bytes, kind: str) -> None:
    """Decode a file by the library alone, as a worker asks it to."""
    if kind == "zstd":
        reader, at = zstd.ZstdDecompressor(), 0
        while not reader.eof:
            more = data[at : at + _PIECE] if reader.needs_input else b""
            at += len(more)
            reader.decompress(more, _PIECE)
        return
    file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
    for _ in file.iter_batches(1 << 15, use_threads=False):
        pass


def encode(found: list[pa.RecordBatch], schema: pa.Schema | None, data: bytes) -> None:
    """Encode records by the library alone, as a worker asks it to."""
    if schema is None:
        parts = zstd.ZstdCompressor(3)
        for block in found:
            parts.compress(blocks.payload(block))
        parts.flush()
        return
    first = pq.read_metadata(io.BytesIO(data)).row_group(0)
    columns = map(first.column, range(first.num_columns))
    with pq.ParquetWriter(
        io.BytesIO(),
        schema,
        compression="zstd",
        write_page_checksum=True,
        use_dictionary=[c.path_in_schema for c in columns if c.has_dictionary_page],
    ) as writer:
        rows = pa.concat_arrays([block.column("record") for block in found])
        table = pa.Table.from_struct_array(rows).cast(schema)
        writer.write_table(table, row_group_size=first.num_rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, help="JSON lines to make the file of")
    parser.add_argument(
        "--bytes", type=float, default=2.5e8, help="without --input (default 2.5e8)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    use_loops()  # as in a large run
    with common.work_folder(args) as folder:
        corpus = common.corpus(args, folder, args.bytes)
        size = corpus.stat().st_size / 1e9
        for kind in ("zstd", "parquet"):
            (path,) = make(kind, corpus, folder / kind, files=1).iterdir()
            steps = Steps()
            for number in range(args.rounds + 1):
                common.say(f"{kind}, round {number} of {args.rounds}")
                if number == 1:
                    steps = Steps()  # what came before is compiled and in caches
                walk(steps, path, kind)
            common.header(f"{kind}, {size:.2f} GB of lines", "user s/GB", "system s/GB")
            total = np.zeros(2)
            for name, taken in steps.taken.items():
                both = [statistics.median(part) / size for part in zip(*taken, strict=True)]
                if not name.startswith("- "):
                    total += both
                common.row(name, *(f"{seconds:.2f}" for seconds in both))
            common.row("all steps", *(f"{seconds:.2f}" for seconds in total))


if __name__ == "__main__":
    main()
