"""AttachColumn: each record gets the value of its id or content, or what was asked becomes of it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.transforms.helpers import THREADS, collect, create, run, shuffle_blocks
from transforms.datasets.attach_column import AttachColumn
from transforms.datasets.identity import FileId, FileIds
from transforms.datasets.manifest import Manifest
from transforms.datasets.read import ReadRecords
from transforms.datasets.read_values import ReadValues
from transforms.datasets.write import WriteShards
from transforms.datasets.write_manifest import WriteManifest
from transforms.errors import DataError, UsageError, from_traceback
from transforms.formats.kept import Kept
from transforms.formats.readers import Beside, ReadOptions
from transforms.kernels.records import blocks
from transforms.kernels.records.contents import content_hashes
from transforms.kernels.records.digest import Digest

FILE = FileId("default", "a.parquet")
COUNT = 60


def rows_of(ids: list[Any], *, text: bool = True) -> pa.RecordBatch:
    columns = {"id": pa.array(ids), "text": pa.array([f"text {i}" for i in ids])}
    if not text:
        del columns["text"]
    record = pa.StructArray.from_arrays(list(columns.values()), names=list(columns))
    return blocks.from_rows(record, positions=np.arange(len(ids), dtype=np.uint64))


def table_of(values: dict[Any, Any], *, kind: Any = None) -> pa.RecordBatch:
    return pa.record_batch({"id": pa.array(values), "value": pa.array(values.values(), kind)})


def attached(
    block: pa.RecordBatch, tables: list[Any], *, origin: Any = FILE, **how: Any
) -> tuple[list[Any], Digest, Digest]:
    """Return (origin, rows or lines) of each block, and the digests of what is there and was dropped."""

    def build(root: Any, output: str) -> Any:
        values = root | "Values" >> create(tables, spread=True)
        found = root | create([(origin, block)]) | AttachColumn(name="new", values=values, **how)
        return found[output]

    made = collect(lambda root: build(root, "blocks"))
    (spans,) = collect(lambda root: build(root, "spans"))
    table = spans.table.to_pylist()[0]
    digests = [
        Digest(*(table[f"{before}{part}"] for part in ("records", "bytes", "hash0", "hash1")))
        for before in ("", "dropped_")
    ]
    assert digests[0] == sum((blocks.digests(b, sources=1)[0] for _, b in made), Digest())
    return [(file, read(block)) for file, block in made], digests[0], digests[1]


def read(block: pa.RecordBatch) -> list[Any]:
    return block.column("record").to_pylist() if blocks.is_rows(block) else blocks.records(block)


@pytest.mark.parametrize("kind", [int, str])
def test_rows_get_the_value_of_their_id_whichever_type_it_is_written_in(kind: Any) -> None:
    values = {kind(i): i / 2 for i in range(COUNT)}
    tables = [table_of(dict(list(values.items())[at::7])) for at in range(7)]
    block = rows_of([17, 3, 59, 3])
    ((origin, found),), digest, dropped = attached(block, tables, by="id")
    assert origin == FILE
    assert [(row["id"], row["new"]) for row in found] == [(17, 8.5), (3, 1.5), (59, 29.5), (3, 1.5)]
    assert (digest.records, dropped.records) == (4, 0)


def test_json_lines_get_the_value_of_an_id_beside_them() -> None:
    lines = [b'{"id":7, "text":"a"}', b'{"text" : "b","id":"x"}']
    block = blocks.from_records(lines, np.arange(2, dtype=np.uint64), line_end=b"\n")
    kept = pa.StructArray.from_arrays([pa.array(["7", "x"])], names=["id"])
    ((_, found),), *_ = attached(
        block.append_column("kept", kept), [table_of({"x": 1, "7": 2})], by="id"
    )
    assert found == [b'{"id":7, "text":"a","new":2}', b'{"text" : "b","id":"x","new":1}']


def test_the_value_may_be_that_of_a_content() -> None:
    values = {f"text {i}": i % 2 == 0 for i in range(5)}
    ((_, found),), *_ = attached(rows_of([4, 1, 4]), [table_of(values)])
    assert [row["new"] for row in found] == [True, False, True]
    block = rows_of([4, 1, 4])
    hash0, hash1 = content_hashes(block)
    table = pa.record_batch({"a": hash0[:2], "b": hash1[:2], "value": pa.array(["x", "y"])})
    ((_, found),), *_ = attached(block, [table])
    assert [row["new"] for row in found] == ["x", "y", "x"]


def test_a_record_without_a_value_is_named() -> None:
    for ids, known in (([1, 5], "id=5"), ([1, None], "id=None")):
        with pytest.raises(
            DataError, match=rf"^a\.parquet of source default, row 1: expected a value.*{known};"
        ):
            raised(lambda ids=ids: attached(rows_of(ids), [table_of({1: 1})], by="id"))


def raised(do: Any) -> None:
    """Raise what a pipeline's error comes of."""
    try:
        do()
    except Exception as error:
        if isinstance(error, DataError):
            raise
        raise DataError(str(from_traceback(str(error)) or error)) from None


