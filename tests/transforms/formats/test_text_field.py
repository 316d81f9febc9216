"""Where the text is: a field, a path into objects and structs, a template; of JSON and of rows."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.errors import DataError
from transforms.formats.kept import Kept
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import open_span
from transforms.formats.text_field import TextField
from transforms.kernels.records import blocks

RECORDS: list[dict[str, Any]] = [
    {"title": "T1", "body": "b{1}", "data": {"text": "a", "in": {"text": "x"}}, "n": 1},
    {"title": "é", "body": "", "data": {"text": "\n", "in": {"text": "y"}}, "n": 2},
    {"title": "T3", "body": None, "data": {"text": None, "in": None}, "n": 3},
    {"title": None, "body": "b", "data": None, "n": 4},
]
EXPECTED = {
    "title": ["T1", "é", "T3", None],
    "data.text": ["a", "\n", None, None],
    "data.in.text": ["x", "y", None, None],
    "{title}": ["T1", "é", "T3", None],
    r"{title}\n\n{body}": ["T1\n\nb{1}", "é\n\n", None, None],
    r"<{{{data.text}}}>\\{title}\t": ["<{a}>\\T1\t", "<{\n}>\\é\t", None, None],
    "{title}{title}": ["T1T1", "éé", "T3T3", None],
}


def as_json(rows: pa.Table) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows.to_pylist())


def as_parquet(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink, row_group_size=2)
    return sink.getvalue()


def as_arrow(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


FORMS = {"x.jsonl": as_json, "x.parquet": as_parquet, "x.arrow": as_arrow}


def read(
    data: bytes, name: str, spec: str, **options: Any
) -> tuple[list[str], list[int], list[str], Any]:
    """Return texts, the numbers of bad records, reasons, and what is kept."""
    reader = open_span(
        io.BytesIO(data),
        ReadTask(
            name=name,
            size=len(data),
            stop=len(data),
            options=ReadOptions(text_field=spec, **options),
        ),
    )
    starts = [0]
    for line in data.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    texts: list[str] = []
    bad: list[int] = []
    why: list[str] = []
    kept: list[Any] = []
    for block, dropped, reasons in reader:
        texts += [record.decode() for record in blocks.records(block)]
        if (beside := blocks.kept_of(block)) is not None:
            kept += beside.to_pylist()
        if dropped is not None:
            at = dropped.column("position").to_pylist()
            bad += [starts.index(p) for p in at] if name == "x.jsonl" else at
            why += reasons
    return texts, bad, why, kept


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("spec", EXPECTED)
def test_the_same_text_of_json_and_of_rows(spec: str, name: str) -> None:
    data = FORMS[name](pa.Table.from_pylist(RECORDS))
    texts, bad, _, _ = read(data, name, spec)
    assert texts == [text for text in EXPECTED[spec] if text is not None]
    assert bad == [i for i, text in enumerate(EXPECTED[spec]) if text is None]


@pytest.mark.parametrize("name", FORMS)
def test_a_field_of_that_very_name_goes_first(name: str) -> None:
    rows = pa.table({"data": [{"text": "inner"}], "data.text": ["outer"]})
    for spec in ("data.text", "{data.text}"):
        assert read(FORMS[name](rows), name, spec)[0] == ["outer"]


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
def test_columns_in_dictionaries_and_binary_ones_and_what_is_kept(name: str) -> None:
    rows = pa.table(
        {
            "a": pa.array(["x", "y", "x"]).dictionary_encode(),
            "b": [b"1", b"\xff", b"3"],
            "n": [1, 2, 3],
        }
    )
    texts, bad, why, kept = read(FORMS[name](rows), name, "{a}-{b}", kept=Kept(names=("n", "a")))
    assert texts == ["x-1", "x-3"]
    assert bad == [1]
    assert "not UTF-8" in why[0]
    assert kept == [{"n": 1, "a": "x"}, {"n": 3, "a": "x"}]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("data.txt", r"column data.txt.*: data has text, in; did you mean text"),
        ("title.text", r"title has no fields: it is string"),
        ("data.in", r"expected text \(string\) in column data.in, got struct"),
        ("{n}", r"expected text \(string\) in column n, got int64"),
        ("{titel}", r"expected a column titel.*did you mean title"),
        ("no.such", r"expected a column no.such"),
    ],
)
def test_columns_that_are_not_there_are_named(spec: str, says: str) -> None:
    data = as_parquet(pa.Table.from_pylist(RECORDS))
    with pytest.raises(DataError, match=f"x.parquet: .*{says}"):
        read(data, "x.parquet", spec)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("data.txt", "expected a string in field 'data.txt', it has text, in in 'data'"),
        ("{title}{x}", "expected a string in field 'x', it has title, body, data, n"),
        ("title.x", "expected a string in field 'title.x', it has a string in 'title'"),
        ("data.in", "expected a string in field 'data.in', got an object"),
    ],
)
def test_fields_that_are_not_there_are_named(spec: str, says: str) -> None:
    assert read(as_json(pa.Table.from_pylist(RECORDS)), "x.jsonl", spec)[2][0] == says


@pytest.mark.parametrize("spec", ["{", "a}", "{a}}", "{}", "{{a}}", r"{a}\x", "{a{b}}", "{a}\\"])
def test_what_is_no_template_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="in a template"):
        TextField.parse(spec)
