"""The scanners of pre-tokens against the regular expressions of the packages."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from tokenizers import Regex
from tokenizers import pre_tokenizers as cutters

from tests.transforms.tokenization.models.samples import ODD, examples
from transforms.kernels.arrays import offsets_of
from transforms.kernels.segmentation.bpe import unicode_classes
from transforms.kernels.segmentation.bpe.cut import MARKS, NUMBERS, WORDS, Rule, cut
from transforms.tokenization.bpe.ways import _RULES_OF_PACKAGE
from transforms.tokenization.models.hard_text import hard_texts

PATTERNS = list(_RULES_OF_PACKAGE)
LETTERS = [
    *" \n\r\t''aAsStTrReEvVlLmMdD0123.,/-_!?",
    *("\u017f", "\u00a0", "\u3000", "é", "e\u0301", "\u0301", "ǅ", "ʰ", "中", "あ", "٣", "²", "½"),
    *("\u2581", "😀", "ß", "İ", "Ⅷ", "\u200d", "\u0903", "\u1160", " '", " \n", "\U0001e4d0"),
]
EVERY = "".join(chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000)
POINTS = np.array([point for point in range(0x110000) if not 0xD800 <= point < 0xE000])
CLASSES = {
    r"\p{L}+": unicode_classes.LETTER,
    r"\p{N}+": unicode_classes.NUMBER,
    r"\s+": unicode_classes.SPACE,
    r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+": unicode_classes.UPPER,
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+": unicode_classes.LOWER,
}


def texts() -> list[str]:
    rng = random.Random(1)
    odd = ["".join(rng.choices(LETTERS, k=rng.randint(0, 12))) for _ in range(5000)]
    return [*hard_texts((), ()), *ODD, *odd, "\n".join(examples(20_000))]


def pieces(rule: Rule, some: Sequence[str]) -> list[list[str]]:
    raw = [text.encode() for text in some]
    offsets = offsets_of(list(map(len, raw)))
    segments = np.unique(offsets)
    whole = b"".join(raw)
    ends, records = cut(
        rule, np.frombuffer(whole, np.uint8), segments, np.searchsorted(segments, offsets)
    )
    return [
        [whole[ends[j] : ends[j + 1]].decode() for j in range(first, last)]
        for first, last in zip(records[:-1].tolist(), records[1:].tolist(), strict=True)
    ]


def check(rule: Rule, cutter: cutters.PreTokenizer, some: Sequence[str]) -> None:
    for text, found in zip(some, pieces(rule, some), strict=True):
        assert found == [piece for piece, _ in cutter.pre_tokenize_str(text)], repr(text)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pattern_cuts_as_the_package_does(pattern: str):
    check(_RULES_OF_PACKAGE[pattern], cutters.Split(Regex(pattern), "isolated"), texts())


@pytest.mark.parametrize("pattern", PATTERNS[:5])
def test_shared_texts_are_cut_as_the_package_does(pattern: str):
    if "DOVETAIL_SHARED" not in os.environ:
        pytest.skip("DOVETAIL_SHARED isn't set")
    data = Path(os.environ["DOVETAIL_SHARED"], "data")
    some = [(data / name).read_text("utf-8")[:60_000] for name in
            ("botchan.txt", "wagahaiwa_nekodearu.txt", "reviews.jsonl", "poems.jsonl")]  # fmt: skip
    check(_RULES_OF_PACKAGE[pattern], cutters.Split(Regex(pattern), "isolated"), some)


def test_numbers_and_marks_are_cut_as_the_package_does():
    check(Rule(NUMBERS), cutters.Digits(individual_digits=False), texts())
    check(Rule(NUMBERS, 1), cutters.Digits(individual_digits=True), texts())
    check(Rule(MARKS), cutters.Split("\u2581", "merged_with_next"), texts())


def test_words_begin_at_a_mark_that_follows_another_character():
    assert pieces(Rule(WORDS), ["\u2581\u2581a\u2581b\u2581\u2581c中\u2581", "\u2581", ""]) == [
        ["\u2581\u2581a", "\u2581b", "\u2581\u2581c中", "\u2581"],
        ["\u2581"],
        [],
    ]


@pytest.mark.parametrize("pattern", CLASSES)
def test_classes_are_those_of_both_packages(pattern: str):
    ours = (unicode_classes.classes() & CLASSES[pattern]) > 0
    theirs = np.zeros(0x110000, bool)
    split = cutters.Split(Regex(pattern), "removed", invert=True)
    for _, (begin, end) in split.pre_tokenize_str(EVERY):
        theirs[POINTS[begin:end]] = True
    assert np.array_equal(ours, theirs)
    encoding = tiktoken.Encoding(
        "x",
        pat_str=pattern,
        mergeable_ranks={bytes([i]): i for i in range(256)},
        special_tokens={},
    )
    matched = "".join(
        bytes(encoding.encode_ordinary(EVERY[i : i + 65536])).decode()
        for i in range(0, len(EVERY), 65536)
    )
    theirs[:] = False
    theirs[[ord(c) for c in matched]] = True
    assert np.array_equal(ours, theirs)
