"""Texts: one text a line or row, in its place, whatever the file is; what has none is bad."""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.formats.samples import PACK, SUFFIX, UNPACK, draws, read_spans
from transforms.errors import DataError, InputError
from transforms.formats.codecs import CODECS
from transforms.formats.columns import as_text
from transforms.formats.kept import Kept
from transforms.formats.line_format import LineFormat
from transforms.formats.line_kinds import line_kind_of
from transforms.formats.read_back import shard_digest
from transforms.formats.schemas import TEXT
from transforms.formats.texts import of_json
from transforms.formats.writing import ShardFormat, open_writer
from transforms.kernels.records import blocks

ODD = ["", "a\nb", '"quoted"\\', "poème 😀", "\0\x1f\u2028", "{}", " ", "\r", "x" * 3000]
Records = list[tuple[int, str]]


def make_texts(rng: random.Random, count: int) -> list[str]:
    letters = 'aé😀\n"\\\t{} '
    return ODD + ["".join(rng.choices(letters, k=rng.randrange(40))) for _ in range(count)]


def at_bytes(lines: list[bytes]) -> list[int]:
    return np.cumsum([0, *(len(line) + 1 for line in lines)])[:-1].tolist()


def as_json(texts: list[str], *, escape: bool = False) -> tuple[bytes, Records]:
    lines = [
        json.dumps({"id": i, "body": text, "more": {"body": 1}}, ensure_ascii=escape).encode()
        for i, text in enumerate(texts)
    ]
    return b"".join(line + b"\n" for line in lines), [*zip(at_bytes(lines), texts, strict=True)]


def as_plain(texts: list[str]) -> tuple[bytes, Records]:
    kept = [text for text in texts if "\n" not in text]
    lines = [text.encode() for text in kept]
    return b"".join(line + b"\n" for line in lines), [*zip(at_bytes(lines), kept, strict=True)]


def as_rows(texts: list[str], write: Callable[[pa.Table, Any], None], kind: Any) -> bytes:
    column = pa.array(texts).cast(kind)
    table = pa.table({"body.x": ["no"] * len(texts), "body": column, "n": range(len(texts))})
    sink = io.BytesIO()
    write(table, sink)
    return sink.getvalue()


def write_parquet(table: pa.Table, sink: Any) -> None:
    pq.write_table(table, sink, row_group_size=70)


def write_arrow(table: pa.Table, sink: Any) -> None:
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, 70)


def write_stream(table: pa.Table, sink: Any) -> None:
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, 70)


def read(data: bytes, *, name: str, spans: int = 1, **options: Any) -> tuple[Records, list[Any]]:
    """Read all spans of a file; return (position, text) and (position, reason)."""
    found, bad = [], []
    options = {"text_field": "body", "chunk_bytes": 1 << 16, **options}
    for block, dropped, reasons in read_spans(data, name, spans=spans, source=3, **options):
        assert blocks.terminator(block) == b""
        assert set(block.column("source").to_pylist()) <= {3}
        texts = [record.decode() for record in blocks.records(block)]
        found += zip(block.column("position").to_pylist(), texts, strict=True)
        if dropped is not None:
            bad += zip(dropped.column("position").to_pylist(), reasons, strict=True)
    return found, bad


@pytest.mark.parametrize("spans", [1, 7])
@pytest.mark.parametrize("escape", [False, True])
def test_a_field_of_json_lines(spans: int, escape: bool) -> None:
    data, expected = as_json(make_texts(draws("json"), 400), escape=escape)
    assert read(data, name="x.jsonl", spans=spans) == (expected, [])
    assert read(data, name="x", spans=spans) == (expected, [])


@pytest.mark.parametrize("spans", [1, 7])
def test_plain_lines_whole(spans: int) -> None:
    data, expected = as_plain(make_texts(draws("plain"), 400))
    assert read(data, name="x.txt", spans=spans) == (expected, [])
    assert read(data[:-1], name="x", spans=spans) == (expected, [])


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("make", [as_json, as_plain])
def test_compressed_lines(codec: str, make: Callable[[list[str]], tuple[bytes, Records]]) -> None:
    data, expected = make(make_texts(draws("codec"), 400))
    for name in (f"x{SUFFIX[codec]}", "x"):
        assert read(PACK[codec](data), name=name, spans=3) == (expected, [])


