"""Splitting: each block's records to the splits that their contents fall to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

import transforms.datasets.coders  # noqa: F401  # registers the coder of blocks
from transforms.datasets.identity import Located
from transforms.datasets.reports import SpanReport, SpanReports
from transforms.datasets.source_files import SourceFile
from transforms.errors import LosslessError
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import PARTS, Digest
from transforms.kernels.splitting.plan import Counted, SplitPlan
from transforms.splitting.contents_of import HashContents, by_content
from transforms.splitting.placing import Part, parts_of

NO_FILE = -1
"""In the place of a file's number and of where a span begins: a split's part of a source is no file."""


@dataclass(eq=False, kw_only=True)
class SplitRecords(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Split blocks by their records' content: (Origin, block) -> {split: (blocks, spans)}.

    ``blocks`` are as they came, with the records of the split alone. ``spans`` are SpanReports of what
    each bundle has of the split, by source and pass: records, digest, payload. ``SpansOfSplit`` makes
    of them what stands in the place of ReadRecords' for one split.

    Attributes:
        plan: what is asked.
        contents: hashes the contents; picklable.
        drop: fields that were kept beside the texts only to split by them; they go no further.
        only: splits that are wanted; None for all. Of others nothing is reported either.
        counted: a PCollection of one tuple of Counted, as CountContents gives it, where the plan counts.
    """

    plan: SplitPlan
    contents: HashContents = by_content
    drop: Sequence[str] = ()
    only: Sequence[str] | None = None
    counted: Any = None

    def expand(self, located: Any) -> dict[str, tuple[Any, Any]]:
        """Split in one step."""
        names = self.plan.names if self.only is None else self.only
        side = [] if self.counted is None else [beam.pvalue.AsSingleton(self.counted)]
        tags: dict[str, Any] = {_blocks_tag(name): Located for name in names}
        tags |= {_spans_tag(name): SpanReports for name in names}
        split = beam.ParDo(_Split(self), *side).with_output_types(Located, **tags)
        found = located | "Split" >> split.with_outputs(*tags)
        return {name: (found[_blocks_tag(name)], found[_spans_tag(name)]) for name in names}


@dataclass(eq=False, kw_only=True)
class KeepSplit(beam.PTransform):  # type: ignore[misc]
    """Keep the records of one split, of blocks that are read again: (Origin, block) -> (Origin, block).

    Attributes:
        name: of the split.
        plan, contents, drop, counted: as of SplitRecords.
    """

    name: str
    plan: SplitPlan
    contents: HashContents = by_content
    drop: Sequence[str] = ()
    counted: Any = None

    def expand(self, located: Any) -> Any:
        """Split, and take the one."""
        split = SplitRecords(
            plan=self.plan,
            contents=self.contents,
            drop=self.drop,
            only=[self.name],
            counted=self.counted,
        )
        return (located | split)[self.name][0]


class SpansOfSplit(beam.PTransform):  # type: ignore[misc]
    """Make what stands in the place of ReadRecords' reports for one split.

    (spans of the split, as of SplitRecords; spans of ReadRecords) -> spans: the split's, and those of
    the files, which say of no records, but where there are files to be read again.
    """

    def expand(self, spans: tuple[Any, Any]) -> Any:
        """Put both together."""
        split, read = spans
        files = read | "OnlyFiles" >> beam.Map(_only_files).with_output_types(SpanReports)
        return (split, files) | "Both" >> beam.Flatten()


def require_splits(
    read: Mapping[str, Digest], splits: Iterable[Mapping[str, Digest]], *, what: str
) -> None:
    """Raise LosslessError where what the splits have of a source isn't what was read of it.

    Args:
        read: by source, digest of all its records in one pass.
        splits: the same of each split.
        what: read them, for the error.
    """
    total = dict.fromkeys(read, Digest())
    for split in splits:
        for source, digest in split.items():
            total[source] = total.get(source, Digest()) + digest
    for source, found in sorted(total.items()):
        expected = read.get(source, Digest())
        if found != expected:
            raise LosslessError(
                f"{what}, source {source}: expected splits that hold the {expected.records:,} "
                f"records read, of {expected.bytes:,} bytes with digest "
                f"{expected.to_json()['hash']}, got {found.records:,} of {found.bytes:,} with "
                f"{found.to_json()['hash']}; check memory and disk, then run again"
            )


def _only_files(reports: SpanReports) -> SpanReports:
    """Return what a report says of files whose beginnings were read in a first pass, without records."""
    opened = reports.opened()
    begins = (opened.column("pass_number") == 0) & (opened.column("start") == 0)
    table = opened.table.filter(pa.array(begins))
    for name in ("payload", *PARTS):
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        table = table.set_column(at, field, pa.array(np.zeros(len(table)), field.type))
    return SpanReports(table)


def _blocks_tag(name: str) -> str:
    return f"blocks_{name}"


def _spans_tag(name: str) -> str:
    return f"spans_{name}"


class _Split(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: SplitRecords) -> None:
        self._plan, self._contents = config.plan, config.contents
        self._drop = tuple(config.drop)
        only = config.plan.names if config.only is None else config.only
        self._wanted = {config.plan.names.index(name): name for name in only}

    def start_bundle(self) -> None:
        self._found: dict[tuple[str, str, int], tuple[Digest, int]] = {}

    def process(
        self, element: Located, counted: Sequence[Counted] = ()
    ) -> Iterator[beam.pvalue.TaggedOutput]:
        origin, block = element
        splits = self._plan.split(*self._contents(origin, block), counted)
        block = blocks.without_kept(block, self._drop)
        for part in parts_of(origin, block, splits, self._wanted):
            name = self._wanted[part.split]
            self._report(name, part)
            yield beam.pvalue.TaggedOutput(_blocks_tag(name), (part.origin, part.block))

    def _report(self, name: str, part: Part) -> None:
        key = name, part.origin.source, part.origin.pass_number
        digest, payload = self._found.get(key, (Digest(), 0))
        self._found[key] = digest + part.was, payload + blocks.payload_bytes(part.block)

    def finish_bundle(self) -> Iterator[Any]:
        reports: dict[str, list[SpanReport]] = {}
        for (name, source, number), (digest, payload) in self._found.items():
            report = SpanReport(
                SourceFile(source, name="", url="", size=0, version=""),
                digest,
                payload=payload,
                pass_number=number,
                number=NO_FILE,
                start=NO_FILE,
            )
            reports.setdefault(name, []).append(report)
        for name, mine in reports.items():
            windowed = GlobalWindows.windowed_value(SpanReports.of(mine))
            yield beam.pvalue.TaggedOutput(_spans_tag(name), windowed)
