"""BytePiece models: JSON from base64 of a piece to [id, text, count].

Agrees with bytepiece 0.6.3 (``bytepiece/bytepiece.py``: ``normalize``, ``Tokenizer``). Ids 0, 1 and 2
are pad, bos and eos, which the file leaves out.
"""

from __future__ import annotations

import base64
import binascii
import functools
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal
from typing import Any

import numpy as np

from transforms.errors import UsageError
from transforms.kernels.arrays import F64, U8
from transforms.kernels.segmentation.nfc import KNOWN, cut_lines
from transforms.tokenization.models.model import Unigram
from transforms.tokenization.models.texts import (
    Normalized,
    Normalizer,
    Texts,
    check_utf8,
    cut_after_newlines,
    in_chunks,
    replace_records,
)
from transforms.tokenization.models.vocabulary import SpecialIds, Vocabulary

_FIRST_ID = 3
_IDS = 2**24  # a table by id is made
# of Hangul: vowels and final consonants, which join what stands before them
_JOINING_JAMO = (0x1161, 0x1175), (0x11A8, 0x11C2)
# ideographs, syllables and characters of no meaning, which nothing is made of (Unicode's stability
# policy); without them the table takes a third of the time
_NEVER_DECOMPOSED = (0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0xD800, 0xF8FF), (0x20000, 0x2F7FF)
_DIGITS = Context(prec=40)
_NEAR = 2.0**-7  # of a float64's last place; long doubles of 64 bits err by some 2**-11 of it


class BytePiece(Unigram):
    """A BytePiece model."""

    kind = "a BytePiece model"

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of ids; pad, bos and eos have none."""
        surfaces = self.vocabulary.surfaces
        return b"".join([surfaces[i] for i in self.check_ids(ids)])

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text, dropping what isn't valid UTF-8, as bytepiece does."""
        return self.decode_bytes(ids).decode(errors="ignore")


class Nfc(Normalizer):
    """Unicode NFC, cut after newlines. Which characters it knows follows from Python's own Unicode."""

    def normalize(self, texts: Texts) -> Normalized:
        """Normalize records of valid UTF-8."""
        found = cut_lines(texts.data, texts.offsets, settled_characters())
        if found is None:
            check_utf8(texts)
            raise AssertionError("check_utf8 takes what the kernel doesn't")
        changed = {}
        for number in found.unsettled.tolist():
            text = texts.data[texts.offsets[number] : texts.offsets[number + 1]].data
            if not _is_nfc(text):
                changed[number] = _nfc(text)
        if changed:
            return cut_after_newlines(replace_records(texts, changed))
        return Normalized(texts.data, found.segments, found.records)


@functools.cache
def settled_characters() -> U8:
    """Return uint8[KNOWN / 8], as of ``cut_lines``, by Python's own Unicode."""
    settled = np.ones(KNOWN, bool)
    for first, last in _JOINING_JAMO:
        settled[first : last + 1] = False
    for number in range(KNOWN):
        if any(first <= number <= last for first, last in _NEVER_DECOMPOSED):
            continue
        character = chr(number)
        if unicodedata.combining(character):
            settled[number] = False
        parts = unicodedata.decomposition(character)
        if parts and not parts.startswith("<"):  # those are of compatibility
            if unicodedata.normalize("NFC", character) != character:
                settled[number] = False
            _, *second = parts.split()
            settled[[int(part, 16) for part in second]] = False
    return np.packbits(settled, bitorder="little")


class RawBytes(Normalizer):
    """Bytes as they are, cut after newlines: for data that isn't text, or must not change."""

    def normalize(self, texts: Texts) -> Normalized:
        """Only cut."""
        return cut_after_newlines(texts)


def _is_nfc(text: memoryview) -> bool:
    # every part of a normalized text is normalized
    return all(unicodedata.is_normalized("NFC", str(c, "utf-8")) for c in in_chunks(text))


def _nfc(text: memoryview) -> bytes:
    return b"".join(
        [unicodedata.normalize("NFC", str(c, "utf-8")).encode() for c in in_chunks(text)]
    )


