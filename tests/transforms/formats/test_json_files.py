"""``.json`` files that aren't lines: each element or value is a record, in its place."""

from __future__ import annotations

import io
import json
from typing import Any
from unittest import mock

import pytest

from tests.transforms.formats.samples import PACK, SUFFIX, read_spans
from transforms.errors import DataError, InputError
from transforms.formats import json_files, line_kinds
from transforms.formats.line_format import BOM, LineFormat
from transforms.formats.line_kinds import refuse_other_json
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import open_span
from transforms.kernels.records import blocks

VALUES = [
    {"id": i, "text": 'a "q" \\ [{é\n' + "x" * (i * i % 37), "in": [[], {}]} for i in range(60)
]
COMPACT = [json.dumps(value).encode() for value in VALUES]


def pretty(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()


def one_line(data: bytes) -> bytes:
    return json.dumps(json.loads(data), separators=(",", ": ")).encode()


def read(
    data: bytes, *, name: str = "x.json", spans: int = 1, **options: Any
) -> tuple[list[tuple[int, bytes]], list[str]]:
    """Read all spans; return (position, record) and reasons."""
    found: list[tuple[int, bytes]] = []
    why: list[str] = []
    for block, _, reasons in read_spans(data, name, spans=spans, **{"chunk_bytes": 100, **options}):
        found += zip(block.column("position").to_pylist(), blocks.records(block), strict=True)
        why += reasons
    return found, why


SHAPES = {
    "pretty array": (pretty(VALUES) + b"\n", [one_line(pretty(value)) for value in VALUES]),
    "array on one line": (json.dumps(VALUES).encode(), COMPACT),
    "marked array": (BOM + b"  \n [" + b",\n".join(COMPACT) + b" ]\r\n ", COMPACT),
    "pretty values": (b"\n\n".join(map(pretty, VALUES)), [one_line(pretty(v)) for v in VALUES]),
    "values that touch": (
        pretty(VALUES[0]) + b"".join(COMPACT),
        [one_line(pretty(VALUES[0])), *COMPACT],
    ),
    "one value": (pretty(VALUES[7]), [one_line(pretty(VALUES[7]))]),
    "far apart": (
        b"[" + b" \n" * 300 + b"1" + b" " * 300 + b"," + b"\n" * 300 + b"2\n]",
        [b"1", b"2"],
    ),
    "long strings": (
        b'["' + b'\\\\\\"' * 300 + b'",\n"' + b' \\" ,]' * 300 + b'" ]',
        [b'"' + b'\\\\\\"' * 300 + b'"', b'"' + b' \\" ,]' * 300 + b'"'],
    ),
    "scalars": (b'[1, "a", null,\n[2],{}]', [b"1", b'"a"', b"null", b"[2]", b"{}"]),
    "nothing": (b" [\n] \n", []),
}


@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("chunk", [1, 3, 100, 1 << 20])
def test_every_value_is_a_record_of_one_line_in_its_place(layout: str, chunk: int) -> None:
    data, expected = SHAPES[layout]
    found, _ = read(data, chunk_bytes=chunk, spans=3)
    assert [record for _, record in found] == expected
    for position, record in found:
        assert data[position : position + 1] == record[:1]
    places = [position for position, _ in found]
    assert places == sorted(set(places))


def test_what_stands_between_tokens_stays_save_newlines_and_indentation() -> None:
    data = b'[ {"a" :\t1,  "b":"c\\n d" , \n\t"e" : [ ] } , 2.50 ]'
    assert [r for _, r in read(data)[0]] == [b'{"a" :\t1,  "b":"c\\n d" ,"e" : [ ] }', b"2.50"]


@pytest.mark.parametrize("codec", PACK)
def test_compressed(codec: str) -> None:
    data, expected = SHAPES["pretty array"]
    found, _ = read(PACK[codec](data), name=f"x.json{SUFFIX[codec]}", spans=2)
    assert [record for _, record in found] == expected


def test_texts_and_what_is_checked() -> None:
    found, why = read(b'[{"text": "a"},\n{"text": 1}, {"text": "b"}]', text_field="text")
    assert found == [(1, b"a"), (29, b"b")]
    assert len(why) == 1
    found, why = read(b'[{"a" 1}, {"a": 1}, "x\ny"]', check="json")
    assert found == [(10, b'{"a": 1}')]
    assert "not JSON" in why[0]
    assert "a newline stands in a string" in why[1]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"[1, 2]\n[3]\n", "x.json"),
        (b'{"a": 1}\n{"a": 2}\n', "x.json"),
        (b'{"a": "cut\n{"a": 2}\n', "x.json"),
        (b'"a"\n1\n', "x.json"),
        (b"", "x.json"),
        (b"[\n1]", "x.jsonl"),
        (b"[\n1]", "x"),
    ],
)
def test_what_is_lines_stays_lines(data: bytes, name: str) -> None:
    expected = data.removesuffix(b"\n").split(b"\n") if data else []
    assert [record for _, record in read(data, name=name)[0]] == expected


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        (b'[{"a": 1},\n{"a": 2}]', "an array of JSON objects"),
        (b'[{"a": 1}, {"a": 2}]', "an array of JSON objects"),
        (b'[\n {\n"a": 1}]', "an array of JSON objects"),
        (b'{\n  "a": 1\n}', "a JSON object over several lines"),
        (b'{"a": 1}\n{"a":\n', None),
        (b'[{"a": 1}]\n[{"a": 2}]\n', None),
        (b"[Chapter 1]\n[2]\n", None),
        (b"{\nint x;\n}\n", None),
    ],
)
def test_json_over_lines_under_another_name_is_refused(data: bytes, refused: str | None) -> None:
    for name in ("x.jsonl", "x"):
        if refused is None:
            refuse_other_json(io.BytesIO(data), name=name, codec=None)
            continue
        with pytest.raises(InputError, match=f"^{name}: .*{refused}.*--format=lines"):
            refuse_other_json(io.BytesIO(data), name=name, codec=None)
    refuse_other_json(io.BytesIO(data), name="x.txt", codec=None)


