"""Shuffle a file of lines with the kernels alone: plain Python, numpy and Arrow, without Beam.

    python examples/kernels.py FILE [SEED] > shuffled

For a file that fits in memory. What comes out are the bytes that ``dovetail shuffle --input=FILE
--seed=SEED`` writes, one shard after another: the order of the records follows from their keys, and
it doesn't matter who computes these.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from transforms.kernels.randomness import file_key
from transforms.kernels.records import blocks, ranges, sorting
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.lines import line_offsets


def shuffle(data: bytes, *, name: str, seed: int, shards: int = 1) -> tuple[list[bytes], Digest]:
    """Return the shards' contents, and the digest that proves that no line was lost.

    ``name`` is the file's name below its source's root: it is a part of every record's identity.
    """
    if data and not data.endswith(b"\n"):
        data += b"\n"
    values = np.frombuffer(data, np.uint8)
    offsets = line_offsets(values, separator=10)

    # lines become a block: an Arrow record batch that points into the buffer, with a digest
    positions = offsets[:-1].astype(np.uint64)
    block = blocks.from_buffer(values, offsets=offsets, positions=positions, line_end=b"\n")
    (read,) = blocks.digests(block, sources=1)

    # a record's key is a function of seed, epoch, source, file name and position, nothing else
    pair = file_key(seed=seed, epoch=0, source="default", pass_number=0, file_name=name)
    ordered = sorting.gather([blocks.with_keys(block, pair)])

    # a shard is a range of keys
    places = ranges.cut(blocks.column(ordered, "key"), shards)
    parts = [ordered.slice(low, high - low) for low, high in pairwise(places)]
    written = [bytes(blocks.payload(part)) for part in parts]

    # hashed anew, from the bytes that go out
    bare = blocks.without_hashes(ordered)
    blocks.require_digests(bare, [read], what=name)
    return written, read


def main() -> None:
    """Shuffle one file to standard output."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    args = parser.parse_args()
    shards, digest = shuffle(args.file.read_bytes(), name=args.file.name, seed=args.seed)
    sys.stdout.buffer.writelines(shards)
    print(f"{digest.records} records, digest {digest.to_json()['hash']}", file=sys.stderr)


if __name__ == "__main__":
    main()
