"""Segmentation of texts into the pieces of a unigram model, by one of four laws.

Of a text's segmentations w into pieces, P(w) is the product of the pieces' probabilities.

``off``
    the w of the highest P, the reference implementations' to the last tie.
``exact``
    w with probability P(w)**alpha over the sum of all.
``viterbi_sampling``
    BytePiece's first (kexue.fm/archives/9768): decoding in which a candidate replaces the current
    one with probability sigmoid(alpha * (its score - the other's)). Candidates that come early are
    diluted by those that follow, so it is no P(w)**alpha.
``nbest``
    one of the n best w, with probability in proportion to P(w)**alpha.

``alpha`` 0 makes all (or, of ``viterbi_sampling``, both of a challenge) equally likely; the larger it
is, the nearer to ``off``.

A segmentation is a function of the text, the law and the record's key. Draw i of a record is
``mix(key + i * stride)``, where the stride is an odd number made of the key: of ``exact``, i counts the
pieces from the text's end; of ``viterbi_sampling``, the challenges from its begin; ``nbest`` draws
once. Powers of e are made by ``elementary``, so that no machine rounds them differently.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.kernels import automaton as automata
from transforms.kernels import elementary
from transforms.kernels.automaton import I64, U8, U32, U64
from transforms.kernels.lattice import ENTRY, F64, LEAST, MOST, POSITION, Carry, Tables
from transforms.kernels.nbest import MOST_NBEST, WAY
from transforms.kernels.segment_all import (
    EXACT,
    NBEST,
    OFF,
    OFF_FLOAT32,
    VITERBI_SAMPLING,
    Out,
    Room,
    Way,
    furthest,
    segment_all,
)

LawName = Literal["off", "viterbi_sampling", "exact", "nbest"]
LAWS: tuple[LawName, ...] = ("off", "viterbi_sampling", "exact", "nbest")

CHUNK = 2**20
"""Records longer than this keep positions of one such part at a time, and see all but the last
part twice. 16 MiB of positions."""

WINDOW = 2**16
"""For how many bytes it is looked up at once which pieces end there."""

_MOST_POWER = 2.0**20
_LARGE = 2**24


@dataclass(frozen=True, kw_only=True)
class UnknownEdge:
    """What stands for a character that no piece covers alone."""

    log_prob: float
    id: int

    byte_ids: tuple[int, ...] | None = None
    """The 256 ids that stand for bytes. Without them neighbouring unknowns become one ``id``."""


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """A unigram model's pieces, ready for any law."""

    automaton: automata.Automaton
    log_probs: F64
    ids: U32
    characters: bool
    cuts: bool
    unknown: UnknownEdge | None
    float32: bool


@dataclass(frozen=True, kw_only=True)
class Law:
    """A law for some pieces: the tables that its kernels read."""

    name: LawName
    alpha: float
    nbest_size: int
    mode: int
    tilt: float
    always_wide: bool
    tables: Tables


class Segmented(NamedTuple):
    """Segmentations, and what statistics want to know of them."""

    ids: U32
    """uint32[k], of all records one after another."""

    offsets: I64
    """int64[r + 1]: record i has ``ids[offsets[i]:offsets[i + 1]]``."""

    unknown: int
    """How many characters were unknown."""

    surprises: F64
    """float64[r]: minus the logarithm of each segmentation's probability under the law, whose mean
    is the law's entropy; 0 under ``off``, NaN under ``viterbi_sampling``, where it isn't known."""


class DeadEndError(ValueError):
    """A text that no sequence of pieces covers."""

    def __init__(self, record: int, position: int) -> None:
        self.record, self.position = record, position
        super().__init__(f"record {record}: no piece covers the byte at {position}")


