"""A unigram model's pieces, and the tables that a law of segmentation makes of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from transforms.kernels import elementary
from transforms.kernels.arrays import F64, U32
from transforms.kernels.segmentation import automaton as automata
from transforms.kernels.segmentation.automaton_build import BLOCK, FILLING
from transforms.kernels.segmentation.forward import EXACT, NBEST, OFF, OFF_FLOAT32, VITERBI_SAMPLING
from transforms.kernels.segmentation.lattice import ENTRY, LEAST, MOST, Tables
from transforms.kernels.segmentation.nbest import MOST_NBEST

LawName = Literal["off", "viterbi_sampling", "exact", "nbest"]
LAWS: tuple[LawName, ...] = ("off", "viterbi_sampling", "exact", "nbest")

_MOST_POWER = 2.0**20


@dataclass(frozen=True, kw_only=True)
class UnknownEdge:
    """The edge for one character where no piece of just that character matches."""

    log_prob: float
    id: int

    byte_ids: tuple[int, ...] | None = None
    """256 ids: then an unknown character becomes one for each of its bytes. Without them
    neighbouring unknowns become one ``id``."""


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """A unigram model's pieces, ready for any law."""

    automaton: automata.Automaton
    log_probs: F64
    ids: U32
    characters: bool
    unknown: UnknownEdge | None
    float32: bool


@dataclass(frozen=True, kw_only=True)
class Law:
    """A law for some pieces: the tables that its kernels read."""

    name: LawName
    alpha: float
    nbest_size: int
    mode: int
    always_wide: bool
    tables: Tables


def build(
    pieces: Sequence[bytes],
    log_probs: F64,
    ids: U32,
    *,
    unit: Literal["byte", "character"],
    unknown: UnknownEdge | None = None,
    precision: Literal["float64", "float32"] = "float64",
) -> Pieces:
    """Build what all laws share.

    Args:
        pieces: n distinct byte strings.
        log_probs: float64[n], their scores: finite.
        ids: uint32[n].
        unit: ``character`` for texts in UTF-8, where a character without a piece of its own may be
            taken as unknown.
        unknown: how; None where nothing is unknown.
        precision: of scores under ``off``. float32 follows sentencepiece 0.2.3, float64 bytepiece.

    Raises:
        ValueError: pieces as ``automaton.build`` says; numbers don't fit them.
    """
    for what, values in (("log_probs", log_probs), ("ids", ids)):
        if len(values) != len(pieces):
            raise ValueError(f"expected {len(pieces)} {what}, one per piece, got {len(values)}")
    if not np.isfinite(log_probs).all():
        wrong = int(np.flatnonzero(~np.isfinite(log_probs))[0])
        raise ValueError(f"piece {wrong}: expected a finite log_prob, got {log_probs[wrong]}")
    if unknown is not None and unknown.byte_ids is not None and len(unknown.byte_ids) != 256:
        raise ValueError(f"expected 256 byte_ids, got {len(unknown.byte_ids)}")
    return Pieces(
        automaton=automata.build(pieces),
        log_probs=np.ascontiguousarray(log_probs, np.float64),
        ids=np.ascontiguousarray(ids, np.uint32),
        characters=unit == "character" and unknown is not None,
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
        raise ValueError(f"expected a sampling method of {', '.join(LAWS)}, got {law!r}")
    if not 0 <= alpha < math.inf:
        raise ValueError(f"expected a finite alpha of at least 0, got {alpha}")
    if not 1 <= nbest_size <= MOST_NBEST:
        raise ValueError(f"expected an nbest_size from 1 to {MOST_NBEST}, got {nbest_size}")
    automaton, unknown = pieces.automaton, pieces.unknown
    sampling = law in ("viterbi_sampling", "exact")
    unknown_log_prob = unknown.log_prob if unknown else 0.0
    # an unknown character may have 0 to 4 bytes: five edges more
    scores = np.append(pieces.log_probs, [unknown_log_prob] * 5)
    lengths = np.append(automaton.lengths, range(5)).astype(np.float64)
    weights, parts, exponents = scores, np.ones_like(scores), np.zeros_like(scores)
    if sampling:
        powers = scores * alpha + lengths * _tilt(pieces, alpha)
        if np.abs(powers).max() >= _MOST_POWER:
            raise ValueError(
                f"expected alpha times log-probabilities (down to {scores.min():.6g}) within "
                f"{_MOST_POWER:.0f}, got alpha {alpha}; pass --sampling=off, which comes to the "
                "same"
            )
        parts, exponents = elementary.exp_parts(powers)
        weights = np.ldexp(parts, np.clip(exponents, -1000, 1000).astype(np.int64))
    fits = bool(((weights >= LEAST) & (weights <= MOST)).all())
    entries = _entries(pieces, weights, 0.0 if sampling else -math.inf)
    mode = {"off": OFF, "viterbi_sampling": VITERBI_SAMPLING, "exact": EXACT, "nbest": NBEST}[law]
    return Law(
        name=law,
        alpha=float(alpha),
        nbest_size=nbest_size,
        mode=OFF_FLOAT32 if law == "off" and pieces.float32 else mode,
        always_wide=sampling and not fits,
        tables=Tables(
            states=automaton.states,
            entries=entries,
            wide=_entries(pieces, parts, 0.0) if sampling else entries[:1],
            exponents=exponents.astype(np.int32)[automaton.entry_pieces],
            longest=np.uint64(max(automaton.longest, 4)),
            characters=pieces.characters,
            unknown_weights=weights[-5:],
            unknown_wide=parts[-5:],
            unknown_exponents=exponents[-5:].astype(np.int32),
            unknown_log_prob=unknown_log_prob,
            unknown_id=unknown.id if unknown else 0,
            byte_ids=np.array((unknown.byte_ids if unknown else None) or (), np.uint32),
        ),
    )


def _entries(pieces: Pieces, weights: F64, filling: float) -> npt.NDArray[np.void]:
    """Return ENTRY[e]. ``filling`` is the weight of what no path takes."""
    automaton = pieces.automaton
    room = np.zeros((len(automaton.facts) + BLOCK) * ENTRY.itemsize, np.uint8)
    skip = -room.ctypes.data % (
        BLOCK * ENTRY.itemsize
    )  # so that a block lies in one line of a cache
    entries = room[skip:][: len(automaton.facts) * ENTRY.itemsize].view(ENTRY)
    entries["weight"] = np.where(
        automaton.facts == FILLING, filling, weights[automaton.entry_pieces]
    )
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
