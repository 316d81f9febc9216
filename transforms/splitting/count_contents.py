"""Counting contents: which of them counted splits take, found before records are split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from transforms.datasets.compact import pack, unpack
from transforms.datasets.identity import Located
from transforms.kernels.arrays import I64
from transforms.kernels.records.labels import labels_of
from transforms.kernels.splitting.first_contents import FirstContents
from transforms.kernels.splitting.plan import Counted, SplitPlan
from transforms.kernels.splitting.strata import Strata
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
        enough: whether it is an error where there are fewer records than counts ask for.
        strata: a PCollection of one Strata, where labels are told apart.
    """

    plan: SplitPlan
    contents: HashContents = by_content
    enough: bool = False
    strata: Any = None

    def expand(self, located: Any) -> Any:
        """Count, join, choose."""
        side = [] if self.strata is None else [beam.pvalue.AsSingleton(self.strata)]
        return (
            located
            | "CountContents" >> beam.ParDo(_Count(self), *side).with_output_types(_Part)
            | "JoinCounts"
            >> beam.CombineGlobally(partial(_joined, self.plan)).with_output_types(_Part)
            | "Choose" >> beam.Map(partial(_choose, self), *side)
        )


_Part = tuple[Any, bytes]
"""Quotas, None where labels aren't told apart, and what a part of the input has, packed."""


class _Count(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: CountContents) -> None:
        self._config = config

    def start_bundle(self) -> None:
        self._found: FirstContents | None = None

    def process(self, element: Located, strata: Strata | None = None) -> Iterator[Any]:
        config = self._config
        if self._found is None:
            self._found = FirstContents(config.plan, None if strata is None else strata.quotas)
        labels = None
        if strata is not None:
            labels = strata.labels.numbers(labels_of(element[1], strata.field))
        self._found.add(*config.contents(*element), labels)
        yield from ()

    def finish_bundle(self) -> Iterator[Any]:
        if self._found is None:
            return
        packed = self._found.quotas, _packed(self._found)
        self._found = None  # which the worker would hold until its next bundle
        yield GlobalWindows.windowed_value(packed)


def _packed(found: FirstContents) -> bytes:
    tables = found.tables()
    splits = np.repeat(np.arange(len(tables), dtype=np.uint8), [len(table[0]) for table in tables])
    keys, labels, counts = (np.concatenate(columns) for columns in zip(*tables, strict=True))
    columns = {"split": splits, "key": keys, "label": labels, "records": counts}
    return pack(pa.record_batch({name: pa.array(column) for name, column in columns.items()}))


def _opened(plan: SplitPlan, quotas: I64 | None, many: Iterable[bytes]) -> FirstContents:
    found = FirstContents(plan, quotas)
    for packed in many:
        split, keys, labels, counts = (column.to_numpy() for column in unpack(packed).columns)
        edges = np.searchsorted(split, np.arange(len(plan.counts) + 1))
        spans = [slice(*edge) for edge in pairwise(edges)]
        found.join((keys[span], labels[span], counts[span]) for span in spans)
    return found


def _joined(plan: SplitPlan, many: Iterable[_Part]) -> _Part:
    quotas: I64 | None = None
    parts = iter(many)
    for quotas, packed in parts:
        rest = (one for _, one in parts)
        return quotas, _packed(_opened(plan, quotas, chain([packed], rest)))
    return None, _packed(FirstContents(plan))


def _choose(
    config: CountContents, part: _Part, strata: Strata | None = None
) -> tuple[Counted, ...]:
    quotas = None if strata is None else strata.quotas
    found = _opened(config.plan, quotas, [part[1]])
    if config.enough:
        found.require_enough()
    return found.chosen()
