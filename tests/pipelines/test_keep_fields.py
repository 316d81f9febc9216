"""--keep_fields of tokenizing through the whole command: what is kept, and what can't be."""

from __future__ import annotations

import datetime
import decimal
import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

from pipelines.tokenize import run
from pipelines.verify import verify
from tests.pipelines.tokenized import TEXTS, best, rows, tokenize, write_model
from transforms.datasets.manifest import Manifest
from transforms.datasets.read import ReadRecords
from transforms.errors import DataError, InputError, LosslessError, UsageError
from transforms.formats import texts
from transforms.formats.kept import Kept
from transforms.formats.readers import ReadOptions
from transforms.tokenization.tokenize import BlockTokenizer, TokenizeRecords

WRITE: dict[str, Callable[[pa.Table, Path], None]] = {
    "parquet": lambda table, path: pq.write_table(table, path, row_group_size=17),
    "arrow": lambda table, path: _write_arrow(table, path, pa.ipc.new_file),
    "arrow_stream": lambda table, path: _write_arrow(table, path, pa.ipc.new_stream),
}
READ: dict[str, Callable[[Path], pa.Table]] = {
    "parquet": pq.read_table,
    "arrow": lambda path: pa.ipc.open_file(path).read_all(),
    "arrow_stream": lambda path: pa.ipc.open_stream(path).read_all(),
}


