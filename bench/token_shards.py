"""What token ids cost from the tokenizer to a proved shard, by format, encoding and compression.

Texts are tokenized in memory, then their ids go the way that a worker takes with them: rows and their
digests, encoded with the shard's SHA-256, read back and digested again. Times are milliseconds of
processor time a MB of text, sizes bytes of a shard a byte of text. Beside the formats of shards stand
other ways of Arrow to encode the same rows as Parquet; they are decoded in whole row groups.

    python bench/token_shards.py --model=MODEL --rounds=5
    python bench/token_shards.py --model=MODEL --rounds=5 --english --dtype=uint16
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from kernels import ALLOCATOR
from tokens import write_english

from dovetail import Tokenizer
from transforms.formats.read_back import shard_digest
from transforms.formats.writing import ShardFormat, open_writer
from transforms.kernels.records import blocks
from transforms.kernels.records.compiling import use_loops
from transforms.kernels.records.digest import Digest
from transforms.tokenization.models.texts import pack

_BLOCK_BYTES = 2 << 20  # of texts that a worker tokenizes at once
_LEAF = "input_ids.list.element"
SHARDS = [
    ("parquet", "zstd"),
    ("parquet", "lz4"),
    ("parquet", "none"),
    ("arrow", "zstd"),
    ("arrow", "lz4"),
    ("arrow", "none"),
]
SPLIT: dict[str, Any] = {"use_byte_stream_split": [_LEAF]}
ARROWS: dict[str, dict[str, Any]] = {
    "bytes apart, zstd": {**SPLIT, "compression": "zstd"},
    "bytes apart, zstd of level -1": {**SPLIT, "compression": "zstd", "compression_level": -1},
    "bytes apart, zstd, no statistics": {**SPLIT, "compression": "zstd", "write_statistics": False},
    "bytes apart, lz4": {**SPLIT, "compression": "lz4"},
    "plain, zstd": {"compression": "zstd"},
    "plain, none": {"compression": "none"},
    "deltas, zstd": {"compression": "zstd", "column_encoding": {_LEAF: "DELTA_BINARY_PACKED"}},
    "dictionary, zstd": {
        "compression": "zstd",
        "use_dictionary": True,
        "dictionary_pagesize_limit": 4 << 20,
    },
}


class _Sink(io.RawIOBase):
    """Hashes what is written, as a shard's file does, and keeps it where that is wanted."""

    def __init__(self, *, keep: bool) -> None:
        self._kept = io.BytesIO() if keep else None
        self._hasher = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        self._hasher.update(data)
        self.size += len(data)
        if self._kept is not None:
            self._kept.write(data)
        return len(data)

    @property
    def data(self) -> io.BytesIO:
        assert self._kept is not None
        return io.BytesIO(self._kept.getvalue())


def encode_shard(rows: list[pa.RecordBatch], form: ShardFormat, *, keep: bool = False) -> _Sink:
    """Write blocks as a worker does."""
    sink = _Sink(keep=keep)
    writer = open_writer(sink, form, path="shard")
    for block in rows:
        writer.write(block)
    writer.close()
    return sink


def encode_by_arrow(
    table: pa.Table, rows: int, options: dict[str, Any], *, keep: bool = False
) -> _Sink:
    """Write Parquet by Arrow, in row groups of so many rows."""
    sink = _Sink(keep=keep)
    given = {"use_dictionary": False, "write_page_checksum": True, **options}
    with pq.ParquetWriter(sink, table.schema, **given) as writer:
        writer.write_table(table, row_group_size=rows)
    return sink


def decode_by_arrow(file: io.BytesIO) -> None:
    """Read all row groups of Parquet, one after another."""
    parquet = pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
    for number in range(parquet.num_row_groups):
        parquet.read_row_group(number, use_threads=False)