def test_it_may_get_a_null() -> None:
    ((_, found),), digest, _ = attached(
        rows_of(["1", "5", None]), [table_of({"1": 1, "": 9})], by="id", missing="null"
    )
    assert [row["new"] for row in found] == [1, None, None]
    assert digest.records == 3
    ((_, found),), *_ = attached(
        rows_of([1]), [table_of({})], by="id", missing="null", kind=pa.float32()
    )
    assert found[0]["new"] is None


def test_it_may_be_left_out_and_is_counted() -> None:
    block = rows_of([5, 1, 6, 2, 7])
    origin = FileIds("small", ("a", "b", "c"), (2, 2, 1))
    ((origin, found),), digest, dropped = attached(
        block, [table_of({1: 1, 2: 2})], origin=origin, by="id", missing="leave_out"
    )
    assert [row["id"] for row in found] == [1, 2]
    assert origin == FileIds("small", ("a", "b", "c"), (1, 1, 0))
    assert digest.records == 2
    assert dropped == blocks.digests(block.take([0, 2, 4]), sources=1)[0]
    made, digest, dropped = attached(block, [table_of({9: 1})], by="id", missing="leave_out")
    assert (made, digest.records, dropped.records) == ([], 0, 5)


@pytest.mark.parametrize(
    ("tables", "how", "why"),
    [
        ([table_of({1: 1}), table_of({1: 2})], {}, "expected one value for each key"),
        (
            [table_of({i: i for i in range(40)})] * 3,
            {"memory": 40 * 24 - 1},
            "keys and values of at most 959",
        ),
        ([table_of({1: "x"})], {"kind": pa.int64()}, "that fit int64, got string"),
        ([table_of({None: 1})], {}, "expected a key in id for every value, got null in row 0"),
        (
            [pa.record_batch({"a": [1]})],
            {},
            "expected tables with a column of keys and one of values.* got columns a",
        ),
    ],
)
def test_values_that_cannot_be_are_refused(tables: Any, how: Any, why: str) -> None:
    with pytest.raises(DataError, match=why):
        raised(lambda: attached(rows_of([1]), tables, by="id", **how))


def test_equal_values_of_one_key_take_room_once() -> None:
    values = {i: i for i in range(40)}
    ((_, found),), *_ = attached(rows_of([39]), [table_of(values)] * 3, by="id", memory=40 * 24)
    assert found[0]["new"] == 39


@pytest.mark.parametrize("how", [{"memory": 0}, {"memory": 2 << 30}, {"missing": "skip"}])
def test_options_are_checked_at_once(how: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        AttachColumn(name="a", values=None, **how)


def files_of(folder: Path, kind: str) -> str:
    """Write the label of each id to a file of a kind."""
    path = folder / f"labels.{kind}"
    if kind == "parquet":
        pq.write_table(
            pa.table(
                {"id": range(COUNT), "x": [0] * COUNT, "label": [i % 3 for i in range(COUNT)]}
            ),
            path,
        )
        return str(path)
    lines = [orjson.dumps({"label": i % 3, "id": i if i % 2 else str(i)}) for i in range(COUNT)]
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    return str(path)


@pytest.mark.parametrize("kind", ["parquet", "jsonl.gz"])
def test_values_of_files_are_attached_to_records_of_files_and_proved(
    tmp_path: Path, kind: str
) -> None:
    data = tmp_path / "data.jsonl"
    lines = [b'{"id": %d, "text": "t"}' % i for i in range(COUNT)]
    data.write_bytes(b"\n".join(lines))
    beside = Beside(fields=Kept(names=("id",), kinds=("integer",)))

    def build(root: Any) -> None:
        values = root | ReadValues(files=[files_of(tmp_path, kind)], key="id", value="label")
        records = root | "Records" >> ReadRecords(
            sources={"default": [str(data)]}, options=ReadOptions(beside=beside)
        )
        found = records.blocks | AttachColumn(name="label", values=values, by="id")
        written = shuffle_blocks(found.blocks, folder=tmp_path / "spill", shards=2) | WriteShards(
            output=str(tmp_path / "out"), extension=".jsonl"
        )
        (found.spans, written) | WriteManifest(
            output=str(tmp_path / "out"), sources=["default"], recipe={}, seed=0, epoch=0
        )

    run(build, **THREADS)
    shards = sorted((tmp_path / "out" / "data").iterdir())
    found = b"".join(path.read_bytes() for path in shards).splitlines()
    assert sorted(found) == sorted(
        line[:-1] + b',"label":%d}' % (i % 3) for i, line in enumerate(lines)
    )
    manifest = Manifest.model_validate_json((tmp_path / "out" / "manifest.json").read_text())
    assert manifest.records == COUNT


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"id": 1}, "expected a JSON object with the fields 'id' and 'label'"),
        ([1], "expected a JSON object"),
        ({"id": 1, "label": ["a", 1]}, "expected values of one type in field 'label'"),
    ],
)
def test_lines_without_values_are_refused_by_name(tmp_path: Path, line: Any, why: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"id": 0, "label": ["b"]}) + "\n" + json.dumps(line))
    with pytest.raises(DataError, match=rf"labels\.jsonl of source values.*{why}"):
        raised(
            lambda: collect(
                lambda root: root | ReadValues(files=[str(path)], key="id", value="label")
            )
        )
