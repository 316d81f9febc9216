"""Drawing records with replacement, in proportion to their weights, exactly.

Pages of scores, in the input's order, lie end to end, each as long as the weights of its records; draws
are points of the whole length (``kernels.likeness.draws``). So which records are drawn follows from the
files, the model and the split's seed, whoever reads what.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from transforms.errors import LosslessError, RunError, UsageError
from transforms.kernels.likeness.draws import drawn, points
from transforms.kernels.records import blocks
from transforms.likeness.drawn import BYTES, Drawn
from transforms.likeness.score_records import Page, read_weighing
from transforms.likeness.temporary_tables import read_table
from transforms.shuffling.packed import int_of, pack, unpack
from transforms.shuffling.spill_files import Spilling
from transforms.storage import files as storage
from transforms.workers.round_robin import GroupRoundRobin


def footprint(draws: int) -> int:
    """Return the bytes of memory that so many draws take in each worker."""
    return draws * BYTES


@dataclass(eq=False, kw_only=True)
class DrawRecords(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Draw records: (pages of ScoreRecords, a Weighing of WeighScores) -> one reference to Drawn.

    Attributes:
        draws: how many.
        seed: of the split.
        spill: where temporary files lie.
    """

    draws: int
    seed: int
    spill: Spilling

    def expand(self, inputs: tuple[Any, Any]) -> Any:
        """Add up the weights of each page, draw, find what was drawn in each page, join."""
        pages, weighing = inputs
        told = beam.pvalue.AsSingleton(weighing)
        once = pages.pipeline | "Once" >> beam.Create([None])
        units = pages | "AddUpWeights" >> beam.ParDo(_AddUp(self), told).with_output_types(bytes)
        found = (
            once
            | "Draw"
            >> beam.FlatMap(_draw, beam.pvalue.AsIter(units), self).with_output_types(
                tuple[int, bytes]
            )
            | "InTurn" >> GroupRoundRobin(bytes)
            | "Find" >> beam.ParDo(_Find(self), told).with_output_types(bytes)
        )
        join = beam.Map(_join, beam.pvalue.AsIter(found), self).with_output_types(bytes)
        return once | "JoinDrawn" >> join


class _OnPages(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: DrawRecords) -> None:
        self._options = config.spill.storage_options

    def setup(self) -> None:
        storage.configure(self._options)


class _AddUp(_OnPages):
    def process(self, packed: bytes, weighing: bytes) -> Iterator[bytes]:
        page = Page.from_bytes(packed)
        scores = blocks.column(read_table(page.where), "score")
        total = int(read_weighing(weighing).units_of(scores).sum(dtype=np.uint64))
        yield pack([packed.hex(), total])


def _draw(_: None, units: Iterable[bytes], config: DrawRecords) -> Iterator[tuple[int, bytes]]:
    """Yield each page on which points fall, where it begins, and the points."""
    pages = sorted(
        (Page.from_bytes(bytes.fromhex(packed)), int_of(total, below=1 << 64))
        for packed, total in (unpack(one)[0] for one in units)
    )
    try:
        every = points(config.draws, total=sum(total for _, total in pages), seed=config.seed)
    except UsageError as error:  # found out in the work, when records had been counted
        raise RunError(f"--draw={config.draws}: {error}") from None
    begin = done = 0
    for number, (page, total) in enumerate(pages):
        stop = int(np.searchsorted(every, np.uint64(begin + total - 1), side="right"))
        stop = stop if total else done
        if stop > done:
            yield number, pack([page.to_bytes().hex(), begin], every[done:stop])
        begin, done = begin + total, stop


class _Find(_OnPages):
    def process(self, element: tuple[int, Iterable[bytes]], weighing: bytes) -> Iterator[bytes]:
        for packed in element[1]:
            (page, begin), (mine,) = unpack(packed, np.uint64)
            table = read_table(Page.from_bytes(bytes.fromhex(page)).where)
            units = read_weighing(weighing).units_of(blocks.column(table, "score"))
            places, times = drawn(units, begin=int_of(begin, below=1 << 64), points=mine)
            names = ("id0", "id1", "hash0", "hash1")
            hashes = (blocks.column(table, name)[places] for name in names)
            yield pack(None, times, *hashes)


def _join(_: None, found: Iterable[bytes], config: DrawRecords) -> bytes:
    storage.configure(config.spill.storage_options)
    kinds = (np.int64, np.uint64, np.uint64, np.uint64, np.uint64)
    parts = [unpack(packed, *kinds)[1] for packed in found]
    times, id0, id1, hash0, hash1 = (
        np.concatenate([np.zeros(0, kind), *(part[i] for part in parts)])
        for i, kind in enumerate(kinds)
    )
    if int(times.sum()) != config.draws:
        raise LosslessError(
            f"--draw={config.draws}: expected {config.draws:,} draws, got {int(times.sum()):,}; "
            "check memory and disk, then run again"
        )
    return Drawn.of((id0, id1), times, (hash0, hash1)).write(config.spill.folders[0])