def processor_time(work: Callable[[], Any]) -> float:
    """Return the seconds of processor time that work takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def rows_of(args: argparse.Namespace, path: Path) -> tuple[list[pa.StructArray], int]:
    """Tokenize the texts of JSON lines; return rows in blocks, and the bytes of the texts."""
    texts = [json.loads(line)["text"] for line in path.open("rb")]
    size = sum(len(text.encode()) for text in texts)
    tokenizer = Tokenizer.load(args.model)
    step = max(len(texts) * _BLOCK_BYTES // size, 1)
    out = []
    for begin in range(0, len(texts), step):
        found = tokenizer.encode_keyed(pack(texts[begin : begin + step]), _keys(texts, begin, step))
        ids = pa.array(found.ids.astype(args.dtype))
        lists = pa.ListArray.from_arrays(pa.array(found.offsets.astype(np.int32)), ids)
        out.append(pa.StructArray.from_arrays([lists], names=["input_ids"]))
    return out, size


def _keys(texts: list[str], begin: int, step: int) -> Any:
    return np.arange(begin, min(begin + step, len(texts)), dtype=np.uint64)


def main() -> None:
    os.environ.get("MALLOC_ARENA_MAX") or os.execve(
        sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR}
    )
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="what dovetail tokenize takes")
    parser.add_argument("--bytes", type=float, default=5e7, help="of JSON lines (default 5e7)")
    parser.add_argument("--dtype", default="uint32", help="of ids (default uint32)")
    parser.add_argument("--rounds", type=int, default=5, help="(default 5)")
    parser.add_argument("--english", action="store_true", help="docstrings in place of poems")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    use_loops()  # as a worker that tokenizes has numba
    with common.work_folder(args) as folder:
        if args.english:
            args.seed_file = folder / "english.jsonl"
            write_english(args.seed_file)
        records, size = rows_of(args, common.corpus(args, folder, args.bytes))
        megabytes = size / 1e6
        measure(args, records, megabytes)


def measure(args: argparse.Namespace, records: list[pa.StructArray], megabytes: float) -> None:
    """Measure all in turn, so many rounds, and print medians."""
    positions = [np.arange(len(found), dtype=np.uint64) for found in records]
    rows: list[pa.RecordBatch] = []

    def make() -> None:
        rows[:] = [
            blocks.from_rows(r, positions=p) for r, p in zip(records, positions, strict=True)
        ]

    make()
    schema = pa.schema(list(records[0].type))
    table = pa.Table.from_batches([pa.RecordBatch.from_struct_array(r) for r in records])
    table = table.combine_chunks()
    group = max(len(table) * (16 << 20) // table.nbytes, 1)
    want = Digest.total(blocks.digests(block, sources=1)[0] for block in rows)
    taken: dict[tuple[str, str], list[float]] = {}

    def timed(name: tuple[str, str], work: Callable[[], Any]) -> None:
        taken.setdefault(name, []).append(1000 * processor_time(work) / megabytes)

    sizes: dict[str, float] = {}
    for number in range(args.rounds):
        common.say(f"round {number + 1} of {args.rounds}")
        timed(("rows and their digests", "make"), make)
        for kind, compression in SHARDS:
            form = ShardFormat(
                kind=kind,  # type: ignore[arg-type]
                compression=compression,
                schema=schema,
                records_are="rows",
            )
            name = f"{kind}, {compression}"
            kept = encode_shard(rows, form, keep=True)
            timed((name, "encode"), lambda form=form: encode_shard(rows, form))

            def read_back(form: ShardFormat = form, kept: _Sink = kept) -> None:
                found = shard_digest(
                    kept.data, path="shard", size=kept.size, form=form, just_written=True
                )
                if found != want:
                    raise SystemExit(f"{form.kind}: {found}, not {want}")

            timed((name, "decode"), read_back)
            sizes[name] = kept.size / megabytes / 1e6
        for name, options in ARROWS.items():
            kept = encode_by_arrow(table, group, options, keep=True)
            timed((name, "encode"), lambda o=options: encode_by_arrow(table, group, o))
            timed((name, "decode"), lambda kept=kept: decode_by_arrow(kept.data))
            sizes[name] = kept.size / megabytes / 1e6
    made = common.spread(taken["rows and their digests", "make"])
    common.header("shards", "encode", "read back", "bytes a byte of text")
    common.row("rows and their digests", made, "", "")
    for name, ratio in sizes.items():
        if name == next(iter(ARROWS)):
            common.header("Arrow's Parquet", "encode", "decode", "bytes a byte of text")
        encode, decode = (common.spread(taken[name, what]) for what in ("encode", "decode"))
        common.row(name, encode, decode, f"{ratio:.3f}")


if __name__ == "__main__":
    main()
