"""BPE models as the ``tokenizer.json`` that gigatoken reads; what it would take otherwise is refused.

gigatoken 0.10.0 (``src/load_tokenizer/hf.rs``) takes a model for SentencePiece's way where it falls back
on bytes, and for one over bytes as letters else. A model that falls back on its unknown token is given
bytes beyond its last id, which ``Spelled`` turns into unknowns again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.kernels.arrays import I64, U32, offsets_of
from transforms.kernels.records.find_strings import Strings
from transforms.tokenization.models.model import RecordError
from transforms.tokenization.models.texts import Normalizer
from transforms.tokenization.models.unigram import NORMAL, SPACE, UNKNOWN, UNUSED, USER_DEFINED

_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]

_UNSETTLED = (
    "5C8-5C9 7FD-7FD 897-89F 8CA-8D3 9FE-9FE C3C-C3C D3B-D3C EBA-EBA 1715-1715 1ABF-1AF0 1DF6-1DFA "
    "A82C-A82C 105C9-105C9 105D2-105D2 105DA-105DA 105E4-105E4 10D24-10D27 10D69-10D6D 10EAB-10EAC "
    "10ECB-10ECF 10EF0-10EFB 10EFD-10EFF 10F46-10F50 10F82-10F85 11070-11070 1133B-1133B 11383-11383 "
    "11385-11385 1138E-1138E 11391-11391 113B8-113B8 113BB-113BB 113C2-113C2 113C5-113C5 113C7-113C9 "
    "113CE-113D0 1145E-1145E 11839-1183A 11930-11930 11938-11938 1193D-1193E 11943-11943 119E0-119E0 "
    "11A34-11A34 11A47-11A47 11A99-11A99 11D42-11D42 11D44-11D45 11D97-11D97 11F41-11F42 1611E-16129 "
    "1612F-1612F 16D67-16D6A 16FF0-16FF1 1D127-1D128 1D250-1D252 1D25B-1D25C 1D25F-1D25F 1D280-1D281 "
    "1E08F-1E08F 1E130-1E136 1E2AE-1E2AE 1E2EC-1E2EF 1E4EC-1E4EF 1E5EE-1E5EF 1E6E3-1E6E3 1E6E6-1E6E6 "
    "1E6EE-1E6EF 1E6F5-1E6F5"
)
UNSETTLED = "".join(
    chr(point)
    for first, last in (part.split("-") for part in _UNSETTLED.split())
    for point in range(int(first, 16), int(last, 16) + 1)
)
"""Characters that Unicode 17 composes, decomposes or puts in order, and the tokenizers package doesn't.

