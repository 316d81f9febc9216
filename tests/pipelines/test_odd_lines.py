"""Lines as people have them, through the whole commands: marks, blank lines, quotes, arrays."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.verify import verify
from tests.pipelines.support import cut_otherwise, join_shards, run, write_tree
from transforms.errors import DataError, InputError, UsageError

ONE = "--workers=1"
MARK = b"\xef\xbb\xbf"


def records(out: Path) -> list[bytes]:
    """Return the records of a dataset of lines, sorted."""
    return sorted(join_shards(out).splitlines())


def test_marks_and_blank_lines_are_left_out_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {f"in/{i}.jsonl": MARK + b'{"text":"%d"}\n\n  \n' % i for i in range(3)}
    write_tree(tmp_path, {**files, "in/3.jsonl": b'\n{"text":"3"}'})
    caplog.set_level(logging.INFO, logger="dovetail")
    for flags in ([], ["--check=json"], ["--text_field=text", "--on_bad_record=fail"]):
        caplog.clear()
        out = tmp_path / f"out{len(flags)}"
        manifest = run(f"--input={tmp_path}/in", f"--output={out}", ONE, *flags)
        assert records(out) == [b'{"text":"%d"}' % i for i in range(4)]
        assert (manifest.byte_order_marks, manifest.blank_lines) == (3, 7)
        said = [m for m in caplog.messages if "byte order mark" in m or "blank line" in m]
        assert len(said) == 2
        assert "of 3 files" in said[0]
        assert verify(str(out))[1] == []


def test_a_mark_inside_a_shard_of_ours_is_data(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.txt": b"1\n" + MARK + b"2\n\n"})
    run(f"--input={tmp_path}/a.txt", f"--output={tmp_path}/x", "--seed=1", ONE)
    run(f"--input={tmp_path}/x", f"--output={tmp_path}/y", "--seed=2", ONE)
    assert records(tmp_path / "y") == [b"", b"1", MARK + b"2"]


CSV = b'id,text\n1,"two\nlines"\n2,plain\n3,"a\n\n""b"""\n4,end\n'
ROWS = [b'1,"two\nlines"\n', b"2,plain\n", b'3,"a\n\n""b"""\n', b"4,end\n"]


@pytest.mark.parametrize(("name", "flags"), [("a.csv", ()), ("a", ("--header_lines=1",))])
def test_torn_rows_of_csv_are_refused_before_work(
    tmp_path: Path, name: str, flags: tuple[str, ...]
) -> None:
    write_tree(tmp_path, {name: CSV})
    with pytest.raises(InputError, match=rf"{name}: the row at line 2 \(byte 8\).*--format=csv"):
        run(f"--input={tmp_path / name}", f"--output={tmp_path}/out", ONE, *flags)


def test_a_torn_header_of_csv_is_refused_or_kept_whole(tmp_path: Path) -> None:
    header = b'id,"te\nxt"\n'
    write_tree(tmp_path, {"a.csv": header + b"1,2\n3,4\n"})
    flags = [f"--input={tmp_path}/a.csv", f"--output={tmp_path}/out", "--header_lines=1", ONE]
    with pytest.raises(InputError, match=r"a.csv: the row at line 1 \(byte 0\)"):
        run(*flags)
    assert run(*flags, "--format=csv").records == 2
    assert join_shards(tmp_path / "out").startswith(header)
    assert verify(str(tmp_path / "out"))[1] == []


