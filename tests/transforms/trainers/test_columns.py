"""Parquet and Arrow, read as others read them."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.transforms.trainers.support import (
    batches_of,
    dataset_of,
    digest_of,
    make_rows,
    read,
    write,
)
from transforms.errors import DataError, UsageError
from transforms.formats import parquet_ids
from transforms.kernels.packing.rows import Rows
from transforms.trainers import arrow, columns, parquet
from transforms.trainers.arrow import Arrow
from transforms.trainers.columns import schema_of_text
from transforms.trainers.contract import Format
from transforms.trainers.parquet import Parquet

BRIDGE = {"layout": "megatron_bridge"}
KEPT = pa.schema([("title", pa.string()), ("year", pa.int32())])
BOTH = pytest.mark.parametrize("form", [Parquet(), Arrow()], ids=["parquet", "arrow"])
LIST = pa.list_(pa.int32())


def opened(form: Format, files: dict[str, bytes]) -> pa.Table:
    """Read a shard by pyarrow alone."""
    data = io.BytesIO(next(iter(files.values())))
    return pq.read_table(data) if form.name == "parquet" else pa.ipc.open_file(data).read_all()


def lists(values: Any, offsets: Any) -> list[list[int]]:
    return [values[begin:end].tolist() for begin, end in zip(offsets, offsets[1:], strict=False)]


@BOTH
@pytest.mark.parametrize("ids", [1000, 65_536, 65_537])
def test_packed_rows_are_ids_without_filler_and_lengths(form: Format, ids: int) -> None:
    dataset = dataset_of("best_fit", ids=ids)
    rows = make_rows(dataset, count=50)
    table = opened(form, write(form, dataset, [rows]))
    assert table.schema.equals(pa.schema([("input_ids", LIST), ("seq_lengths", LIST)]))
    assert table["input_ids"].to_pylist() == lists(rows.ids, rows.offsets)
    assert table["seq_lengths"].to_pylist() == lists(rows.lengths, rows.piece_offsets)


@BOTH
def test_documents_have_no_lengths_but_what_is_kept_of_them(form: Format) -> None:
    dataset = dataset_of("none", sources=("books", "web"), kept=KEPT)
    rows = make_rows(dataset, count=30)
    files = write(form, dataset, [rows])
    table = opened(form, files)
    assert table.schema.names == ["input_ids", "source", "title", "year"]
    assert rows.sources is not None
    assert table["source"].to_pylist() == [dataset.sources[i] for i in rows.sources.tolist()]
    assert table["title"].to_pylist() == [None if i % 5 == 0 else f"é{i}" for i in range(30)]
    assert table["year"].to_pylist() == [None if i % 5 == 0 else i for i in range(30)]
    digest = digest_of(form, dataset, [form.seen(rows, dataset)])
    assert digest_of(form, dataset, read(form, dataset, files)) == digest
    assert write(form, dataset, batches_of(rows, 1, 7)) == files
    for other in (
        replace(rows, sources=1 - rows.sources),
        replace(rows, kept=rows.kept.take(pa.array(np.arange(30)[::-1]))),
    ):
        assert digest_of(form, dataset, [form.seen(other, dataset)]) != digest


@BOTH
def test_empty_documents_are_rows(form: Format) -> None:
    dataset = dataset_of("none")
    at = np.array([0, 0, 2, 2])
    zeros = np.zeros(3, np.int64)
    rows = Rows(np.array([5, 6], np.uint16), at, np.diff(at), np.arange(4), zeros)
    files = write(form, dataset, [rows])
    assert opened(form, files)["input_ids"].to_pylist() == [[], [5, 6], []]
    digest = digest_of(form, dataset, [rows])
    assert digest_of(form, dataset, read(form, dataset, files)) == digest


def test_megatron_bridge_finds_starts_and_a_mask_on_what_comes_next() -> None:
    form, dataset = Parquet(), dataset_of("best_fit", options=BRIDGE)
    rows = Rows(
        np.array([10, 11, 3, 12, 3, 13, 3], np.uint16),
        np.array([0, 5, 7]),
        np.array([3, 2, 2]),
        np.array([0, 2, 3]),
        np.array([11, 14]),
    )
    files = write(form, dataset, [rows])
    assert list(files) == [".idx.parquet"]
    kinds = [("input_ids", LIST), ("seq_start_id", LIST), ("loss_mask", pa.list_(pa.int8()))]
    table = opened(form, files)
    assert table.schema.equals(pa.schema(kinds))
    assert table.to_pylist() == [
        {"input_ids": [10, 11, 3, 12, 3], "seq_start_id": [0, 3], "loss_mask": [1, 1, 0, 1, 0]},
        {"input_ids": [13, 3], "seq_start_id": [0], "loss_mask": [1, 0]},
    ]


def test_megatron_bridge_gets_row_groups_of_500() -> None:
    dataset = dataset_of("best_fit", options=BRIDGE)
    data = write(Parquet(), dataset, batches_of(make_rows(dataset, count=1201), 333))
    metadata = pq.read_metadata(io.BytesIO(data[".idx.parquet"]))
    found = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert found == [500, 500, 201]


@BOTH
def test_groups_end_where_the_rows_say(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 4000)
    monkeypatch.setattr(arrow, "_BATCH_BYTES", 4000)
    dataset = dataset_of("best_fit")
    rows = make_rows(dataset, count=700)
    whole = write(form, dataset, [rows])
    assert write(form, dataset, batches_of(rows, 1, 90, 13)) == whole
    data = io.BytesIO(next(iter(whole.values())))
    if form.name == "parquet":
        metadata = pq.read_metadata(data)
        sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    else:
        batches = pa.ipc.open_file(data)
        sizes = [batches.get_batch(i).num_rows for i in range(batches.num_record_batches)]
    ends = np.cumsum(sizes)[:-1]
    full = np.diff(rows.offsets[[0, *ends]])
    assert len(sizes) > 5
    assert ((full >= 1000) & (full < 1000 + 16)).all()  # the row that fills it reaches beyond


def _table(columns: dict[str, Any], dataset_kinds: dict[str, pa.DataType]) -> dict[str, bytes]:
    sink = io.BytesIO()
    arrays = [pa.array(columns[name], kind) for name, kind in dataset_kinds.items()]
    pq.write_table(pa.table(arrays, schema=pa.schema(list(dataset_kinds.items()))), sink)
    return {".parquet": sink.getvalue()}


PLAIN = {"input_ids": LIST, "seq_lengths": LIST}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"input_ids": [[5, 6], [7]], "seq_lengths": [[2], [2]]},
            "row 1: expected pieces of 1 ids",
        ),
        ({"input_ids": [[5, -1]], "seq_lengths": [[2]]}, "expected one from 0 to 999, got -1"),
        ({"input_ids": [[5, 1000]], "seq_lengths": [[2]]}, "expected one from 0 to 999, got 1000"),
        (
            {"input_ids": [[5, None]], "seq_lengths": [[2]]},
            "input_ids of rows from 0 on: expected no nulls",
        ),
        ({"input_ids": [[5], None], "seq_lengths": [[1], []]}, "expected no nulls"),
        ({"input_ids": [[5, 6]], "seq_lengths": [[3, -1]]}, "row 0: expected pieces of 2 ids"),
    ],
)
def test_files_that_are_not_such_rows_are_refused(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(Parquet(), dataset_of("best_fit"), _table(columns, PLAIN))


def test_a_file_of_other_columns_is_refused() -> None:
    files = _table({"input_ids": [[5]]}, {"input_ids": pa.list_(pa.int64())})
    with pytest.raises(
        DataError, match=r"expected columns input_ids list<item: int32>, seq_lengths"
    ):
        read(Parquet(), dataset_of("best_fit"), files)


@BOTH
def test_what_cannot_be_written_is_refused_by_the_flag(form: Format) -> None:
    for more in ({"kept": KEPT}, {"sources": ("a", "b")}):
        with pytest.raises(UsageError, match="needs --packing=none, got concat: the kept columns"):
            form.require(dataset_of("concat", **more))
    clash = pa.schema([("input_ids", pa.string())])
    with pytest.raises(UsageError, match="--keep_fields: input_ids is a column of"):
        form.require(dataset_of("none", kept=clash))
    with pytest.raises(UsageError, match="expected at most 2,147,483,648 ids, got 2,147,483,649"):
        form.require(dataset_of("none", ids=2**31 + 1))


def test_a_layout_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="--layout: expected plain or megatron_bridge, got bridge"):
        Parquet().require(dataset_of("concat", options={"layout": "bridge"}))
    with pytest.raises(
        UsageError, match=r"needs --packing=concat, best_fit, pad or buckets, and --seq"
    ):
        Parquet().require(dataset_of("none", options=BRIDGE))
    Arrow().require(dataset_of("none", options=BRIDGE))  # it is Parquet's alone


@BOTH
def test_the_small_json_brings_the_kept_columns_back(form: Format) -> None:
    schema = pa.schema([("tags", pa.list_(pa.struct([("a", pa.int8())]))), ("when", pa.date32())])
    about = form.about(dataset_of("none", kept=schema))
    assert schema_of_text(about["kept_schema"]).equals(schema)
    assert form.about(dataset_of("none"))["kept_schema"] is None
    for wrong in ("no", "bm8=", about["kept_schema"][:40]):
        with pytest.raises(DataError, match="kept_schema: expected a schema"):
            schema_of_text(wrong)


def test_megatron_bridge_learns_each_next_id_of_a_piece_and_no_other() -> None:
    """As ``GPTSFTPackedDataset.collate_fn`` and ``_build_loss_mask`` do, with answer_only_loss."""
    form, dataset = Parquet(), dataset_of("concat", options=BRIDGE)
    rows = make_rows(dataset, count=40)
    learned = []
    for row in opened(form, write(form, dataset, [rows])).to_pylist():
        edges = [*row["seq_start_id"], len(row["input_ids"])]
        for begin, end in pairwise(edges):
            inputs, labels = row["input_ids"][begin : end - 1], row["input_ids"][begin + 1 : end]
            mask = row["loss_mask"][begin : end - 1]
            assert row["loss_mask"][end - 1] == 0
            learned += [
                pair
                for pair, one in zip(zip(inputs, labels, strict=True), mask, strict=True)
                if one
            ]
    pieces = np.split(rows.ids, np.cumsum(rows.lengths)[:-1])
    assert learned == [pair for piece in pieces for pair in pairwise(piece.tolist())]


@BOTH
def test_a_document_too_long_for_a_list_is_named(
    form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_ids, "_MOST", 100)
    monkeypatch.setattr(columns, "_MOST", 25)
    dataset = dataset_of("none")
    with pytest.raises(DataError, match="pass --sequence_length"):
        write(form, dataset, [make_rows(dataset, count=30)])
