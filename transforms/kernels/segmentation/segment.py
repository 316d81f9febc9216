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

from typing import NamedTuple

import numpy as np

from transforms.kernels import elementary
from transforms.kernels.arrays import F64, I64, U8, U32, U64, read_only
from transforms.kernels.segmentation.backward import TRAIL
from transforms.kernels.segmentation.forward import NBEST, OFF, OFF_FLOAT32, VITERBI_SAMPLING
from transforms.kernels.segmentation.lattice import POSITION, STRETCH
from transforms.kernels.segmentation.laws import Law
from transforms.kernels.segmentation.nbest import WAY
from transforms.kernels.segmentation.segment_all import Out, Room, Way, furthest, segment_all
from transforms.kernels.segmentation.segment_some import SOME

CHUNK = 2**20
"""Records longer than this keep positions of one such part at a time, and see all but the last
part twice. 16 MiB of positions."""

WINDOW = 2**16
"""For how many bytes it is looked up at once which pieces end there."""

TOGETHER = 2**14
"""How many bytes short records have that are done together, at most."""

LANES = 4
"""How many records go back in turns."""

_LARGE = 2**24


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
    together = min(TOGETHER, max(len(text), 1))
    most = min(together, max(records, 1))
    room = Room(
        lattice=np.empty(reach + chunk + 1, POSITION),
        saved=np.empty((saved, reach + 1), POSITION),
        carried=np.empty(saved, STRETCH),
        ways=np.empty(law.nbest_size if law.mode == NBEST else 0, WAY),
        heads=np.empty(min(window, max(len(text), 1)), np.uint32),
        window=np.empty(1, np.uint64),
        trails=np.empty(1, TRAIL),
        some=np.empty(most, SOME),
        stretches=np.empty(most, STRETCH),
        some_lattice=np.empty(together + most, POSITION),
        some_ids=np.empty(together, np.uint32),
        some_trails=np.empty(LANES, TRAIL),
    )
    out = Out(
        ids=np.empty(len(text) + 1, np.uint32),
        ends=np.empty(records + 1, np.int64),
        shares=np.ones(records),
        exponents=np.zeros(records, np.int64),
    )
    unknown, failed = segment_all(
        law.tables,
        read_only(text, np.uint8),
        read_only(offsets, np.int64),
        read_only(keys, np.uint64),
        (0,) * law.mode,
        Way(alpha=law.alpha, wide=law.always_wide, chunk=chunk),
        room,
        out,
    )
    if failed >= 0:
        begin, end = int(offsets[failed]), int(offsets[failed + 1])
        raise DeadEndError(
            failed, furthest(law.tables, read_only(text, np.uint8), begin, end) - begin
        )
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


def _surprises(law: Law, out: Out) -> F64:
    if law.mode == VITERBI_SAMPLING:
        return np.full(len(out.shares), np.nan)
    if law.mode in (OFF, OFF_FLOAT32):
        return np.zeros(len(out.shares))
    surprises: F64 = 0.0 - elementary.log(out.shares) - out.exponents * elementary.LN2
    return surprises
