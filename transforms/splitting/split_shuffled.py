"""Splitting and shuffling: each split's records in the order that a shuffle of the input has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from transforms.datasets.identity import Located
from transforms.datasets.read import ReadRecords
from transforms.datasets.write import WriteShards
from transforms.shuffling.partition import PartitionIntoBuckets
from transforms.shuffling.shuffle import ShuffleWithinBuckets
from transforms.shuffling.spill_files import Spilling
from transforms.shuffling.streams import Streams
from transforms.splitting.placed import Placed, Tally
from transforms.splitting.placing import Placing
from transforms.splitting.split_in_order import LaidDown


@dataclass(frozen=True, kw_only=True)
class ShuffledSplit:
    """How one split is shuffled and written.

    Attributes:
        streams: how its records are cut, as one stream of all sources.
        spill: where and how they are spilled.
        shards: how many it has.
        writing: how they are written.
    """

    streams: Streams
    spill: Spilling
    shards: int
    writing: WriteShards


@dataclass(eq=False, kw_only=True)
class SplitShuffled(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Read files, place their records, shuffle each split: PBegin -> LaidDown.

    Keys are those of a shuffle of the whole input under the same seed, so that a split has the
    shuffle's order, of its own records alone.

    Attributes:
        reading: how files are read.
        placing: where records go.
        told: as of SplitInOrder.
        splits: how each is shuffled, by name.
    """

    reading: ReadRecords
    placing: Placing
    told: Any = None
    splits: Mapping[str, ShuffledSplit]

    def expand(self, root: Any) -> LaidDown:
        """Read, place, then shuffle split by split."""
        read = root | self.reading
        told = [] if self.told is None else [beam.pvalue.AsSingleton(self.told)]
        names = self.placing.names
        tags: dict[str, Any] = {_tag(name): Located for name in names}
        place = beam.ParDo(_Place(self.placing), *told).with_output_types(Placed, **tags)
        found = read.blocks | "Place" >> place.with_outputs(*tags, main="placed")
        shards = []
        for name in names:
            split = self.splits[name]
            reports = (
                found[_tag(name)]
                | f"Partition_{name}"
                >> PartitionIntoBuckets(streams=split.streams, spill=split.spill)
                | f"Shuffle_{name}"
                >> ShuffleWithinBuckets(
                    streams=split.streams, spill=split.spill, ranges=split.shards
                )
                | f"Write_{name}" >> split.writing
            )
            named = beam.Map(lambda report, split: (split, report), name)
            shards.append(reports | f"Of_{name}" >> named)
        return LaidDown(tuple(shards) | "Shards" >> beam.Flatten(), read.spans, found.placed)


def _tag(name: str) -> str:
    return f"split_{name}"


class _Place(beam.DoFn):  # type: ignore[misc]
    def __init__(self, placing: Placing) -> None:
        self._placing = placing

    def start_bundle(self) -> None:
        self._tally = Tally(self._placing.names)

    def process(self, element: Located, told: Any = None) -> Iterator[beam.pvalue.TaggedOutput]:
        for part in self._placing.place(*element, told):
            self._tally.add(part)
            if part.block is not None:
                tag = _tag(self._placing.names[part.split])
                yield beam.pvalue.TaggedOutput(tag, (part.origin, part.block))

    def finish_bundle(self) -> Iterator[Any]:
        yield from map(GlobalWindows.windowed_value, self._tally)
