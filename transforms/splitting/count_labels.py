"""Counting labels: how many records each has, before counted splits can have their share of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from transforms.datasets.identity import Located, Origin
from transforms.errors import DataError
from transforms.kernels.records import blocks
from transforms.kernels.records.labels import first_unlabelled, labels_of
from transforms.kernels.splitting.labels import Labels, add_counts, count_labels
from transforms.kernels.splitting.plan import SplitPlan
from transforms.kernels.splitting.strata import Strata
from transforms.splitting.contents_of import HashContents, by_content


@dataclass(eq=False, kw_only=True)
class CountLabels(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Count the records of each label that no share takes: (Origin, block) -> one Strata.

    The blocks are those of the first pass of every source, read for this alone. Labels take memory in
    every worker: there may be MOST_LABELS of them.

    Attributes:
        plan: what is asked.
        field: of the labels.
        contents: as of SplitRecords.
    """

    plan: SplitPlan
    field: str
    contents: HashContents = by_content

    def expand(self, located: Any) -> Any:
        """Count, add up, share out."""
        return (
            located
            | "CountLabels" >> beam.ParDo(_CountLabels(self))
            | "AddLabels" >> beam.CombineGlobally(partial(_add_up, self.field))
            | "ShareOut" >> beam.Map(self._share_out)
        )

    def _share_out(self, counts: Counter[bytes]) -> Strata:
        return Strata.of(self.plan, self.field, Labels.of(counts))


class _CountLabels(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: CountLabels) -> None:
        self._config = config

    def start_bundle(self) -> None:
        self._found: Counter[bytes] = Counter()

    def process(self, element: Located) -> Iterator[Any]:
        origin, block = element
        config = self._config
        values = labels_of(block, config.field)
        require_labels(origin, block, values, config.field)
        shares = config.plan.shares_of(*config.contents(origin, block))
        left = np.flatnonzero(shares == config.plan.no_share)
        add_counts(self._found, count_labels(values, left), config.field)
        yield from ()

    def finish_bundle(self) -> Iterator[Any]:
        yield GlobalWindows.windowed_value(self._found)


def _add_up(field: str, many: Iterable[Counter[bytes]]) -> Counter[bytes]:
    total: Counter[bytes] = Counter()
    for counts in many:
        add_counts(total, counts, field)
    return total


def require_labels(origin: Origin, block: pa.RecordBatch, values: pa.Array, field: str) -> None:
    """Raise DataError that names the first record without a label, where one has none."""
    place = first_unlabelled(values)
    if place is not None:
        raise DataError(
            f"{name_record(origin, block, place)}: expected a label in field {field!r} "
            "(--stratify), got none or null; add a label, or leave the record out"
        )


def name_record(origin: Origin, block: pa.RecordBatch, place: int) -> str:
    """Return a record's file, and where it stands there.

    Args:
        origin: whose records they are.
        block: with their positions.
        place: of the record in the block.
    """
    position = int(blocks.column(block, "position")[place])
    unit = "row" if blocks.is_rows(block) else "byte"
    return f"{origin.name_of(place)}, {unit} {position}"