It normalizes by Unicode 9, gigatoken by a late one; what was assigned at the time all editions normalize
alike (Unicode's stability policy). So texts with one of these are the reference's to encode.
"""


class UnfitError(Exception):
    """A model that gigatoken can't take; says why."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A model as gigatoken takes it.

    Attributes:
        make: gigatoken's tokenizer, anew each time.
        normalizer: what text goes through before; None where gigatoken does it.
        spelled: which ids are unknowns.
        left_out: what a text that the reference has to encode holds.
    """

    make: Callable[[], Any]
    normalizer: Normalizer | None = None
    spelled: Spelled | None = None
    left_out: Strings | None = None


@dataclass(frozen=True, kw_only=True)
class Spelled:
    """Bytes of characters that have no piece: ids from ``base`` on, in the order of bytes.

    Attributes:
        base: the id of byte 0.
        unknown: the id that they become; None where the character would be left out.
        fused: neighbours become one.
    """

    base: int
    unknown: int | None
    fused: bool

    def to_unknown(self, ids: U32, offsets: I64) -> tuple[U32, I64]:
        """Put the unknown in the place of bytes.

        Raises:
            RecordError: there is none; gives the first such character alone as the reason.
        """
        spelled = ids >= self.base
        if not spelled.any():
            return ids, offsets
        if self.unknown is None:
            raise self._left_out(ids, offsets, int(np.argmax(spelled)))
        if self.fused:
            keep = ~spelled
            keep[1:] |= ~spelled[:-1]
            keep[:1] = True
            keep[offsets[:-1][offsets[:-1] < len(ids)]] = True  # not across records
        else:
            keep = ~spelled | ((ids - self.base) & 0xC0 != 0x80)  # a character's first byte
        unknown = np.where(spelled, np.uint32(self.unknown), ids)
        return unknown[keep], offsets_of(keep)[offsets]

    def _left_out(self, ids: U32, offsets: I64, place: int) -> RecordError:
        some = (ids[place : place + 4].astype(np.int64) - self.base).tolist()
        first = bytes(byte for byte in some if byte >= 0).decode(errors="ignore")[:1]
        return RecordError(int(np.searchsorted(offsets, place, "right")) - 1, first)


def of_tokenizer_json(
    document: dict[str, Any], *, specials_are_tokens: bool
) -> tuple[str, Spelled | None]:
    """Return the file for gigatoken.

    Args:
        document: as of ``HuggingFaceBPE``.
        specials_are_tokens: whether the text of a special token becomes that token.

    Raises:
        UnfitError: gigatoken would take the model otherwise.
    """
    model = document["model"]
    if model["continuing_subword_prefix"] or model["end_of_word_suffix"]:
        raise UnfitError("its pieces are written with a prefix or a suffix")
    added = [
        token for token in document["added_tokens"] if specials_are_tokens or not token["special"]
    ]
    if any(token["single_word"] for token in added):
        raise UnfitError("an added token is one only as a word by itself")
    all_bytes = model["vocab"].keys() >= set(_BYTES)
    if model["byte_fallback"] and model["unk_token"] is None and not all_bytes:
        raise UnfitError("it falls back on bytes, has not all of them, and no unknown token")
    spelled = None
    ways = json.dumps([document["normalizer"], document["pre_tokenizer"]])
    if not model["byte_fallback"] and '"ByteLevel"' not in ways:
        unk = model["unk_token"]
        if unk is not None and unk not in model["vocab"]:
            raise UnfitError(f"its unknown token {unk!r} isn't one of its pieces")
        if SPACE not in model["vocab"]:
            raise UnfitError(f"{SPACE!r} isn't one of its pieces")  # which ends a row of unknowns
        ids = [*model["vocab"].values(), *(token["id"] for token in document["added_tokens"])]
        spelled = Spelled(
            base=max(ids) + 1,
            unknown=None if unk is None else model["vocab"][unk],
            fused=bool(model["fuse_unk"]),
        )
        model = model | _with_bytes(model["vocab"], spelled.base)
    parts = {name: document[name] for name in ("normalizer", "pre_tokenizer")}
    return json.dumps({**parts, "added_tokens": added, "model": model}), spelled


def _with_bytes(vocabulary: Mapping[str, int], base: int) -> dict[str, Any]:
    """Return a vocabulary that has all bytes, and that it falls back on them."""
    spelled = {piece: base + byte for byte, piece in enumerate(_BYTES)}
    if spelled.keys() & vocabulary.keys():
        raise UnfitError("it has pieces that are written as bytes, and doesn't fall back on them")
    return {"vocab": {**vocabulary, **spelled}, "byte_fallback": True}


def is_normalized_apart(proto: Any) -> bool:
    """Say whether text has to be normalized by sentencepiece before gigatoken gets it.

    It would take off other white space than spaces too, and put a mark before each part of a text that
    stands between pieces that users defined. What it does to spaces alone it does quicker.
    """
    spec = proto.normalizer
    own = any(piece.type == USER_DEFINED for piece in proto.pieces)
    return bool(
        spec.charsmap
        or spec.squeeze
        or not spec.escape
        or proto.trainer.whitespace_as_suffix
        or (own and spec.prefix)
    )


def of_sentencepiece(proto: Any) -> tuple[str, Spelled | None]:
    """Return the file for gigatoken, without a normalizer where ``is_normalized_apart``.

    Args:
        proto: as of ``read_pieces``.

    Raises:
        UnfitError: gigatoken would take the model otherwise.
    """
    pieces = [piece.text.decode() for piece in proto.pieces]
    if any(piece.type == UNUSED for piece in proto.pieces):
        raise UnfitError("it has unused pieces")
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    unknown = next(number for number, piece in enumerate(proto.pieces) if piece.type == UNKNOWN)
    spelled = None
    with_bytes: dict[str, Any] = {"vocab": vocabulary, "byte_fallback": True}
    if not proto.trainer.byte_fallback:
        spelled = Spelled(base=len(pieces), unknown=unknown, fused=True)
        with_bytes = _with_bytes(vocabulary, spelled.base)
    model = {
        "type": "BPE",
        "unk_token": pieces[unknown],
        "fuse_unk": True,
        "ignore_merges": False,
        "merges": _merges({p.text.decode(): p.score for p in proto.pieces if p.type == NORMAL}),
        **with_bytes,
    }
    added = [
        {"id": number, "content": piece, "normalized": False, "special": False}
        for number, piece in enumerate(pieces)
        if proto.pieces[number].type == USER_DEFINED
    ]
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    prepend = [{"type": "Prepend", "prepend": SPACE}] * proto.normalizer.prefix
    steps = [] if is_normalized_apart(proto) else [*prepend, replace]
    normalizer = {"type": "Sequence", "normalizers": steps}
    return json.dumps({"normalizer": normalizer, "added_tokens": added, "model": model}), spelled


def _merges(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return all ways to merge two pieces into a third, the highest score first."""
    found = [
        (score, cut, whole)
        for whole, score in scores.items()
        for cut in range(1, len(whole))
        if whole[:cut] in scores and whole[cut:] in scores
    ]
    found.sort(key=lambda merge: (-merge[0], -merge[1]))
    return [(whole[:cut], whole[cut:]) for _, cut, whole in found]