def _write_arrow(table: pa.Table, path: Path, new: Any) -> None:
    with new(str(path), table.schema) as writer:
        writer.write_table(table.unify_dictionaries(), max_chunksize=17)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a model."""
    write_model(tmp_path / "model.json")
    return tmp_path


def write_lines(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def read(out: Path, form: str = "parquet") -> pa.Table:
    """Return the rows of all shards, in the order of their names."""
    return pa.concat_tables(READ[form](path) for path in sorted((out / "data").iterdir()))


def many_types(count: int) -> pa.Table:
    """Make rows of many types, nulls among them."""
    colours = pa.array(["red", "green", None, "blue"] * count).slice(0, count)
    moments = [datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)] * count
    schema = pa.schema(
        [
            pa.field("id", pa.int32(), nullable=False, metadata={b"unit": b"number"}),
            pa.field("text", pa.string()),
            pa.field("meta", pa.struct([("tags", pa.list_(pa.string())), ("n", pa.int8())])),
            pa.field("colour", pa.dictionary(pa.int8(), pa.string())),
            pa.field("meta.n", pa.float32()),
            pa.field("when", pa.timestamp("ms", tz="UTC")),
            pa.field("price", pa.decimal128(9, 2)),
            pa.field("raw", pa.large_binary()),
        ],
        metadata={b"pandas": b"{}"},
    )
    meta = [{"tags": ["a"] * (i % 3), "n": None} if i % 5 else None for i in range(count)]
    columns = {
        "id": pa.array(range(count), pa.int32()),
        "text": pa.array([f"{TEXTS[i % len(TEXTS)]}{i}" for i in range(count)]),
        "meta": pa.array(meta, schema.field("meta").type),
        "colour": colours.cast(schema.field("colour").type),
        "meta.n": pa.array([i / 2 for i in range(count)], pa.float32()),
        "when": pa.array(moments, schema.field("when").type),
        "price": pa.array([decimal.Decimal(i) / 4 for i in range(count)], pa.decimal128(9, 2)),
        "raw": pa.array([bytes([255, i % 256]) for i in range(count)], pa.large_binary()),
    }
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


@pytest.mark.parametrize("form", list(WRITE))
@pytest.mark.parametrize("names", ["raw,meta,id", "colour,meta.n", "*"])
def test_columns_of_rows_stay_as_they_are(folder: Path, form: str, names: str) -> None:
    WRITE[form](many_types(100), folder / f"in.{form}")
    table = READ[form](folder / f"in.{form}")  # Parquet has its own names for lists' items
    flags = [f"--keep_fields={names}", f"--output_format={form}", "--num_shards=3"]
    tokenize(folder, *flags, source=f"in.{form}")
    got = read(folder / "out", form)
    chosen = table.schema.names if names == "*" else names.split(",")
    chosen = [name for name in chosen if name != "text"]
    assert got.column_names == ["input_ids", *chosen]
    for name in chosen:
        assert got.schema.field(name).equals(table.schema.field(name), check_metadata=True)
        assert got.column(name).to_pylist() == table.column(name).to_pylist()
    assert got.column("input_ids").to_pylist() == best(folder, table.column("text").to_pylist())
    assert b"pandas" not in (got.schema.metadata or {})  # it spoke of the input's columns
    assert verify(str(folder / "out"))[1] == []


def test_what_is_kept_stays_with_its_text_where_others_are_bad(folder: Path) -> None:
    words = [None if i % 3 == 1 else f"abc{i}" for i in range(50)]
    pq.write_table(pa.table({"n": range(50), "text": words}), folder / "in.parquet")
    manifest = tokenize(folder, "--keep_fields=n", "--on_bad_record=skip", source="in.parquet")
    good = [i for i, word in enumerate(words) if word is not None]
    assert rows(folder / "out", "n") == good
    assert rows(folder / "out") == best(folder, [f"abc{i}" for i in good])
    assert manifest.sources[0].dropped is not None
    assert manifest.sources[0].dropped.records == 50 - len(good)


def json_records(count: int, *, first: int = 0) -> list[dict[str, Any]]:
    """Make records whose fields come, lack and are null by turns."""
    records = []
    for i in range(first, first + count):
        record: dict[str, Any] = {"text": f"{TEXTS[i % len(TEXTS)]}{i}", "id": i - 7}
        record["score"] = i if i % 4 else i / 8
        record |= {"ok": i % 3 == 0} if i % 5 else {"ok": None}
        record |= {"url": f"https://x.org/{i}é\n"} if i % 7 else {}
        record["meta"] = [{"a": i, "b": [None, "ö"]}, [i], None][i % 3]
        record["mixed"] = [i, str(i), None, 1.5][i % 4]
        record["never"] = None
        records.append(record)
    return records


def expected_columns(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    def text_of(value: Any) -> str | None:
        if value is None:
            return None
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    plain = ("id", "score", "ok", "url")
    columns = {name: [record.get(name) for record in records] for name in plain}
    as_text = ("meta", "mixed", "never")
    return columns | {name: [text_of(record.get(name)) for record in records] for name in as_text}


TYPES = {
    "id": pa.int64(),
    "score": pa.float64(),
    "ok": pa.bool_(),
    **dict.fromkeys(("url", "meta", "mixed", "never"), pa.string()),
}


@pytest.mark.parametrize("form", list(WRITE))
def test_fields_of_json_lines_become_typed_columns(folder: Path, form: str) -> None:
    parts = [json_records(70), json_records(41, first=70)]
    write_lines(folder / "in/a.jsonl", parts[0])
    packed = write_lines(folder / "b.jsonl", parts[1]).read_bytes()
    (folder / "in/b.jsonl.gz").write_bytes(gzip.compress(packed))
    names = ["never", "score", "id", "meta", "ok", "url", "mixed"]
    tokenize(folder, f"--keep_fields={','.join(names)}", f"--output_format={form}")
    got = read(folder / "out", form)
    assert got.column_names == ["input_ids", *names]
    expected = expected_columns([*parts[0], *parts[1]])
    for name in names:
        assert got.schema.field(name).type == TYPES[name]
        assert got.column(name).to_pylist() == expected[name]
    assert verify(str(folder / "out"))[1] == []


def test_what_is_kept_depends_on_no_cut_and_changes_no_token(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = json_records(300)
    write_lines(folder / "in/a.jsonl", records[:200])
    write_lines(folder / "in/b.jsonl", records[200:])
    flags = ["--sampling=exact", "--num_shards=4"]
    keep = "--keep_fields=id,meta"
    tokenize(folder, *flags, output="without")
    one = tokenize(folder, *flags, keep, output="one")
    assert rows(folder / "one") == rows(folder / "without")
    assert rows(folder / "one", "id") == [record["id"] for record in records]
    two = tokenize(folder, *flags, keep, "--workers=2", output="two")
    monkeypatch.setattr(texts, "_VALUES", 9)
    cut = tokenize(folder, *flags, keep, output="cut")
    assert hashes(one) == hashes(two) == hashes(cut)
    assert one.digest.hash != tokenize(folder, *flags, output="again").digest.hash


def hashes(manifest: Manifest) -> list[str]:
    return [shard.sha256 for shard in manifest.shards]


def test_few_records_are_made_columns_at_a_time_where_there_are_many(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nulls take memory, but no bytes of a line."""
    seen = []
    real = texts.of_json

    def of_json(block: pa.RecordBatch, **given: Any) -> Any:
        seen.append(len(block))
        return real(block, **given)

    monkeypatch.setattr(texts, "_VALUES", 1000)
    monkeypatch.setattr(texts, "of_json", of_json)
    names = [f"f{i}" for i in range(100)]
    line = '{"text":""}'
    write_lines(folder / "in", [json.dumps({"text": "", **dict.fromkeys(names)}), *[line] * 500])
    tokenize(folder, f"--keep_fields={','.join(names)}")
    assert max(seen) == 10
    assert sum(seen) == 501


