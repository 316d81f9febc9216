"""Shuffle records that your own Beam pipeline makes, and write them as shards with a manifest.

    python examples/own_pipeline.py OUTPUT               # the records have ids
    python examples/own_pipeline.py OUTPUT --without_ids

The first half stands for whatever you do: here, poems are read, filtered and made into bytes. From
there on it is four transforms. Check the result with ``dovetail verify OUTPUT``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

import dovetail

POEMS = Path(__file__).parent / "data" / "poems.jsonl"


def short_poems(line: str) -> Iterator[tuple[int, bytes]]:
    """Yield (id, text) of a poem, if it is a short one."""
    poem = json.loads(line)
    text = " ".join(poem["text"].split())  # one line a record
    if len(text) <= 100:
        yield poem["id"], text.encode()


def shuffle_and_write(
    records: Any, *, ids: bool, output: str, spill: str, seed: int = 0, shards: int = 4
) -> None:
    """Shuffle a PCollection of (id, bytes), or of bytes, into ``output``.

    Args:
        records: any bounded PCollection. With ids it may be of any size; without them, the payload
            goes through the runner's own GroupByKey once.
        ids: whether elements are pairs; where a record comes out then follows from its id.
        output: URL of the dataset's folder, which nothing else writes to.
        spill: URL of a folder for temporary files, which all workers see.
        seed: another one gives another order.
        shards: how many; their records, one shard after another, don't depend on it.
    """
    streams = dovetail.Streams.as_one(["default"], seed=seed, buckets=shards)
    files = dovetail.Spilling(folders=[spill])
    own = records | dovetail.BlocksFromRecords(ids=ids)
    written = (
        own.blocks
        | dovetail.PartitionIntoBuckets(streams=streams, spill=files)
        | dovetail.ShuffleWithinBuckets(streams=streams, spill=files, ranges=shards)
        | dovetail.WriteShards(output=output)
    )
    (own.spans, written) | dovetail.WriteManifest(
        output=output,
        sources=["default"],
        recipe={"ids": ids},  # whatever you want to find in the manifest
        seed=seed,
        epoch=0,
    )


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output")
    parser.add_argument("--without_ids", action="store_true")
    parser.add_argument("--input", default=str(POEMS))
    args = parser.parse_args()

    # this runner is what DirectRunner comes down to; any other does
    options = PipelineOptions([])
    with (
        tempfile.TemporaryDirectory() as spill,
        beam.Pipeline(runner=FnApiRunner(), options=options) as root,
    ):
        poems = root | beam.io.ReadFromText(args.input) | beam.FlatMap(short_poems)
        records = poems | beam.Values() if args.without_ids else poems
        shuffle_and_write(records, ids=not args.without_ids, output=args.output, spill=spill)
    print(f"{args.output}: see manifest.json, and data/ for the shards")


if __name__ == "__main__":
    main()
