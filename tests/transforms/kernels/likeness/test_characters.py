"""Characters as Python has them, code point by code point."""

from __future__ import annotations

import re
import unicodedata

import pytest

from transforms.kernels.likeness.characters import CASED, IGNORED, LOWER, SPACE, WORD, characters

EVERY = range(0x110000)

as_python = pytest.mark.skipif(
    unicodedata.unidata_version != "14.0.0", reason="this Python has another version of Unicode"
)


@as_python
def test_lower_cases_are_pythons() -> None:
    table = characters()
    wrong = [p for p in EVERY if chr(table[p] & LOWER) != chr(p).lower()]
    assert [(hex(p), chr(p).lower()) for p in wrong] == [("0x130", "i\u0307")]


@as_python
@pytest.mark.parametrize(("bit", "pattern"), [(WORD, r"\w"), (SPACE, r"\s")])
def test_classes_are_those_of_regular_expressions(bit: int, pattern: str) -> None:
    table, found = characters(), re.compile(pattern)
    assert [p for p in EVERY if bool(table[p] & bit) != bool(found.match(chr(p)))] == []


@as_python
def test_what_a_capital_sigma_sees_is_what_python_has_it_see() -> None:
    table = characters()
    for point in EVERY:
        final = (chr(point) + "Σ").lower()[-1] == "ς"
        over = ("A" + chr(point) + "Σ").lower()[-1] == "ς" and not final
        found = bool(table[point] & CASED), bool(table[point] & IGNORED)
        assert found == (final, over), hex(point)


def test_no_character_is_of_a_word_and_white() -> None:
    table = characters()
    assert not ((table & WORD).astype(bool) & (table & SPACE).astype(bool)).any()