DEEP = "[" * 300 + "]" * 300
MISFITS = [
    ("id", '"1"', r"field 'id': expected an integer, .* got a string"),
    ("id", "1.0", r"field 'id': expected an integer, .* got a number"),
    ("id", "true", r"field 'id': expected an integer, .* got a boolean"),
    (
        "id",
        str(1 << 63),
        r"field 'id': expected an integer that int64 holds, as other records have, got 92233",
    ),
    ("score", "false", r"field 'score': expected a number, .* got a boolean"),
    ("score", str((1 << 53) + 1), r"field 'score': expected a number that float64 holds, got 9007"),
    ("ok", "0", r"field 'ok': expected a boolean, .* got a number"),
    ("url", '{"a": 1}', r"field 'url': expected a string, .* got an object"),
    ("meta", DEEP, r"field 'meta': expected what can be written as JSON again"),
]


@pytest.mark.parametrize(("name", "value", "words"), MISFITS)
def test_a_value_of_another_kind_is_a_bad_record(
    folder: Path, name: str, value: str, words: str
) -> None:
    records: list[Any] = json_records(12000)  # more than the planner looks at
    place = len(records) * 3 // 16
    start = sum(len(json.dumps(record)) + 1 for record in records[:place])
    records[place] = json.dumps(records[place] | {name: "?"}).replace('"?"', value)
    path = write_lines(folder / "in.jsonl", records)
    keep = "--keep_fields=id,score,ok,url,meta"
    with pytest.raises(DataError, match=rf"in.jsonl: the line at byte {start} .*{words}"):
        tokenize(folder, keep, source=path.name)
    assert not (folder / "out").exists()
    manifest = tokenize(folder, keep, "--on_bad_record=quarantine", source=path.name)
    assert manifest.sources[0].dropped is not None
    assert manifest.sources[0].dropped.records == 1
    (entry,) = manifest.quarantine
    assert entry.records == 1
    del records[place]
    got = read(folder / "out")
    expected = expected_columns(records)
    for column in ("id", "score", "ok", "url", "meta"):
        assert got.column(column).to_pylist() == expected[column]
    assert verify(str(folder / "out"))[1] == []


def test_large_integers_that_float64_holds_are_numbers(folder: Path) -> None:
    values = [1.5, 1 << 60, None, -(1 << 62), 3]
    write_lines(folder / "in", [{"text": "", "x": value} for value in values])
    tokenize(folder, "--keep_fields=x")
    assert rows(folder / "out", "x") == values


def test_a_long_first_line_is_looked_at_whole(folder: Path) -> None:
    write_lines(folder / "in", [{"text": "ab" * 100_000, "id": i, "end": True} for i in (1, 2)])
    tokenize(folder, "--keep_fields=end,id")
    assert rows(folder / "out", "id") == [1, 2]
    assert rows(folder / "out", "end") == [True, True]


def test_a_header_is_no_record(folder: Path) -> None:
    header = ' {"idle": 1} '
    write_lines(folder / "in", [header, *({"text": "", "id": i} for i in range(3))])
    with pytest.raises(InputError, match=r"idle: no record .* they have text, id; did you mean id"):
        tokenize(folder, "--keep_fields=idle", "--header_lines=1")
    tokenize(folder, "--keep_fields=id", "--header_lines=1")
    assert rows(folder / "out", "id") == [0, 1, 2]


def test_rows_and_json_lines_go_together_where_their_types_do(folder: Path) -> None:
    table = pa.table({"score": [0.5, None], "text": ["ab", "c"], "url": ["u", "v"]})
    (folder / "in").mkdir()
    pq.write_table(table, folder / "in/a.parquet")
    write_lines(folder / "in/b.jsonl", [{"text": "d", "score": 2, "url": None}])
    tokenize(folder, "--keep_fields=url,score")
    assert rows(folder / "out", "score") == [0.5, None, 2.0]
    assert rows(folder / "out", "url") == ["u", "v", None]
    write_lines(folder / "in/b.jsonl", [{"text": "d", "score": 2, "url": {}}])
    with pytest.raises(InputError, match=r"=url: .* string in .*a.parquet and json in .*b.jsonl"):
        tokenize(folder, "--keep_fields=url,score", output="more")


