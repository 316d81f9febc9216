"""Contents: equal ones have equal hashes in every format, and nothing else has a part in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.kernels import oracles
from transforms.errors import DataError
from transforms.formats import texts
from transforms.kernels.records import blocks, compiling
from transforms.kernels.records.contents import (
    content_hashes,
    ids_hashes,
    without_values,
)
from transforms.kernels.records.rows import to_rows


def of_lines(lines: list[bytes], line_end: bytes = b"\n") -> pa.RecordBatch:
    positions = np.arange(len(lines), dtype=np.uint64)
    return blocks.from_records(lines, positions, line_end=line_end)


def of_columns(**columns: Any) -> pa.RecordBatch:
    record = to_rows(pa.record_batch(columns))
    return blocks.from_rows(record, positions=np.arange(len(record), dtype=np.uint64))


def hashed(block: pa.RecordBatch, **how: Any) -> list[tuple[int, int]]:
    hash0, hash1 = content_hashes(block, **how)
    return list(zip(hash0.tolist(), hash1.tolist(), strict=True))


def known(contents: list[bytes]) -> list[tuple[int, int]]:
    return [(oracles.record_hash(c, 0), oracles.record_hash(c, 1)) for c in contents]


WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n")))


@pytest.mark.parametrize("compiled", [False, True])
@given(words=WORDS)
def test_a_text_has_one_pair_of_hashes_in_every_format(compiled: bool, words: list[str]) -> None:
    data = [word.encode() for word in words]
    if compiled:
        compiling.use_loops()
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setattr(compiling, "loops_for", lambda size: None)
        want = known(data)
        for end in (b"\n", b"\0", b""):
            lines = of_lines(data, end)
            assert hashed(lines) == want
            assert hashed(blocks.without_hashes(lines)) == want
        for kind in (pa.string(), pa.large_string(), pa.binary(), pa.string_view()):
            rows = of_columns(id=pa.array(range(len(words))), text=pa.array(data).cast(kind))
            assert hashed(rows) == want
            read = of_columns(text=pa.array(words, pa.string()).cast(pa.large_string()))
            assert hashed(texts.of_rows(read, field="text").block) == want
        if words:
            dictionary = pa.array(words, pa.string()).dictionary_encode()
            assert hashed(of_columns(text=dictionary)) == want
            assert hashed(of_columns(text=dictionary).slice(1)) == want[1:]


def test_json_has_the_text_that_it_stands_for() -> None:
    lines = [b'{"text": "a\\u00e4\\n", "id": 1}', '{"id": 2, "text":"aä\\n"}'.encode()]
    found = texts.of_json(of_lines(lines), field="text").block
    assert hashed(found) == known(["aä\n".encode()] * 2)


def test_bytes_before_normalization_are_the_content() -> None:
    composed, decomposed, upper = "é".encode(), "e\u0301".encode(), "É".encode()
    found = hashed(of_lines([composed, decomposed, upper, composed + b" ", composed + b"\r"]))
    assert len(set(found)) == 5


@given(st.lists(st.lists(st.integers(0, 2**15 - 1)), min_size=1))
def test_rows_of_ids_are_known_by_their_ids(ids: list[list[int]]) -> None:
    want = known([b"".join(i.to_bytes(4, "little") for i in row) for row in ids])
    kinds = [
        pa.list_(pa.uint16()),
        pa.large_list(pa.uint32()),
        pa.list_(pa.int64()),
        pa.list_(pa.int16()),
    ]
    for kind in kinds:
        block = of_columns(n=pa.array(range(len(ids))), input_ids=pa.array(ids, kind))
        assert hashed(block, ids="input_ids") == want
        assert hashed(block.slice(1), ids="input_ids") == want[1:]
    same = [row[:2] + [0] * (2 - len(row[:2])) for row in ids]
    lists = [pa.array(same, pa.list_(pa.int32(), 2)), pa.array(same, pa.list_(pa.uint16()))]
    (left0, left1), (right0, right1) = (ids_hashes(array, name="x") for array in lists)
    assert left0.tolist() == right0.tolist()
    assert left1.tolist() == right1.tolist()


def test_rows_of_ids_with_their_text_are_known_by_it() -> None:
    block = of_columns(input_ids=pa.array([[1], [2]]), text=pa.array(["same", "same"]))
    assert hashed(block, ids="input_ids") == known([b"same"] * 2)
    other = of_columns(input_ids=pa.array([[1], [1]]), text=pa.array([1, 2]))  # no text
    first, second = hashed(other, ids="input_ids")
    assert first == second


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (pa.array([[1], None]), "a value in every record"),
        (pa.array([[1, None]]), "a value in every record"),
        (pa.array([[1, -1]]), r"ids of 0 to 2\*\*32 - 1"),
        (pa.array([[1 << 32]]), r"ids of 0 to 2\*\*32 - 1"),
        (pa.array([["a"]]), "expected lists of ids, got list"),
    ],
)
def test_what_are_no_ids_is_refused(ids: pa.Array, says: str) -> None:
    with pytest.raises(DataError, match=f"input_ids: .*{says}"):
        content_hashes(of_columns(input_ids=ids), ids="input_ids")


def test_whole_rows_are_known_by_all_their_columns() -> None:
    found = hashed(of_columns(a=pa.array([1, 1, 2]), b=pa.array(["x", "x", "x"])))
    assert found[0] == found[1] != found[2]


def with_kept(**columns: Any) -> pa.RecordBatch:
    lines = [b"%d" % i for i in range(len(next(iter(columns.values()))))]
    record = to_rows(pa.record_batch(columns))
    return of_lines(lines, b"").append_column("kept", record)


def test_groups_are_known_by_the_text_of_their_values() -> None:
    want = known([b"7", b"-1", b"7"])
    for values in (
        pa.array([7, -1, 7], pa.int8()),
        pa.array([7, -1, 7], pa.int64()),
        pa.array(["7", "-1", "7"]),
        pa.array(["7", "-1", "7"]).dictionary_encode(),
    ):
        assert hashed(with_kept(site=values), groups=["site"]) == want
        assert hashed(of_columns(site=values, text=pa.array(["a"] * 3)), groups=["site"]) == want
    assert hashed(with_kept(b=pa.array([True, False])), groups=["b"]) == known([b"true", b"false"])
    assert hashed(with_kept(b=pa.array([b"\xff"])), groups=["b"]) == known([b"\xff"])


def test_groups_of_several_fields_need_all_of_them() -> None:
    a, b = pa.array(["x", "x", "y", "x"]), pa.array(["y", "z", "x", "y"])
    found = hashed(with_kept(a=a, b=b), groups=["a", "b"])
    assert found[0] == found[3]
    assert len(set(found)) == 3


def test_records_without_a_group_are_bad_and_say_so() -> None:
    block = with_kept(a=pa.array(["x", None, "y"]), b=pa.array([1, None, None]))
    assert without_values(block, groups=("a", "b")) == {
        1: "expected a value in field 'a', to split by it, got none or null",
        2: "expected a value in field 'b', to split by it, got none or null",
    }
    with pytest.raises(DataError, match=r"field a: expected a value in every record, .*; record 1"):
        content_hashes(block, groups=["a"])


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (with_kept(a=pa.array([1.0])), "field g: expected records that have it, .* they have a"),
        (of_lines([b"x"]), "field g: .* they have no fields"),
        (with_kept(g=pa.array([1.0])), "field g: expected text, integers or booleans, .* double"),
        (with_kept(g=pa.array([[1]])), "field g: expected text, integers or booleans"),
    ],
)
def test_what_cannot_be_split_by_is_named(block: pa.RecordBatch, says: str) -> None:
    with pytest.raises(DataError, match=says):
        content_hashes(block, groups=["g"])


def test_fields_go_that_were_kept_to_split_by_them() -> None:
    block = with_kept(a=pa.array([1]), b=pa.array(["x"]))
    assert blocks.without_kept(block, []) is block
    kept = blocks.kept_of(blocks.without_kept(block, ["a"]))
    assert kept is not None
    assert kept.to_pylist() == [{"b": "x"}]
    for names in (["a", "b"], None):
        assert blocks.without_kept(block, names).schema == of_lines([b"0"], b"").schema
    lines = of_lines([b"0"])
    assert blocks.without_kept(lines, ["a"]) is lines
