"""Control strings in texts: the texts of tokens that a model's file calls special, such as ``</s>``.

Who writes a text on the web must not be able to end a document in somebody's training data. So they
are text like any other, unless their tokens are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from transforms.kernels.arrays import I64, U32, offsets_of
from transforms.kernels.records.find_strings import Hits, Strings
from transforms.tokenization.models.added_tokens import beyond_unicode
from transforms.tokenization.models.model import RecordError, Unigram
from transforms.tokenization.models.texts import Normalized, Normalizer, Texts, check_utf8

_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
_LONGEST_WORD = 256  # characters, where a model sets no limit of its own


class _Cut(NamedTuple):
    """Records cut at their control strings: each is text, token, text, …, text; texts may be empty."""

    texts: Texts
    """The r + h texts between h tokens."""

    firsts: I64
    """int64[r + 1]: which of the texts is each record's first; the last is r + h."""

    behind: I64
    """int64[h]: behind which of the texts each token stands."""

    before: I64
    """int64[r + 1]: how many tokens stand before each record."""


def _cut(texts: Texts, hits: Hits) -> _Cut:
    records, count = np.arange(len(texts.offsets)), len(hits.begins)
    inside = np.zeros(len(texts.data) + 1, np.int8)
    np.add.at(inside, hits.begins, 1)
    np.add.at(inside, hits.ends, -1)
    begins = np.sort(np.concatenate([texts.offsets[:-1], hits.ends]))
    ends = np.sort(np.concatenate([hits.begins, texts.offsets[1:]]))
    kept = texts.data[np.cumsum(inside[:-1], dtype=np.int8) == 0]
    before = np.searchsorted(hits.records, records)
    return _Cut(
        Texts(kept, offsets_of(ends - begins)),
        records + before,
        hits.records + np.arange(count),
        before,
    )


def encode_around(
    encode: Callable[[Texts], tuple[U32, I64]],
    texts: Texts,
    hits: Hits,
    ids: U32,
) -> tuple[U32, I64]:
    """Encode texts with tokens in the place of their control strings.

    What stands between two of them is encoded as a text of its own.

    Args:
        encode: gives uint32[k] ids and int64[n + 1] offsets of n texts.
        texts: r of them.
        hits: where the strings are.
        ids: uint32, by the strings' numbers.

    Returns:
        Ids and offsets of r records.
    """
    if not len(hits.begins):
        return encode(texts)
    cut = _cut(texts, hits)
    try:
        found, offsets = encode(cut.texts)
    except RecordError as error:
        record = int(np.searchsorted(cut.firsts, error.record, side="right")) - 1
        raise RecordError(record, error.reason) from None
    every = np.insert(found, offsets[cut.behind + 1], ids[hits.strings])
    return every, offsets[cut.firsts] + cut.before


class AroundControl(Normalizer):
    """A normalizer's way of the texts between control strings; these become symbols of four bytes.

    Each text between is normalized as a text of its own, so it begins as the model lets texts begin.
    """

    def __init__(self, inner: Normalizer, control: Mapping[str, int]) -> None:
        self.inner = inner
        self._strings = Strings(string.encode() for string in control)
        symbols = b"".join(map(beyond_unicode, control.values()))
        self._symbols = np.frombuffer(symbols, np.uint8).reshape(-1, 4)

    def normalize(self, texts: Texts) -> Normalized:
        """Normalize records of valid UTF-8."""
        hits = self._strings.find(*texts)
        if not len(hits.begins):
            return self.inner.normalize(texts)
        check_utf8(texts)
        cut = _cut(texts, hits)
        found = self.inner.normalize(cut.texts)
        places = found.records[cut.behind + 1]
        symbols = self._symbols[hits.strings]
        data = np.insert(found.data, np.repeat(found.segments[places], 4), symbols.ravel())
        segments = offsets_of(np.insert(np.diff(found.segments), places, 4))
        return Normalized(data, segments, found.records[cut.firsts] + cut.before)


def put_tokens(model: Unigram) -> None:
    """Let a model put a token for each control string, where it takes them for text.

    As transformers does around a SentencePiece model, which itself never puts them.
    """
    vocabulary, ids = model.vocabulary, list(model.control.values())
    nothing = np.zeros(len(ids))
    sampled = vocabulary.sampling_log_probs
    model.vocabulary = replace(
        vocabulary,
        pieces=(*vocabulary.pieces, *map(beyond_unicode, ids)),
        log_probs=np.concatenate([vocabulary.log_probs, nothing]),
        ids=np.concatenate([vocabulary.ids, np.array(ids, np.uint32)]),
        sampling_log_probs=None if sampled is None else np.concatenate([sampled, nothing]),
    )
    model.normalizer = AroundControl(model.normalizer, model.control)


def without_special(document: dict[str, Any]) -> dict[str, Any]:
    """Return a ``tokenizer.json`` whose added tokens are those alone that aren't special."""
    kept = [token for token in document["added_tokens"] if not token["special"]]
    return document | {"added_tokens": kept}


def stays_a_piece(string: str, *, byte_fallback: bool) -> bool:
    """Say whether a control string that is a piece of the vocabulary has to stay one.

    A single character does, which nothing else could stand for, and so do pieces for bytes.
    """
    return len(string) == 1 or bool(byte_fallback and _BYTE_PIECE.fullmatch(string))


def without_control_pieces(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return a ``tokenizer.json`` whose model can't build a control string from text; None if so it is.

    ``Tokenizer.encode_special_tokens`` of the tokenizers package leaves the model alone, and that finds
    such a string where its vocabulary has it: WordPiece and WordLevel as a word, BPE by merges, or as a
    word with ``ignore_merges``. Here the entry keeps its id under a name that no word has: it is too
    long for WordPiece's ``max_input_chars_per_word``, and has NULs.

    Args:
        document: as ``Tokenizer.to_str`` writes it, of a model that isn't Unigram.
    """
    model = document["model"]
    prefix = model.get("continuing_subword_prefix") or ""
    merges = [
        (left, right, left + right.removeprefix(prefix)) for left, right in model.get("merges", ())
    ]
    built = {whole for _, _, whole in merges}
    names = {}
    for token in document["added_tokens"]:
        text = token["content"]
        if not token["special"] or text not in model["vocab"]:
            continue
        if stays_a_piece(text, byte_fallback=model.get("byte_fallback", False)):
            continue
        if model["type"] != "BPE" or model.get("ignore_merges") or text in built:
            longest = model.get("max_input_chars_per_word") or _LONGEST_WORD
            names[text] = text + "\0" * (longest + 1)
    if not names:
        return None
    changed = model | {
        "vocab": {names.get(text, text): number for text, number in model["vocab"].items()}
    }
    if "merges" in model:
        changed["merges"] = [
            [left, right]
            for left, right, whole in merges
            if not names.keys() & {left, right, whole}
        ]
    if model.get("unk_token") in names:
        changed["unk_token"] = names[model["unk_token"]]
    kept = [token for token in document["added_tokens"] if token["content"] not in names]
    return document | {"model": changed, "added_tokens": kept}
