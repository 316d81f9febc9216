"""What a BPE model's file says, as tables: pieces, merges, and which tokens split into which."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.errors import UsageError
from transforms.kernels.arrays import I64
from transforms.kernels.segmentation.bpe import merges
from transforms.kernels.segmentation.bpe.rewrite import MARK
from transforms.kernels.segmentation.bpe.stochastok import Splits
from transforms.tokenization.bpe.pretokens import (
    HuggingFacePretokens,
    SentencePiecePretokens,
    TiktokenPretokens,
)
from transforms.tokenization.models.bpe import BPE
from transforms.tokenization.models.control import AroundControl
from transforms.tokenization.models.huggingface_bpe import HuggingFaceBPE
from transforms.tokenization.models.model import Model, Unigram
from transforms.tokenization.models.sentencepiece_bpe import SentencePieceBPE
from transforms.tokenization.models.texts import Normalizer
from transforms.tokenization.models.tiktoken_bpe import TiktokenBPE
from transforms.tokenization.models.unigram import (
    BYTE,
    NORMAL,
    UNUSED,
    USER_DEFINED,
    SentencePiece,
    read_pieces,
)

_INSIDE = re.compile(b"(?<!^)(?<!" + MARK + b")" + MARK)
"""A space's mark that follows another character."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """All that the laws need of a BPE model."""

    pretokens: Normalizer
    """What brings text to pre-tokens; an added token is a segment of its own, ``beyond_unicode``."""

    pieces: dict[bytes, int]
    """The pieces that text may become, and their ids: no special token, no added one, no byte's name."""

    pairs: I64
    """int64[n, 4], the merges: as of ``merges.build``."""

    symbols: dict[int, int]
    """What text begins as: byte, or code point, to id."""

    by_byte: bool
    unknown: int | None
    fused: bool
    byte_ids: tuple[int, ...]
    """What spells a character without a piece; empty where nothing does."""

    @property
    def words(self) -> bool:
        """Whether a pre-token may be cut before each space's mark that follows another character: where
        no piece reaches across.
        """
        if self.by_byte or ord(MARK.decode()) not in self.symbols:
            return False
        return not any(_INSIDE.search(piece) for piece in self.pieces)


def tables_of(model: BPE) -> Tables:
    """Read a model's tables.

    Raises:
        UsageError: the model spells pieces in a way that the laws don't know.
    """
    if isinstance(model, HuggingFaceBPE):
        return _of_huggingface(model)
    if isinstance(model, SentencePieceBPE):
        return _of_sentencepiece(model)
    assert isinstance(model, TiktokenBPE)
    return Tables(
        pretokens=_around_control(model, TiktokenPretokens(model)),
        pieces=model.ranks,
        pairs=merges.pairs_of(model.ranks, int),
        symbols={piece[0]: number for piece, number in model.ranks.items() if len(piece) == 1},
        by_byte=True,
        unknown=None,
        fused=False,
        byte_ids=(),
    )


def _around_control(model: BPE, pretokens: Normalizer) -> Normalizer:
    """Return what puts a token for each control string, where that is asked for."""
    if model.special_tokens != "tokens":
        return pretokens
    return AroundControl(pretokens, model.control)


def letters_of(document: dict[str, Any]) -> dict[str, int] | None:
    """Return the byte that each letter of a ``tokenizer.json``'s pieces stands for; None where they are
    characters.
    """
    steps = document["pre_tokenizer"]
    while steps is not None and steps["type"] == "Sequence":
        steps = steps["pretokenizers"][-1] if steps["pretokenizers"] else None
    if steps is None or steps["type"] != "ByteLevel":
        return None
    letters = byte_letters()
    return letters if document["model"]["vocab"].keys() >= letters.keys() else None


