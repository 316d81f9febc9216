"""Gathering: the records of ranges of keys, read, sorted and proved to be what was spilled."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from transforms.datasets.write import Ordered
from transforms.errors import LosslessError
from transforms.kernels.records import blocks, sorting
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.ranges import KeyRange
from transforms.shuffling import spill_pages
from transforms.shuffling.groups import BlockGroup, OverLimit, expected_digests, read_batch


class Piece(NamedTuple):
    """Records of a range of keys, in their order, without the first ``skip``, ``take`` at most.

    ``footprint`` is the whole range's, where it is known, and ``what`` its name where it is damaged.
    """

    group: BlockGroup
    part: KeyRange
    skip: int = 0
    take: int | None = None
    footprint: int = 0
    what: str = "a bucket at a shard's edge"


def read_parts(
    group: BlockGroup, whole: KeyRange, *, limit: int
) -> Iterator[list[spill_pages.Page]]:
    """Yield the pages of a range of keys; of one over ``limit`` those of its halves, in order.

    Whoever takes them may empty the list.
    """
    waiting = [whole]
    while waiting:
        part = waiting.pop()
        one_key = part.high - part.low <= 1  # can't be halved: held whole, however large
        try:
            if group.estimate(part) > limit and not one_key:
                raise OverLimit
            found = group.read(part, limit=sys.maxsize if one_key else limit)
        except OverLimit:
            waiting.extend(reversed(part.halves()))
            continue
        if found:
            yield found


def gather_piece(piece: Piece, *, limit: int, sources: int) -> Iterator[Ordered]:
    """Read, sort and yield a piece; a range over ``limit`` is taken by its next key bits.

    Raises:
        LosslessError: it isn't what was spilled.
    """
    skip, left = piece.skip, piece.take
    for found in read_parts(piece.group, piece.part, limit=limit):
        expected = expected_digests(found, sources=sources)
        block = sorting.gather(take_blocks(found))
        begin = min(skip, len(block))
        wanted = block.slice(begin, left)
        skip -= begin
        if left is not None:
            left -= len(wanted)
        if len(wanted) < len(block):  # the rest is in another shard: check here, where all of it is
            hash0, hash1, size = blocks.hashes(block)
            whole = blocks.digests_by_source(block, hash0, hash1, size, sources=sources)
            blocks.compare_digests(whole, expected, what=piece.what)
            mine = slice(begin, begin + len(wanted))
            expected = blocks.digests_by_source(
                wanted, hash0[mine], hash1[mine], size[mine], sources=sources
            )
        if len(wanted):
            yield Ordered(wanted, expected)
        if left == 0:
            return


def take_blocks(found: list[spill_pages.Page]) -> list[pa.RecordBatch]:
    """Return the blocks of pages, and empty the list."""
    out = [page.block for page in found]
    found.clear()
    return out


def gather_batch(pieces: Sequence[Piece]) -> list[Ordered]:
    """Gather pieces of one source each that fit into memory together.

    Many small ones cost little more than one: they are read, and where they are cut hashed, at once.

    Raises:
        LosslessError: one isn't what was spilled.
    """
    found = read_batch([(piece.group, piece.part) for piece in pieces])
    if not all(found):
        raise LosslessError(
            f"{pieces[found.index([])].what}: expected pages of it, got none; check memory "
            "and disk, then run again"
        )
    expected = [expected_digests(part, sources=1) for part in found]
    whole = [sorting.gather(take_blocks(part)) for part in found]
    mine = [block.slice(p.skip, p.take) for block, p in zip(whole, pieces, strict=True)]
    cut = [i for i, part in enumerate(mine) if len(part) < len(whole[i])]
    if cut:  # the rest is in other shards: check here, where all of it is
        ends = np.cumsum([len(whole[i]) for i in cut])
        begins = ends - [len(whole[i]) for i in cut] + [pieces[i].skip for i in cut]
        edges = np.column_stack([begins, begins + [len(mine[i]) for i in cut], ends]).ravel()
        hashes = blocks.hashes(blocks.join([whole[i] for i in cut]))
        digests = blocks.digests_between(np.insert(edges, 0, 0), *hashes)
        for i, place in zip(cut, range(0, len(digests), 3), strict=True):
            parts = digests[place : place + 3]  # before, inside and after the piece
            blocks.compare_digests([Digest.total(parts)], expected[i], what=pieces[i].what)
            expected[i] = [parts[1]]
    return [Ordered(*both) for both in zip(mine, expected, strict=True)]
