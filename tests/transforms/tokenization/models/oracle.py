"""The reference implementations' best segmentation, in plain Python and on a loader's tables.

Slow, and written to be read beside sentencepiece's ``EncodeOptimized`` and bytepiece's ``faster.pyx``.
"""

from __future__ import annotations

import struct

from transforms.tokenization.models.texts import Normalized
from transforms.tokenization.models.vocabulary import Vocabulary


def as_float32(number: float) -> float:
    return struct.unpack("f", struct.pack("f", number))[0]


class Reference:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        weights = zip(vocabulary.log_probs.tolist(), vocabulary.ids.tolist(), strict=True)
        self.edges = dict(zip(vocabulary.pieces, weights, strict=True))
        assert len(self.edges) == len(vocabulary.pieces)
        self.longest = max(map(len, vocabulary.pieces))
        self.keep = as_float32 if vocabulary.precision == "float32" else float
        self.reset_at = 100_000 if vocabulary.precision == "float32" else float("inf")

    def encode(self, normalized: Normalized) -> list[list[int]]:
        """Return the ids of each record."""
        return [
            [i for segment in normalized.of_record(r) for i in self.segment(segment)]
            for r in range(len(normalized.records) - 1)
        ]

    def segment(self, text: bytes) -> list[int]:
        unknown = self.vocabulary.unknown
        keep = self.keep
        best: list[tuple[float, int, int] | None] = [None] * (len(text) + 1)
        best[0] = 0.0, 0, -1
        start = frontier = 0

        def offer(end: int, score: float, piece: int) -> None:
            nonlocal frontier
            now, frontier, score = best[end], max(frontier, end), keep(score)
            if now is None or score > now[0]:
                best[end] = score, start, piece

        while start < len(text):
            step = self.step(text[start])
            here = best[start]
            if here is not None and abs(here[0]) > self.reset_at:
                for end in range(start, frontier + 1):
                    if (now := best[end]) is not None:
                        best[end] = keep(now[0] - here[0]), now[1], now[2]
                here = best[start]
            if here is not None:
                alone = False
                for end in range(start + 1, min(start + self.longest, len(text)) + 1):
                    if text[start:end] in self.edges:
                        score, piece = self.edges[text[start:end]]
                        offer(end, here[0] + score, piece)
                        alone |= end == start + step
                if unknown is not None and not alone:
                    offer(start + step, here[0] + unknown.log_prob, -2)
            start += step
        return self.back(text, best)

    def step(self, first: int) -> int:
        if self.vocabulary.unit == "byte":
            return 1
        return 1 + (first >= 0xC0) + (first >= 0xE0) + (first >= 0xF0)

    def back(self, text: bytes, best: list[tuple[float, int, int] | None]) -> list[int]:
        pieces: list[tuple[int, bytes]] = []
        end = len(text)
        while end > 0:
            found = best[end]
            if found is None:
                raise ValueError(f"no segmentation of {text!r}")
            _, start, piece = found
            pieces.append((piece, text[start:end]))
            end = start
        ids: list[int] = []
        before = -1
        for piece, surface in reversed(pieces):
            if piece >= 0:
                ids.append(piece)
            elif self.vocabulary.unknown.byte_ids is not None:
                ids += [self.vocabulary.unknown.byte_ids[byte] for byte in surface]
            elif before != -2:
                ids.append(self.vocabulary.unknown.id)
            before = piece
        return ids
