"""Finding what parted: contents that stand in several splits, as records were split by identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from transforms.datasets.identity import Located
from transforms.datasets.manifest import PartedEntry
from transforms.kernels.splitting.marks import SeveralMarks
from transforms.splitting.contents_of import HashContents, by_content
from transforms.splitting.find_several import FindSeveral, marked
from transforms.splitting.place_by_plan import PlaceByPlan


@dataclass(eq=False, kw_only=True)
class FindParted(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Count contents that stand in several splits: (Origin, block) -> one PartedEntry.

    The blocks are those of the first pass of every source, read for this alone.

    Attributes:
        placing: where records go, by their identity.
        told: a PCollection of the one value that ``placing`` is told; None for none.
        contents: hashes what may part.
        several: how contents meet.
    """

    placing: PlaceByPlan
    told: Any = None
    contents: HashContents = by_content
    several: FindSeveral

    def expand(self, located: Any) -> Any:
        """Mark contents with their splits, find those with several."""
        told = [] if self.told is None else [beam.pvalue.AsSingleton(self.told)]
        return (
            located
            | "MarkSplits" >> beam.Map(self._mark, *told).with_output_types(Located)
            | "FindSeveral" >> self.several
            | "SayParted" >> beam.Map(_entry)
        )

    def _mark(self, element: Located, told: Any = None) -> Located:
        splits = self.placing.splits(*element, told)
        return marked(*self.contents(*element), splits)


def _entry(several: SeveralMarks) -> PartedEntry:
    return PartedEntry(contents=several.contents, records=several.records)
