"""Rows through the whole shuffle: types that formats change, dictionaries that files differ in."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.verify
from tests.pipelines.support import run
from transforms.errors import DataError, UsageError
from transforms.manifest import Manifest


def write_arrow(path: Path, columns: dict[str, Any]) -> Path:
    table = pa.table(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    return path


def read(folder: Path, manifest: Manifest) -> pa.Table:
    return pa.concat_tables(pq.read_table(folder / shard.path) for shard in manifest.shards)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([datetime.datetime(2020, 1, 1)], pa.timestamp("s")),
        pa.array([[datetime.time(1)]], pa.list_(pa.time32("s"))),
        pa.array([datetime.date(2020, 1, 1)], pa.date64()),
        pa.array([None], pa.month_day_nano_interval()),
    ],
    ids=["timestamp", "nested-time", "date64", "interval"],
)
def test_what_parquet_would_change_is_refused_before_any_work(tmp_path: Path, column: Any) -> None:
    file = write_arrow(tmp_path / "in" / "a.arrow", {"when": column})
    for more in ((), ("--plan",)):
        with pytest.raises(
            UsageError, match=r"--output_format=parquet: .*give --output_format=arrow"
        ):
            run(f"--input={file}", f"--output={tmp_path / 'o'}", "--output_format=parquet", *more)
    run(f"--input={file}", f"--output={tmp_path / 'o'}")


@pytest.mark.parametrize("nested", [False, True])
def test_a_null_among_lists_of_a_fixed_size_never_becomes_a_shard_that_cannot_be_read(
    tmp_path: Path, nested: bool
) -> None:
    lists = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2))
    column = pa.StructArray.from_arrays([lists], names=["x"]) if nested else lists
    file = write_arrow(tmp_path / "in" / "a.arrow", {"v": column})
    with pytest.raises(DataError, match=r"column v: .*without nulls"):
        run(f"--input={file}", f"--output={tmp_path / 'o'}", "--output_format=parquet")
    assert not (tmp_path / "o").exists()
    run(f"--input={file}", f"--output={tmp_path / 'o'}")
    whole = write_arrow(tmp_path / "in2" / "a.arrow", {"v": lists.drop_null()})
    manifest = run(f"--input={whole}", f"--output={tmp_path / 'p'}", "--output_format=parquet")
    assert sorted(read(tmp_path / "p", manifest)["v"].to_pylist()) == [[1, 2], [3, 4]]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.large_binary(), pa.string_view()])
def test_columns_that_repeat_in_some_row_groups_only_go_together(tmp_path: Path, kind: Any) -> None:
    many = pa.array(["x" * 3000] * 500 + [f"{i:020}" for i in range(500)]).cast(kind)
    table = pa.table({"t": many})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "a.parquet", row_group_size=500)
    pq.write_table(table.slice(500), tmp_path / "in" / "b.parquet", use_dictionary=False)
    manifest = run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}")
    found = read(tmp_path / "o", manifest)
    assert found.schema.field("t").type == kind
    both = (
        many.cast(pa.large_binary()).to_pylist()
        + table["t"].slice(500).cast(pa.large_binary()).to_pylist()
    )
    assert sorted(found["t"].cast(pa.large_binary()).to_pylist()) == sorted(both)
    assert pipelines.verify.verify(str(tmp_path / "o"))[1] == []


def test_a_dictionary_of_parquet_holds_the_values_of_its_row_group_alone(tmp_path: Path) -> None:
    values = [f"{i:06}" * 100 for i in range(70_000)]  # 42 MB: three row groups
    column = pa.array(values).dictionary_encode()
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"c": column}), tmp_path / "in" / "a.parquet")
    manifest = run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", "--compression=none")
    assert pq.ParquetFile(tmp_path / "o" / manifest.shards[0].path).num_row_groups == 3
    assert manifest.bytes < 1.2 * sum(map(len, values))


@pytest.mark.parametrize("flag", ["--check=json", "--separator=;"])
def test_flags_for_lines_are_refused_for_rows(tmp_path: Path, flag: str) -> None:
    file = write_arrow(tmp_path / "a.arrow", {"n": [1, 2]})
    with pytest.raises(UsageError, match=f"{flag.partition('=')[0]} is for lines"):
        run(f"--input={file}", f"--output={tmp_path / 'o'}", flag)


def test_rows_of_several_sources_by_either_exchange_and_counted_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pq.write_table(
            pa.table({"n": range(300), "of": [name] * 300}), tmp_path / f"{name}.parquet"
        )
    inputs = [f"--input={name}={tmp_path / name}.parquet" for name in ("a", "b")]
    orders = []
    for exchange in ("files", "engine"):
        for cut in ("--num_shards=3", "--shard_records=100"):
            out = tmp_path / f"{exchange}{cut}"
            manifest = run(*inputs, f"--output={out}", f"--exchange={exchange}", cut)
            orders.append(read(out, manifest).to_pylist())
            assert [source.digest.records for source in manifest.sources] == [300, 300]
    assert all(order == orders[0] for order in orders)
    assert len({(row["n"], row["of"]) for row in orders[0]}) == 600
