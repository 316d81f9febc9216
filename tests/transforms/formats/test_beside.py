"""Whole records with their texts beside them: bytes as they were, hashes as of the texts alone."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.formats.samples import PACK, SUFFIX, draws, read_spans
from tests.transforms.formats.test_texts import (
    _LINES,
    make_texts,
    write_arrow,
    write_parquet,
    write_stream,
)
from transforms.errors import DataError
from transforms.formats import small_files
from transforms.formats.beside import look_beside
from transforms.formats.kept import Kept
from transforms.formats.line_format import LineFormat
from transforms.formats.readers import Beside, ReadOptions
from transforms.kernels.records import blocks
from transforms.kernels.records.contents import (
    OWN_TEXT,
    content_hashes,
    text_beside,
    without_values,
)
from transforms.kernels.records.digest import Digest

Hashed = dict[int, tuple[int, int]]


def read(data: bytes, name: str, *, spans: int = 1, **options: Any) -> tuple[Any, ...]:
    """Return the blocks of all spans, and (position, reason) of what is bad."""
    found: list[pa.RecordBatch] = []
    bad: list[tuple[int, str]] = []
    options = {"chunk_bytes": 1 << 14, **options}
    for block, dropped, reasons in read_spans(data, name, spans=spans, source=3, **options):
        found += [block] if len(block) else []
        if dropped is not None:
            assert blocks.kept_of(dropped) is None
            bad += zip(dropped.column("position").to_pylist(), reasons, strict=True)
    return found, bad


def hashes(found: list[pa.RecordBatch], **how: Any) -> Hashed:
    out: Hashed = {}
    for block in found:
        pairs = zip(*(one.tolist() for one in content_hashes(block, **how)), strict=True)
        out |= zip(block.column("position").to_pylist(), pairs, strict=True)
    return out


def texts_of(found: list[pa.RecordBatch]) -> list[str | None]:
    return [text for block in found for text in text_beside(block).to_pylist()]


def records_of(found: list[pa.RecordBatch]) -> list[Any]:
    return [record for block in found for record in block.column("record").to_pylist()]


def check_as_whole_and_as_texts(
    data: bytes, name: str, *, field: str | None, spans: int, **options: Any
) -> None:
    """Compare with the whole records and with the texts, each read alone."""
    options = {"line_format": LineFormat(), **options}
    found, bad = read(data, name, spans=spans, beside=Beside(text_field=field), **options)
    whole, _ = read(data, name, spans=spans, **options)
    texts, bad_texts = read(
        data, name, spans=spans, **{**options, "rows": False}, text_field=field or "text"
    )
    assert bad == (bad_texts if field else [])
    assert hashes(found).items() >= hashes(texts).items()
    assert texts
    left_out = {place for place, _ in bad}
    assert records_of(found) == [
        record
        for block in whole
        for place, record in zip(
            block.column("position").to_pylist(), block.column("record").to_pylist(), strict=True
        )
        if place not in left_out
    ]
    bare = [blocks.without_kept(block) for block in found]
    assert Digest.total(blocks.digests(one, sources=1)[0] for one in bare) == Digest.total(
        blocks.digests(blocks.without_hashes(one), sources=1)[0] for one in bare
    )


def as_lines(texts: list[str], field: str) -> bytes:
    made = [
        json.dumps({"id": i, field: text}, ensure_ascii=i % 2 == 0).encode()
        for i, text in enumerate(texts)
    ]
    return b"".join(line + (b"\r\n" if i % 3 else b"\n") for i, line in enumerate(made))


@pytest.mark.parametrize("spans", [1, 5])
@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("field", [None, "text", "body"])
def test_json_lines(field: str | None, codec: str, spans: int) -> None:
    data = PACK[codec](as_lines(make_texts(draws("json"), 400), field or "text"))
    for name in (f"x.jsonl{SUFFIX[codec]}", f"x.txt{SUFFIX[codec]}"):
        check_as_whole_and_as_texts(data, name, field=field, spans=spans)


@pytest.mark.parametrize("field", ["text", "body.text", "{text} by {who}"])
def test_json_arrays_paths_and_templates(field: str) -> None:
    rows = [{"text": t, "who": "me", "body": {"text": t}} for t in make_texts(draws("array"), 100)]
    check_as_whole_and_as_texts(json.dumps(rows).encode(), "x.json", field=field, spans=1)


@pytest.mark.parametrize("spans", [1, 5])
@pytest.mark.parametrize("write", [write_parquet, write_arrow, write_stream])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()], ids=str)
@pytest.mark.parametrize("field", [None, "text", "body.text", "{text} by {who}"])
def test_rows(field: str | None, kind: Any, write: Callable[..., None], spans: int) -> None:
    texts = make_texts(draws("rows"), 300)
    inner = pa.StructArray.from_arrays([pa.array(texts)], names=["text"])
    table = pa.table(
        {
            "id": range(len(texts)),
            "text": pa.array(texts).cast(kind),
            "who": pa.array(["me"] * len(texts)).dictionary_encode(),
            "body": inner,
        }
    )
    sink = io.BytesIO()
    write(table, sink)
    check_as_whole_and_as_texts(sink.getvalue(), "x", field=field, spans=spans, rows=True)


def test_null_text_and_text_that_is_not_utf8_are_bad_where_it_is_named_and_none_where_not() -> None:
    sink = io.BytesIO()
    text = pa.array([b"one", None, b"\xff", b"one"], pa.binary())
    write_parquet(pa.table({"id": [1, 2, 3, 4], "text": text}), sink)
    found, bad = read(sink.getvalue(), "x", rows=True, beside=Beside())
    assert bad == []
    assert texts_of(found) == ["one", None, None, "one"]
    of = hashes(found)
    assert of[0] == of[3]
    assert len(set(of.values())) == 3
    found, bad = read(sink.getvalue(), "x", rows=True, beside=Beside(text_field="text"))
    assert dict(bad) == {1: "column text: expected text, got null", 2: "column text: not UTF-8"}
    assert texts_of(found) == ["one", "one"]


def test_rows_without_a_column_of_text_have_nothing_beside_them() -> None:
    sink = io.BytesIO()
    write_parquet(pa.table({"id": [1, 2, 1], "text": [1.5, 2.5, 1.5]}), sink)
    found, _ = read(sink.getvalue(), "x", rows=True, beside=Beside())
    assert blocks.kept_of(found[0]) is None
    of = hashes(found)
    assert of[0] == of[2] != of[1]
    with pytest.raises(DataError, match="expected a column body"):
        read(sink.getvalue(), "x", rows=True, beside=Beside(text_field="body"))


def test_bytes_of_a_fixed_size_are_no_text_whatever_else_is_kept() -> None:
    sink = io.BytesIO()
    texts = pa.array([b"ab", None, b"ab"], pa.binary(2))
    write_parquet(pa.table({"id": [1, 2, 3], "text": texts, "y": [1, 1, 1]}), sink)
    fields = Kept(names=("y",), schema=pa.schema([("y", pa.int64())]))
    alone, among = (
        hashes(read(sink.getvalue(), "x", rows=True, beside=Beside(fields=one))[0])
        for one in (None, fields)
    )
    assert alone == among
    assert len(set(alone.values())) == 3


ODD = [
    b'{"text": "a"}',
    b'{"id": 1}',
    b'{"text": 7}',
    b'{"text": null}',
    b'{"text": "\\ud800"}',
    b"no JSON",
    b'["text"]',
    b'{"text": "\xff"}',
    b'{"text": "a", "score": NaN}',
    b'{"id": 1}\r',
    b'{"text": "x", "text": "a"}',
]


@pytest.mark.parametrize("loops", [False, True])
def test_lines_without_a_text_are_their_own_content(loops: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transforms.formats.texts.loops_for", lambda size: 1 if loops else None)
        found, bad = read(b"\n".join(ODD), "x.jsonl", beside=Beside())
    assert bad == []
    assert b"".join(records_of(found)) == b"\n".join(ODD) + b"\n"
    assert texts_of(found) == ["a", *[None] * 7, "a", None, "a"]
    of = list(hashes(found).values())
    assert of[0] == of[8] == of[10]
    assert len(set(of)) == 9  # a carriage return is data
    lines, _ = read(b"\n".join(ODD), "x.txt", format="lines")
    assert [*hashes(lines).values()][1:8] == of[1:8]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.txt", {}),
        ("x.csv", {"line_format": LineFormat(quoted=True), "format": "csv"}),
        ("x.txt", {"line_format": LineFormat(header_lines=1, header=b"one\n")}),
    ],
)
def test_other_lines_have_nothing_beside_them(name: str, options: Any) -> None:
    data = b'one\ntwo,"a ""b"""\n\xff\none'
    found, bad = read(data, name, beside=Beside(text_field="body"), **options)
    whole, _ = read(data, name, **options)
    assert (found, bad) == (whole, [])


