"""What blocks hold in memory is what their footprint counts, whatever reader they are from."""

from __future__ import annotations

import dataclasses
import gc
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.transforms.formats.samples import PACK, samples, write_plainly
from transforms.formats import texts
from transforms.formats.line_format import LineFormat
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import open_span
from transforms.kernels.records import blocks, compiling, find_bad
from transforms.kernels.records.arrow_values import behind, held, is_part

BESIDE = 1 << 8
"""Bytes that each column of a block may take beside what is counted: objects, and padding to 64."""


class File(NamedTuple):
    """A file's name and content, and how it is read."""

    name: str
    data: bytes
    options: ReadOptions


def parquet_of(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def arrow_of(table: pa.Table, new: Any = pa.ipc.new_file) -> bytes:
    sink = io.BytesIO()
    with new(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue()


WORDS = [f"word {i} " * (i % 7) for i in range(300)]
TEXTS = pa.table({"text": WORDS, "beside": ["x" * 500] * 300})
TOKENS = pa.table(
    {"ids": pa.array([list(range(i % 40)) for i in range(300)], pa.list_(pa.uint16()))}
)
JSON = b"".join(json.dumps({"text": word}).encode() + b"\n" for word in WORDS)

FILES = {
    **{
        sample.id: File(
            sample.name, write_plainly(sample), ReadOptions(rows=sample.kind != "lines")
        )
        for sample in samples()
    },
    **{
        f"texts of {kind}": File(f"a.{kind}", data, ReadOptions(text_field="text"))
        for kind, data in {
            "jsonl": JSON,
            "jsonl.gz": PACK["gzip"](JSON),
            "parquet": parquet_of(TEXTS),
            "arrow": arrow_of(TEXTS),
        }.items()
    },
    "texts of lines": File("a.txt", "\n".join(WORDS).encode(), ReadOptions(text_field="text")),
    "tokens in parquet": File("a.parquet", parquet_of(TOKENS), ReadOptions(rows=True)),
    "tokens in arrow": File("a.arrow", arrow_of(TOKENS), ReadOptions(rows=True)),
    "tokens in a stream": File(
        "a.arrow", arrow_of(TOKENS, pa.ipc.new_stream), ReadOptions(rows=True)
    ),
    "an array": File(
        "a.json", json.dumps([{"t": w} for w in WORDS], indent=1).encode(), ReadOptions()
    ),
    "csv": File(
        "a.csv",
        b"a,b\n" + b"".join(b'%d,"%s"\n' % (i, b"y\n" * (i % 5)) for i in range(300)),
        ReadOptions(line_format=LineFormat(header=b"a,b\n", header_lines=1, quoted=True)),
    ),
}


@pytest.fixture(autouse=True, scope="module")
def _collect_only_what_is_new() -> Iterator[None]:
    """Set aside what other tests left: to look at all of it takes a second of each test."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _no_compiled_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weigh what blocks hold alone: calls of numba leave a kilobyte in numpy's lists of free memory."""
    for module in (compiling, find_bad, texts):
        monkeypatch.setattr(module, "loops_for", lambda size: None)


def taken() -> int:
    """Return the bytes that Arrow, numpy and Python have taken and not given back."""
    gc.collect()
    return pa.total_allocated_bytes() + tracemalloc.get_traced_memory()[0]


def measure(read: Callable[[], list[pa.RecordBatch]]) -> tuple[int, int]:
    """Return what the blocks that are kept hold, and what is counted, with a little for each.

    The least of three times: what other threads take meanwhile, such as pytest-xdist's, is seen too.
    """
    read()  # whatever is made once is there
    return min(_measure_once(read) for _ in range(3))


def _measure_once(read: Callable[[], list[pa.RecordBatch]]) -> tuple[int, int]:
    gc.collect()
    tracemalloc.start()
    try:
        before = taken()
        kept = read()
        after = taken()
    finally:
        tracemalloc.stop()
    beside = sum(BESIDE * (block.num_columns + _leaves(block.schema)) for block in kept)
    return after - before, sum(map(blocks.block_footprint, kept)) + beside


def _leaves(kind: Any) -> int:
    """Return how many columns a type or a schema is made of."""
    count = kind.num_fields if isinstance(kind, pa.DataType) else len(kind)
    return sum(_leaves(kind.field(i).type) for i in range(count)) or 1


def read_whole(file: File, *, chunk_bytes: int = 2 << 20) -> list[pa.RecordBatch]:
    reader = open_span(
        io.BytesIO(file.data),
        ReadTask(
            name=file.name,
            size=len(file.data),
            stop=len(file.data),
            options=dataclasses.replace(file.options, chunk_bytes=chunk_bytes),
        ),
    )
    return [found.block for found in reader if len(found.block)]


@pytest.mark.parametrize("name", FILES)
def test_blocks_of_small_files_hold_what_is_counted(name: str) -> None:
    holds, counted = measure(lambda: [b for _ in range(3) for b in read_whole(FILES[name])])
    assert 0 < holds <= counted


@pytest.mark.parametrize("name", FILES)
def test_the_last_piece_of_a_file_does_not_hold_those_before(name: str) -> None:
    many = len(read_whole(FILES[name], chunk_bytes=4 << 10))
    assert many > 1 or name.startswith(("lines", "an array", "csv", "texts of"))
    holds, counted = measure(lambda: read_whole(FILES[name], chunk_bytes=4 << 10)[-1:])
    assert 0 < holds <= counted


def test_a_line_beside_a_long_one_holds_no_room_for_it() -> None:
    data = b"short\n" + b"x" * (3 << 20) + b"\nlast\n"
    file = File("a.txt", data, ReadOptions())
    read = lambda: [b for b in read_whole(file) if blocks.payload_bytes(b) < 100]  # noqa: E731
    assert len(read()) == 1
    holds, counted = measure(read)
    assert holds <= counted


def test_a_buffer_that_its_lines_fill_is_not_copied() -> None:
    values = np.frombuffer(b"abcdefg\n" * 1000, np.uint8).copy()
    offsets = np.arange(0, 7601, 8)
    block = blocks.from_buffer(
        values, offsets=offsets, positions=offsets[:-1].astype(np.uint64), line_end=b"\n"
    )
    assert np.shares_memory(blocks.extents(block)[0], values)
    few = blocks.from_buffer(
        values, offsets=offsets[5:10], positions=np.arange(4, dtype=np.uint64), line_end=b"\n"
    )
    assert blocks.records(few) == [b"abcdefg"] * 4
    assert not np.shares_memory(blocks.extents(few)[0], values)


def test_a_large_batch_that_its_rows_fill_is_not_copied() -> None:
    table = pa.table({"id": np.arange(100_000), "other": np.arange(100_000)})
    file = File("a.arrow", arrow_of(table), ReadOptions(rows=True))
    whole = pa.total_allocated_bytes()
    (block,) = read_whole(file, chunk_bytes=8 << 20)
    record = block.column("record")
    (root,) = {b.parent.address for b in record.buffers() if b is not None and b.parent is not None}
    assert root
    assert held(record) > table.nbytes
    assert pa.total_allocated_bytes() - whole < 2 * table.nbytes + (4 << 20)


def test_the_whole_buffer_counts_behind_views_of_views() -> None:
    base = np.zeros(1000, np.uint8)
    assert behind(base[10:20][2:4]) == 1000
    body = pa.py_buffer(bytes(5000))
    assert behind(np.frombuffer(body.slice(8, 80), np.uint8)[4:8]) == 5000
    assert held(pa.array([1, 2, 3]).slice(1, 1)) >= 24
    assert not is_part(7 << 20, 8 << 20)
    assert is_part(6 << 20, 8 << 20)
