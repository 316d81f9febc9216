"""``tokenizer.json``: the tables of a Unigram model, or a model of any other kind as it is.

Agrees with tokenizers 0.23.3 (``tokenizers/src/models/unigram/model.rs``: ``encode_optimized``,
``tokenize``), whose package reads the file. Ids are those without special ones around a text;
truncation and padding that a file asks for are left out: they would lose text and add none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import tokenizers

from transforms.errors import DataError, UsageError
from transforms.kernels.arrays import I64, U32, offsets_of
from transforms.kernels.segmentation.laws import UnknownEdge
from transforms.kernels.segmentation.segment import Segmented
from transforms.tokenization.models.added_tokens import HuggingFaceNormalizer, beyond_unicode
from transforms.tokenization.models.model import (
    Deterministic,
    Model,
    RecordError,
    SpecialTokens,
    Unigram,
)
from transforms.tokenization.models.texts import Texts, check_utf8, unpack
from transforms.tokenization.models.tokenizers_errors import (
    PackageError,
    call_package,
    package_errors,
)
from transforms.tokenization.models.vocabulary import SpecialIds, Vocabulary

_UNKNOWN_PENALTY = 10.0
_STAND_IN = (1 << 32) - 1  # an id
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

    def __init__(self, tokenizer: tokenizers.Tokenizer, normalizer: HuggingFaceNormalizer) -> None:
        self._normalizer = normalizer
        self._added = frozenset(normalizer.symbols.values())
        self._pieces = frozenset(tokenizer.get_vocab(with_added_tokens=False))
        self._before = tokenizer.model.continuing_subword_prefix or ""
        self._behind = tokenizer.model.end_of_word_suffix or ""
        self._by_bytes = bool(tokenizer.model.byte_fallback)

    def first(self, text: str) -> str | None:
        """Return the first character that has no piece, None where all have."""
        for segment in self._normalizer([text]).of_record(0):
            if segment in self._added:
                continue
            word = segment.decode()
            for place, character in enumerate(word):
                piece = self._before * (place > 0) + character
                piece += self._behind * (place == len(word) - 1)
                if piece not in self._pieces and not self._is_spelled(piece):
                    return character
        return None

    def _is_spelled(self, piece: str) -> bool:
        """Say whether bytes stand in for a character that has no piece."""
        return self._by_bytes and all(f"<0x{byte:02X}>" in self._pieces for byte in piece.encode())


def _covers_all(tokenizer: tokenizers.Tokenizer, document: dict[str, Any]) -> bool:
    """Say whether a BPE model has pieces for all characters that reach it."""
    ways = json.dumps([document["normalizer"], document["pre_tokenizer"]])
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    if '"ByteLevel"' in ways and not (
        tokenizer.model.continuing_subword_prefix or tokenizer.model.end_of_word_suffix
    ):
        return vocabulary.keys() >= set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    by_bytes = tokenizer.model.byte_fallback and "<0x00>" in vocabulary
    return bool(by_bytes and vocabulary.keys() >= {f"<0x{byte:02X}>" for byte in range(256)})


class HuggingFace(Model):
    """A ``tokenizer.json``, read by the package."""

    tokenizer: tokenizers.Tokenizer

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text by the file's own decoder; special ids by their names."""
        plain = self.check_ids(ids)
        try:
            with package_errors():
                text: str = self.tokenizer.decode(plain, skip_special_tokens=False)
        except PackageError as error:
            raise DataError(f"{self.name}: the tokenizers package can't decode: {error}") from None
        return text


class HuggingFaceUnigram(HuggingFace, Unigram):
    """A ``tokenizer.json`` with a Unigram model."""

    kind = "a tokenizer.json with a Unigram model"

    def finish(self, found: Segmented) -> Segmented:
        """Make one id of neighbouring unknowns where one is the piece that is written as the unknown is.

        The package does, unless it spells unknowns by bytes (``encode_optimized``: ``fuse_unk``).
        Unknown characters the kernel fuses itself.
        """
        unknown = self.vocabulary.unknown
        if unknown is None or unknown.byte_ids is not None or len(found.ids) < 2:
            return found
        is_unknown = found.ids == unknown.id
        keep = np.ones(len(found.ids) + 1, bool)
        keep[1:-1] = ~(is_unknown[1:] & is_unknown[:-1])
        keep[found.offsets] = True  # not across segments
        if keep.all():
            return found
        before = offsets_of(keep[:-1])
        return found._replace(ids=found.ids[keep[:-1]], offsets=before[found.offsets])


