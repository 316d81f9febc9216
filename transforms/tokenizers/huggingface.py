"""``tokenizer.json``: the tables of a Unigram model, or a model of any other kind as it is.

Agrees with tokenizers 0.23.3 (``tokenizers/src/models/unigram/model.rs``: ``encode_optimized``,
``tokenize``), whose package reads the file. Ids are those without special ones around a text;
truncation and padding that a file asks for are left out: they would lose text and add none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import tokenizers

from transforms.errors import UsageError
from transforms.tokenizers.added_tokens import HuggingFaceNormalizer, beyond_unicode
from transforms.tokenizers.models import Deterministic, Model, NoTokensError, Unigram
from transforms.tokenizers.texts import I64, Texts, check_utf8, unpack
from transforms.tokenizers.vocabulary import U32, SpecialIds, UnknownEdge, Vocabulary

_UNKNOWN_PENALTY = 10.0
_AT_A_TIME = 1 << 17  # bytes of text that the package gets: it takes a hundred times as much
_BY_NAME = {  # where the file doesn't say by its template
    "pad": ("<pad>", "[PAD]", "<|pad|>"),
    "bos": ("<s>", "<bos>", "[BOS]", "[CLS]", "<|begin_of_text|>", "<|startoftext|>"),
    "eos": ("</s>", "<eos>", "[EOS]", "[SEP]", "<|end_of_text|>", "<|endoftext|>"),
}


class Omissions:
    """Finds what a BPE model without an unknown token would leave out of a text without a word.

    Agrees with tokenizers 0.23.3 (``tokenizers/src/models/bpe/model.rs``: ``merge_word``).
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._normalizer, self._cutter = tokenizer.normalizer, tokenizer.pre_tokenizer
        self._pieces = frozenset(tokenizer.get_vocab(with_added_tokens=False))
        self._before = tokenizer.model.continuing_subword_prefix or ""
        self._behind = tokenizer.model.end_of_word_suffix or ""
        self._by_bytes = bool(tokenizer.model.byte_fallback)
        added = [re.escape(t.content) for t in tokenizer.get_added_tokens_decoder().values()]
        self._added = re.compile("|".join(sorted(added, key=len, reverse=True)) or r"(?!)")

    def first(self, text: str) -> str | None:
        """Return the first character that has no piece, None where all have."""
        for part in self._added.split(text):
            for word in self._words(part):
                for place, character in enumerate(word):
                    piece = self._before * (place > 0) + character
                    piece += self._behind * (place == len(word) - 1)
                    if piece not in self._pieces and not self._is_spelled(piece):
                        return character
        return None

    def _is_spelled(self, piece: str) -> bool:
        """Say whether bytes stand in for a character that has no piece."""
        return self._by_bytes and all(f"<0x{byte:02X}>" in self._pieces for byte in piece.encode())

    def _words(self, text: str) -> list[str]:
        if self._normalizer is not None:
            text = self._normalizer.normalize_str(text)
        if self._cutter is None:
            return [text]
        return [word for word, _ in self._cutter.pre_tokenize_str(text)]


def _may_omit(tokenizer: tokenizers.Tokenizer) -> bool:
    """Say whether a BPE model may lack a character that reaches it, and then says nothing."""
    if tokenizer.model.unk_token is not None:
        return False
    document = json.loads(tokenizer.to_str())
    ways = json.dumps([document["normalizer"], document["pre_tokenizer"]])
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    if '"ByteLevel"' in ways and not (
        tokenizer.model.continuing_subword_prefix or tokenizer.model.end_of_word_suffix
    ):
        return not vocabulary.keys() >= set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    by_bytes = tokenizer.model.byte_fallback and "<0x00>" in vocabulary
    return not (by_bytes and vocabulary.keys() >= {f"<0x{byte:02X}>" for byte in range(256)})


class HuggingFaceUnigram(Unigram):
    """A ``tokenizer.json`` with a Unigram model."""

    kind = "a tokenizer.json with a Unigram model"
    tokenizer: tokenizers.Tokenizer

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text by the file's own decoder; special ids by their names."""
        text: str = self.tokenizer.decode(self.check_ids(ids), skip_special_tokens=False)
        return text


