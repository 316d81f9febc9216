"""What is kept of JSON lines by compiled loops is what a parser finds, and so are the bad lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms.formats import texts
from transforms.formats.kept import JsonKind, Kept
from transforms.formats.texts import Taken, take_if_any, take_json
from transforms.kernels.records import blocks, compiling

NUMBERS = ["0", "-0", "7", "-12", "9223372036854775807", "9223372036854775808", "1.0", "1e2", "01"]
WORDS = [
    "true",
    "false",
    "null",
    '"a"',
    '"true"',
    '"7"',
    '"\\u00e9\\n"',
    '"é"',
    "[1]",
    "{}",
    '"\\ud800"',
]
value = st.sampled_from(NUMBERS + WORDS)
pair = st.tuples(st.sampled_from(['"text"', '"n"', '"s"', '"b"', '"\\u006e"', '"o"']), value)
line = st.lists(pair, max_size=6).map(
    lambda pairs: "{" + ", ".join(f"{name}: {one}" for name, one in pairs) + "}"
)
GOOD = '{"text": "x", "n": %s, "s": "é", "b": true}'
odd = st.sampled_from(["", "[]", "{", "7", '{"text": NaN}'])
KINDS: dict[str, JsonKind] = {"n": "integer", "s": "text", "b": "boolean"}


def taken(
    take: Callable[..., Taken], lines: list[str], names: list[str], *, loops: bool
) -> tuple[list[Any], list[Any], dict[int, str]]:
    compiling.use_loops()
    data = [line.encode("utf-8", "surrogatepass") for line in lines]
    block = blocks.from_records(data, np.arange(len(data), dtype=np.uint64), line_end=b"\n")
    kept = Kept(names=tuple(names), kinds=tuple(KINDS[name] for name in names))
    with pytest.MonkeyPatch.context() as patch:
        if not loops:
            patch.setattr(texts, "_scan", lambda *_: None)
        found = take(block, field="text", kept=kept)
    assert found.kept is not None
    assert len(found.texts) == len(found.kept) == len(lines) - len(found.bad)
    return found.texts.to_pylist(), found.kept.to_pylist(), found.bad


@given(
    st.lists(line | st.sampled_from(NUMBERS).map(GOOD.__mod__) | odd, max_size=6),
    st.sampled_from([["n"], ["s"], ["b"], ["b", "n", "s"]]),
    st.sampled_from([take_json, take_if_any]),
)
@example(['{"text": "a", "n": 1, "n": "x"}', '{"text": "a", "n": "x", "n": 1}'], ["n"], take_json)
@example(['{"text": "a", "b": 1}', '{"text": "a", "b": true}'], ["b"], take_if_any)
@example(['{"text": "a", "n": -0}', '{"text": 1, "n": 5}'], ["n"], take_if_any)
def test_what_is_kept_is_what_a_parser_finds(
    lines: list[str], names: list[str], take: Callable[..., Taken]
) -> None:
    assert taken(take, lines, names, loops=True) == taken(take, lines, names, loops=False)


def test_plain_lines_need_no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps({"text": f"t{i}", "n": i - 5, "s": "ü", "b": i % 2 == 0}) for i in range(9)]
    monkeypatch.setattr(texts, "_take_each", None)
    found = taken(take_if_any, lines, ["n", "s", "b"], loops=True)
    assert found[1] == [{"n": i - 5, "s": "ü", "b": i % 2 == 0} for i in range(9)]