@pytest.mark.parametrize("write", [write_parquet, write_arrow, write_stream])
@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int16(), pa.string())], ids=str
)
def test_a_column_of_rows(write: Callable[[pa.Table, Any], None], kind: Any) -> None:
    texts = make_texts(draws("rows"), 400)
    data = as_rows(texts, write, kind)
    for spans in (1, 5):
        assert read(data, name="x", spans=spans) == ([*enumerate(texts)], [])


def test_separators_and_headers_of_lines() -> None:
    form = LineFormat(separator=0, header_lines=1, header=b"{head}\0")
    found, bad = read(b"{head}\0one\ntwo\0three\0", name="x.txt", line_format=form)
    assert (found, bad) == ([(7, "one\ntwo"), (15, "three")], [])
    found, bad = read(b'{head}\0{"body":"one"}\0{"body":\n"2"}\0', name="x", line_format=form)
    assert (found, bad) == ([(7, "one"), (22, "2")], [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "b"}', "expected a string in field 'body', it has text"),
        (b"{}", "it has no fields"),
        (b'{"body": 1}', "expected a string in field 'body', got a number"),
        (b'{"body": true}', "got a boolean"),
        (b'{"body": null}', "expected a string in field 'body', got null"),
        (b'{"body": ["a"]}', "got an array"),
        (b'["body"]', "expected an object with a string 'body', got an array"),
        (b'"body"', "got a string"),
        (b"x", "expected JSON with a string 'body'"),
        (b'{"body": "a"', "it isn't JSON"),
        (b'{"body": "\xff"}', "it isn't JSON"),
        (b'{"body": "\\ud800"}', "half of a surrogate pair"),
        (b'{"body": "a", "n": NaN,}', "it isn't JSON"),
        (b"[" * 5000, "it isn't JSON"),
    ],
)
def test_bad_json_lines(line: bytes, reason: str) -> None:
    good = b'{"body":"good"}'
    found, bad = read(b"\n".join([good, line, good]), name="x.jsonl")
    assert found == [(0, "good"), (17 + len(line), "good")]
    ((place, why),) = bad
    assert place == 16
    assert reason in why
    assert "body" in why


def test_plain_lines_that_are_not_utf8_are_bad() -> None:
    found, bad = read(b"good\n\xff\n\nlast", name="x.txt")
    assert (found, bad) == ([(0, "good"), (7, ""), (8, "last")], [(5, "not UTF-8")])


@pytest.mark.parametrize("write", [write_parquet, write_arrow])
def test_nulls_and_text_that_is_not_utf8_are_bad(write: Callable[..., None]) -> None:
    binary = pa.array([b"one", None, b"\xff", b"", b"five"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 5, binary.buffers(), 1)  # unchecked
    other = pa.Array.from_buffers(pa.string(), 5, pa.array([b"\xff"] * 5).buffers())
    sink = io.BytesIO()
    write(pa.table({"other": other, "body": text}), sink)
    found, bad = read(sink.getvalue(), name="x")
    assert found == [(0, "one"), (3, ""), (4, "five")]
    reasons = {1: "column body: expected text, got null", 2: "column body: not UTF-8"}
    assert dict(bad) == reasons


@pytest.mark.parametrize("write", [write_parquet, write_arrow, write_stream])
def test_a_file_without_such_a_column_is_refused_by_name(write: Callable[..., None]) -> None:
    data = as_rows(["a"], write, pa.string())
    with pytest.raises(DataError, match=r"^f: expected a column bod, .*did you mean body\?"):
        read(data, name="f", text_field="bod")
    with pytest.raises(DataError, match=r"^f: expected text \(string\) in column n, got int64"):
        read(data, name="f", text_field="n")


def test_a_columns_name_may_be_that_of_a_field_inside_another() -> None:
    sink = io.BytesIO()
    write_parquet(pa.table({"a": [{"b": "inner"}], "a.b": ["outer"]}), sink)
    assert read(sink.getvalue(), name="x", text_field="a.b") == ([(0, "outer")], [])


def test_two_columns_of_the_name_are_refused() -> None:
    sink = io.BytesIO()
    write_arrow(pa.Table.from_arrays([pa.array(["a"])] * 2, names=["body"] * 2), sink)
    with pytest.raises(DataError, match="2 columns have this name"):
        read(sink.getvalue(), name="x")


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.jsonl", b"plain", "json"),
        ("a.NDJSON.gz", b"", "json"),
        ("a.json", b"", "json"),
        ("a", b"", "plain"),
        ("a.txt", b'{"a":1}\nplain', "json"),
        ("a.txt", b'\xef\xbb\xbf {"a":1}', "json"),
        ("a.txt", b"{{Infobox}}\n", "plain"),
        ("a.txt", b'plain\n{"a":1}', "plain"),
        ("a.txt", b'"a"\n', "plain"),
        ("a.txt", b"[1]\n", "plain"),
        ("a", b'{"a":"' + b"x" * 100_000 + b'"}\n', "json"),
        ("a", b'{"a":"' + b"x" * 100_000 + b'"\n', "plain"),
        ("a", b'{"a":"' + b"x" * 3_000_000 + b'"}\n', "json"),
        ("a", b"x" * 3_000_000, "plain"),
    ],
)
def test_what_lines_are(name: str, data: bytes, expected: str) -> None:
    file = io.BytesIO(data)
    assert line_kind_of(file, name=name, codec=None, line_format=LineFormat()) == expected
    assert file.tell() == 0
    if not name.endswith("gz"):
        file = io.BytesIO(PACK["zstd"](data))
        codec = CODECS["zstd"]
        assert line_kind_of(file, name=name, codec=codec, line_format=LineFormat()) == expected


