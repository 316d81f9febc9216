"""What is done to text before it is cut, against plain Python."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import numpy as np
import pytest

from transforms.kernels.arrays import offsets_of
from transforms.kernels.segmentation import automaton as automata
from transforms.kernels.segmentation.bpe.rewrite import decomposed, rewrite, take_out
from transforms.tokenization.models.added_tokens import beyond_unicode

TEXTS = ["", " ", "a b", "  a", "\u2581a b", "今天 e\u0301", "<x><xy>ab<x", "\u1112\u1161", "é ü"]


def packed(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    raw = [text.encode() for text in texts]
    return np.frombuffer(b"".join(raw), np.uint8), offsets_of(list(map(len, raw)))


@pytest.mark.parametrize("prefix", ["", " ", "\u2581"])
@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("unless", [False, True])
def test_spaces_are_marked_and_a_prefix_put(prefix: str, marked: bool, unless: bool):
    data, offsets = rewrite(*packed(TEXTS), prefix=prefix.encode(), marked=marked, unless=unless)
    for text, (begin, end) in zip(TEXTS, pairwise(offsets.tolist()), strict=True):
        expected = text.replace(" ", "\u2581") if marked else text
        begins = text.startswith(" ") if marked and prefix == " " else expected.startswith(prefix)
        if text and not (unless and begins):
            expected = prefix + expected
        assert data[begin:end].tobytes().decode() == expected


def test_what_may_not_be_in_nfc_is_found():
    every = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    found = decomposed(*packed(every))
    for character, may_differ in zip(every, found.tolist(), strict=True):
        if unicodedata.normalize("NFC", character) != character or unicodedata.combining(character):
            assert may_differ, f"U+{ord(character):04X}"
    assert decomposed(*packed(TEXTS)).tolist() == [text in TEXTS[5:9:2] for text in TEXTS]
    usual = "plain é 今天 한국어 العربية Ω ½ 😀"
    assert not decomposed(*packed([usual])).any()


def test_added_tokens_are_taken_out_the_longest_first():
    tokens = {"<x>": 3, "<xy>": 4, "<": 5, "ab": 300}
    table = automata.build([token.encode() for token in tokens])
    numbers = np.array(list(tokens.values()), np.uint32)
    text, offsets = packed(TEXTS)
    segments = np.unique(offsets)
    data, ends, records = take_out(
        table, numbers, text, segments, np.searchsorted(segments, offsets)
    )
    pattern = re.compile("(<x>|<xy>|<|ab)")
    for i, text_ in enumerate(TEXTS):
        expected = [
            beyond_unicode(tokens[part]) if part in tokens else part.encode()
            for part in pattern.split(text_)
            if part
        ]
        assert [
            data[ends[j] : ends[j + 1]].tobytes() for j in range(records[i], records[i + 1])
        ] == expected
