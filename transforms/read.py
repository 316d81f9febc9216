"""Reading: patterns to files to spans to blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import apache_beam as beam
import pyarrow as pa

import transforms.coders  # noqa: F401  # registers the coder of blocks
from transforms import storage
from transforms.bad_records import MostBad, refusal
from transforms.deal import DealOut
from transforms.errors import DataError
from transforms.files import SourceFile
from transforms.formats.codecs import codec_of_name
from transforms.formats.detection import FileFormat
from transforms.formats.reading import ReadOptions, open_span, shape_in
from transforms.kernels import blocks
from transforms.kernels.digest import Digest
from transforms.listing import fingerprint, list_sources
from transforms.progress import Progress, Stage, Watched
from transforms.quarantine import QuarantineFile
from transforms.reports import SpanReport
from transforms.worker import follow_launcher

OnBadRecord = Literal["fail", "skip", "quarantine"]


AGAIN = -1
"""Number of a first pass that is read once more, for records whose keys were out of reach before."""


class FileId(NamedTuple):
    """Which file a block's records are from, and in which pass: with the position, their identity.

    ``until`` goes with AGAIN: how many of its stream's buckets are wanted.
    """

    source: str
    name: str
    pass_number: int = 0
    until: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """A part of one input file that one worker reads: bytes [start, stop); else as FileId."""

    file: SourceFile
    start: int
    stop: int
    pass_number: int = 0
    until: int = 0


@dataclass(eq=False, kw_only=True)
class ReadRecords(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Read files into blocks: PBegin -> (blocks, spans).

    ``blocks`` are ``(FileId, block)``, ``spans`` a SpanReport of each span read. Listing happens
    inside the pipeline, and must find what was found when the job was planned.

    Attributes:
        sources: patterns by source name.
        extensions: as of ``list_source``.
        options: what the files are read as.
        span_bytes: from the plan.
        on_bad_record: what to do with a record that fails its check: ``fail``, ``skip`` or
            ``quarantine``, which keeps it in ``output``.
        max_bad: how many may be left out; a span that has more ends the run early.
        output, run_id: the dataset's folder, for what is kept apart.
        scratch: local folder for what is kept apart, until it is published; None for the system's.
        expected: ``fingerprint`` of the listing that the plan was made from, if it was.
        launcher: pid of the local process whose end ends the workers.
        storage_options: of fsspec, for the stores; None leaves them as they are.
        progress: where to count, as of ``transforms.progress``, if somebody watches.
        stage: what the work is called there of which reading is a part.
    """

    sources: Mapping[str, Sequence[str]]
    extensions: Sequence[str] = ()
    options: ReadOptions = field(default_factory=ReadOptions)
    span_bytes: int = 64 << 20
    on_bad_record: OnBadRecord = "fail"
    max_bad: MostBad | None = None
    output: str = ""
    run_id: str = ""
    scratch: str | None = None
    expected: str | None = None
    launcher: int | None = None
    storage_options: dict[str, Any] | None = None
    progress: Watched = None
    stage: Stage = "partition"

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, root: Any) -> Any:
        """List, cut into spans, deal them out to the workers, read."""
        spans = (
            root
            | "Sources" >> beam.Create([dict(self.sources)])
            | "ListSpans" >> beam.ParDo(_ListSpans(self)).with_output_types(tuple[int, Span])
            | "DealOut" >> DealOut(Span)
        )
        return spans | "ReadSpans" >> ReadSpans(self)


class ReadSpans(beam.PTransform):  # type: ignore[misc]
    """Read spans that were dealt out: (int, iterable of Span) -> (blocks, spans)."""

    def __init__(self, config: ReadRecords) -> None:
        super().__init__()
        self._config = config

    def expand(self, spans: Any) -> Any:
        """One step."""
        return spans | "Read" >> beam.ParDo(_ReadSpans(self._config)).with_output_types(
            tuple[FileId, pa.RecordBatch], spans=SpanReport
        ).with_outputs("spans", main="blocks")


