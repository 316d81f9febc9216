"""Stratifying: counted splits that have their share of each label, exactly by identity.

The input is read twice before it is split: once to count labels, and by content to see that equal
contents have one label; once to find the first contents of each label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms.datasets.identity import Located, Origin
from transforms.datasets.max_bad import shown_text
from transforms.errors import DataError
from transforms.kernels.arrays import U8
from transforms.kernels.records import blocks
from transforms.kernels.records.contents import text_beside
from transforms.kernels.records.labels import label_hashes, labels_of
from transforms.kernels.splitting.labels import shown
from transforms.kernels.splitting.marks import SeveralMarks
from transforms.kernels.splitting.plan import Counted, SplitPlan
from transforms.kernels.splitting.strata import Strata
from transforms.splitting.contents_of import HashContents, by_content
from transforms.splitting.count_contents import CountContents
from transforms.splitting.count_labels import CountLabels, name_record
from transforms.splitting.find_several import FindSeveral, marked
from transforms.splitting.place_by_plan import PlaceByPlan


class Stratified(NamedTuple):
    """What PlaceStratified is told: the labels, and what each counted split takes."""

    strata: Strata
    counted: tuple[Counted, ...]


@dataclass(frozen=True, kw_only=True)
class PlaceStratified(PlaceByPlan):
    """A Placing by counts of each label; told what Stratify found."""

    def splits(self, origin: Origin, block: pa.RecordBatch, told: Stratified) -> U8:
        """Return uint8[n]: the number of each record's split."""
        labels = told.strata.labels.numbers(labels_of(block, told.strata.field))
        return self.plan.split(*self.contents(origin, block), told.counted, labels)


@dataclass(eq=False, kw_only=True)
class Stratify(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Find what counted splits take of each label: (blocks, the same read again) -> one Stratified.

    Attributes:
        plan: what is asked.
        field: of the labels.
        contents: as of SplitRecords.
        several: how contents with several labels are found, which are an error; None where records are
            split by identity, so that equal contents may part.
    """

    plan: SplitPlan
    field: str
    contents: HashContents = by_content
    several: FindSeveral | None = None

    def expand(self, read: tuple[Any, Any]) -> Any:
        """Count labels, see that contents have one, count contents."""
        first, again = read
        strata = first | CountLabels(plan=self.plan, field=self.field, contents=self.contents)
        counted = again | CountContents(plan=self.plan, contents=self.contents, strata=strata)
        side = [beam.pvalue.AsSingleton(strata)]
        if self.several is not None:
            found = (
                first
                | "MarkLabels" >> beam.Map(self._mark).with_output_types(Located)
                | "FindSeveral" >> self.several
            )
            refused = (
                again
                | "FindNamed" >> beam.FlatMap(self._name, beam.pvalue.AsSingleton(found))
                | "FirstNamed" >> beam.CombineGlobally(_first_of_labels)
                | "Refuse" >> beam.Map(partial(_refuse, self.field), beam.pvalue.AsSingleton(found))
            )
            side.append(beam.pvalue.AsSingleton(refused))  # so that nothing is split before
        return counted | "Tell" >> beam.Map(_tell, *side)

    def _mark(self, element: Located) -> Located:
        """Return the marks of contents that no share takes: those keep together in any case."""
        hash0, hash1 = self.contents(*element)
        left = self.plan.shares_of(hash0, hash1) == self.plan.no_share
        labels = label_hashes(labels_of(element[1], self.field))
        return marked(hash0[left], hash1[left], labels[left])

    def _name(self, element: Located, several: SeveralMarks) -> Iterator[list[Named]]:
        """Yield the first record of each label of the first content that has several."""
        if several.first is None:
            return
        origin, block = element
        mine = [
            hashes == np.uint64(one)
            for hashes, one in zip(self.contents(origin, block), several.first, strict=True)
        ]
        places = np.flatnonzero(mine[0] & mine[1])
        labels = labels_of(block.take(pa.array(places)), self.field).to_pylist()
        for label, place in dict(zip(labels[::-1], places[::-1].tolist(), strict=True)).items():
            position = int(blocks.column(block, "position")[place])
            identity = origin.source, origin.name_of(place), position
            where = name_record(origin, block, place)
            yield [Named(label, identity, where, _shown(block, place))]


class Named(NamedTuple):
    """A record whose content has several labels: its label, identity, where it stands, what it says."""

    label: bytes
    identity: tuple[str, str, int]
    where: str
    text: str


def _shown(block: pa.RecordBatch, place: int) -> str:
    """Return the beginning of a record's text, or of all of it where it has none."""
    one = block.slice(place, 1)
    texts = text_beside(one)
    if texts is not None and not texts.null_count:
        return shown_text(texts)
    return shown_text(one.column("record") if blocks.is_rows(one) else blocks.bare(one))


def _first_of_labels(many: Iterable[list[Named]]) -> list[Named]:
    """Return the first record of each label, of two at most."""
    every = sorted(chain.from_iterable(many), key=attrgetter("identity"))
    firsts: dict[bytes, Named] = {}
    for named in every:
        firsts.setdefault(named.label, named)
    return list(firsts.values())[:2]


def _refuse(field: str, named: list[Named], several: SeveralMarks) -> None:
    """Raise DataError where contents have several labels."""
    if several.first is None:
        return
    says = " and ".join(f"{shown(one.label)} at {one.where}" for one in named)
    raise DataError(
        f"--stratify={field}: expected one label for equal texts (or equal values of "
        f"--split_by), which stay together; {several.contents:,} of them have several: "
        f"{named[0].text} is {says}; fix the labels, or pass --by=identity, which may separate "
        "equal texts"
    )


def _tell(counted: tuple[Counted, ...], strata: Strata, _: None = None) -> Stratified:
    return Stratified(strata, counted)