def looks_like(document: Any) -> bool:
    """Return whether parsed JSON has the shape of a BytePiece model, by its first entry."""
    if not isinstance(document, dict) or not document:
        return False
    value = next(iter(document.values()))
    return isinstance(value, list) and len(value) == 3


def load(name: str, entries: dict[str, Any], *, digest: str, raw: bool = False) -> BytePiece:
    """Load a BytePiece model.

    Args:
        name: for messages.
        entries: the parsed JSON.
        digest: SHA-256 of the file.
        raw: leave bytes as they are (``--bytes``) in place of NFC.

    Raises:
        UsageError: an entry isn't as it should be; names it.
    """
    pieces: dict[bytes, tuple[int, int]] = {}
    for key, value in entries.items():
        piece, number, count = _entry(name, key, value)
        if piece in pieces:
            raise UsageError(
                f"{name}: expected each piece once, got {piece!r} twice, the second time as {key!r}"
            )
        pieces[piece] = number, count
    ids = [number for number, _ in pieces.values()]
    surfaces = [b""] * (max(ids) + 1)
    for piece, number in zip(pieces, ids, strict=True):
        if surfaces[number]:
            raise UsageError(
                f"{name}: expected different ids, got {number} for {surfaces[number]!r} and "
                f"{piece!r}"
            )
        surfaces[number] = piece
    counts = [count for _, count in pieces.values()]
    log_total = correctly_rounded_logs([sum(counts)])[0]
    vocabulary = Vocabulary(
        pieces=tuple(pieces),
        log_probs=correctly_rounded_logs(counts) - log_total,
        ids=np.array(ids, np.uint32),
        unit="byte",
        unknown=None,
        precision="float64",
        special=SpecialIds(pad=0, bos=1, eos=2, before=(1,), after=(2,)),
        size=len(surfaces),
        digest=digest,
        surfaces=tuple(surfaces),
    )
    return BytePiece(name, vocabulary, RawBytes() if raw else Nfc())


def _entry(name: str, key: str, value: Any) -> tuple[bytes, int, int]:
    """Return piece, id and count of one entry."""
    try:
        piece = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        piece = b""
    if not piece:
        raise UsageError(
            f"{name}: expected keys that are base64 of at least one byte, got {key!r:.80}"
        )
    if not (isinstance(value, list) and len(value) == 3):
        raise UsageError(f"{name}: expected [id, text, count] for {key!r:.80}, got {value!r:.80}")
    number, _, count = value
    if not (type(number) is int and _FIRST_ID <= number < _IDS):
        raise UsageError(
            f"{name}: expected an id of {_FIRST_ID} (0, 1 and 2 are pad, bos and eos) to "
            f"{_IDS - 1} for {key!r:.80}, got {number!r:.40}"
        )
    if not (type(count) is int and count > 0):
        raise UsageError(
            f"{name}: expected a positive integer as the count of {key!r:.80}, got {count!r:.40}"
        )
    return piece, number, count


def correctly_rounded_logs(counts: Iterable[int]) -> F64:
    """Return float64[n]: the natural logarithms of positive integers, each rounded to nearest.

    ``numpy.log`` and ``math.log`` are right to one unit in the last place, but which neighbour they give
    depends on the processor and the C library; of bytepiece_80k's 50,610 different counts three come
    out otherwise. Long doubles settle all but those close to the middle between two float64; decimal
    arithmetic the rest, and all where long doubles are short.

    >>> correctly_rounded_logs([1, 2**70])
    array([ 0.        , 48.52030264])
    """
    integers = list(counts)
    if np.finfo(np.longdouble).nmant < 63 or max(integers, default=0) >= 2**63:
        return np.array([_by_decimal(count) for count in integers], np.float64)
    wide = np.log(np.array(integers, np.int64).astype(np.longdouble))
    near = wide.astype(np.float64)
    place = np.spacing(near)
    off = (np.abs(wide - near) / place).astype(np.float64)
    # 0.5 is the middle; below a power of two, where places are half as large, 0.25
    close = np.minimum(np.abs(off - 0.5), np.abs(off - 0.25)) < _NEAR
    for index in np.flatnonzero(close):
        near[index] = _by_decimal(integers[index])
    return near


def _by_decimal(count: int) -> float:
    return float(_DIGITS.ln(Decimal(count)))