def byte_letters() -> dict[str, int]:
    """Return GPT-2's letters, and the byte that each stands for."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): b for i, b in enumerate(others)}


def _of_huggingface(model: HuggingFaceBPE) -> Tables:
    file, document = model.text_document["model"], model.document
    if file["continuing_subword_prefix"] or file["end_of_word_suffix"]:
        raise UsageError(
            f"{model.name}: pieces are written differently inside a word "
            f"({file['continuing_subword_prefix'] or file['end_of_word_suffix']}); pass "
            "--sampling=stochastok, which takes such a model"
        )
    vocabulary: dict[str, int] = file["vocab"]
    letters = letters_of(document)
    added = {token["id"] for token in document["added_tokens"]}
    spelled = [vocabulary.get(f"<0x{byte:02X}>") for byte in range(256)]
    by_bytes = file["byte_fallback"] and any(number is not None for number in spelled)
    if by_bytes and None in spelled:
        raise UsageError(
            f"{model.name}: expected all 256 byte pieces with byte_fallback, got only some, so "
            "the ids of an unknown character would depend on its neighbours; add the rest, or "
            "turn byte_fallback off"
        )
    starts = {letters[text] if letters else ord(text): number for text, number in vocabulary.items()
              if (text in letters if letters else len(text) == 1)}  # fmt: skip
    left_out = added | (set(spelled) if by_bytes else set())
    left_out -= set(starts.values())  # one symbol, which nothing else could stand for
    pieces = {}
    for text, number in vocabulary.items():
        if number in left_out or not text:
            continue
        if letters is None:
            pieces[text.encode()] = number
        elif all(letter in letters for letter in text):
            pieces[bytes(letters[letter] for letter in text)] = number
    rows = [
        (vocabulary[left], vocabulary[right], rank, vocabulary[left + right])
        for rank, (left, right) in enumerate(file["merges"])
    ]
    return Tables(
        pretokens=HuggingFacePretokens(model, letters),
        pieces=pieces,
        pairs=np.array(rows, np.int64).reshape(-1, 4),
        symbols=starts,
        by_byte=letters is not None,
        unknown=vocabulary.get(file["unk_token"]) if file["unk_token"] is not None else None,
        fused=bool(file["fuse_unk"]),
        byte_ids=tuple(number for number in spelled if number is not None) if by_bytes else (),
    )


def _of_sentencepiece(model: SentencePieceBPE) -> Tables:
    proto = model.proto
    pieces: dict[int, dict[bytes, int]] = {kind: {} for kind in range(1, 7)}
    for number, piece in enumerate(proto.pieces):
        pieces[piece.type][piece.text] = number
    if pieces[UNUSED]:
        raise UsageError(
            f"{model.name}: the file marks {len(pieces[UNUSED])} pieces as unused, which are "
            "split again after merging; pass --sampling=stochastok, which takes such a model"
        )
    texts = pieces[NORMAL] | pieces[USER_DEFINED]
    characters = {ord(t): n for text, n in texts.items() if len(t := text.decode()) == 1}
    for text in pieces[NORMAL]:
        if missing := [c for c in text.decode() if ord(c) not in characters]:
            raise UsageError(
                f"{model.name}: the piece {text.decode()!r} holds {missing[0]!r}, which isn't a "
                "piece itself, so the model can't be sampled; leave --sampling off"
            )
    scores = sorted({piece.score for piece in proto.pieces}, reverse=True)
    ranks = {score: rank for rank, score in enumerate(scores)}
    names = [b"<0x%02X>" % byte for byte in range(256)]
    return Tables(
        pretokens=_around_control(model, SentencePiecePretokens(model, pieces[USER_DEFINED])),
        pieces=pieces[NORMAL],
        pairs=merges.pairs_of(texts, lambda number: ranks[proto.pieces[number].score]),
        symbols=characters,
        by_byte=False,
        unknown=model.special.unk,
        fused=True,
        byte_ids=tuple(pieces[BYTE][name] for name in names) if proto.trainer.byte_fallback else (),
    )


def splits_of(model: Model) -> Splits:
    """Return which pairs of pieces each token of a model splits into; special tokens into none.

    Raises:
        UsageError: the model doesn't say its pieces.
    """
    pieces, inside = _written(model)
    rows = _pairs_inside(pieces, inside) if inside else merges.pairs_of(pieces, int)
    return Splits(*merges.split_pairs(rows, model.size))


def _written(model: Model) -> tuple[dict[bytes, int], bytes]:
    """Return the pieces that are text, as they are written, and what begins those inside of a word."""
    if isinstance(model, SentencePieceBPE):
        proto = model.proto
        return {p.text: n for n, p in enumerate(proto.pieces) if p.type == NORMAL}, b""
    if isinstance(model, TiktokenBPE):
        return model.ranks, b""
    special = {model.special.pad, model.special.bos, model.special.eos, model.special.unk}
    special |= set(model.control.values())
    added: dict[int, Any] = {}
    pieces: dict[bytes, int]
    prefix, by_bytes = "", False
    if tokenizer := getattr(model, "tokenizer", None):
        added = tokenizer.get_added_tokens_decoder()
        prefix = getattr(tokenizer.model, "continuing_subword_prefix", None) or ""
        by_bytes = bool(getattr(tokenizer.model, "byte_fallback", False))
        vocabulary = tokenizer.get_vocab(with_added_tokens=False)
        pieces = {text.encode(): number for text, number in vocabulary.items() if text}
    elif isinstance(model, Unigram):
        v = model.vocabulary
        pieces = dict(zip(v.pieces, v.ids.tolist(), strict=True))
        if isinstance(model, SentencePiece):  # what users defined stays whole
            read = read_pieces(model.processor.serialized_model_proto()).pieces
            pieces = {text: n for text, n in pieces.items() if read[n].type == NORMAL}
    else:
        raise UsageError(
            f"--sampling=stochastok: {model.name} is {model.kind}, whose pieces aren't known here; "
            "leave --sampling off"
        )
    names = {b"<0x%02X>" % byte for byte in range(256)} if by_bytes else set()
    left_out = special | set(added)
    found = {t: n for t, n in pieces.items() if n not in left_out and t not in names}
    return found, prefix.encode()


def _pairs_inside(pieces: dict[bytes, int], inside: bytes) -> I64:
    """Return the pairs of a vocabulary whose pieces inside of a word begin with ``inside``: ``##``."""
    find: Callable[[bytes], int | None] = pieces.get
    rows = []
    for piece, number in pieces.items():
        begin = len(inside) + 1 if piece.startswith(inside) else 1
        for at in range(begin, len(piece)):
            left, right = find(piece[:at]), find(inside + piece[at:])
            if left is not None and right is not None:
                rows.append((left, right, 0, number))
    return np.array(rows, np.int64).reshape(-1, 4)
