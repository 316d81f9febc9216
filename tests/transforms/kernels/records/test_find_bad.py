"""Bad records are found, each alone; what is damaged as a whole is told from them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from transforms.kernels.records import blocks, find_bad

BAD = b"\xff\xfe"


def lines(*records: bytes) -> pa.RecordBatch:
    return blocks.from_records(
        list(records), np.arange(len(records), dtype=np.uint64), line_end=b"\n"
    )


def unchecked(values: list[bytes | None]) -> pa.Array:
    """Return strings of any bytes."""
    return pa.array(values, pa.binary()).view(pa.string())


def batch(column: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(range(len(column))), column], names=["n", "text"])


@pytest.mark.parametrize(
    ("check", "bad"), [("none", set()), ("utf8", {1, 5}), ("json", {1, 2, 3, 5})]
)
def test_lines(check: find_bad.Check, bad: set[int]) -> None:
    block = lines(b'{"a": 1}', BAD, b"{", b"", '"é"'.encode(), b'"\xe9"')
    assert find_bad.bad_lines(block, check).keys() == bad


def test_nothing_in_nothing() -> None:
    assert find_bad.bad_lines(lines(), "json") == {}
    assert find_bad.bad_rows(batch(unchecked([]))) == {}


@pytest.mark.parametrize("places", [[], [0], [7], [3, 4], [0, 7], list(range(8))])
@pytest.mark.parametrize("kind", ["plain", "dictionary", "list", "struct", "fixed", "deep"])
def test_rows_with_bad_text(kind: str, places: list[int]) -> None:
    text = unchecked([BAD if i in places else (None if i == 2 else b"t%d" % i) for i in range(8)])
    column = {
        "plain": lambda: text,
        "dictionary": lambda: pa.DictionaryArray.from_arrays(
            pa.array(range(8), pa.int8()), text, safe=False
        ),
        "list": lambda: pa.ListArray.from_arrays(pa.array(range(9), pa.int32()), text),
        "fixed": lambda: pa.FixedSizeListArray.from_arrays(text, 1),
        "deep": lambda: pa.ListArray.from_arrays(
            pa.array(range(9), pa.int32()),
            pa.StructArray.from_arrays([text, pa.array(range(8))], names=["inner", "n"]),
        ),
        "struct": lambda: pa.StructArray.from_arrays([text], names=["inner"]),
    }[kind]()
    found = find_bad.bad_rows(batch(column))
    assert sorted(found) == places
    part = find_bad.bad_rows(batch(column).slice(2, 5))
    assert sorted(part) == [place - 2 for place in places if 2 <= place < 7]
    assert all(why == "column text: not UTF-8" for why in found.values())


def test_a_bad_value_of_a_dictionary_is_only_theirs_who_refer_to_it() -> None:
    column = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, None, 0, 2, 1], pa.int8()), unchecked([b"a", BAD, b"c"]), safe=False
    )
    assert sorted(find_bad.bad_rows(batch(column))) == [1, 5]


@pytest.mark.parametrize("values", [[b"a", b"b"], [b"a", BAD]])
@pytest.mark.parametrize("index", [2, -1, 100])
def test_an_index_outside_its_dictionary_is_damage(values: list[bytes | None], index: int) -> None:
    column = pa.DictionaryArray.from_arrays(
        pa.array([0, index], pa.int8()), unchecked(values), safe=False
    )
    with pytest.raises(pa.ArrowInvalid):
        find_bad.bad_rows(batch(column))


def test_offsets_that_run_backwards_are_damage() -> None:
    column = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 5, 2], np.int32)), pa.py_buffer(b"abcde")]
    )
    with pytest.raises(pa.ArrowInvalid):
        find_bad.bad_rows(batch(column))


def test_split_keeps_both_orders() -> None:
    good, bad = find_bad.split(lines(b"a", b"b", b"c", b"d"), {2: "x", 0: "y"})
    assert blocks.records(good) == [b"b", b"d"]
    assert blocks.records(bad) == [b"a", b"c"]
