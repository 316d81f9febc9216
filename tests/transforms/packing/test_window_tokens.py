"""WindowTokens: as many rows as ids, in bounded blocks, that shuffle as records of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type

from tests.transforms.helpers import collect, create, run, shuffle_blocks
from tests.transforms.kernels.packing.test_windows import by_hand
from transforms.datasets.identity import FileId, FileIds, Located
from transforms.datasets.reports import SpanReports
from transforms.datasets.write import WriteShards
from transforms.datasets.write_manifest import WriteManifest
from transforms.errors import DataError, UsageError
from transforms.formats.writing import ShardFormat
from transforms.kernels.records import blocks
from transforms.packing.window_tokens import WindowTokens

FILE = FileId("default", "ids.parquet")
DOCUMENTS = [[7 * i % 11 for i in range(n)] for n in (3, 0, 40, 1, 9, 40, 0)]


def block_of(documents: list[Any], *, first: int = 0, kind: str = "uint32") -> pa.RecordBatch:
    ids = pa.array(documents, pa.list_(pa.type_for_alias(kind)))
    rows = pa.StructArray.from_arrays(
        [pa.array(range(len(ids))), ids], names=["other", "input_ids"]
    )
    return blocks.from_rows(rows, positions=np.arange(first, first + len(ids), dtype=np.uint64))


def read(block: pa.RecordBatch) -> list[tuple[list[int], int]]:
    return [(row["context"], row["target"]) for row in block.column("record").to_pylist()]


@pytest.mark.parametrize("block_bytes", [1, 700, 1 << 20])
def test_blocks_are_small_and_together_every_window(block_bytes: int) -> None:
    config = WindowTokens(length=4, pad=99, block_bytes=block_bytes)
    found = list(config.windows_of(FILE, block_of(DOCUMENTS, kind="uint16")))
    assert [row for block in found for row in read(block)] == by_hand(DOCUMENTS, 4, 99)
    assert all(len(block) * (2 * 5 + 64) <= block_bytes or len(block) == 1 for block in found)
    positions = np.concatenate([blocks.column(block, "position") for block in found])
    assert len(np.unique(positions)) == sum(map(len, DOCUMENTS))
    assert found[0].column("record").type == pa.struct(
        [("context", pa.list_(pa.uint16(), 4)), ("target", pa.uint16())]
    )


def test_a_window_is_known_by_its_document_wherever_blocks_are_cut() -> None:
    config = WindowTokens(length=2)
    (whole,) = config.windows_of(FILE, block_of(DOCUMENTS))
    (part,) = config.windows_of(FILE, block_of(DOCUMENTS[2:], first=2))
    assert whole.slice(3).equals(part)


def test_where_sources_are_told_apart_inside_of_blocks_windows_are_too() -> None:
    block = blocks.with_source(block_of([[1, 2]]), np.array([3], np.uint16))
    (found,) = WindowTokens(length=2).windows_of(FILE, block)
    assert blocks.column(found, "source").tolist() == [3, 3]


def windowed(root: Any, blocks_: list[Any]) -> Any:
    return root | create(blocks_) | WindowTokens(length=3, pad=1)


def test_each_pass_of_each_source_is_reported() -> None:
    two = FileIds("small", ("a", "b"), (2, 5), pass_number=1)
    given = [(FILE, block_of(DOCUMENTS)), (two, block_of(DOCUMENTS)), (FILE, block_of([[1]]))]
    made = collect(lambda root: windowed(root, given).blocks)
    names = [(file.source, file.name, file.pass_number, len(block)) for file, block in made]
    assert names == [
        ("default", "ids.parquet", 0, 93),
        ("small", "a", 1, 3),
        ("small", "b", 1, 90),
        ("default", "ids.parquet", 0, 1),
    ]
    spans: list[SpanReports] = collect(lambda root: windowed(root, given).spans)
    reports = pa.Table.from_batches([found.table for found in spans])
    digest = sum(blocks.digests(block, sources=1)[0].hash0 for _, block in made) % 2**64
    assert sum(reports["records"].to_pylist()) == 187
    assert sum(reports["hash0"].to_pylist()) % 2**64 == digest


def test_windows_shuffle_as_records_and_are_all_there(tmp_path: Path) -> None:
    schema = pa.schema([("context", pa.list_(pa.uint32(), 3)), ("target", pa.uint32())])
    form = ShardFormat(kind="parquet", compression="zstd", schema=schema, records_are="rows")

    def build(root: Any) -> None:
        made = windowed(root, [(FILE, block_of(DOCUMENTS))])
        written = shuffle_blocks(made.blocks, folder=tmp_path / "spill", shards=2) | WriteShards(
            output=str(tmp_path / "out"), form=form, extension=".parquet"
        )
        (made.spans, written) | WriteManifest(
            output=str(tmp_path / "out"), sources=["default"], recipe={}, seed=0, epoch=0
        )

    run(build)
    rows = pq.read_table(tmp_path / "out" / "data").to_pylist()
    found = [(row["context"], row["target"]) for row in rows]
    expected = by_hand(DOCUMENTS, 3, 1)
    assert sorted(found) == sorted(expected)
    assert found != expected
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["records"] == 93


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (block_of([[1], None]), "row 1: expected ids in input_ids, got null"),
        (block_of([[1], [], [2, None]]), "row 2: expected only ids in input_ids, got null"),
        (block_of([[0.5]], kind="float64"), "lists of integers, got list<item: double>"),
        (blocks.from_records([b"a"], np.zeros(1, np.uint64), line_end=b"\n"), "no such column"),
        (block_of([[1]], kind="uint8"), "pad=300"),
    ],
)
def test_what_holds_no_ids_is_refused_by_name(block: pa.RecordBatch, why: str) -> None:
    with pytest.raises(DataError, match=rf"^ids\.parquet of source default: .*{why}"):
        list(WindowTokens(length=2, pad=300).windows_of(FILE, block))


@pytest.mark.parametrize("how", [{"length": 0}, {"length": 1, "context": "target"}])
def test_options_are_checked_at_once(how: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        WindowTokens(**how)


def test_blocks_between_steps_have_their_coder() -> None:
    found: list[Any] = []

    def build(root: Any) -> None:
        found.append(windowed(root, [(FILE, block_of([[1]]))]).blocks.element_type)

    run(build)
    assert found == [convert_to_beam_type(Located)]
