"""BPE dropout against its law, enumerated in plain Python by the words of the paper."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from tests.statistics import law_p, require_chance
from tests.transforms.kernels.segmentation.bpe import bpe_oracle as oracle
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.randomness import derive, record_keys
from transforms.kernels.segmentation.bpe.dropout import SHORT, Merged, merge, pretoken_keys
from transforms.kernels.segmentation.bpe.merges import NONE, Merges, build, pairs_of
from transforms.kernels.segmentation.bpe.remembered import memory

PIECES = {b"a": 0, b"b": 1, b"c": 2, b"ab": 3, b"bc": 4, b"abc": 5, b"aa": 6, b"aab": 7, b"ca": 8}
SAMPLES = 60_000
CASES = [
    (word, p, short)
    for word in (b"abc", b"aaaa", b"aabcab", b"cabcaa")
    for p in ("0.1", "0.5", "0.9")
    for short in (SHORT, 1)
]


def rows(equal_ranks: bool = False) -> I64:
    return pairs_of(PIECES, (lambda number: number // 4) if equal_ranks else int)


def model(equal_ranks: bool = False) -> Merges:
    return build(rows(equal_ranks), {97: 0, 98: 1, 99: 2}, by_byte=True)


def pairs(equal_ranks: bool = False) -> oracle.Pairs:
    return {(left, right): (rank, new) for left, right, rank, new in rows(equal_ranks).tolist()}


def drawn(words: list[bytes], p: float, *, seed: int = 0, short: int = SHORT) -> Merged:
    segments = offsets_of(list(map(len, words)))
    records = np.arange(len(words) + 1)
    keys = record_keys(derive(seed, "dropout"), np.arange(len(words), dtype=np.uint64))
    text = np.frombuffer(b"".join(words), np.uint8)
    mine = pretoken_keys(keys, records)
    return merge(model(), text, segments, mine, dropout=p, short=short)


def lists(found: Merged) -> list[tuple[int, ...]]:
    return [tuple(found.ids[a:b].tolist()) for a, b in pairwise(found.offsets.tolist())]


def p_value(found: Merged, law: oracle.Law) -> float:
    """Chi-square of what was drawn against a law, its rarest outcomes taken together."""
    counts = Counter(lists(found))
    assert counts.keys() <= law.keys()
    chances = np.array([float(chance) for chance in law.values()])
    seen = np.array([counts[word] for word in law])
    often = chances * SAMPLES >= 5
    if not often.all():
        chances = np.append(chances[often], chances[~often].sum())
        seen = np.append(seen[often], seen[~often].sum())
    if chances[-1] * SAMPLES < 5:
        chances[-2], seen[-2] = chances[-2] + chances[-1], seen[-2] + seen[-1]
        chances, seen = chances[:-1], seen[:-1]
    return law_p(seen, chances)


def starts(word: bytes) -> oracle.Word:
    return tuple(PIECES[bytes([byte])] for byte in word)


@pytest.mark.parametrize(("word", "p", "short"), CASES)
def test_draws_follow_the_law(word: bytes, p: str, short: int):
    law = oracle.dropout_law(starts(word), pairs(), Fraction(p))
    assert sum(law.values()) == 1
    found = drawn([word] * SAMPLES, float(p), seed=17, short=short)
    require_chance(p_value(found, law), cases=len(CASES), what=f"{word!r}, p {p}, seed 17")


def test_another_law_fails():
    word = b"aabcab"
    law = oracle.dropout_law(starts(word), pairs(), Fraction("0.12"))
    assert p_value(drawn([word] * SAMPLES, 0.1, seed=17), law) < 1e-6


@pytest.mark.parametrize("equal_ranks", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.97])
def test_both_ways_to_search_give_what_the_oracle_gives(p: float, equal_ranks: bool):
    words = [
        bytes(b"abc"[(i * i * 7 + i * j + j * j * 3) % 3] for j in range(i % 60 + 1))
        for i in range(150)
    ]
    text, segments = np.frombuffer(b"".join(words), np.uint8), offsets_of(list(map(len, words)))
    keys = record_keys(derive(3), np.arange(len(words), dtype=np.uint64))
    tables, known = model(equal_ranks), pairs(equal_ranks)
    found = [merge(tables, text, segments, keys, dropout=p, short=short) for short in (1, SHORT)]
    assert lists(found[0]) == lists(found[1])
    for word, key, ids in zip(words, keys.tolist(), lists(found[0]), strict=True):
        assert ids == oracle.dropout(starts(word), known, p, oracle.draws(key))


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_what_is_remembered_never_changes_the_ids(p: float):
    # more words than have room, and again and again
    words = [
        bytes(b"abc"[(i >> 2 * j) % 3] for j in range(1 + i % 7)) * (1 + i % 5) for i in range(4000)
    ]
    text, segments = np.frombuffer(b"".join(words), np.uint8), offsets_of(list(map(len, words)))
    kept = memory()[: 1 << 8]
    for epoch in range(6):
        keys = record_keys(derive(epoch), np.arange(len(words), dtype=np.uint64))
        found = merge(model(), text, segments, keys, dropout=p, kept=kept)
        anew = merge(model(), text, segments, keys, dropout=p, short=0)
        assert lists(found) == lists(anew)
    assert kept["nodes"].max() > 9


def test_no_symbol_merges_with_nothing():
    pairs = model().pairs
    free = pairs[pairs["left"] == NONE]
    assert len(free)
    assert all((free[name] == NONE).all() for name in pairs.dtype.names)


def test_nothing_dropped_is_bpe_and_everything_dropped_is_bytes():
    found = drawn([b"aabcab", b"", b"a"], 0.0)
    assert lists(found) == [(0, 5, 3), (), (0,)]
    assert lists(drawn([b"aabcab", b"", b"a"], 1.0)) == [(0, 0, 1, 2, 0, 1), (), (0,)]


def test_characters_without_a_symbol_are_unknown_spelled_or_refused():
    pieces = {"é".encode(): 0, b"a": 1, "éa".encode(): 2}
    symbols = {0xE9: 0, 0x61: 1}
    text = "xéa😀yé".encode()
    args = np.frombuffer(text, np.uint8), np.array([0, len(text)]), np.zeros(1, np.uint64)
    one = {"dropout": 0.0}
    known = pairs_of(pieces, int)
    unknown = build(known, symbols, by_byte=False, unknown=9)
    assert lists(merge(unknown, *args, **one)) == [(9, 2, 9, 9, 0)]
    fused = build(known, symbols, by_byte=False, unknown=9, fused=True)
    assert lists(merge(fused, *args, **one)) == [(9, 2, 9, 0)]
    spelled = build(known, symbols, by_byte=False, byte_symbols=range(1000, 1256))
    found = lists(merge(spelled, *args, **one))[0]
    bytes_of = [1000 + byte for byte in "😀y".encode()]
    assert found == (1000 + ord("x"), 2, *bytes_of, 0)
    assert merge(build(known, symbols, by_byte=False), *args, **one).failed == 0


def test_an_added_token_is_its_id():
    text = b"ab" + bytes([0xF4, 0x90, 0x80, 0x85]) + b"ab"
    keys = np.zeros(3, np.uint64)
    found = merge(model(), np.frombuffer(text, np.uint8), np.array([0, 2, 6, 8]), keys, dropout=0.0)
    assert lists(found) == [(3,), (5,), (3,)]


def test_pretokens_have_keys_of_their_record_and_number():
    keys = np.array([5, 6], np.uint64)
    found = pretoken_keys(keys, np.array([0, 2, 3]))
    assert len(set(found.tolist())) == 3
    assert pretoken_keys(keys[1:], np.array([0, 1]))[0] == found[2]
