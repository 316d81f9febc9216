"""The laws of sampled BPE, in plain Python: exact, by enumeration, and slow."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction

Word = tuple[int, ...]
Law = dict[Word, Fraction]
Pairs = Mapping[tuple[int, int], tuple[int, int]]
"""Two neighbouring symbols: the rank of their merge, and what they become."""


def candidates(word: Word, pairs: Pairs) -> list[int]:
    """Return where two neighbours merge: by rank, those of one rank from the left."""
    places = [i for i, pair in enumerate(itertools.pairwise(word)) if pair in pairs]
    return sorted(places, key=lambda i: (pairs[word[i], word[i + 1]][0], i))


def apply(word: Word, place: int, pairs: Pairs) -> Word:
    """Return a word after a merge."""
    merged = pairs[word[place], word[place + 1]][1]
    return (*word[:place], merged, *word[place + 2 :])


def dropout_law(word: Word, pairs: Pairs, p: Fraction) -> Law:
    """Return the law of BPE dropout by the paper: of all ways to drop candidates, at each step."""

    @functools.cache
    def of(now: Word) -> tuple[tuple[Word, Fraction], ...]:
        found: Law = {}
        places = candidates(now, pairs)
        for kept in itertools.product((False, True), repeat=len(places)):
            chance = Fraction(1)
            for keeps in kept:
                chance *= 1 - p if keeps else p
            left = [place for place, keeps in zip(places, kept, strict=True) if keeps]
            if not chance:
                continue
            for end, more in of(apply(now, left[0], pairs)) if left else ((now, Fraction(1)),):
                found[end] = found.get(end, Fraction(0)) + chance * more
        return tuple(found.items())

    return dict(of(word))


def dropout(word: Word, pairs: Pairs, p: float, draw: Callable[[int], float]) -> Word:
    """Return what one row of draws makes of a word; ``draw(t)`` is that of step t."""
    for step in itertools.count():
        places = candidates(word, pairs)
        if not places:
            return word
        u, k, power = draw(step), 0, p
        while u < power and k < len(places):
            k, power = k + 1, power * p
        if k == len(places):
            return word
        word = apply(word, places[k], pairs)
    raise AssertionError


def segmentations(text: bytes, pieces: Mapping[bytes, int]) -> Iterator[Word]:
    """Yield every segmentation of a text into pieces."""
    if not text:
        yield ()
    for size in range(1, len(text) + 1):
        if text[:size] in pieces:
            for rest in segmentations(text[size:], pieces):
                yield (pieces[text[:size]], *rest)


def stochastok_law(word: Word, splits: Mapping[int, list[tuple[int, int]]], steps: int) -> Law:
    """Return the law of StochasTok: a step takes a place, and one of its token's pairs, if any."""
    found: Law = {word: Fraction(1)}
    for _ in range(steps):
        following: Law = {}
        for now, chance in found.items():
            for place, token in enumerate(now):
                here = chance / len(now)
                pairs = splits.get(token, [])
                for pair in pairs:
                    after = (*now[:place], *pair, *now[place + 1 :])
                    following[after] = following.get(after, Fraction(0)) + here / len(pairs)
                if not pairs:
                    following[now] = following.get(now, Fraction(0)) + here
        found = following
    return found


def draws(key: int) -> Callable[[int], float]:
    """Return a pre-token's draws, as numbers in [0, 1)."""
    stride = _mix(key ^ 0x9E3779B97F4A7C15) | 1
    return lambda index: (_mix(key + stride * index) >> 11) * 2.0**-53


def _mix(value: int) -> int:
    value &= 2**64 - 1
    value ^= value >> 27
    value = value * 0x3C79AC492BA7B653 % 2**64
    value ^= value >> 33
    value = value * 0x1C69B3F74AC4AE35 % 2**64
    return value ^ value >> 27