def cut_spans(
    files: Iterable[SourceFile], span_bytes: int, options: ReadOptions | None = None
) -> Iterator[Span]:
    """Cut files into spans of equal size, ``span_bytes`` at most; an empty file is one span.

    A file whose name says that it is compressed is one span, however large; so is one that ``options``
    say, or its beginning, can't be entered in its middle. (A span that begins there holds nothing.)
    """
    for file in files:
        whole = codec_of_name(file.url) is not None
        if not whole and file.size > span_bytes and options is not None:
            whole = _is_read_whole(file, options)
        count = 1 if whole else max(1, -(-file.size // span_bytes))
        for i in range(count):
            yield Span(file, file.size * i // count, file.size * (i + 1) // count)


def _is_read_whole(file: SourceFile, options: ReadOptions) -> bool:
    """Say whether a file that isn't compressed is CSV, or JSON that isn't lines."""
    if options.line_format.quoted:
        return True
    if not file.url.lower().endswith(".json"):
        return False
    with storage.open_read(file.url) as opened:
        found, told = FileFormat("lines"), file.format
        shape = shape_in(opened, found, name=file.url, options=options, told=told)
    return shape != "lines"


class _ListSpans(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: ReadRecords) -> None:
        self._expected = config.expected
        self._extensions, self._apart = config.extensions, config.output
        self._span_bytes, self._options = config.span_bytes, config.options
        self._storage_options = config.storage_options

    def setup(self) -> None:
        storage.configure(self._storage_options)

    def process(self, sources: dict[str, Sequence[str]]) -> Iterator[tuple[int, Span]]:
        files = list_sources(sources, extensions=self._extensions, apart=self._apart)
        if self._expected is not None and fingerprint(files) != self._expected:
            raise DataError(
                "the input files changed between planning and reading: a file came, went, or was "
                "written to; run again when nothing writes to them"
            )
        yield from enumerate(cut_spans(files, self._span_bytes, self._options))


class _ReadSpans(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: ReadRecords) -> None:
        self._reader = SpanReader(config)

    def setup(self) -> None:
        self._reader.setup()

    def process(self, element: tuple[int, Iterable[Span]]) -> Iterator[Any]:
        for span in element[1]:
            reports: list[SpanReport] = []
            yield from self._reader.read(span, reports.append)
            yield from (beam.pvalue.TaggedOutput("spans", report) for report in reports)


class SpanReader:
    """Reads spans in a worker."""

    def __init__(self, config: ReadRecords) -> None:
        self._config = config
        self.sources = sorted(config.sources)
        several = len(self.sources) > 1
        self._source = {name: i if several else None for i, name in enumerate(self.sources)}

    def setup(self) -> None:
        """Get ready, once a worker."""
        follow_launcher(self._config.launcher)
        storage.configure(self._config.storage_options)
        self._progress = Progress.open(self._config.progress)

    def read(
        self, span: Span, report: Callable[[SpanReport], object]
    ) -> Iterator[tuple[FileId, pa.RecordBatch]]:
        """Yield a span's blocks, then report what was read.

        Raises:
            DataError: the file changed, is broken, or holds a bad record that ends the run.
        """
        with self._progress.doing(f"reading {span.file.url}"):
            yield from self._read(span, report)

    def _read(
        self, span: Span, report: Callable[[SpanReport], object]
    ) -> Iterator[tuple[FileId, pa.RecordBatch]]:
        config, file = self._config, span.file
        kept, dropped = Digest(), Digest()
        counted = payload = 0
        check_unchanged(file)
        kept_apart = QuarantineFile(
            config.output, config.run_id, file=file, start=span.start, scratch=config.scratch
        )
        with storage.open_read(file.url) as opened, kept_apart:
            reader = open_span(
                opened,
                name=file.url,
                size=file.size,
                start=span.start,
                stop=span.stop,
                options=config.options,
                source=self._source[file.source],
                told=file.format,
            )
            for block, bad, reasons in reader:
                if bad is not None:
                    first = span.start == 0 and not (kept.records or dropped.records)
                    first = first and (not len(block) or _begins(bad) < _begins(block))
                    self._drop(bad, reasons, span=span, first=first, kept_apart=kept_apart)
                    dropped += Digest.total(blocks.digests(bad, sources=1))
                    if config.max_bad is not None:
                        config.max_bad.require(dropped.records, name=file.url)
                held = blocks.payload_bytes(block)
                self._progress.add(
                    config.stage,
                    bytes=reader.consumed - counted,
                    records=len(block),
                    payload=held,
                )
                payload += held
                counted = reader.consumed
                if len(block):
                    kept += Digest.total(blocks.digests(block, sources=1))
                    yield FileId(file.source, file.name, span.pass_number, span.until), block
            covered, whole = reader.covered(kept + dropped), reader.whole
        # reading ahead and beyond a span's end: in the end a file counts its own size
        self._progress.add(config.stage, bytes=span.stop - span.start - counted)
        check_unchanged(file)
        report(
            SpanReport(
                file,
                kept,
                dropped=dropped,
                covered=covered,
                whole=whole,
                quarantine=kept_apart.report,
                pass_number=span.pass_number,
                payload=payload,
                blank=reader.blank,
                marks=reader.marks,
            )
        )

    def _drop(
        self,
        bad: pa.RecordBatch,
        reasons: tuple[str, ...],
        *,
        span: Span,
        first: bool,
        kept_apart: QuarantineFile,
    ) -> None:
        config = self._config
        if config.on_bad_record == "fail":
            raise refusal(bad, reasons, file=span.file, options=config.options, first=first)
        if self._config.on_bad_record == "quarantine" and not span.pass_number:  # once is enough
            kept_apart.add(bad, reasons)


def _begins(block: pa.RecordBatch) -> int:
    return int(blocks.column(block, "position")[0])


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