def test_lines_that_are_asked_for_and_lines_of_another_kind() -> None:
    data = b"[\n1,\n\n2]"
    assert [r for _, r in read(data, format="lines")[0]] == [b"[", b"1,", b"", b"2]"]
    zero = LineFormat(separator=0)
    assert [r for _, r in read(data, line_format=zero)[0]] == [data]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"[\n1, 2", "the array isn't closed: its last value begins at byte 5"),
        (b'[\n1, {"a": "', "begins at byte 5"),
        (b"[\n1, , 2]", "expected an element of the array at byte 5, got b','"),
        (b"[\n1,\n]", "expected an element of the array at byte 5, got b']'"),
        (b"[\n1]\n\n [2]", r"nothing after the array, got b'\[2\]' at byte 7"),
        (b'{\n"a":1}\n{"b":', "the value at byte 9 isn't closed"),
        (b'{\n"a":1}\n, {}', "expected an object at byte 9"),
        (b'{\n"a":1}\nrest', "expected an object at byte 9"),
        (b"[\n" + b"1" * 3000 + b"]", "record at byte 2 has more than"),
        (b"[\n" + b"1" * 250 + b"]", "byte 2 has 250 bytes"),
    ],
)
def test_what_is_not_whole_is_named_by_its_place(data: bytes, says: str) -> None:
    with pytest.raises(DataError, match=f"^x.json: .*{says}"):
        read(data, record_limit=200, chunk_bytes=300)


@pytest.mark.parametrize("filler", [b" ", b"\n", b"\\"])
def test_what_a_value_may_go_on_with_is_bounded_too(filler: bytes) -> None:
    data = b'["' + b"x" * 900 + b'"' + filler * 50_000 + b", 2]"
    with pytest.raises(DataError, match=r"x.json: the record at byte 1 has more than"):
        read(data, record_limit=2000)
    assert len(read(b"[1" + filler * 50_000 + b", 2]", record_limit=60_000)[0]) == 2


def test_a_file_that_has_become_empty_since_it_was_looked_at_ends() -> None:
    for data in (b"", b"   ", b"{"):
        options = ReadOptions(chunk_bytes=100, record_limit=100)
        task = ReadTask(name="x.json", size=9, stop=9, options=options)
        reader = json_files.Reader(io.BytesIO(data), task, layout="array")
        with pytest.raises(DataError, match=r"x\.json: expected an array"):
            list(reader)


def test_an_array_is_read_piece_by_piece() -> None:
    data = b"[\n" + b",\n".join(COMPACT * 40) + b"]"

    class Watched(io.BytesIO):
        largest = 0

        def readinto(self, target: Any) -> int:
            Watched.largest = max(Watched.largest, len(memoryview(target)))
            return super().readinto(target)

    with mock.patch.multiple(line_kinds, _GLANCE=64, _LONG=128):
        reader = open_span(
            Watched(data),
            ReadTask(
                name="x.json", size=len(data), stop=len(data), options=ReadOptions(chunk_bytes=300)
            ),
        )
        sizes = [blocks.payload_bytes(found.block) for found in reader]
    assert len(sizes) > 100
    assert max(sizes) < 1000
    assert Watched.largest <= 1024
