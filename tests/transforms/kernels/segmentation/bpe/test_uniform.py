"""The law uniform against enumeration; counts of long pre-tokens against exact ones."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from tests.statistics import require_chance, uniform_p
from tests.transforms.kernels.segmentation.bpe import bpe_oracle as oracle
from transforms.kernels.arrays import offsets_of
from transforms.kernels.randomness import derive, record_keys
from transforms.kernels.segmentation import automaton as automata
from transforms.kernels.segmentation.bpe.uniform import Drawn, Trie, build, draw

PIECES = {b"a": 0, b"b": 1, b"ab": 2, b"ba": 3, b"aba": 4, b"bab": 5, b"aab": 6, "é".encode(): 7}
WORDS = (b"ab", b"abab", b"ababaab", "abéa".encode())
SAMPLES = 40_000


def trie(**how: object) -> Trie:
    ids = np.array(list(PIECES.values()), np.uint32)
    return build(automata.build(list(PIECES)), ids, **how)  # type: ignore[arg-type]


def drawn(words: list[bytes], *, seed: int = 9, tables: Trie | None = None) -> Drawn:
    text = np.frombuffer(b"".join(words), np.uint8)
    keys = record_keys(derive(seed), np.arange(len(words), dtype=np.uint64))
    return draw(tables or trie(), text, offsets_of(list(map(len, words))), keys)


def lists(found: Drawn) -> list[tuple[int, ...]]:
    return [tuple(found.ids[a:b].tolist()) for a, b in pairwise(found.offsets.tolist())]


@pytest.mark.parametrize("word", WORDS)
def test_every_segmentation_is_equally_likely(word: bytes):
    every = list(oracle.segmentations(word, PIECES))
    found = drawn([word] * SAMPLES)
    seen = Counter(lists(found))
    assert seen.keys() == set(every)
    assert np.allclose(found.surprises, math.log(len(every)), rtol=1e-12)
    p = uniform_p(np.array([seen[ids] for ids in every]))
    require_chance(p, cases=len(WORDS), what=f"{word!r}, seed 9")


def test_a_lacking_piece_is_noticed():
    every = [*oracle.segmentations(b"abab", PIECES)]
    fewer = [ids for ids in every if 4 not in ids]
    seen = Counter(ids for ids in lists(drawn([b"abab"] * SAMPLES)) if 4 not in ids)
    assert uniform_p(np.array([seen[ids] for ids in fewer])) > 1e-6  # the rest is uniform
    skewed = np.array([seen[ids] + (ids == fewer[0]) * 1000 for ids in fewer])
    assert uniform_p(skewed) < 1e-6


def test_counts_beyond_float64_are_right():
    pieces = {b"a": 0, b"aa": 1}
    tables = build(automata.build(list(pieces)), np.array([0, 1], np.uint32))
    for size in (1, 399, 400, 1000, 5000):
        ways, before = 1, 1
        for _ in range(size - 1):
            ways, before = ways + before, ways
        found = drawn([b"a" * size], tables=tables)
        assert found.surprises[0] == pytest.approx(math.log(ways), rel=1e-12)
        assert sum(1 + int(i) for i in found.ids) == size
    # of long texts one piece in 2.618 is an aa, by the golden section
    share = np.mean(drawn([b"a" * 200_000], tables=tables).ids)
    assert share == pytest.approx(0.381966, abs=0.01)


def test_what_has_no_piece_is_unknown_spelled_or_refused():
    word = "aéxy😀b".encode()
    assert drawn([b"ab", word]).failed == 1
    unknown = {*lists(drawn([word] * 50, tables=trie(unknown=99)))}
    assert unknown == {(0, 7, 99, 1)}
    spelled = trie(byte_ids=range(1000, 1256))
    (one,) = {*lists(drawn([word] * 50, tables=spelled))}
    assert one == (0, 7, *(1000 + byte for byte in "xy😀".encode()), 1)