def fields_of(**kinds: Any) -> Kept:
    return Kept(names=tuple(kinds), kinds=tuple(kinds.values()))


@pytest.mark.parametrize("field", [None, "text"])
def test_fields_are_kept_behind_the_text(field: str | None) -> None:
    lines = [
        b'{"text": "a", "site": "s", "n": 1}',
        b'{"n": 2, "text": "b", "site": "t", "more": [1]}',
        b'{"text": "c", "site": "s", "n": "3"}',
        b'{"text": "d", "n": 4}',
        b'{"text": "e", "site": null, "n": 5}',
        b'{"text": "f", "site": "s", "n": 6}',
    ]
    beside = Beside(text_field=field, fields=fields_of(site="text", n="integer"))
    where = partial(without_values, groups=["site"])
    found, bad = read(b"\n".join(lines), "x.jsonl", beside=beside, validate=where)
    (block,) = found
    assert records_of(found) == [line + b"\n" for line in (lines[0], lines[1], lines[5])]
    assert blocks.kept_of(block).to_pylist() == [
        {OWN_TEXT: "a", "site": "s", "n": 1},
        {OWN_TEXT: "b", "site": "t", "n": 2},
        {OWN_TEXT: "f", "site": "s", "n": 6},
    ]
    assert [why for _, why in sorted(bad)] == [
        "field 'n': expected an integer, as other records have, got a string",
        *["expected a value in field 'site', to split by it, got none or null"] * 2,
    ]
    of = list(hashes(found, groups=["site"]).values())
    assert of[0] == of[2] != of[1]