def test_other_columns_of_rows_may_differ(folder: Path) -> None:
    (folder / "in").mkdir()
    pq.write_table(pa.table({"text": ["ab"], "id": [1], "x": [1]}), folder / "in/a.parquet")
    _write_arrow(pa.table({"id": [2], "text": ["c"]}), folder / "in/b.arrow", pa.ipc.new_file)
    tokenize(folder, "--keep_fields=id")
    assert rows(folder / "out", "id") == [1, 2]
    with pytest.raises(
        InputError, match=r"b.arrow: the schema of the columns to be kept .*lacks x"
    ):
        tokenize(folder, "--keep_fields=*", output="every")


def test_files_whose_columns_differ_are_refused(folder: Path) -> None:
    (folder / "in").mkdir()
    pq.write_table(pa.table({"text": ["ab"], "id": [1]}), folder / "in/a.parquet")
    pq.write_table(pa.table({"text": ["ab"], "id": ["1"]}), folder / "in/b.parquet")
    with pytest.raises(InputError, match=r"b.parquet: .* id is string, not int64"):
        tokenize(folder, "--keep_fields=id")
    write_lines(folder / "lines/a.jsonl", [{"text": "", "id": 1}])
    write_lines(folder / "lines/b.jsonl", [{"text": "", "id": None}])
    write_lines(folder / "lines/c.jsonl", [{"text": "", "id": "1"}])
    with pytest.raises(InputError, match=r"holds integer in \S*a.jsonl and text in \S*c.jsonl"):
        tokenize(folder, "--keep_fields=id", source="lines")
    assert not (folder / "out").exists()


REFUSED = [
    ("in.jsonl", ["--keep_fields=idd"], "=idd: no record .* did you mean id"),
    ("in.parquet", ["--keep_fields=idd"], "expected a column idd, to keep it: .* did you mean id"),
    ("in.parquet", ["--keep_fields=text,id"], "keep_fields=text,id: text is the text"),
    ("in.jsonl", ["--keep_fields=id,text"], "keep_fields=id,text: text is the text"),
    ("in.jsonl", ["--keep_fields=id", "--token_column=id"], "--token_column=id: two columns"),
    ("in.parquet", ["--keep_fields=*", "--token_column=id"], "a column id too; pass another"),
    ("in.jsonl", ["--keep_fields=*"], r"=\*: .*in.jsonl holds JSON lines.* name .* text,id"),
    ("in.jsonl", ["--keep_fields=id", "--text_field="], "--text_field='': whole lines have no"),
    ("in.jsonl", ["--keep_fields=id", "--bytes"], "--bytes: whole lines have no fields"),
    ("in.jsonl", ["--keep_fields=id", "--decode"], "--decode: --decode writes the texts alone"),
    ("in.jsonl", ["--keep_fields="], "keep_fields=: expected NAME,NAME, got an empty name"),
    ("in.jsonl", ["--keep_fields=id,,x"], "got an empty name"),
    ("in.jsonl", ["--keep_fields=id,id"], "expected each field once, got id twice"),
    ("in.parquet", ["--keep_fields=id,*"], r"or \* alone"),
    ("in.txt", ["--keep_fields=id"], r"in.txt: expected JSON lines or rows.*keep_fields=id"),
    ("bare.parquet", ["--keep_fields=*"], "bare.parquet: expected columns beside text"),
    ("twice.arrow", ["--keep_fields=id"], "2 columns have this name"),
    ("odd.arrow", ["--keep_fields=id"], "--output_format=parquet: .*pass --output_format=arrow"),
]


@pytest.mark.parametrize(("source", "flags", "words"), REFUSED)
@pytest.mark.parametrize("plan", [(), ("--plan",)], ids=["run", "plan"])
def test_what_can_not_be_kept_is_refused_before_any_work(
    folder: Path, source: str, flags: list[str], words: str, plan: tuple[str, ...]
) -> None:
    write_lines(folder / "in.jsonl", [{"text": "ab", "id": 1}])
    (folder / "in.txt").write_text("a\nb\n")
    table = pa.table({"id": [1], "text": ["ab"]})
    pq.write_table(table, folder / "in.parquet")
    pq.write_table(table.select(["text"]), folder / "bare.parquet")
    twice = pa.Table.from_arrays([*table.columns, pa.array([2])], names=["id", "text", "id"])
    _write_arrow(twice, folder / "twice.arrow", pa.ipc.new_file)
    months = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    odd = pa.table({"id": months, "text": ["ab"]})
    _write_arrow(odd, folder / "odd.arrow", pa.ipc.new_file)
    with pytest.raises((UsageError, InputError), match=words):
        tokenize(folder, *flags, *plan, source=source)
    assert not (folder / "out").exists()