def test_a_torn_row_further_down_is_refused_when_it_is_read(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.csv": b"x,y\n" * 40_000 + CSV})
    with pytest.raises(DataError, match=r"a.csv: the row at line 40002 \(byte 160008\)"):
        run(f"--input={tmp_path}/a.csv", f"--output={tmp_path}/out", ONE)


def test_rows_of_csv_stay_whole(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.csv": MARK + CSV, "b.csv": CSV.removesuffix(b"\n")})
    flags = ["--header_lines=1", "--format=csv", ONE]
    with cut_otherwise(span_bytes=10):
        manifest = run(f"--input={tmp_path}/*.csv", f"--output={tmp_path}/out", *flags)
    data = join_shards(tmp_path / "out")
    assert data.startswith(b"id,text\n")
    assert (manifest.records, manifest.byte_order_marks, manifest.quoted) == (8, 1, True)
    assert all(data.count(row) == 2 for row in ROWS)
    assert len(data) == 8 + 2 * (len(CSV) - 8)
    assert verify(str(tmp_path / "out"))[1] == []
    run(f"--input={tmp_path}/out", f"--output={tmp_path}/again", "--seed=1", *flags)
    assert join_shards(tmp_path / "again").count(ROWS[2]) == 2


def test_csv_that_is_not_quoted_as_it_has_to_be_ends_the_run(tmp_path: Path) -> None:
    write_tree(tmp_path, {"in/a.csv": b'1,5" x\n2,6" y\n', "in2/a.csv": b'1,"x\n2,y\n'})
    with pytest.raises(DataError, match=r"a.csv: .*a quote at byte 3 inside a field"):
        run(f"--input={tmp_path}/in", f"--output={tmp_path}/out", "--format=csv", ONE)
    with pytest.raises(DataError, match=r"the CSV row at byte 0 opens a quote"):
        run(f"--input={tmp_path}/in2", f"--output={tmp_path}/out", "--format=csv", ONE)
    manifest = run(
        f"--input={tmp_path}/in*/a.csv", f"--output={tmp_path}/out", "--format=lines", ONE
    )
    assert manifest.records == 4


def test_an_array_of_json_is_its_elements(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="dovetail")
    values = [{"text": f"{i}\n", "id": i} for i in range(40)]
    array = json.dumps(values, indent=1).encode()
    write_tree(tmp_path, {"a.json": array, "b.json.gz": gzip.compress(array)})
    with cut_otherwise(span_bytes=100):
        manifest = run(f"--input={tmp_path}/*.json*", f"--output={tmp_path}/out", ONE)
    assert manifest.records == 80
    assert sum("each of its elements is a record" in m for m in caplog.messages) == 1
    assert {Path(shard.path).suffix for shard in manifest.shards} <= {".jsonl", ".gz"}
    assert verify(str(tmp_path / "out"))[1] == []
    manifest = run(
        f"--input={tmp_path}/a.json",
        f"--output={tmp_path}/texts",
        "--text_field=text",
        "--output_format=parquet",
        ONE,
    )
    (path,) = (tmp_path / "texts" / "data").iterdir()
    assert sorted(pq.read_table(path)["text"].to_pylist()) == sorted(v["text"] for v in values)


def test_lines_of_json_become_a_column_that_is_not_called_text(tmp_path: Path) -> None:
    write_tree(
        tmp_path, {"a.jsonl": b'{"text": "a"}\n', "b.txt": b"a\n", "c.json": b'[{"text": 1}]'}
    )
    for name, column in (("a.jsonl", "line"), ("b.txt", "text"), ("c.json", "line")):
        out = tmp_path / f"out-{name}"
        run(f"--input={tmp_path / name}", f"--output={out}", "--output_format=parquet", ONE)
        assert pq.read_table(out / "data").column_names == [column]
        assert verify(str(out))[1] == []
    with pytest.raises(InputError, match=r"expected a column text.*whole lines of JSON"):
        run(f"--input={tmp_path}/out-a.jsonl", f"--output={tmp_path}/x", "--text_field=text", ONE)


def test_a_first_record_without_the_field_asks_for_the_right_one(tmp_path: Path) -> None:
    first = b'{"body": "a", "id": 1}\n'
    has = b'{"text": "a"}\n'
    write_tree(tmp_path, {"a.jsonl": b"\n" + first * 2 + has, "b.jsonl": has + first})
    for name, asks in (("a.jsonl", True), ("b.jsonl", False)):
        with pytest.raises(DataError) as caught:
            run(f"--input={tmp_path / name}", f"--output={tmp_path}/out", "--text_field=text", ONE)
        message = str(caught.value)
        assert 'it has body, id; it begins \'{"body": "a", "id": 1}\';' in message
        assert "(line 2)" in message
        assert ("check that --text_field=text" in message) == asks
        assert "--on_bad_record=skip" in message


def test_a_dataset_of_which_all_was_dropped_is_a_failure(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.jsonl": b'{"body": "a"}\n' * 3})
    flags = [f"--input={tmp_path}/a.jsonl", f"--output={tmp_path}/out", "--text_field=text", ONE]
    with pytest.raises(DataError, match="all 3 records of the input are bad"):
        run(*flags, "--on_bad_record=skip")
    assert not (tmp_path / "out" / "manifest.json").exists()
    write_tree(tmp_path, {"a.jsonl": b""})
    assert run(*flags, "--on_bad_record=skip").records == 0


@pytest.mark.parametrize(
    ("most", "says"),
    [
        ("2", "a.jsonl: 3 bad records so far, more than --max_bad=2 allows"),
        ("29.9%", "3 of 10 records are bad, more than --max_bad=29.9% allows"),
        ("3", None),
        ("30%", None),
    ],
)
def test_more_bad_records_than_are_allowed_end_the_run(
    tmp_path: Path, most: str, says: str | None
) -> None:
    write_tree(tmp_path, {"a.jsonl": b"{}\n" * 3 + b"{}}\n" * 3 + b"{}\n" * 4})
    flags = [f"--input={tmp_path}/a.jsonl", f"--output={tmp_path}/out", "--check=json", ONE]
    skipping = [*flags, "--on_bad_record=skip", f"--max_bad={most}"]
    if says is None:
        assert run(*skipping).records == 7
        return
    with pytest.raises(DataError, match=says):
        run(*skipping)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_how_many_may_be_bad_is_checked_before_work(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.jsonl": b"{}\n"})
    flags = [f"--input={tmp_path}/a.jsonl", f"--output={tmp_path}/out", ONE]
    for most in ("x", "-1", "101%", "1.5"):
        with pytest.raises(UsageError, match="--max_bad"):
            run(*flags, "--on_bad_record=skip", f"--max_bad={most}")
    with pytest.raises(UsageError, match=r"--max_bad=1 is for --on_bad_record"):
        run(*flags, "--max_bad=1")
