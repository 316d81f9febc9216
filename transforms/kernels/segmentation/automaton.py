"""Which pieces of a vocabulary end at each byte of a text: an Aho-Corasick automaton.

Reading a byte moves the automaton to the longest suffix of the text that begins some piece. All
pieces that end there follow from that suffix, so each state points to one list of them, longest
first: the order in which both reference implementations meet their candidates. A trie walked from
every byte would find the same pieces by where they begin, with more steps (5.3 a byte of English
against 1.5) and not in that order.

Memory is 16 bytes a state and 16 a list's entry: about 11 MB for 80,000 pieces.

Source: Aho and Corasick, "Efficient string matching" (1975); the states lie in a double array (Aoe,
1989; ``base ^ byte`` as in darts-clone, so that a state's children share a block of 256).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import I64, U32
from transforms.kernels.compiled import inlined
from transforms.kernels.segmentation.automaton_build import build_states

LONGEST_PIECE = 2**15 - 1


@dataclass(frozen=True, kw_only=True)
class Automaton:
    """The states, and the lists of the pieces that end at them."""

    states: npt.NDArray[np.void]
    """STATE[s], s a multiple of 256; the root is 0."""

    facts: U32
    """uint32[e], the lists one after another, longest piece first; see ``automaton_build``."""

    entry_pieces: U32
    """uint32[e], which piece each entry is; 0 of those that only fill up."""

    lengths: I64
    """int64[n], of each piece in bytes."""

    longest: int
    """The length of the longest piece."""


def build(pieces: Sequence[bytes]) -> Automaton:
    """Build the automaton of some pieces.

    Args:
        pieces: n distinct byte strings of 1 to ``LONGEST_PIECE`` bytes.

    Raises:
        ValueError: there are none, one is empty or too long, or two are equal.

    >>> automaton = build([b"a", b"aa"])
    >>> automaton.entry_pieces.tolist()  # nothing; a; aa and a; each filled up with zeros
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    """
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
    if not len(pieces):
        raise ValueError("expected at least one piece, got none")
    for wrong in np.flatnonzero((lengths < 1) | (lengths > LONGEST_PIECE)).tolist():
        raise ValueError(
            f"piece {wrong}: expected 1 to {LONGEST_PIECE} bytes, got {lengths[wrong]}"
        )
    order = sorted(range(len(pieces)), key=pieces.__getitem__)
    for left, right in itertools.pairwise(order):
        if pieces[left] == pieces[right]:
            raise ValueError(
                f"expected pieces that differ, got {pieces[left]!r} as pieces {left} and {right}"
            )
    buffer = np.frombuffer(b"".join(pieces), np.uint8)
    starts = np.cumsum(lengths) - lengths
    states, facts, entry_pieces = build_states(buffer, starts, lengths, np.array(order, np.int64))
    return Automaton(
        states=states,
        facts=facts,
        entry_pieces=entry_pieces,
        lengths=lengths,
        longest=int(lengths.max()),
    )


@inlined
def step(states: Any, state: Any, byte: Any) -> Any:
    """Return the state after one more byte, as uint64."""
    c = np.uint64(byte)  # numba makes a float of a signed and an unsigned integer
    at = np.uint64(state)
    while True:
        base = np.uint64(states[at].base)
        if np.uint64(states[base ^ c].check) == base:
            return base ^ c
        at = np.uint64(states[at].fail)
