"""CPM's white space: words cut by jieba and joined by spaces, spaces and newlines kept as symbols.

Agrees with ``data_utils/tokenization_gpt2.py`` in TsinghuaAI/CPM-1-Generate, with jieba 0.42.1. The cut
changes ids, because SentencePiece then sees words; spaces and newlines become characters of their own,
because SentencePiece would drop or merge them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from transforms.errors import UsageError
from transforms.tokenization.models.texts import (
    CPM_NEWLINE,
    Normalized,
    Normalizer,
    Texts,
    check_utf8,
    pack,
    unpack,
)
from transforms.tokenization.models.unigram import SentencePiece

SPACE, NEWLINE = "\u2582", CPM_NEWLINE


class CpmWhitespace(Normalizer):
    """Cuts and marks text, then hands it to the model's own normalizer."""

    def __init__(self, inner: Normalizer, newline: str) -> None:
        self.inner = inner
        self.symbols = str.maketrans({" ": SPACE, "\n": newline})

    def normalize(self, texts: Texts) -> Normalized:
        """Normalize records of valid UTF-8."""
        check_utf8(texts)
        return self.inner.normalize(pack(self.mark(text.decode()) for text in unpack(texts)))

    def mark(self, text: str) -> str:
        """Join the words of a text by spaces, after its own were replaced."""
        return " ".join([word.translate(self.symbols) for word in _cutter().cut(text)])


class Cpm(SentencePiece):
    """A SentencePiece unigram model with CPM's white space."""

    kind = "a SentencePiece unigram model with CPM's white space"
    newline: str

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text: spaces between words go, symbols become what they stand for."""
        words = super().decode(ids).replace(" ", "")
        return words.replace(SPACE, " ").replace(self.newline, "\n")


def with_whitespace(model: SentencePiece, *, newline: str = NEWLINE) -> Cpm:
    """Give a model CPM's white space.

    Args:
        model: whose vocabulary has both symbols.
        newline: what stands for a newline; for vocabularies without U+2583.

    Raises:
        UsageError: jieba isn't installed, or a symbol isn't a piece of the model's.
    """
    _cutter()
    pieces = set(model.vocabulary.pieces)
    if not newline or newline == SPACE or newline.isspace():
        raise UsageError(f"expected a symbol for newlines that isn't white space, got {newline!r}")
    for name, symbol in (("spaces", SPACE), ("newlines", newline)):
        # as it will stand among words: normalized, and known
        found = b"".join(model.normalizer([f"a{symbol}a"]).of_record(0))
        if not found.endswith(f"a{symbol}a".encode()) or symbol.encode() not in pieces:
            raise UsageError(
                f"{model.name}: the symbol for {name}, {symbol!r} "
                f"({' '.join(f'U+{ord(c):04X}' for c in symbol)}), isn't a piece of this "
                f"model, so {name} would be lost; "
                + ("choose another symbol" if name == "newlines" else "pass a CPM model")
            )
    made = Cpm(model.name, model.vocabulary, CpmWhitespace(model.normalizer, newline))
    made.processor, made.newline = model.processor, newline
    made.control = model.control
    return made


def count_collisions(texts: Texts, *, newline: str = NEWLINE) -> int:
    """Return how many records hold a symbol already, and come back with white space for it."""
    marks = SPACE.encode(), newline.encode()
    whole = texts.data.tobytes()
    if not any(mark in whole for mark in marks):
        return 0
    return sum(any(mark in text for mark in marks) for text in unpack(texts))


@functools.cache
def _cutter() -> Any:
    """Return jieba with its own dictionary, once a process.

    Not by way of ``initialize``: that trusts a file in the system's folder for temporary files, which
    another version of jieba, or anybody, may have left there.
    """
    try:
        import jieba
    except ImportError:
        raise UsageError(
            "CPM's white space needs jieba, which isn't installed; run pip install "
            "'dovetail-data[cpm]'"
        ) from None
    cutter = jieba.Tokenizer()
    cutter.FREQ, cutter.total = cutter.gen_pfdict(cutter.get_dict_file())
    cutter.initialized = True
    return cutter
