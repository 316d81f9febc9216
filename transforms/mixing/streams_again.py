"""The second level of the exchange for streams: partitions of streams, gathered anew."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms.kernels.records import ranges
from transforms.kernels.records.packed import pack, unpack
from transforms.mixing.spilled import Spills
from transforms.mixing.stream_files import StreamFiles
from transforms.shuffling.groups import BlockGroup
from transforms.shuffling.partition import PartitionAgain
from transforms.shuffling.references import cut_pages, pack_pages
from transforms.shuffling.stretches import Stretch, write_references
from transforms.storage import files as storage
from transforms.workers.round_robin import GroupRoundRobin

if TYPE_CHECKING:
    from transforms.shuffling.streams import SpillStreams

Part = tuple[int, int]
"""A stream's number, and a partition's in it."""


class SpillStreamsAgain(beam.PTransform):  # type: ignore[misc]
    """Gather what was spilled by partitions into runs that are cut at buckets: spills -> spills.

    Both are as those of SpillStreams, whose configuration is taken. A run is of one stream's partition.
    """

    def __init__(self, config: SpillStreams) -> None:
        super().__init__()
        self._config = config

    def expand(self, spills: Any) -> Any:
        """Group by stream and partition; read, prove, gather, sort; spill."""
        config = self._config
        groups = (
            spills
            | "FirstSpills" >> beam.GroupByKey()
            | "Refer" >> beam.ParDo(_Refer(config)).with_output_types(tuple[int, bytes])
            | "InTurn" >> GroupRoundRobin(bytes)
            | "Open"
            >> beam.MapTuple(functools.partial(_open, config.first_folders)).with_output_types(
                tuple[Part, BlockGroup]
            )
        )
        runs = groups | "Again" >> PartitionAgain(
            name=config.streams.name_part,
            run_bytes=config.run_bytes,
            run_id=config.run_id,
            places=config.places,
            release=config.release,
            storage_options=config.storage_options,
            progress=config.progress,
        )
        return runs | "SpillRuns" >> beam.ParDo(_Spill(config)).with_output_types(tuple[int, bytes])


class _Refer(beam.DoFn):  # type: ignore[misc]
    """Turn the spill files' tables into references per stream and partition, in one file."""

    def __init__(self, config: SpillStreams) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.storage_options)

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, bytes]]:
        streams = self._config.streams
        spills = Spills.read(element[1])
        rows = {
            stream: np.flatnonzero(spills.table["stream"] == stream)
            for stream in np.unique(spills.table["stream"]).tolist()
        }
        cut = {stream: streams.partitions[stream % streams.count] for stream in rows}
        held = [  # there is nothing beyond what is within reach
            (stream, number)
            for stream, mine in rows.items()
            for number in np.unique(
                ranges.parts_of(spills.table["first"][mine], cut[stream])
            ).tolist()
        ]

        def pieces() -> Iterator[bytes]:  # one partition's at a time: they are many
            for stream, mine in rows.items():
                parts = cut[stream]
                for found in cut_pages(spills.pages(mine), range(parts), parts):
                    if found:
                        yield pack_pages(found, self._config.first_folders)

        stretches = write_references(self._config.first_folders[0], pieces)
        for number, (part, stretch) in enumerate(zip(held, stretches, strict=True)):
            yield number, pack([part, stretch])


def _open(folders: Sequence[str], _: int, packed: Iterable[bytes]) -> tuple[Part, BlockGroup]:
    (one,) = packed
    ((stream, number), stretch), _none = unpack(one)
    return (stream, number), BlockGroup([Stretch(*stretch)], folders)


class _Spill(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: SpillStreams) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.storage_options)
        self._files = StreamFiles(self._config)

    def process(self, element: tuple[Part, pa.RecordBatch]) -> Iterator[tuple[int, bytes]]:
        (stream, _), run = element
        yield self._files.write({stream: run})
