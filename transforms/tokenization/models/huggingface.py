"""``tokenizer.json``: the tables of a Unigram model, a BPE model, or one of any other kind as it is.

Agrees with tokenizers 0.23.3 (``tokenizers/src/models/unigram/model.rs``: ``encode_optimized``,
``tokenize``), whose package reads the file.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import tokenizers

from transforms.errors import UsageError
from transforms.kernels.arrays import I64, U32, offsets_of
from transforms.kernels.segmentation.laws import UnknownEdge
from transforms.kernels.segmentation.segment import Segmented
from transforms.tokenization.models.added_tokens import HuggingFaceNormalizer, beyond_unicode
from transforms.tokenization.models.control import stays_a_piece, without_special
from transforms.tokenization.models.huggingface_bpe import HuggingFaceBPE
from transforms.tokenization.models.huggingface_file import (
    ByPackage,
    HuggingFace,
    control_of,
    size_of,
    special_ids,
)
from transforms.tokenization.models.model import Deterministic, Model, SpecialTokens, Unigram
from transforms.tokenization.models.package_errors import PackageError, package_errors
from transforms.tokenization.models.texts import Texts
from transforms.tokenization.models.vocabulary import Vocabulary

_UNKNOWN_PENALTY = 10.0


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


class HuggingFaceOther(ByPackage, Deterministic):
    """A ``tokenizer.json`` with a model of another kind: WordPiece, WordLevel."""

    def __init__(
        self,
        name: str,
        tokenizer: tokenizers.Tokenizer,
        document: dict[str, Any],
        *,
        digest: str,
        special_tokens: SpecialTokens,
    ) -> None:
        super().__init__(name, tokenizer, document, digest=digest, special_tokens=special_tokens)
        self.kind = f"a tokenizer.json with a {document['model']['type']} model"
        pieces = document["model"]["vocab"]  # an unknown that is an added token alone is none
        self.complete = document["model"].get("unk_token") in pieces

    def encode(self, texts: Texts) -> tuple[U32, I64]:
        """Return ids and offsets, as the package's ``encode_batch`` gives them."""
        return self.encode_by_package(texts)


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
            # what the package has understood: its numbers are not always those nearest to the text's
            understood = json.loads(tokenizer.to_str())
            kind = understood["model"]["type"]
            if kind != "Unigram":
                of_kind = HuggingFaceBPE if kind == "BPE" else HuggingFaceOther
                return of_kind(
                    name, tokenizer, understood, digest=digest, special_tokens=special_tokens
                )
            if special_tokens != "tokens":
                understood = without_special(understood)
            vocabulary = _vocabulary(name, understood, tokenizer, digest)
            loaded = HuggingFaceUnigram(
                name, vocabulary, HuggingFaceNormalizer(name, understood, tokenizer)
            )
    except PackageError as error:
        raise UsageError(
            f"{name}: the tokenizers package can't read this file: {error}; pass a "
            "tokenizer.json that Tokenizer.from_file loads"
        ) from None
    loaded.tokenizer = tokenizer
    loaded.control = control_of(tokenizer)
    return loaded


def _vocabulary(
    name: str, document: dict[str, Any], tokenizer: tokenizers.Tokenizer, digest: str
) -> Vocabulary:
    """Return the tables: every entry matches text, bytes too; the last of twins.

    Special ones do where the document has their added tokens, or nothing else could stand for them.
    """
    entries: list[tuple[str, float]] = document["model"]["vocab"]
    by_text = {text.encode(): number for number, (text, _) in enumerate(entries) if text}
    scores = [float(score) for _, score in entries]
    if not scores or not np.isfinite(scores).all():
        raise UsageError(
            f"{name}: expected a unigram model with pieces, all with finite scores, got "
            "another; fetch or make the file again"
        )
    added = {token["content"]: int(token["id"]) for token in document["added_tokens"]}
    by_bytes = bool(document["model"].get("byte_fallback"))
    removed = {
        text.encode()
        for text in control_of(tokenizer).keys() - added.keys()
        if not stays_a_piece(text, byte_fallback=by_bytes)
    }
    matching = {text: number for text, number in by_text.items() if text not in removed}
    unk = document["model"]["unk_id"]
    size = size_of(tokenizer)
    surfaces = [(tokenizer.id_to_token(number) or "").encode() for number in range(size)]
    return Vocabulary(
        pieces=(*matching, *map(beyond_unicode, added.values())),
        log_probs=np.array([scores[n] for n in matching.values()] + [0.0] * len(added), np.float64),
        ids=np.array([*matching.values(), *added.values()], np.uint32),
        unit="character",
        unknown=None
        if unk is None
        else UnknownEdge(
            log_prob=min(scores) - _UNKNOWN_PENALTY,
            id=unk,
            byte_ids=_byte_ids(name, document["model"], by_text),
        ),
        precision="float64",
        special=special_ids(tokenizer, document),
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
            f"{name}: expected all 256 byte pieces with byte_fallback, got {256 - len(missing)} "
            f"(<0x{missing[0]:02X}> is the first one missing): sampling can't model an unknown "
            "character whose ids depend on its neighbours; add the rest, or turn byte_fallback "
            "off"
        )
    return tuple(number for number in found if number is not None)
