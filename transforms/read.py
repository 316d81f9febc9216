"""Reading: patterns to files to spans to blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

import transforms.coders  # noqa: F401  # registers the coder of blocks
from transforms import storage
from transforms.errors import DataError
from transforms.formats import lines
from transforms.formats.lines import LineFormat
from transforms.kernels import blocks
from transforms.kernels.digest import Digest
from transforms.listing import SourceFile, fingerprint, list_sources
from transforms.progress import Progress
from transforms.reports import SpanReport
from transforms.worker import follow_launcher


class FileId(NamedTuple):
    """Which file a block's records are from: their identity, together with the position."""

    source: str
    name: str


@dataclass(frozen=True, slots=True)
class Span:
    """A part of one input file that one worker reads: bytes [start, stop)."""

    file: SourceFile
    start: int
    stop: int


@dataclass(eq=False, kw_only=True)
class ReadRecords(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Read files into blocks: PBegin -> (blocks, spans).

    ``blocks`` are ``(FileId, block)``, ``spans`` a SpanReport of each span read. Listing happens
    inside the pipeline, and must find what was found when the job was planned.

    Attributes:
        sources: patterns by source name.
        span_bytes, chunk_bytes, record_limit: from the plan.
        expected: ``fingerprint`` of the listing that the plan was made from, if it was.
        launcher: pid of the local process whose end ends the workers.
        progress: local folder for the counts of ``transforms.progress``, if somebody watches.
    """

    sources: Mapping[str, Sequence[str]]
    line_format: LineFormat = field(default_factory=LineFormat)
    span_bytes: int = 64 << 20
    chunk_bytes: int = 2 << 20
    record_limit: int = 256 << 20
    expected: str | None = None
    launcher: int | None = None
    progress: str | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, root: Any) -> Any:
        """List, cut into spans, deal them out to the workers, read."""
        spans = (
            root
            | "Sources" >> beam.Create([dict(self.sources)])
            | "ListSpans" >> beam.ParDo(_ListSpans(self)).with_output_types(tuple[int, Span])
            # not a Reshuffle: its random keys deal spans out unevenly
            | "DealOut" >> beam.GroupByKey()
        )
        return spans | "ReadSpans" >> beam.ParDo(_ReadSpans(self)).with_output_types(
            tuple[FileId, pa.RecordBatch], spans=SpanReport
        ).with_outputs("spans", main="blocks")


def cut_spans(files: Iterable[SourceFile], span_bytes: int) -> Iterator[Span]:
    """Cut files into spans of equal size, ``span_bytes`` at most; an empty file is one span."""
    for file in files:
        count = max(1, -(-file.size // span_bytes))
        for i in range(count):
            yield Span(file, file.size * i // count, file.size * (i + 1) // count)


class _ListSpans(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: ReadRecords) -> None:
        self._expected = config.expected
        self._span_bytes = config.span_bytes

    def process(self, sources: dict[str, Sequence[str]]) -> Iterator[tuple[int, Span]]:
        files = list_sources(sources)
        if self._expected is not None and fingerprint(files) != self._expected:
            raise DataError(
                "the input files changed between planning and reading: a file came, went, or was "
                "written to; run again when nothing writes to them"
            )
        yield from enumerate(cut_spans(files, self._span_bytes))


class _ReadSpans(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: ReadRecords) -> None:
        self._config = config
        names = sorted(config.sources)
        self._source = {name: i if len(names) > 1 else None for i, name in enumerate(names)}

    def setup(self) -> None:
        follow_launcher(self._config.launcher)
        self._progress = Progress.open(self._config.progress)

    def process(self, element: tuple[int, Iterable[Span]]) -> Iterator[Any]:
        for span in element[1]:
            with self._progress.doing(f"reading {span.file.url}"):
                yield from self._read(span)

    def _read(self, span: Span) -> Iterator[tuple[FileId, pa.RecordBatch]]:
        config, file = self._config, span.file
        line_format = config.line_format
        total, last, counted = Digest(), b"", 0
        check_unchanged(file)
        with storage.open_read(file.url) as opened:
            if span.start == 0:
                lines.refuse_other_formats(opened, file.url)
            for block in lines.read_span(
                opened,
                name=file.url,
                start=span.start,
                stop=span.stop,
                separator=line_format.separator,
                chunk_bytes=config.chunk_bytes,
                record_limit=config.record_limit,
                source=self._source[file.source],
                lines_begin=len(line_format.header),
            ):
                total += Digest.total(blocks.digests(block, sources=1))
                size = len(blocks.payload(block))
                self._progress.add("partition", bytes=size, records=len(block), payload=size)
                counted += size
                yield FileId(file.source, file.name), block
            if span.stop == file.size > 0:
                opened.seek(file.size - 1)
                last = opened.read(1) or b""
        check_unchanged(file)
        # a header, and lines over the span's ends: in the end a file counts its own size
        self._progress.add("partition", bytes=span.stop - span.start - counted)
        open_end = int(last not in (b"", bytes([line_format.separator])))
        header = len(line_format.header) if span.start == 0 else 0
        yield beam.pvalue.TaggedOutput("spans", SpanReport(file, total, header, open_end))


def check_unchanged(file: SourceFile) -> None:
    """Raise DataError where a file is gone or is not what it was when it was listed."""
    fs, path = storage.filesystem(file.url)
    try:
        now = storage.version_of(fs.info(path))
    except FileNotFoundError:
        raise DataError(
            f"{file.url}: the file vanished during the run; put it back and run again"
        ) from None
    if now != file.version:
        raise DataError(
            f"{file.url}: the file changed during the run (size and time {file.version} before, "
            f"{now} now); run again when nothing writes to it"
        )
