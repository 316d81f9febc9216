"""The parts of a SentencePiece ``.model`` that decide what it does.

Field numbers are those of ``sentencepiece_model.proto`` (ModelProto, TrainerSpec, NormalizerSpec).
"""

from __future__ import annotations

from dataclasses import dataclass

from transforms.tokenizers.wire import WireError, fields

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
MODEL_TYPES = {1: "unigram", 2: "BPE", 3: "word", 4: "char"}

_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _SUFFIX, _BYTE_FALLBACK = 3, 24, 35
_CHARSMAP, _DUMMY_PREFIX, _EXTRA_SPACES, _ESCAPE = 2, 3, 4, 5


@dataclass(frozen=True)
class Piece:
    """One entry; its id is its place."""

    text: bytes
    score: float
    """A float32's value."""

    type: int


@dataclass(frozen=True, kw_only=True)
class SentencePieceFile:
    """A model file, read."""

    pieces: tuple[Piece, ...]
    model_type: int
    whitespace_as_suffix: bool
    byte_fallback: bool
    charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool


def read(data: bytes) -> SentencePieceFile:
    """Read a model file.

    Raises:
        WireError: the bytes are no such file; says from where on.
    """
    pieces: list[Piece] = []
    specs: dict[int, dict[int, int | float | bytes]] = {_TRAINER: {}, _NORMALIZER: {}}
    for number, value in fields(data):
        if number == _PIECES and isinstance(value, bytes):
            found = dict(fields(value))
            text, score, kind = found.get(_PIECE), found.get(_SCORE, 0.0), found.get(_TYPE, 1)
            if not (isinstance(text, bytes) and isinstance(score, float) and kind in range(1, 7)):
                raise WireError(f"piece {len(pieces)} has not a text, a score and a known type")
            pieces.append(Piece(text, score, int(kind)))
        elif number in specs and isinstance(value, bytes):
            specs[number].update(fields(value))
    if not pieces:
        raise WireError("it has no pieces")
    trainer, normalizer = specs[_TRAINER], specs[_NORMALIZER]
    charsmap = normalizer.get(_CHARSMAP, b"")
    return SentencePieceFile(
        pieces=tuple(pieces),
        model_type=int(trainer.get(_MODEL_TYPE, 1)),
        whitespace_as_suffix=bool(trainer.get(_SUFFIX, 0)),
        byte_fallback=bool(trainer.get(_BYTE_FALLBACK, 0)),
        charsmap=charsmap if isinstance(charsmap, bytes) else b"",
        add_dummy_prefix=bool(normalizer.get(_DUMMY_PREFIX, 1)),
        remove_extra_whitespaces=bool(normalizer.get(_EXTRA_SPACES, 1)),
        escape_whitespaces=bool(normalizer.get(_ESCAPE, 1)),
    )
