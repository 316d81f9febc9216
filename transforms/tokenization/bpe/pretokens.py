"""From text to the pre-tokens that a BPE model merges in, each apart, with no object for each.

Compiled scanners cut text where a model's way is known to them and they agree with its own package on
a hard text; otherwise the package cuts it, slowly. Records that hold an added token, which is cut out
first, always go by the package's way.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import tokenizers

from transforms.errors import UsageError
from transforms.kernels.arrays import offsets_of
from transforms.kernels.segmentation import automaton as automata
from transforms.kernels.segmentation.bpe.cut import WORDS, Rule
from transforms.kernels.segmentation.bpe.rewrite import decomposed, take_out
from transforms.tokenization.bpe.ways import RULES, Way, apply, known_way
from transforms.tokenization.models.hard_text import hard_texts
from transforms.tokenization.models.huggingface_bpe import HuggingFaceBPE
from transforms.tokenization.models.package_errors import call_package
from transforms.tokenization.models.sentencepiece_bpe import SentencePieceBPE
from transforms.tokenization.models.texts import (
    Normalized,
    Normalizer,
    Texts,
    check_utf8,
    lay_out,
    pack_bytes,
    take,
    unpack,
    whole_records,
)
from transforms.tokenization.models.tiktoken_bpe import TiktokenBPE
from transforms.tokenization.models.unigram import normalizer_of

LOG = logging.getLogger("dovetail")

_NEWEST = "a\U0001dfffb \U00011f50 \U0001e4d0 \U0002ebf0 \U00010d4e\U00010ec5 \ua7da \U00016d63"
"""Of Unicode 14 to 16: whoever has older tables takes them for other things."""


def by_words(found: Normalized) -> Normalized:
    """Cut before each mark of a space that follows another character."""
    return apply((Rule(WORDS),), *found)


class HuggingFacePretokens(Normalizer):
    """Pre-tokens of a ``tokenizer.json``: bytes of the text where its last step is ``ByteLevel``."""

    def __init__(self, model: HuggingFaceBPE, letters: dict[str, int] | None) -> None:
        """Choose the way.

        Args:
            model: the model.
            letters: the byte that each letter of pre-tokens stands for; None where they are characters.
        """
        self._slow = model.normalizer()
        self._bytes = None if letters is None else str.maketrans(dict(letters))
        self._marks = self._slow.marks
        way = known_way(model.document)
        if way is not None and self._may_hide(way):
            way = None
        self.way = way if way is not None and self._agrees(way) else None
        if self.way is None:
            LOG.info(
                "%s: the tokenizers package pre-tokenizes the text, which is slow: the compiled "
                "scanners %s",
                model.name,
                "don't support this model" if way is None else "differ from it on a test text",
            )

    def _may_hide(self, way: Way) -> bool:
        """Say whether an added token may be found in a normalized text that isn't in the text itself."""
        document = self._slow.document
        contents = [token["content"] for token in document["added_tokens"] if token["normalized"]]
        if document["normalizer"] is None or not contents:
            return False
        return way.composed or any(" " in content or "\u2581" in content for content in contents)

    def _agrees(self, way: Way) -> bool:
        hard = [text.encode() for text in (*hard_texts((), ()), _NEWEST)]
        texts = pack_bytes([text for text in hard if not any(m in text for m in self._marks)])
        ours, theirs = self._scan(way, texts), self._by_package(texts)
        return (
            np.array_equal(ours.data, theirs.data)
            and np.array_equal(ours.segments, theirs.segments)
            and np.array_equal(ours.records, theirs.records)
        )

    def normalize(self, texts: Texts) -> Normalized:
        """Bring records to pre-tokens."""
        check_utf8(texts)
        if self.way is None:
            return self._by_package(texts)
        marked = self._marked(texts)
        if not marked.any():
            return self._scan(self.way, texts)
        plain, others = take(texts, np.flatnonzero(~marked)), take(texts, np.flatnonzero(marked))
        return interleave(self._scan(self.way, plain), self._by_package(others), marked)

    def _scan(self, way: Way, texts: Texts) -> Normalized:
        if way.composed and (unsafe := decomposed(*texts)).any():
            records, compose = unpack(texts), tokenizers.normalizers.NFC().normalize_str
            for i in np.flatnonzero(unsafe).tolist():
                records[i] = compose(records[i].decode()).encode()
            texts = pack_bytes(records)
        return way.normalize(texts)

    def _by_package(self, texts: Texts) -> Normalized:
        found = self._slow.normalize(texts)
        if self._bytes is None:
            return found
        added = set(self._slow.symbols.values())
        counts = len(found.records) - 1
        return lay_out(
            [
                [s if s in added else self._as_bytes(s) for s in found.of_record(i)]
                for i in range(counts)
            ]
        )

    def _as_bytes(self, segment: bytes) -> bytes:
        assert self._bytes is not None
        return segment.decode().translate(self._bytes).encode("latin-1")

    def _marked(self, texts: Texts) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return bool[r]: which records may hold an added token."""
        found = np.zeros(len(texts.offsets) - 1, bool)
        whole = texts.data.tobytes()
        for mark in self._marks:
            at = whole.find(mark)
            while at >= 0:
                record = int(np.searchsorted(texts.offsets, at, side="right")) - 1
                found[record] = True  # one too many where it lies across two; that costs time alone
                at = whole.find(mark, int(texts.offsets[record + 1]))
        return found


class SentencePiecePretokens(Normalizer):
    """Pre-tokens of a SentencePiece model: what users defined is taken out of the normalized text."""

    def __init__(self, model: SentencePieceBPE, user_defined: dict[bytes, int]) -> None:
        self._normalizer = normalizer_of(model.proto, model.processor)
        self._added = automata.build(list(user_defined)) if user_defined else None
        self._numbers = np.array(list(user_defined.values()), np.uint32)

    def normalize(self, texts: Texts) -> Normalized:
        """Bring records to pre-tokens."""
        found = self._normalizer.normalize(texts)
        if self._added is not None:
            found = Normalized(*take_out(self._added, self._numbers, *found))
        return found


class TiktokenPretokens(Normalizer):
    r"""Pre-tokens of a tiktoken vocabulary: the matches of its pattern.

    Of a pattern that isn't known they are Oniguruma's, whose classes of a few characters are others
    than those of tiktoken's regular expressions: to it, a superscript two is ``\w``.
    """

    def __init__(self, model: TiktokenBPE) -> None:
        """Choose the way.

        Raises:
            UsageError: the tokenizers package takes the pattern otherwise than tiktoken.
        """
        self._model = model
        self._rule = RULES.get(model.pattern)
        self._cutter = tokenizers.pre_tokenizers.Split(
            tokenizers.Regex(model.pattern), "removed", invert=True
        )
        if self._rule is None:
            if "}+" in model.pattern:
                raise UsageError(
                    f"--tokenizer_pattern={model.pattern}: expected a pattern without }}+, "
                    "because sampling cuts texts with the tokenizers package, which doesn't read "
                    "{1,3}+ as possessive, as tiktoken does; write it as (?>…{1,3}), or pass "
                    "--sampling=stochastok"
                )
            LOG.info(
                "%s: the tokenizers package pre-tokenizes the text, which is slow: the compiled "
                "scanners don't support its pattern",
                model.name,
            )

    def normalize(self, texts: Texts) -> Normalized:
        """Bring records to pre-tokens."""
        check_utf8(texts)
        if self._rule is not None:
            return apply((self._rule,), *whole_records(texts))
        found = lay_out(call_package(self._cut, unpack(texts), name=self._model.name))
        self._model.require_whole(texts, np.diff(found.segments[found.records]))
        return found

    def _cut(self, records: Sequence[bytes]) -> list[list[bytes]]:
        return [
            [part.encode() for part, _ in self._cutter.pre_tokenize_str(text.decode())]
            for text in records
        ]


def interleave(
    left: Normalized, right: Normalized, is_right: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> Normalized:
    """Return records that are the left's and the right's in turns."""
    data, sizes, counts = [], [], []
    numbers = [iter(range(len(side.records) - 1)) for side in (left, right)]
    for which in is_right.tolist():
        side, number = (left, right)[which], next(numbers[which])
        first, last = side.records[number : number + 2].tolist()
        segments = side.segments[first : last + 1]
        data.append(side.data[segments[0] : segments[-1]])
        sizes.append(np.diff(segments))
        counts.append(last - first)
    return Normalized(np.concatenate(data), offsets_of(np.concatenate(sizes)), offsets_of(counts))
