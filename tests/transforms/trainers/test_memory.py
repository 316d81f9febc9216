"""What writers and readers hold doesn't grow with a shard."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from tests.transforms.trainers.support import EOS, dataset_of, facts_of, rows_for
from tests.transforms.trainers.test_contract import CASES
from transforms.kernels.packing.rows import Kind, Packing, Rows
from transforms.trainers import arrow, megatron_index, olmo_table, parquet, raw
from transforms.trainers.contract import Format, ShardFacts
from transforms.trainers.formats import FORMATS
from transforms.trainers.row_groups import few_at_once

_ROWS = 4000  # of a batch
_FEW, _MANY = 10, 60  # batches
_SLACK = 800_000  # bytes: half of what eight bytes a row would be


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let shards of a few batches have many groups."""
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 1 << 16)
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 1000)
    monkeypatch.setattr(arrow, "_BATCH_BYTES", 1 << 16)
    monkeypatch.setattr(raw, "READ_IDS", 1 << 14)
    monkeypatch.setattr(olmo_table, "_READ", 1 << 14)
    monkeypatch.setattr(megatron_index, "_CHUNK", 1 << 10)
    monkeypatch.setattr(megatron_index, "_SPOOL", 1 << 14)


class Counted(io.RawIOBase):
    """Takes what is written, and keeps no more than its size."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self.size += size
        return size

    def tell(self) -> int:
        return self.size


def peak_of(work: Callable[[], object]) -> int:
    """Return how many bytes work has at most, numpy's and Arrow's among them."""
    arrows = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(arrows)
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] + arrows.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


def writing(form: Format, dataset: Any, batches: int, sinks: dict[str, Any]) -> Callable[[], None]:
    rows = rows_for(form, dataset, count=_ROWS)
    one = facts_of(rows)
    facts = ShardFacts(rows=one.rows * batches, ids=one.ids * batches, filler=one.filler * batches)

    def write() -> None:
        writer = form.open_writer(cast("dict[str, Any]", sinks), dataset, facts)
        for _ in range(batches):
            writer.write(rows)
        writer.close()

    return write


FEWER = pytest.mark.parametrize(
    ("form", "options", "kind"),
    [case for case in CASES.args[1] if case.values[2] in ("none", "best_fit")],
)


@FEWER
def test_a_writer_holds_no_more_for_ten_times_as_much(
    form: Format, options: dict[str, Any], kind: Kind
) -> None:
    dataset = dataset_of(kind, options=options)
    sinks = [{suffix: Counted() for suffix in form.suffixes(dataset)} for _ in range(3)]
    writing(form, dataset, 2, sinks[0])()  # what is loaded once
    few = peak_of(writing(form, dataset, _FEW, sinks[1]))
    many = peak_of(writing(form, dataset, _MANY, sinks[2]))
    assert many < few + _SLACK


@FEWER
def test_a_reader_holds_no_more_for_ten_times_as_much(
    form: Format, options: dict[str, Any], kind: Kind
) -> None:
    dataset = dataset_of(kind, options=options)

    def reading(batches: int) -> Callable[[], None]:
        sinks = {suffix: io.BytesIO() for suffix in form.suffixes(dataset)}
        writing(form, dataset, batches, sinks)()
        for sink in sinks.values():
            sink.seek(0)

        def read() -> None:
            for _ in form.read(cast("dict[str, Any]", sinks), dataset):
                pass

        return read

    reading(2)()
    few, many = reading(_FEW), reading(_MANY)
    assert peak_of(many) < peak_of(few) + _SLACK


@pytest.mark.parametrize("name", ["flat", "megatron", "olmo"])
def test_filler_is_written_some_rows_at_a_time(name: str) -> None:
    """A window of documents of one id has a thousand times as much filler."""
    form, count, length = FORMATS[name], 10_000, 4096
    packing = Packing(kind="pad", length=length, end=EOS, end_at_cuts=True)
    dataset = replace(dataset_of("pad"), packing=packing)
    each = np.arange(count + 1, dtype=np.int64)
    ids, filler = np.full(count, EOS, np.uint16), np.full(count, length - 1, np.int64)
    window = Rows(ids, each, np.ones(count, np.int64), each, filler)
    sinks: dict[str, Any] = {suffix: Counted() for suffix in form.suffixes(dataset)}
    facts = ShardFacts(rows=count, ids=count, filler=int(filler.sum()))

    def write() -> None:
        writer = form.open_writer(cast("dict[str, Any]", sinks), dataset, facts)
        for rows in few_at_once([window]):
            writer.write(rows)
        writer.close()

    assert peak_of(write) < count * length  # half of the bytes that are written
    assert sinks[form.suffixes(dataset)[0]].size == 2 * count * length
