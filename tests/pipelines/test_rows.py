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
from transforms.datasets.manifest import Manifest
from transforms.errors import DataError, UsageError


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
            UsageError, match=r"--output_format=parquet: .*pass --output_format=arrow"
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


def test_rows_of_several_sources_by_shards_and_counted_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pq.write_table(
            pa.table({"n": range(300), "of": [name] * 300}), tmp_path / f"{name}.parquet"
        )
    inputs = [f"--input={name}={tmp_path / name}.parquet" for name in ("a", "b")]
    orders = []
    for cut in ("--num_shards=3", "--shard_records=100"):
        manifest = run(*inputs, f"--output={tmp_path / cut}", cut)
        orders.append(read(tmp_path / cut, manifest).to_pylist())
        assert [source.digest.records for source in manifest.sources] == [300, 300]
    assert orders[0] == orders[1]
    assert len({(row["n"], row["of"]) for row in orders[0]}) == 600


def differing_files(folder: Path) -> list[dict[str, Any]]:
    """Write files whose schemas differ in form; return all rows, as they are to come out."""
    folder.mkdir()
    kinds = [
        pa.schema([pa.field("text", pa.string(), False), pa.field("n", pa.int64())]),
        pa.schema([pa.field("n", pa.int32()), pa.field("text", pa.large_string())]),
        pa.schema([pa.field("text", pa.dictionary(pa.int8(), pa.string())), ("n", pa.uint8())]),
        pa.schema([("text", pa.string()), ("n", pa.null()), ("__index_level_0__", pa.int64())]),
    ]
    rows = []
    for number, schema in enumerate(kinds):
        name = f"{number}.parquet"
        values = None if number == 3 else 100 * number
        mine = [{"text": f"{name} {i}", "n": values, "__index_level_0__": i} for i in range(40)]
        table = pa.Table.from_pylist(mine, schema)
        if number == 2:
            write_arrow(folder / "2.arrow", {name: table[name] for name in table.column_names})
        else:
            pq.write_table(table, folder / name)
        rows += mine if number == 3 else [row | {"__index_level_0__": None} for row in mine]
    return rows


def test_files_that_differ_in_form_alone_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = differing_files(tmp_path / "in")
    manifest = run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", "--workers=1")
    found = read(tmp_path / "o", manifest)
    assert found.schema.field("text").type == pa.large_string()
    assert found.schema.field("n") == pa.field("n", pa.int64())
    by_text = {row["text"]: row for row in found.to_pylist()}
    assert len(found) == len(rows)
    assert [by_text[row["text"]] for row in rows] == rows
    assert pipelines.verify.main([str(tmp_path / "o")]) == 0
    capsys.readouterr()
    run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'p'}", "--plan")
    plan = capsys.readouterr().out
    assert "column n: int64 and int32 and uint8 and null in the files, read as int64" in plan
    assert "column __index_level_0__: null for the rows of" in plan
    assert "columns in another order in" in plan


def test_binary_text_and_columns_of_nulls_are_text(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"text": [b"a", b"\xff", None]}), tmp_path / "in" / "0.parquet")
    pq.write_table(pa.table({"text": pa.nulls(2)}), tmp_path / "in" / "1.parquet")
    write_arrow(tmp_path / "in" / "2.arrow", {"text": pa.array([b"b"], pa.binary_view())})
    repeated = pa.array([b"c" * 99, b"\xfe"] * 200, pa.large_binary())
    pq.write_table(pa.table({"text": repeated}), tmp_path / "in" / "3.parquet")
    manifest = run(
        f"--input={tmp_path / 'in'}",
        f"--output={tmp_path / 'o'}",
        "--text_field=text",
        "--on_bad_record=quarantine",
        "--output_format=parquet",
        "--workers=1",
    )
    texts = read(tmp_path / "o", manifest)["text"].to_pylist()
    assert sorted(texts) == ["a", "b", *["c" * 99] * 200]
    bad = pq.read_table(tmp_path / "o" / "quarantine").to_pylist()
    reasons = sorted((row["file"][-9:], row["position"], row["reason"]) for row in bad)
    assert len(reasons) == 204
    assert reasons[:4] == [
        ("0.parquet", 1, "column text: not UTF-8"),
        ("0.parquet", 2, "column text: expected text, got null"),
        ("1.parquet", 0, "column text: expected text, got null"),
        ("1.parquet", 1, "column text: expected text, got null"),
    ]
    assert {reason for *_, reason in reasons[4:]} == {"column text: not UTF-8"}
