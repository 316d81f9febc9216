"""What every unigram model comes down to: pieces with log-probabilities and ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from transforms.kernels.arrays import F64, U32
from transforms.kernels.segmentation.laws import UnknownEdge

BEYOND_UNICODE = 0x110000
"""Code points from here to 0x1FFFFF encode, by UTF-8's pattern, to four bytes that no text holds."""


@dataclass(frozen=True)
class SpecialIds:
    """Ids that stand for no text; None where the model has none.

    ``before`` and ``after`` are what the model's file says is put around a text, empty where it doesn't
    say; ``bos`` and ``eos`` may be found by their names alone.
    """

    pad: int | None = None
    bos: int | None = None
    eos: int | None = None
    unk: int | None = None
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Vocabulary:
    """The tables of a unigram model, in the order of its file. They are not to be changed.

    A segmentation of a segment is a row of edges that covers it. An edge is a piece that matches
    there, or, with ``unknown``, one character where no piece of one character does. Edges begin at
    bytes or at characters, as ``unit`` says: how many bytes a character has follows from its first
    byte (below 0xC0: 1, 0xE0: 2, 0xF0: 3, from there on: 4), and text is valid UTF-8 save for
    characters from BEYOND_UNICODE on, which the normalizer of a ``tokenizer.json`` puts for
    added tokens.

    The best segmentation is that of the format's own implementation: starts are taken in order, and a
    later candidate for an end must be strictly better (so among equals the longest last piece wins);
    at one start, pieces come before the unknown. With ``precision`` "float32" each sum is rounded to
    float32, and where a start's best score leaves [-100,000, 100,000], it is taken off, in float32, from
    itself and all best scores so far at later places.
    """

    pieces: tuple[bytes, ...]
    """n different byte strings, none empty, that match text."""

    log_probs: F64
    """float64[n], finite; float32 values where ``precision`` is "float32"."""

    ids: U32
    """uint32[n], below ``size``."""

    unit: Literal["byte", "character"]
    unknown: UnknownEdge | None
    precision: Literal["float32", "float64"]
    special: SpecialIds
    size: int
    """One more than the largest id there can be."""

    digest: str
    """SHA-256 of the model file, of a zip's member where it came in one; 64 hexadecimal digits."""

    surfaces: tuple[bytes, ...] = field(repr=False)
    """By id, the piece as the file writes it, of special ones too; b"" for an id the file leaves out."""

    sampling_log_probs: F64 | None = None
    """float64[n], finite, for all laws but ``off``; None where they are ``log_probs``."""

    @property
    def unknown_as_bytes(self) -> bool:
        """Whether a character without a piece becomes the tokens of its bytes."""
        return self.unknown is not None and self.unknown.byte_ids is not None

    @property
    def missing_bytes(self) -> bytes:
        """The bytes that are no piece, in order: text in them may have no segmentation.

        Empty where every text has one: all bytes are pieces, or there is an unknown edge.
        """
        if self.unknown is not None:
            return b""
        have = {piece[0] for piece in self.pieces if len(piece) == 1}
        return bytes(byte for byte in range(256) if byte not in have)