def test_lines_that_are_not_json_have_no_label() -> None:
    where = partial(without_values, groups=(), label="y")
    beside = Beside(fields=fields_of(y="text"))
    data = b'{"y": "pos"}\nno JSON\n[1]\n{"text": "\\ud800", "y": "neg"}'
    found, bad = read(data, "x.jsonl", beside=beside, validate=where)
    assert texts_of(found) == [None, None]
    assert [place for place, _ in bad] == [13, 21]
    assert "unlabelled records under --stratify=y" in bad[0][1]
    with pytest.raises(DataError, match="expected JSON lines or rows with the fields y, got plain"):
        read(b"plain", "x.txt", beside=beside)


def test_columns_are_kept_behind_the_text() -> None:
    sink = io.BytesIO()
    site = pa.array(["s", "t", None]).dictionary_encode()
    write_arrow(pa.table({"n": [1, 2, 3], "site": site, "text": ["a", "b", "c"]}), sink)
    where = partial(without_values, groups=["site"])
    for field, texts in ((None, ["a", "b"]), ("{text}!", ["a!", "b!"])):
        beside = Beside(text_field=field, fields=Kept(names=("site", "n", "text")))
        found, bad = read(sink.getvalue(), "x", rows=True, beside=beside, validate=where)
        assert blocks.kept_of(found[0]).to_pylist() == [
            {OWN_TEXT: texts[0], "site": "s", "n": 1, "text": "a"},
            {OWN_TEXT: texts[1], "site": "t", "n": 2, "text": "b"},
        ]
        assert [place for place, _ in bad] == [2]
    with pytest.raises(DataError, match="expected a column sight"):
        read(sink.getvalue(), "x", rows=True, beside=Beside(fields=Kept(names=("sight",))))