def build(
    pieces: Sequence[bytes],
    log_probs: F64,
    ids: U32,
    *,
    unit: Literal["byte", "character"],
    unknown: UnknownEdge | None = None,
    precision: Literal["float64", "float32"] = "float64",
    cut_after_newlines: bool = False,
) -> Pieces:
    r"""Build what all laws share.

    Args:
        pieces: n distinct byte strings.
        log_probs: float64[n], their scores: finite.
        ids: uint32[n].
        unit: ``character`` for texts in UTF-8, where a character without a piece of its own may be
            taken as unknown.
        unknown: how; None where nothing is unknown.
        precision: of scores under ``off``. float32 follows sentencepiece 0.2.3, float64 bytepiece.
        cut_after_newlines: whether no piece is taken across the end of a run of newlines, and scores
            begin anew there, as in bytepiece, which cuts texts by ``.*\n+|.+``. float64 alone.

    Raises:
        ValueError: pieces as ``automaton.build`` says; numbers don't fit them.
    """
    automaton = automata.build(pieces)
    for what, values in (("log_probs", log_probs), ("ids", ids)):
        if len(values) != len(pieces):
            raise ValueError(f"expected {len(pieces)} {what}, one a piece, got {len(values)}")
    if not np.isfinite(log_probs).all():
        wrong = int(np.flatnonzero(~np.isfinite(log_probs))[0])
        raise ValueError(f"piece {wrong}: expected a finite log_prob, got {log_probs[wrong]}")
    if cut_after_newlines and precision == "float32":
        raise ValueError("expected precision float64 where texts are cut after newlines")
    if unknown is not None and unknown.byte_ids is not None and len(unknown.byte_ids) != 256:
        raise ValueError(f"expected 256 byte_ids, got {len(unknown.byte_ids)}")
    return Pieces(
        automaton=automaton,
        log_probs=np.ascontiguousarray(log_probs, np.float64),
        ids=np.ascontiguousarray(ids, np.uint32),
        characters=unit == "character" and unknown is not None,
        cuts=cut_after_newlines,
        unknown=unknown,
        float32=precision == "float32",
    )


def prepare(pieces: Pieces, *, law: LawName, alpha: float = 0.1, nbest_size: int = 64) -> Law:
    """Make a law's tables: some milliseconds, once per model and alpha.

    Args:
        pieces: what ``build`` gave.
        law: one of ``LAWS``.
        alpha: finite, from 0; unused by ``off``.
        nbest_size: 1 to ``MOST_NBEST``; used by ``nbest`` alone.

    Raises:
        ValueError: an unknown law, or a number out of its range.
    """
    if law not in LAWS:
        raise ValueError(f"expected a law of {', '.join(LAWS)}, got {law!r}")
    if not 0 <= alpha < math.inf:
        raise ValueError(f"expected a finite alpha from 0, got {alpha}")
    if not 1 <= nbest_size <= MOST_NBEST:
        raise ValueError(f"expected an nbest_size from 1 to {MOST_NBEST}, got {nbest_size}")
    automaton, unknown = pieces.automaton, pieces.unknown
    sampling = law in ("viterbi_sampling", "exact")
    unknown_log_prob = unknown.log_prob if unknown else 0.0
    # an unknown character may have 0 to 4 bytes: five edges more
    scores = np.append(pieces.log_probs, [unknown_log_prob] * 5)
    lengths = np.append(automaton.lengths, range(5)).astype(np.float64)
    weights, parts, exponents, tilt = scores, np.ones_like(scores), np.zeros_like(scores), 0.0
    if sampling:
        tilt = _tilt(pieces, alpha)
        powers = scores * alpha + lengths * tilt
        if np.abs(powers).max() >= _MOST_POWER:
            raise ValueError(
                f"expected alpha times log-probabilities (down to {scores.min():.6g}) within "
                f"{_MOST_POWER:.0f}, got alpha {alpha}: use the law off, which it comes to"
            )
        parts, exponents = elementary.exp_parts(powers)
        weights = np.ldexp(parts, np.clip(exponents, -1000, 1000).astype(np.int64))
    fits = bool(((weights >= LEAST) & (weights <= MOST)).all())
    entries = _entries(pieces, weights)
    mode = {"off": OFF, "viterbi_sampling": VITERBI_SAMPLING, "exact": EXACT, "nbest": NBEST}[law]
    return Law(
        name=law,
        alpha=float(alpha),
        nbest_size=nbest_size,
        mode=OFF_FLOAT32 if law == "off" and pieces.float32 else mode,
        tilt=tilt,
        always_wide=sampling and not fits,
        tables=Tables(
            states=automaton.states,
            fails=automaton.fails,
            entries=entries,
            wide=_entries(pieces, parts) if sampling else entries[:1],
            exponents=exponents.astype(np.int32)[automaton.entry_pieces],
            longest=np.uint64(max(automaton.longest, 4)),
            characters=pieces.characters,
            cuts=pieces.cuts,
            unknown_weights=weights[-5:],
            unknown_wide=parts[-5:],
            unknown_exponents=exponents[-5:].astype(np.int32),
            unknown_log_prob=unknown_log_prob,
            unknown_id=unknown.id if unknown else 0,
            byte_ids=np.array((unknown.byte_ids if unknown else None) or (), np.uint32),
        ),
    )


