"""What is kept beside texts: columns of JSON's values, against a plain account of them."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.errors import DataError
from transforms.formats import parquet
from transforms.formats.kept import (
    EVERY,
    TYPES,
    JsonKind,
    Kept,
    common_kind,
    kinds_of,
    schema_of,
)
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import open_span
from transforms.kernels.records import blocks

VALUES: list[Any] = [None, 0, -5, 1.5, 2.0, "", "é\0", True, False, [], {"a": [1, None]}]
VALUES += [(1 << 63) - 1, -(1 << 63), 1 << 63, (1 << 64) - 1, 1 << 60, (1 << 53) + 1]
KINDS: list[JsonKind] = ["integer", "number", "text", "boolean", "json"]


def fits(value: Any, kind: JsonKind) -> bool:
    if value is None or kind == "json":
        return True
    if isinstance(value, bool) or kind == "boolean":
        return isinstance(value, bool) and kind == "boolean"
    if kind == "number":
        return isinstance(value, int | float) and int(float(value) * 8) == value * 8
    if kind == "text":
        return isinstance(value, str)
    return isinstance(value, int) and value.bit_length() <= 63 + (value == -(1 << 63))


def as_kept(value: Any, kind: JsonKind) -> Any:
    return orjson.dumps(value).decode() if kind == "json" and value is not None else value


@pytest.mark.parametrize("seed", range(30))
def test_columns_hold_the_values_and_bad_ones_are_named(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    kinds = {f"f{i}": rng.choice(KINDS) for i in range(rng.randrange(1, 6))}
    odd = rng.choice([0.0, 0.1, 1.0])
    records: list[dict[str, Any]] = []
    for _ in range(rng.choice([0, 1, 40])):
        record = {}
        for name, kind in kinds.items():
            choice = [v for v in VALUES if rng.random() < odd or fits(v, kind)]
            if rng.random() < 0.8:
                record[name] = rng.choice(choice)
        records.append(record)
    kept = Kept(names=tuple(kinds), kinds=tuple(kinds.values()))
    found, bad = kept.to_columns([kept.pick(record) for record in records])
    assert found.type == pa.struct(list(schema_of(kinds)))
    for place, record in enumerate(records):
        wrong = [name for name, value in record.items() if not fits(value, kinds[name])]
        assert (place in bad) == bool(wrong)
        if wrong:
            assert bad[place].startswith(f"field {min(wrong)!r}: expected ")
            continue
        row = found[place].as_py()
        for name, kind in kinds.items():
            expected = as_kept(record.get(name), kind)
            assert row[name] == expected
            assert kind == "number" or type(row[name]) is type(expected)


def test_kinds_are_those_that_hold_every_value() -> None:
    assert kinds_of([]) == {}
    for left in VALUES:
        for right in VALUES:
            (kind,) = kinds_of([json.dumps({"x": v}).encode() for v in (left, right)]).values()
            if left is None and right is None:
                assert kind is None
                continue
            alike = [k for k in KINDS if all(_is_kind(v, k) for v in (left, right))]
            assert kind == alike[0]


def _is_kind(value: Any, kind: JsonKind) -> bool:
    """Whether a value is of a kind as written; an integer that float64 rounds may be a number too."""
    if not isinstance(value, int) or isinstance(value, bool):
        return fits(value, kind)
    return kind == "json" or (kind in ("integer", "number") and fits(value, "integer"))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (None, None, None),
        (None, "text", "text"),
        ("integer", "number", "number"),
        ("number", "integer", "number"),
        ("integer", "text", None),
        ("json", "text", None),
        ("boolean", "integer", None),
    ],
)
def test_kinds_of_files_go_together_or_do_not(
    left: JsonKind | None, right: JsonKind | None, expected: JsonKind | None
) -> None:
    assert common_kind(left, right) == expected


def test_columns_go_together_by_name_and_by_what_they_hold() -> None:
    want = pa.schema([pa.field("a", pa.int64(), metadata={b"m": b"1"}), ("b", pa.string_view())])
    have = pa.schema([("b", pa.string()), ("a", pa.int32()), ("text", pa.string())])
    kept = Kept(names=EVERY, schema=want)
    assert kept.columns(have, text="text", name="f").names == ["b", "a"]
    for other, words in (
        (have.append(pa.field("c", pa.int8())), "f: .*has c in addition"),
        (have.remove(1), "f: .*lacks a"),
        (have.set(1, pa.field("a", pa.uint64())), "f: .*a is uint64, not int64"),
        (have.set(0, pa.field("b", pa.binary())), "f: .*b is binary, not large_string"),
    ):
        with pytest.raises(DataError, match=words):
            kept.columns(other, text="text", name="f")


def _file(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _open(data: bytes, kept: Kept, name: str) -> Any:
    options = ReadOptions(text_field="text", kept=kept)
    return open_span(
        io.BytesIO(data), ReadTask(name=name, size=len(data), stop=len(data), options=options)
    )


def test_a_file_that_nobody_looked_at_before_is_held_to_the_schema() -> None:
    table = pa.table({"b": [1.5], "text": ["t"], "a": [7]})
    planned = pa.schema([("a", pa.int64()), ("b", pa.float64())])
    kept = Kept(names=EVERY, schema=planned)
    (found,) = _open(_file(table), kept, "f.arrow")
    assert blocks.kept_of(found.block).to_pylist() == [{"a": 7, "b": 1.5}]
    assert blocks.records(found.block) == [b"t"]
    narrow = table.set_column(2, "a", pa.array([7], pa.int8()))
    (found,) = _open(_file(narrow), kept, "f.arrow")
    assert blocks.kept_of(found.block).type == pa.struct(planned)
    more = table.append_column("c", pa.array([1]))
    for other, words in ((more, "has c"), (table.select(["a", "text"]), "lacks b")):
        with pytest.raises(DataError, match=f"f.arrow: .*{words}"):
            _open(_file(other), kept, "f.arrow")
    with pytest.raises(DataError, match=r"f.jsonl: expected rows, .* got JSON lines"):
        _open(b'{"text": ""}\n', kept, "f.jsonl")


@pytest.mark.parametrize("seed", range(10))
def test_bad_lines_of_all_kinds_leave_the_others_with_what_is_theirs(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    kinds = ["good", "no JSON", "[]", "no text", "misfit", "no text and misfit"]
    lines, good, wrong, at = [], [], {}, 0
    for number in range(rng.choice([1, 50])):
        kind = rng.choice(kinds) if rng.random() < 0.7 else "good"
        value: dict[str, Any] = {"id": number if "misfit" not in kind else str(number)}
        value |= {} if "no text" in kind else {"text": f"t{number}"}
        line = kind if kind in ("no JSON", "[]") else json.dumps(value)
        lines.append(line)
        if kind == "good":
            good.append((at, f"t{number}".encode(), {"id": number}))
        else:
            text = "field 'id': expected an integer"
            wrong[at] = (line.encode(), text if kind == "misfit" else "expected")
        at += len(line) + 1
    data = "".join(f"{line}\n" for line in lines).encode()
    found, bad = [], {}
    reader = _open(data, Kept(names=("id",), kinds=("integer",)), "f.jsonl")
    for block, rest, reasons in reader:
        rows = blocks.kept_of(block).to_pylist()
        positions = blocks.column(block, "position").tolist()
        found += zip(positions, blocks.records(block), rows, strict=True)
        if rest is not None:
            places = blocks.column(rest, "position").tolist()
            bad |= dict(zip(places, zip(blocks.records(rest), reasons, strict=True), strict=True))
    assert found == good
    assert bad.keys() == wrong.keys()
    for place, (line, text) in wrong.items():
        assert bad[place][0] == line
        assert bad[place][1].startswith(text)


def test_large_values_in_nested_columns_of_parquet_are_read_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first rows, which are looked at, don't show them; the footer does."""
    seen = []
    real = parquet.Reader._to_blocks

    def to_blocks(reader: Any, batch: pa.RecordBatch, **given: Any) -> Any:
        seen.append(len(batch))
        return real(reader, batch, **given)

    meta = [None if i < 8 else {"s": f"{i:05}" * 2000} for i in range(2000)]
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [""] * 2000, "meta": meta}), sink)
    monkeypatch.setattr(parquet.Reader, "_to_blocks", to_blocks)
    reader = _open(sink.getvalue(), Kept(names=("meta",)), "f.parquet")
    assert sum(len(found.block) for found in reader) == 2000
    assert max(seen) <= 2 * reader._task.options.chunk_bytes // 10_000