def test_names_say_of_texts_in_other_files_nothing() -> None:
    with pytest.raises(InputError, match="expected Parquet, by its name"):
        read(b'{"body":"a"}', name="a.parquet")


FORMS = {
    **{name: ShardFormat(compression=name, records_are="texts") for name in PACK},
    **{
        kind: ShardFormat(kind=kind, schema=TEXT, records_are="texts")
        for kind in ("parquet", "arrow", "arrow_stream")
    },
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_is_written_is_read_back_by_anybody_and_by_us(form: ShardFormat) -> None:
    texts = make_texts(draws("write"), 2000)
    records = [text.encode() for text in texts]
    positions = np.arange(len(texts), dtype=np.uint64)
    block = blocks.from_records(records, positions, line_end=b"")
    sink = io.BytesIO()
    writer = open_writer(sink, form, path="s")
    assert writer.write(block.slice(0, 5)) is None
    writer.write(block.slice(5))
    writer.close()
    data = sink.getvalue()
    if form.kind == "lines":
        lines = UNPACK[form.compression](data).split(b"\n")
        assert lines.pop() == b""
        assert [json.loads(line) for line in lines] == [{"text": text} for text in texts]
        assert "poème 😀".encode() in lines[3]
    elif form.kind == "parquet":
        assert pq.read_table(io.BytesIO(data)).to_pydict() == {"text": texts}
    digest = shard_digest(io.BytesIO(data), path="s", size=len(data), form=form)
    assert digest == blocks.digests(blocks.without_hashes(block), sources=1)[0]
    assert not form.is_plain


@given(st.lists(st.sampled_from(["good", "judged", "bad"]), max_size=12))
def test_what_is_judged_bad_goes_with_what_was_bad_in_the_files_order(kinds: list[str]) -> None:
    lines = [
        b"no json %d" % i if kind == "bad" else b'{"text":"%s %d"}' % (kind.encode(), i)
        for i, kind in enumerate(kinds)
    ]
    positions = np.arange(len(lines), dtype=np.uint64) * np.uint64(7)
    block = blocks.from_records(lines, positions, line_end=b"\n")

    def validate(found: pa.RecordBatch) -> dict[int, str]:
        every = blocks.records(found)
        return {
            i: f"of {text.decode()}" for i, text in enumerate(every) if text.startswith(b"judged")
        }

    good, bad, reasons = of_json(block, field="text").validated(validate, block)
    assert blocks.records(good) == [b"good %d" % i for i, k in enumerate(kinds) if k == "good"]
    left_out = [i for i, kind in enumerate(kinds) if kind != "good"]
    if bad is None:
        assert not left_out
        return
    assert blocks.records(bad) == [lines[i] for i in left_out]
    assert blocks.column(bad, "position").tolist() == positions[left_out].tolist()
    for i, reason in zip(left_out, reasons, strict=True):
        assert reason == f"of judged {i}" if kinds[i] == "judged" else "JSON" in reason


TOLERATED = [
    b'{"body": "a", "score": NaN}',
    b'{"score": [-Infinity, Infinity], "body": "a"}',
    b'{"body": "a", "score": 1e400}',
    b'{"body": "a", "score": %s}' % (b"9" * 5000),
    b'{"body": "a", "raw": "\\ud83d"}',
    b'{"x": %s%s, "body": "a"}' % (b"[" * 3000, b"]" * 3000),
    b'{"x": %s1%s, "body": "a"}' % (b'{"a":' * 3000, b"}" * 3000),
]


@pytest.mark.parametrize("line", TOLERATED, ids=lambda line: line[:30])
def test_what_other_fields_hold_is_no_reason_to_refuse_a_text(line: bytes) -> None:
    other = b'{"body": "b"}'
    found = [(0, "b"), (len(other) + 1, "a"), (len(other) + len(line) + 2, "b")]
    assert read(b"\n".join([other, line, other]), name="x.jsonl") == (found, [])
    assert read(line, name="x") == ([(0, "a")], [])


@pytest.mark.parametrize("spans", [1, 7])
@pytest.mark.parametrize("name", ["x.jsonl", "x", "x.gz"])
def test_blank_lines_of_json_are_no_records_and_a_mark_is_no_text(name: str, spans: int) -> None:
    blank = [b"", b"  ", b"\t\r", b""]
    rows, expected, at = [], [], 3
    for number in range(60):
        rows.append(blank[number % 4] if number % 3 == 0 else b' {"body": "%d"}' % number)
        expected += [(at, str(number))] if number % 3 else []
        at += len(rows[-1]) + 1
    data = b"\xef\xbb\xbf" + b"\n".join(rows)
    pack = PACK["gzip"] if name.endswith(".gz") else bytes
    assert read(pack(data), name=name, spans=spans) == (expected, [])


def test_what_is_kept_of_such_a_line_has_to_be_writable() -> None:
    lines = [b'{"body": "a", "n": NaN, "m": [1]}', b'{"body": "b", "n": 1, "m": [NaN]}']
    block = blocks.from_records(lines, np.array([0, 40], np.uint64), line_end=b"\n")
    found = of_json(block, field="body", kept=Kept(names=("n",), kinds=("number",)))
    assert found.bad is None
    assert [str(row["n"]) for row in blocks.kept_of(found.block).to_pylist()] == ["nan", "1.0"]
    found = of_json(block, field="body", kept=Kept(names=("m",), kinds=("json",)))
    assert blocks.records(found.block) == [b"a"]
    assert found.reasons == (
        "field 'm': expected what can be kept as it is: a number in it is NaN, infinite or too large",
    )


def test_views_that_lead_nowhere_are_damage() -> None:
    for buffer, offset in ((5, 0), (0, 1 << 30)):
        view = struct.pack("<i4sii", 20, b"abcd", buffer, offset)
        data = [None, pa.py_buffer(view), pa.py_buffer(b"x" * 30)]
        damaged = pa.Array.from_buffers(pa.binary_view(), 1, data)
        with pytest.raises(pa.ArrowException):  # and not the end of the process
            as_text(damaged)


_LINES = [
    *(
        b'{"body":"a"}',
        b'{"body":"","n":[1]}',
        b'{"body":"caf\\u00e9\\n"}',
        b'{"a":NaN,"body":"b"}',
    ),
    *(
        b'{"b\\u006fdy":"escaped"}',
        b'{"body":1}',
        b'{"body":"\\ud800"}',
        b'{"x":"\\ud800","body":"c"}',
    ),
    *(b"x", b"[]", b'{"body":"\xff"}', b'{"x":1e999,"body":"d"}', b'{"body":"one","body":"two"}'),
    b'{"\\udcff":"half"}',
    *(b"{}", b'{"x":' + b"[" * 1100 + b"]" * 1100 + b',"body":"deep"}', '{"body":"水"}'.encode()),
]


@given(st.lists(st.sampled_from(_LINES), max_size=9), st.sampled_from(["body", "\udcff"]))
def test_what_is_found_is_the_same_with_and_without_compiled_loops(
    lines: list[bytes], field: str
) -> None:
    block = blocks.from_records(lines, np.arange(len(lines), dtype=np.uint64), line_end=b"\n")
    found = of_json(block, field=field, source=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transforms.formats.texts.loops_for", lambda size: None)
        plain = of_json(block, field=field, source=1)
        patch.setattr("transforms.formats.texts.loops_for", lambda size: 1)
        compiled = of_json(block, field=field, source=1)
    assert found == plain == compiled
