"""SentencePiece's normalizer: by our kernel where it does what the package does, else by the package.

Their results are compared when a model is loaded, on all characters that a map may hold.
"""

from __future__ import annotations

import functools

import sentencepiece

from transforms.kernels.segmentation import charsmap
from transforms.kernels.segmentation.charsmap import Rules
from transforms.tokenization.models.texts import (
    Normalized,
    Normalizer,
    Texts,
    check_utf8,
    pack,
    pack_bytes,
    unpack,
    whole_records,
)

# what maps hold: the basic plane, letters and numbers of mathematics, enclosed ones, ideographs that
# were encoded twice
_MAPPED = (0, 0xD800), (0xE000, 0x10000), (0x1D400, 0x1D800), (0x1F100, 0x1F300), (0x2F800, 0x2FA20)
_EACH = 1000  # characters of a record


class SentencePieceNormalizer(Normalizer):
    """The model's own normalizer, with its spaces; what users defined is protected from it.

    Args:
        processor: of the model.
        rules: of the model, for the kernel; None where it can't take them.
    """

    def __init__(
        self, processor: sentencepiece.SentencePieceProcessor, rules: Rules | None = None
    ) -> None:
        self.processor, self.rules = processor, rules
        if rules is not None:
            hard = pack(hard_texts())
            ours, theirs = self.normalize(hard), self._by_package(hard)
            if (
                ours.data.tobytes() != theirs.data.tobytes()
                or (ours.segments != theirs.segments).any()
            ):
                self.rules = None

    def normalize(self, texts: Texts) -> Normalized:
        """Normalize records of valid UTF-8, each to one segment or, where nothing is left, none."""
        if self.rules is not None:
            found = charsmap.normalize(self.rules, texts.data, texts.offsets)
            if found is not None:
                return whole_records(Texts(*found))
        check_utf8(texts)
        return self._by_package(texts)

    def _by_package(self, texts: Texts) -> Normalized:
        return whole_records(pack_bytes(self.processor.normalize(unpack(texts))))


@functools.cache
def hard_texts() -> tuple[str, ...]:
    """Return texts with every character that a map may hold, by itself, between others and spaces."""
    every = "".join([chr(number) for first, last in _MAPPED for number in range(first, last)])
    pieces = [every[begin : begin + _EACH] for begin in range(0, len(every), _EACH)]
    odd = (
        "",
        " ",
        "  a  b  ",
        "\u3000\u3000",
        " \x01 ",
        "\u2581a\u2581",
        "a\u0301 か\u3099",
        "\u00b4",
    )
    return (*odd, *pieces, *(" ".join(piece[::7]) for piece in pieces))