HUGE = [1 << 64, (1 << 64) + 13, -(1 << 63) - 1, 10**30]


@pytest.mark.parametrize("number", HUGE)
def test_integers_beyond_64_bits_are_kept_as_they_are_or_bad(number: int) -> None:
    lines = [b'{"id": %d}' % n for n in (1, number)] + [b'{"id": [1.5, {"x": %d}]}' % number]
    assert kinds_of(lines[:2]) == {"id": "json"}
    values = [json.loads(line) for line in lines]
    rough = [orjson.loads(line) for line in lines]
    exact = [1] if float(number) == number else []
    for kind, good in (("json", [0, 1, 2]), ("integer", [0]), ("number", [0, *exact])):
        kept = Kept(names=("id",), kinds=(kind,))  # type: ignore[arg-type]
        array, bad = kept.to_columns(kept.pick_all(rough, lines))
        assert sorted(set(range(3)) - bad.keys()) == good, kind
        found = array.field(0).to_pylist()
        for place in good:
            got = json.loads(found[place]) if kind == "json" else found[place]
            assert got == values[place]["id"]


def test_types_of_columns_are_those_that_are_named() -> None:
    assert list(TYPES) == KINDS
    large = pa.schema([("t", pa.large_string())])
    kept = Kept(names=("t",), schema=large, kinds=("text",))
    assert kept.to_columns([("a",), (None,)])[0].type == pa.struct(list(large))


def test_large_numbers_in_deep_values_are_no_fault_of_ours() -> None:
    deep = b"[" * 1010 + b"1e300" + b"]" * 1010  # orjson reads as many levels, json doesn't
    lines = [b'{"text": "a", "m": ' + deep + b"}", b'{"text": "b", "m": [18446744073709551616]}']
    data = b"\n".join(lines)
    assert kinds_of(lines) == {"text": "text", "m": "json"}
    (found,) = _open(data, Kept(names=("m",), kinds=("json",)), "f.jsonl")
    assert "nested too deeply" in found.reasons[0] or "ecursion" in found.reasons[0]
    (record,) = found.block.column("kept").to_pylist()
    assert record == {"m": "[18446744073709551616]"}