class HuggingFaceOther(Deterministic):
    """A ``tokenizer.json`` with a model of another kind: BPE, WordPiece, WordLevel."""

    def __init__(self, name: str, tokenizer: tokenizers.Tokenizer, kind: str, digest: str) -> None:
        self.name, self.tokenizer, self.digest = name, tokenizer, digest
        self.kind = f"a tokenizer.json with a {kind} model"
        self.special = _special(tokenizer)
        self.size = _size(tokenizer)
        self._watched = Omissions(tokenizer) if kind == "BPE" and _may_omit(tokenizer) else None
        needs_unknown = kind in ("WordLevel", "WordPiece")  # the package lets no others fail
        self.complete = self._watched is None and not (needs_unknown and self.special.unk is None)

    def encode(self, texts: Texts) -> tuple[U32, I64]:
        """Return ids and offsets, as the package's ``encode_batch`` gives them."""
        check_utf8(texts)
        plain = [text.decode() for text in unpack(texts)]
        if self._watched is not None:
            for number, text in enumerate(plain):
                if left_out := self._watched.first(text):
                    raise NoTokensError(
                        number,
                        f"the model has no piece for {left_out!r} and no unknown token, and would leave "
                        "the character out; take a model that has all bytes",
                    )
        offsets = np.zeros(len(plain) + 1, np.int64)
        parts = [np.zeros(0, np.uint32)]
        step = max(1, len(plain) * _AT_A_TIME // max(len(texts.data), 1))
        for begin in range(0, len(plain), step):
            rows = self._rows(plain, begin, begin + step)
            offsets[begin + 1 : begin + 1 + len(rows)] = [len(row) for row in rows]
            parts += [np.array(row, np.uint32) for row in rows]
        return np.concatenate(parts), np.cumsum(offsets)

    def _rows(self, plain: list[str], begin: int, end: int) -> list[list[int]]:
        """Return some texts' ids."""
        some = plain[begin:end]
        try:
            found = self.tokenizer.encode_batch_fast(some, add_special_tokens=False)
        except Exception:  # the package raises nothing narrower
            for number, text in enumerate(some, begin):
                try:
                    self.tokenizer.encode(text, add_special_tokens=False)
                except Exception as error:
                    raise NoTokensError(number, f"the tokenizers package says: {error}") from None
            raise
        return [encoding.ids for encoding in found]

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text by the file's own decoder; special ids by their names."""
        text: str = self.tokenizer.decode(self.check_ids(ids), skip_special_tokens=False)
        return text


def looks_like(document: Any) -> bool:
    """Return whether parsed JSON has the shape of a ``tokenizer.json``."""
    return isinstance(document, dict) and isinstance(document.get("model"), dict)


def load(name: str, document: dict[str, Any], *, digest: str) -> Model:
    """Load a ``tokenizer.json``.

    Args:
        name: for messages.
        document: the parsed JSON.
        digest: SHA-256 of the file.

    Raises:
        UsageError: the file asks for what isn't known, or can't be done; says what.
    """
    # dropout is BPE's own sampling, and this is the deterministic way
    model = document["model"] | ({"dropout": None} if "dropout" in document["model"] else {})
    document = document | {"truncation": None, "padding": None, "model": model}
    try:
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(document))
    except Exception as error:  # the package raises nothing narrower
        raise UsageError(f"{name}: the tokenizers package can't read this file: {error}") from None
    # what the package has understood: its numbers are not always those nearest to the text's
    understood = json.loads(tokenizer.to_str())
    if understood["model"]["type"] != "Unigram":
        return HuggingFaceOther(name, tokenizer, understood["model"]["type"], digest)
    vocabulary = _vocabulary(name, understood, tokenizer, digest)
    normalizer = HuggingFaceNormalizer(name, understood, tokenizer)
    loaded = HuggingFaceUnigram(name, vocabulary, normalizer)
    loaded.tokenizer = tokenizer
    return loaded


def _vocabulary(
    name: str, document: dict[str, Any], tokenizer: tokenizers.Tokenizer, digest: str
) -> Vocabulary:
    """Return the tables: every entry matches text, special ones and bytes too; the last of twins."""
    entries: list[tuple[str, float]] = document["model"]["vocab"]
    by_text = {text.encode(): number for number, (text, _) in enumerate(entries) if text}
    scores = [float(score) for _, score in entries]
    if not scores or not np.isfinite(scores).all():
        raise UsageError(f"{name}: a unigram model needs pieces, all with finite scores")
    added = [int(token["id"]) for token in document["added_tokens"]]
    unk = document["model"]["unk_id"]
    size = _size(tokenizer)
    surfaces = [(tokenizer.id_to_token(number) or "").encode() for number in range(size)]
    return Vocabulary(
        kind="huggingface",
        pieces=(*by_text, *map(beyond_unicode, added)),
        log_probs=np.array([scores[n] for n in by_text.values()] + [0.0] * len(added), np.float64),
        ids=np.array([*by_text.values(), *added], np.uint32),
        unit="character",
        unknown=None
        if unk is None
        else UnknownEdge(
            log_prob=min(scores) - _UNKNOWN_PENALTY,
            id=unk,
            byte_ids=_byte_ids(name, document["model"], by_text),
        ),
        precision="float64",
        special=_special(tokenizer),
        size=size,
        digest=digest,
        surfaces=tuple(surfaces),
    )


def _byte_ids(
    name: str, model: dict[str, Any], by_text: dict[bytes, int]
) -> tuple[int, ...] | None:
    if not model.get("byte_fallback"):
        return None
    found = [by_text.get(b"<0x%02X>" % byte) for byte in range(256)]
    missing = [byte for byte, number in enumerate(found) if number is None]
    if len(missing) == 256:
        return None
    if missing:
        raise UsageError(
            f"{name}: byte_fallback with {256 - len(missing)} of 256 byte pieces (<0x{missing[0]:02X}> "
            "is the first that is missing): an unknown's ids would depend on its neighbours, which the "
            "sampling laws can't say; add the rest, or turn byte_fallback off"
        )
    return tuple(number for number in found if number is not None)


def _size(tokenizer: tokenizers.Tokenizer) -> int:
    """Return one more than the largest id, of added tokens too."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1


def _special(tokenizer: tokenizers.Tokenizer) -> SpecialIds:
    """Find the special ids: bos and eos are the one id each that the file puts around a text."""
    around = tokenizer.encode("a").ids
    inside = tokenizer.encode("a", add_special_tokens=False).ids
    found: dict[str, int | None] = {}
    for before in range(len(around) - len(inside) + 1):
        if inside and around[before : before + len(inside)] == inside:
            after = around[before + len(inside) :]
            found = {
                "bos": around[0] if before == 1 else None,
                "eos": after[0] if len(after) == 1 else None,
            }
            break
    special = {t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special}
    for role, names in _BY_NAME.items():
        if found.get(role) is None:
            name = next((name for name in names if name in special), None)
            found[role] = None if name is None else tokenizer.token_to_id(name)
    unk = getattr(tokenizer.model, "unk_token", None)
    number = json.loads(tokenizer.to_str())["model"].get("unk_id")
    found["unk"] = tokenizer.token_to_id(unk) if isinstance(unk, str) else number
    return SpecialIds(**found)
