"""Small sources: held in memory, so that all of their passes are made of the first one's records."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from transforms.datasets.write import Ordered
from transforms.errors import LosslessError
from transforms.kernels.arrays import I64, U64
from transforms.kernels.randomness import pass_key, record_keys
from transforms.kernels.records import blocks, sorting
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.ranges import WHOLE
from transforms.mixing.packed_shards import Share
from transforms.shuffling.groups import BlockGroup, expected_digests
from transforms.shuffling.streams import Streams

_ROWS = 1 << 14  # that are ordered at a time


def unused(share: Share, streams: Streams) -> Digest:
    """Return the digest of what is left of the pass that a share ends in."""
    block = _hold(share, streams)
    number, rank = divmod(share.last - 1, share.records)
    keys = blocks.column(block, "key")
    order = pass_order(keys, number, source=share.source, streams=streams)[rank + 1 :]
    return _digest_of(blocks.hashes(block), order)


def _hold(share: Share, streams: Streams) -> pa.RecordBatch:
    """Return all records of a small source, in the order of its first pass."""
    (cut,) = share.cuts
    found = BlockGroup(cut.pages).read(WHOLE, limit=1 << 62)
    expected = expected_digests(found, sources=1)
    block = sorting.gather([page.block for page in found])
    name = streams.name(share.source)
    blocks.require_digests(block, expected, what=f"source {name}")
    if len(block) != share.records:
        raise LosslessError(
            f"source {name}: {share.records:,} records were spilled, but {len(block):,} came "
            "back; check memory and disk, then run again"
        )
    return block


def read(share: Share, streams: Streams) -> Iterator[Ordered]:
    """Hold a source, and lay its records in the order of one pass after another."""
    block = _hold(share, streams)
    hashes = blocks.hashes(block)
    keys = blocks.column(block, "key")
    fit = streams.limits[share.source] // max(blocks.block_footprint(block), 1) - 1  # beside it
    passes = max(1, min(_ROWS // share.records, fit))  # of long records only few
    at = share.first
    while at < share.last:
        number = at // share.records
        end = min((number + passes) * share.records, share.last)
        order = np.concatenate(
            [
                pass_order(keys, p, source=share.source, streams=streams)
                for p in range(number, -(-end // share.records))
            ]
        )
        mine = order[at - number * share.records : end - number * share.records]
        digest = _digest_of(hashes, mine)
        yield Ordered(block.take(pa.array(mine)), [digest])
        at = end


def _digest_of(hashes: tuple[U64, U64, I64], places: I64) -> Digest:
    """Return the digest of some of the records with these hashes and sizes."""
    hash0, hash1, size = hashes
    return Digest.of_hashes(hash0[places], hash1[places], size[places])


def pass_order(keys: U64, number: int, *, source: int, streams: Streams) -> I64:
    """Return int64[n]: the places of a pass's records among those of the first pass.

    Args:
        keys: uint64[n], of the first pass, in order.
        number: of the pass.
        source, streams: whose.
    """
    if number == 0:
        return np.arange(len(keys))
    pair = pass_key(
        seed=streams.seed,
        epoch=streams.epoch,
        source=streams.sources[source],
        pass_number=number,
    )
    return np.argsort(record_keys(pair, keys), kind="stable")
