"""The laws of segmentation in plain Python, for small texts: slow, and nothing of it is clever.

A segmentation is a tuple of edges (begin, end, index of the piece), index None for an unknown
character. A law is a dict from segmentation to probability.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Edge = tuple[int, int, int | None]
Path = tuple[Edge, ...]


@dataclass(frozen=True, kw_only=True)
class Model:
    pieces: Sequence[bytes]
    log_probs: Sequence[float]
    unknown: float | None = None  # the score of a character without a piece of its own

    def edges(self, text: bytes) -> list[Edge]:
        """All edges, by where they begin, shortest first and the unknown character last."""
        index = {piece: i for i, piece in enumerate(self.pieces)}
        found: list[Edge] = []
        begins = range(len(text))
        if self.unknown is not None:
            begins = np.cumsum([0, *(len(c.encode()) for c in text.decode())])[:-1].tolist()
        for begin in begins:
            for end in range(begin + 1, len(text) + 1):
                if text[begin:end] in index:
                    found.append((begin, end, index[text[begin:end]]))
            if self.unknown is not None:
                end = begin + len(text[begin:].decode()[0].encode())
                if text[begin:end] not in index:
                    found.append((begin, end, None))
        return found

    def score(self, edge: Edge) -> float:
        if edge[2] is None:
            assert self.unknown is not None
            return self.unknown
        return self.log_probs[edge[2]]


def paths(model: Model, text: bytes) -> Iterator[Path]:
    """Every segmentation."""
    by_begin = defaultdict(list)
    for edge in model.edges(text):
        by_begin[edge[0]].append(edge)

    def go(at: int) -> Iterator[Path]:
        if at == len(text):
            yield ()
        for edge in by_begin[at]:
            for rest in go(edge[1]):
                yield (edge, *rest)

    return go(0)


def exact(model: Model, text: bytes, alpha: float) -> dict[Path, float]:
    """P**alpha over the sum of all."""
    return _shares({path: alpha * _total(model, path) for path in paths(model, text)})


def nbest(model: Model, text: bytes, alpha: float, size: int) -> dict[Path, float]:
    """P**alpha over the sum of the n best. Ties at the n-th place must not matter to the caller."""
    scores = {path: _total(model, path) for path in paths(model, text)}
    best = sorted(scores, key=lambda path: -scores[path])[:size]
    return _shares({path: alpha * scores[path] for path in best})


def viterbi_sampling(model: Model, text: bytes, alpha: float) -> dict[Path, float]:
    """The law of decoding with challenges, by end position, longest piece first.

    The paths that positions hold aren't independent of each other, so the law is one of all
    positions' paths at once.
    """
    by_end = defaultdict(list)
    for edge in sorted(model.edges(text), key=lambda edge: (edge[1], edge[0])):
        by_end[edge[1]].append(edge)
    held: dict[tuple[Path | None, ...], float] = {((),): 1.0}  # the path to each position so far
    for end in range(1, len(text) + 1):
        after: dict[tuple[Path | None, ...], float] = defaultdict(float)
        for state, probability in held.items():
            current: dict[Path | None, float] = {None: 1.0}
            for edge in by_end[end]:
                before = state[edge[0]]
                if before is None:
                    continue
                new = (*before, edge)
                challenged: dict[Path | None, float] = defaultdict(float)
                for path, p in current.items():
                    wins = 1.0
                    if path is not None:
                        wins = _sigmoid(alpha * (_total(model, new) - _total(model, path)))
                    challenged[new] += p * wins
                    challenged[path] += p * (1 - wins)
                current = challenged
            for path, p in current.items():
                if p:
                    after[(*state, path)] += probability * p
        held = after
    law: dict[Path, float] = defaultdict(float)
    for state, probability in held.items():
        assert state[-1] is not None
        law[state[-1]] += probability
    return dict(law)


def best(model: Model, text: bytes) -> Path:
    """Decoding as bytepiece does it: float64, by end position, longest first, strictly better."""
    scores, choices = [0.0] + [-math.inf] * len(text), [None] * (len(text) + 1)
    for edge in sorted(model.edges(text), key=lambda edge: (edge[1], edge[0])):
        score = scores[edge[0]] + model.score(edge)
        if score > scores[edge[1]]:
            scores[edge[1]], choices[edge[1]] = score, edge
    return _back(choices)


def best_float32(model: Model, text: bytes, *, reset: float = 100_000) -> Path:
    """Decoding as sentencepiece 0.2.3 does it: float32, by begin, scores begin anew far from 0."""
    scores, choices = [np.float32(0)] * (len(text) + 1), [None] * (len(text) + 1)
    frontier = 0
    for begin, edges in itertools.groupby(model.edges(text), key=lambda edge: edge[0]):
        if abs(scores[begin]) > reset:
            by = scores[begin]
            for i in range(begin, frontier + 1):
                if i == begin or choices[i] is not None:
                    scores[i] -= by
        for edge in edges:
            frontier = max(frontier, edge[1])
            score = scores[begin] + np.float32(model.score(edge))
            if choices[edge[1]] is None or score > scores[edge[1]]:
                scores[edge[1]], choices[edge[1]] = score, edge
    return _back(choices)


def ids(model: Model, path: Path, *, unknown: int = 0) -> list[int]:
    """A segmentation's ids, where pieces' ids are their indexes plus 1 and unknowns merge."""
    out: list[int] = []
    for (_, _, piece), before in zip(path, [None, *path], strict=False):
        if piece is not None:
            out.append(piece + 1)
        elif before is None or before[2] is not None:
            out.append(unknown)
    return out


def by_ids(model: Model, law: dict[Path, float]) -> dict[tuple[int, ...], float]:
    """A law of ids, which several segmentations may share where unknowns merge."""
    out: dict[tuple[int, ...], float] = defaultdict(float)
    for path, probability in law.items():
        out[tuple(ids(model, path))] += probability
    return dict(out)


def _back(choices: Sequence[Edge | None]) -> Path:
    path: list[Edge] = []
    at = len(choices) - 1
    while at:
        edge = choices[at]
        assert edge is not None
        path.append(edge)
        at = edge[0]
    return tuple(reversed(path))


def _total(model: Model, path: Path) -> float:
    return sum(model.score(edge) for edge in path)


def _shares(logs: dict[Path, float]) -> dict[Path, float]:
    most = max(logs.values())
    weights = {path: math.exp(value - most) for path, value in logs.items()}
    total = math.fsum(weights.values())
    return {path: weight / total for path, weight in weights.items()}


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