class HuggingFaceOther(HuggingFace, Deterministic):
    """A ``tokenizer.json`` with a model of another kind: BPE, WordPiece, WordLevel."""

    def __init__(
        self, name: str, tokenizer: tokenizers.Tokenizer, document: dict[str, Any], digest: str
    ) -> None:
        kind = document["model"]["type"]
        self.name, self.tokenizer, self.digest = name, tokenizer, digest
        self.kind = f"a tokenizer.json with a {kind} model"
        self.special = _special(tokenizer, document)
        self.size = _size(tokenizer)
        pieces = document["model"]["vocab"]  # an unknown that is an added token alone is none
        self.complete = document["model"].get("unk_token") in pieces or (
            kind == "BPE" and _covers_all(tokenizer, document)
        )
        self._watched = None
        # what names an unknown token that isn't there fails, what names none says nothing
        if not self.complete and kind == "BPE" and tokenizer.model.unk_token is None:
            self._watched = Omissions(tokenizer, HuggingFaceNormalizer(name, document, tokenizer))

    def encode(self, texts: Texts) -> tuple[U32, I64]:
        """Return ids and offsets, as the package's ``encode_batch`` gives them."""
        check_utf8(texts)
        plain = [text.decode() for text in unpack(texts)]
        if self._watched is not None:
            for number, text in enumerate(plain):
                if left_out := self._watched.first(text):
                    raise RecordError(
                        number,
                        f"{self.name}: the model has no piece for {left_out!r} and no unknown token, "
                        "and would leave the character out; take a model that has all bytes",
                    )
        found: list[U32] = []
        step = max(1, len(plain) * _AT_A_TIME // max(len(texts.data), 1))
        for begin in range(0, len(plain), step):
            some = plain[begin : begin + step]
            rows = call_package(self._rows, some, name=self.name, first=begin)
            found += [np.array(row, np.uint32) for row in rows]
        return np.concatenate([np.zeros(0, np.uint32), *found]), offsets_of(list(map(len, found)))

    def _rows(self, texts: Sequence[str]) -> list[list[int]]:
        found = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def token(self, number: int) -> str:
        return self.tokenizer.id_to_token(number) or ""

    def token_id(self, token: str) -> int | None:
        number: int | None = self.tokenizer.token_to_id(token)
        return number


def looks_like(document: Any) -> bool:
    """Return whether parsed JSON has the shape of a ``tokenizer.json``."""
    return isinstance(document, dict) and isinstance(document.get("model"), dict)


def load(
    name: str,
    document: dict[str, Any],
    *,
    digest: str,
    special_tokens: SpecialTokens = "text",
) -> Model:
    """Load a ``tokenizer.json``.

    Args:
        name: for messages.
        document: the parsed JSON.
        digest: SHA-256 of the file.
        special_tokens: what control strings become.

    Raises:
        UsageError: the file asks for what isn't known, or can't be done; says what.
    """
    # dropout is BPE's own sampling, and this is the deterministic way
    model = document["model"] | ({"dropout": None} if "dropout" in document["model"] else {})
    document = document | {"truncation": None, "padding": None, "model": model}
    try:
        with package_errors():
            tokenizer = tokenizers.Tokenizer.from_str(json.dumps(document))
            tokenizer.encode_special_tokens = special_tokens != "tokens"
            # what the package has understood: its numbers are not always those nearest to the text's
            understood = json.loads(tokenizer.to_str())
            if understood["model"]["type"] != "Unigram":
                other = HuggingFaceOther(name, tokenizer, understood, digest)
                other.control = _control(tokenizer)
                return other
            vocabulary = _vocabulary(name, understood, tokenizer, digest)
            loaded = HuggingFaceUnigram(
                name, vocabulary, HuggingFaceNormalizer(name, understood, tokenizer)
            )
    except PackageError as error:
        raise UsageError(
            f"{name}: the tokenizers package can't read this file: {error}; expected a tokenizer.json "
            "that it loads by Tokenizer.from_file"
        ) from None
    loaded.tokenizer = tokenizer
    loaded.control = _control(tokenizer)
    return loaded


def _control(tokenizer: tokenizers.Tokenizer) -> dict[str, int]:
    """Return the texts of the tokens that the file calls special, each with its id."""
    added = tokenizer.get_added_tokens_decoder()
    return {token.content: id_ for id_, token in added.items() if token.special and token.content}


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
        special=_special(tokenizer, document),
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


def _special(tokenizer: tokenizers.Tokenizer, document: dict[str, Any]) -> SpecialIds:
    """Find the special ids: bos and eos by the file's template, or else by their names."""
    before, after = _template(document)
    special = {t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special}
    named = {
        role: next((tokenizer.token_to_id(name) for name in names if name in special), None)
        for role, names in _BY_NAME.items()
    }
    unk = document["model"].get("unk_token")
    return SpecialIds(
        pad=named["pad"],
        bos=before[0] if len(before) == 1 else named["bos"],
        eos=after[0] if len(after) == 1 else named["eos"],
        unk=tokenizer.token_to_id(unk) if unk is not None else document["model"].get("unk_id"),
        before=before,
        after=after,
    )


def _template(document: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids that the file's post-processor puts before a text, and behind it.

    None where it fails, or gives the text other than once. It is asked with a stand-in for the text,
    which no vocabulary has to hold.
    """
    if document["post_processor"] is None:
        return (), ()
    model = {"type": "WordLevel", "vocab": {"a": _STAND_IN}, "unk_token": "a"}
    no_way = dict.fromkeys(("normalizer", "pre_tokenizer", "decoder"))
    alone = document | no_way | {"model": model, "added_tokens": []}
    try:
        with package_errors():
            ids = tokenizers.Tokenizer.from_str(json.dumps(alone)).encode("a").ids
    except PackageError:
        return (), ()
    if ids.count(_STAND_IN) != 1:
        return (), ()
    place = ids.index(_STAND_IN)
    return tuple(ids[:place]), tuple(ids[place + 1 :])
