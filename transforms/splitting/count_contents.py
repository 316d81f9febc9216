"""Counting contents: which of them counted splits take, found before records are split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from transforms.datasets.compact import pack, unpack
from transforms.datasets.identity import Located
from transforms.kernels.splitting.first_contents import FirstContents
from transforms.kernels.splitting.plan import Counted, SplitPlan
from transforms.splitting.contents_of import HashContents, by_content


@dataclass(eq=False, kw_only=True)
class CountContents(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Find which contents counted splits take: (Origin, block) -> one tuple of Counted.

    The blocks are those of the first pass of every source, and are all read for this alone: no record
    can be split before all are counted. Each bundle keeps the first contents of its own, so that little
    crosses to the one worker that chooses.

    Attributes:
        plan: what is asked.
        contents: as of SplitRecords.
    """

    plan: SplitPlan
    contents: HashContents = by_content

    def expand(self, located: Any) -> Any:
        """Count, join, choose."""
        return (
            located
            | "CountContents" >> beam.ParDo(_Count(self)).with_output_types(bytes)
            | "JoinCounts"
            >> beam.CombineGlobally(partial(_joined, self.plan)).with_output_types(bytes)
            | "Choose" >> beam.Map(_choose, self.plan)
        )


class _Count(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: CountContents) -> None:
        self._config = config

    def start_bundle(self) -> None:
        self._found = FirstContents(self._config.plan)

    def process(self, element: Located) -> Iterator[Any]:
        self._found.add(*self._config.contents(*element))
        yield from ()

    def finish_bundle(self) -> Iterator[Any]:
        packed = _packed(self._found)
        del self._found  # which the worker would hold until its next bundle
        yield GlobalWindows.windowed_value(packed)


def _packed(found: FirstContents) -> bytes:
    tables = found.tables()
    splits = np.repeat(np.arange(len(tables), dtype=np.uint8), [len(keys) for keys, _ in tables])
    keys, counts = (np.concatenate(columns) for columns in zip(*tables, strict=True))
    columns = {"split": splits, "key": keys, "records": counts}
    return pack(pa.record_batch({name: pa.array(column) for name, column in columns.items()}))


def _opened(plan: SplitPlan, many: Iterable[bytes]) -> FirstContents:
    found = FirstContents(plan)
    for packed in many:
        table = unpack(packed)
        split, keys, counts = (table.column(i).to_numpy() for i in range(3))
        edges = np.searchsorted(split, np.arange(len(plan.counts) + 1))
        spans = [slice(*edge) for edge in pairwise(edges)]
        found.join((keys[span], counts[span]) for span in spans)
    return found


def _joined(plan: SplitPlan, many: Iterable[bytes]) -> bytes:
    return _packed(_opened(plan, many))


def _choose(packed: bytes, plan: SplitPlan) -> tuple[Counted, ...]:
    return _opened(plan, [packed]).chosen()