def test_files_that_were_not_looked_at_must_agree_too(folder: Path) -> None:
    for i in range(40):
        write_lines(folder / f"in/{i:02}.jsonl", [{"text": "", "id": i}])
    write_lines(folder / "in/01.jsonl", [{"text": "", "id": "1"}])
    with pytest.raises(DataError, match=r"01.jsonl: the line at byte 0 .*field 'id'"):
        tokenize(folder, "--keep_fields=id")
    (folder / "in/01.jsonl").rename(folder / "in/01.txt")
    (folder / "in/01.txt").write_text("no JSON\n")
    with pytest.raises(DataError, match=r"01.txt: expected JSON lines or rows with the fields id"):
        tokenize(folder, "--keep_fields=id", "--extension=.jsonl,.txt")


def test_nothing_keeps_nothing(folder: Path) -> None:
    (folder / "in.jsonl").write_text("")
    assert tokenize(folder, "--keep_fields=id", source="in.jsonl").records == 0
    assert verify(str(folder / "out"))[1] == []


def test_a_plan_names_the_columns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(folder / "in", [{"text": "", "id": 1, "meta": {}}])
    flags = [f"--input={folder / 'in'}", f"--tokenizer={folder / 'model.json'}", "--plan"]
    assert run([*flags, f"--output={folder / 'out'}", "--keep_fields=meta,id"]) is None
    assert "meta (JSON text), id (int64)" in capsys.readouterr().out


def test_a_kept_value_that_was_changed_is_found_by_verify(folder: Path) -> None:
    write_lines(folder / "in", json_records(30))
    tokenize(folder, "--keep_fields=id,url")
    (path,) = (folder / "out/data").iterdir()
    table = pq.read_table(path)
    ids = table.column("id").to_pylist()
    ids[3], ids[4] = ids[4], ids[3]
    pq.write_table(table.set_column(1, "id", pa.array(ids)), path)
    content = json.loads((folder / "out/manifest.json").read_text())
    data = path.read_bytes()
    content["shards"][0] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    content["bytes"] = len(data)
    (folder / "out/manifest.json").write_text(json.dumps(content))
    problems = verify(str(folder / "out"))[1]
    (problem,) = problems  # all else was made to fit
    assert "all shards together: digest" in problem


def test_a_kept_value_that_goes_to_another_record_ends_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transforms.datasets import map_shards

    real = map_shards._of_source

    def of_source(block: pa.RecordBatch, *given: Any) -> pa.RecordBatch:
        block = real(block, *given)
        at = block.schema.get_field_index("record")
        record = block.column(at)
        ids = record.field(1).take(pa.array([1, 0, *range(2, len(record))]))
        changed = pa.StructArray.from_arrays([record.field(0), ids], fields=list(record.type))
        return block.set_column(at, "record", changed)

    monkeypatch.setattr(map_shards, "_of_source", of_source)
    write_lines(folder / "in", json_records(30))
    with pytest.raises(LosslessError):
        tokenize(folder, "--keep_fields=id")
    assert not (folder / "out").exists()


def test_blocks_of_somebodys_own_pipeline_keep_fields(folder: Path) -> None:
    records = json_records(20)
    write_lines(folder / "in", records)
    kept = Kept(names=("id", "meta"), kinds=("integer", "json"))
    work = BlockTokenizer(model=str(folder / "model.json"))

    def rows_of(element: Any) -> list[Any]:
        return [tuple(row.values()) for row in element[1].column("record").to_pylist()]

    with beam.Pipeline(options=beam.options.pipeline_options.PipelineOptions([])) as root:
        options = ReadOptions(text_field="text", kept=kept)
        found = root | ReadRecords(sources={"s": [str(folder / "in")]}, options=options)
        made = found.blocks | TokenizeRecords(work) | beam.FlatMap(rows_of)
        columns = expected_columns(records)
        ids = best(folder, [record["text"] for record in records])
        expected = list(zip(ids, columns["id"], columns["meta"], strict=True))
        assert_that(made, equal_to(expected))