@given(st.lists(st.sampled_from(_LINES), max_size=9), st.sampled_from([None, "body"]))
def test_what_is_found_is_the_same_with_and_without_compiled_loops(
    lines: list[bytes], field: str | None
) -> None:
    lines = lines if field else [line.replace(b'"body"', b'"text"') for line in lines]
    block = blocks.from_records(lines, np.arange(len(lines), dtype=np.uint64), line_end=b"\n")
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for loops in (None, 1):
            patch.setattr("transforms.formats.texts.loops_for", lambda size, loops=loops: loops)
            found.append(list(look_beside(block, "json", Beside(text_field=field), name="x")))
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", ["json", "plain"])
@pytest.mark.parametrize("fields", [False, True])
def test_small_files_read_together_are_as_read_one_by_one(kind: Any, fields: bool) -> None:
    beside = Beside(fields=fields_of(site="text") if fields else None)
    where = partial(without_values, groups=["site"]) if fields else None
    options = ReadOptions(beside=beside, validate=where)
    assert small_files.may_be_small(options)
    data = [b'{"text":"a","site":"s"}\n{"site":"t"}\n', b"", b'{"text":"b","site":"s"}']
    data = data if kind == "json" else [b"a\nb\n", b"", b"c"]
    files = [small_files.SmallFile(f"{i}.txt", None, one) for i, one in enumerate(data) if one]
    kinds = {small_files.kind_of(file, options) for file in files}
    if fields and kind == "plain":
        assert kinds == {None}
        return
    assert kinds == {kind}
    joined = small_files.read_joined(files, kind, options, source=3)
    assert joined is not None
    one_by_one = [read(file.data, file.name, beside=beside, validate=where)[0][0] for file in files]
    assert joined.block == pa.concat_batches(one_by_one)
    assert joined.rows.tolist() == [2, 1]
    bad = small_files.SmallFile("x.txt", None, b'{"text":"b"}')
    if fields:
        assert small_files.read_joined([*files, bad], kind, options, source=3) is None


def test_what_is_beside_counts_as_memory() -> None:
    data = as_lines(["x" * 1000] * 10, "text")
    (found,), _ = read(data, "x.jsonl", beside=Beside())
    whole = blocks.block_footprint(blocks.without_kept(found))
    assert blocks.block_footprint(found) >= whole + 10 * 1000


def test_where_no_text_is_wanted_the_whole_record_is_the_content() -> None:
    lines = b'{"text":"a","y":1}\n{"y":1,"text":"a"}\n'
    for fields in (None, fields_of(y="integer")):
        found, _ = read(lines, "x.jsonl", beside=Beside(text_field="", fields=fields))
        whole, _ = read(lines, "x.txt", format="lines")
        assert hashes(found) == hashes(whole)
    sink = io.BytesIO()
    write_parquet(pa.table({"text": ["a", "a"], "y": [1, 2]}), sink)
    found, _ = read(sink.getvalue(), "x", rows=True, beside=Beside(text_field=""))
    assert texts_of(found) == [None, None]
    assert len(set(hashes(found).values())) == 2


def test_blank_lines_of_json_are_records_unless_their_text_is_named() -> None:
    data = b'{"text":"a"}\n\n{"text":"b"}\n \n'
    found, bad = read(data, "x.txt", beside=Beside())
    assert (texts_of(found), bad) == (["a", None, "b", None], [])
    found, bad = read(data, "x.txt", beside=Beside(text_field="text"))
    assert (texts_of(found), bad) == (["a", "b"], [])
    named = ReadOptions(beside=Beside(text_field="text"))
    file = small_files.SmallFile("x.txt", None, data)
    assert small_files.read_joined([file], "json", named, source=None) is None
    joined = small_files.read_joined([file], "json", ReadOptions(beside=Beside()), source=None)
    assert joined is not None
    assert joined.rows.tolist() == [4]