def segment(
    law: Law, text: U8, offsets: I64, keys: U64, *, chunk: int = CHUNK, window: int = WINDOW
) -> Segmented:
    """Segment records.

    Memory: up to 4 bytes of ids a byte of text, of which only what is used is touched, and 16 bytes
    for each byte of the longest record or of one chunk, whichever is less. ``nbest`` needs all
    positions of a record at once.

    Args:
        law: what ``prepare`` gave.
        text: uint8[m]; well-formed UTF-8 where the unit is the character (of anything else the ids
            are unspecified).
        offsets: int64[r + 1], from 0 to m, never falling: record i is text[offsets[i]:offsets[i + 1]].
        keys: uint64[r], a hash of seed, epoch and identity with its pass for each record.
        chunk: of how many bytes of a record to keep positions. Never changes the ids.
        window: see ``WINDOW``. Never changes the ids.

    Raises:
        ValueError: the arrays don't fit each other.
        DeadEndError: a record that no sequence of pieces covers.
    """
    records = len(offsets) - 1
    if records < 0 or len(keys) != records:
        raise ValueError(f"expected one offset more than keys, got {len(offsets)} and {len(keys)}")
    lengths = np.diff(offsets)
    if offsets[0] != 0 or offsets[-1] != len(text) or (lengths < 0).any():
        raise ValueError(f"expected offsets that rise from 0 to {len(text)}")
    longest = int(lengths.max(initial=1))
    chunk = longest if law.mode == NBEST else min(chunk, longest)
    saved = -(-longest // chunk) if longest > chunk else 0
    reach = int(law.tables.longest)
    room = Room(
        lattice=np.empty(reach + chunk + 1, POSITION),
        saved=np.empty((saved, reach + 1), POSITION),
        carries=np.empty((saved, len(Carry._fields)), np.int64),
        ways=np.empty(law.nbest_size if law.mode == NBEST else 0, WAY),
        heads=np.empty(min(window, max(len(text), 1)), np.uint32),
        window=np.empty(2, np.uint64),
    )
    out = Out(
        ids=np.empty(len(text) + 1, np.uint32),
        ends=np.empty(records + 1, np.int64),
        shares=np.ones(records),
        exponents=np.zeros(records, np.int64),
    )
    unknown, failed = segment_all(
        law.tables,
        _as(text, np.uint8),
        _as(offsets, np.int64),
        _as(keys, np.uint64),
        Way(mode=law.mode, alpha=law.alpha, wide=law.always_wide, chunk=chunk),
        room,
        out,
    )
    if failed >= 0:
        begin, end = int(offsets[failed]), int(offsets[failed + 1])
        raise DeadEndError(failed, furthest(law.tables, _as(text, np.uint8), begin, end) - begin)
    first = int(out.ends[0])
    ids = out.ids[first : len(text)]
    if len(text) <= _LARGE:  # a large array's pages that were never written take no memory
        ids = ids.copy()
    return Segmented(
        ids=ids,
        offsets=out.ends - first,
        unknown=int(unknown),
        surprises=_surprises(law, out),
    )


def _as(values: npt.NDArray[Any], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Return a read-only view: kernels are compiled anew for arrays that may be written."""
    out = np.ascontiguousarray(values, dtype).view()
    out.flags.writeable = False
    return out


def _surprises(law: Law, out: Out) -> F64:
    if law.mode == VITERBI_SAMPLING:
        return np.full(len(out.shares), np.nan)
    surprises: F64 = 0.0 - elementary.log(out.shares) - out.exponents * math.log(2)
    return surprises


def _entries(pieces: Pieces, weights: F64) -> npt.NDArray[np.void]:
    automaton = pieces.automaton
    entries = np.zeros(len(automaton.facts), ENTRY)
    entries["weight"] = weights[automaton.entry_pieces]
    entries["facts"] = automaton.facts
    entries["id"] = pieces.ids[automaton.entry_pieces]
    return entries


def _tilt(pieces: Pieces, alpha: float) -> float:
    """Return by how much the weight of a byte's length is raised, as a power of e.

    Every path covers the text, so this changes no law; it only holds sums nearer to 1. It is what the
    model's own pieces lose a byte on average, roundly.
    """
    m, k = elementary.exp_parts(np.clip(pieces.log_probs, -700.0, 0.0))
    probs = np.ldexp(m, k.astype(np.int64))
    loss = math.fsum((probs * pieces.log_probs).tolist())
    length = math.fsum((probs * pieces.automaton.lengths).tolist())
    return round(-alpha * loss / length * 1024) / 1024
