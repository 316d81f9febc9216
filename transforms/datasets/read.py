"""Reading: patterns to files to spans to blocks."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa

import transforms.datasets.coders  # noqa: F401  # registers the coder of blocks
from transforms.datasets.identity import FileIds, Located
from transforms.datasets.listing import list_sources
from transforms.datasets.max_bad import MostBad, refusal
from transforms.datasets.quarantine import QuarantineFile
from transforms.datasets.reports import SpanReport, SpanReports
from transforms.datasets.source_files import SourceFile, fingerprint
from transforms.datasets.spans import Span, Spans, cut_spans, group_spans
from transforms.errors import DataError
from transforms.formats import compressed, small_files
from transforms.formats.limits import TooLarge
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import json_layout_in, open_span
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.records import blocks, compiling
from transforms.kernels.records.digest import Digest
from transforms.storage import files as storage
from transforms.workers.follow_launcher import follow_launcher
from transforms.workers.progress import Progress, Stage, Watched
from transforms.workers.round_robin import GroupRoundRobin

OnBadRecord = Literal["fail", "skip", "quarantine"]


@dataclass(eq=False, kw_only=True)
class ReadRecords(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Read files into blocks: PBegin -> (blocks, spans).

    ``blocks`` are ``(FileId, block)``, of several small files ``(FileIds, block)``; ``spans`` are
    SpanReports. Listing happens inside the pipeline, and must find what was found when the job was
    planned.

    Workers raise InputError where nothing is found, DataError where a record is bad or a file changed.

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
        progress: where to count, as of ``transforms.workers.progress``, if somebody watches.
        stage: what the work is called there of which reading is a part.
        compiled: whether workers pass over records by compiled loops; None for where they pay.
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
    compiled: bool | None = None

    def expand(self, root: Any) -> Any:
        """List, cut into spans, hand them out to the workers, read."""
        spans = (
            root
            | "Sources" >> beam.Create([dict(self.sources)])
            | "ListSpans" >> beam.FlatMap(list_groups, self).with_output_types(tuple[int, Spans])
            | "InTurn" >> GroupRoundRobin(Spans)
        )
        return spans | "ReadSpans" >> read_spans(self)


def read_spans(config: ReadRecords) -> Any:
    """Return what reads spans that were handed out: (int, iterable of Spans) -> (blocks, spans)."""
    reader = beam.ParDo(SpanReader(config)).with_output_types(Located, spans=SpanReports)
    return reader.with_outputs("spans", main="blocks")


def is_read_whole(file: SourceFile, options: ReadOptions) -> bool:
    """Say whether a file that isn't compressed is CSV, or JSON that isn't lines."""
    if options.line_format.quoted:
        return True
    if not file.url.lower().endswith(".json"):
        return False
    with storage.open_read(file.url) as opened:
        told = file.told is not None
        layout = json_layout_in(opened, name=file.url, codec=None, options=options, told=told)
    return layout != "lines"


def list_spans(
    sources: Mapping[str, Sequence[str]], config: ReadRecords
) -> Callable[[], Iterator[Spans]]:
    """List files, and return what cuts them into spans, some thousand at a time, as often as asked.

    Raises:
        DataError: the listing isn't the one that the plan was made from.
    """
    storage.configure(config.storage_options)
    compressed.load(config.options.codec_modules)
    files = list_sources(sources, extensions=config.extensions, apart=config.output)
    if config.expected is not None and fingerprint(files) != config.expected:
        raise DataError(
            "the input files changed between planning and reading: a file was added, removed or "
            "written to; run again when nothing writes to them"
        )
    whole = functools.partial(is_read_whole, options=config.options)
    return functools.partial(cut_spans, files, config.span_bytes, whole=whole)


def list_groups(
    sources: Mapping[str, Sequence[str]], config: ReadRecords
) -> Iterator[tuple[int, Spans]]:
    """List files, and yield (number, spans that are handed out together), in order."""
    cut = list_spans(sources, config)()
    yield from enumerate(group for spans in cut for group in group_spans(spans))


class SpanReader(beam.DoFn):  # type: ignore[misc]
    """Reads spans in a worker."""

    def __init__(self, config: ReadRecords) -> None:
        self._config = config
        self.sources = sorted(config.sources)
        several = len(self.sources) > 1
        self._source = {name: i if several else None for i, name in enumerate(self.sources)}
        self._may_be_small = small_files.may_be_small(config.options)

    def setup(self) -> None:
        """Get ready, once a worker."""
        follow_launcher(self._config.launcher)
        storage.configure(self._config.storage_options)
        compressed.load(self._config.options.codec_modules)
        compiling.tell(self._config.compiled)
        self._progress = Progress.open(self._config.progress)

    def count_tokens(self, tokens: int) -> None:
        """Count what the records that were read have become."""
        self._progress.add(self._config.stage, tokens=tokens)

    def process(self, element: tuple[int, Iterable[Spans]]) -> Iterator[Any]:
        for spans in element[1]:
            reports: list[SpanReports] = []
            yield from self.read(spans, reports.append)
            yield from (beam.pvalue.TaggedOutput("spans", report) for report in reports)

    def read(self, spans: Spans, report: Callable[[SpanReports], object]) -> Iterator[Located]:
        """Yield the blocks of spans of one source, in order, then report what was read.

        Small blocks are joined: on the way they take room that nobody counts.

        Raises:
            DataError: a file changed, is broken, or holds a bad record that ends the run.
        """
        reports: list[SpanReport] = []
        found = itertools.chain.from_iterable(
            (self._read_small if together else self._read_each)(list(some), reports)
            for together, some in itertools.groupby(spans, self._is_small)
        )
        yield from _join_small(found, self._config.options.chunk_bytes)
        if reports:
            report(SpanReports.of(reports))

    def _is_small(self, span: Span) -> bool:
        return self._may_be_small and span.is_whole and span.file.size <= small_files.SMALL

    def _read_small(self, spans: list[Span], reports: list[SpanReport]) -> Iterator[Located]:
        """Read small files together, as far as they are plain lines."""
        options = self._config.options
        while spans:
            sizes = itertools.accumulate(span.file.size for span in spans)
            many = max(sum(1 for size in sizes if size <= options.chunk_bytes), 1)
            part, spans = spans[:many], spans[many:]
            with self._progress.doing(f"reading {part[0].file.url}"):
                local = storage.is_local(part[0].file.url)
                files = list(storage.in_parallel(_fetch, part, limit=1 if local else 16))
                for form, some in itertools.groupby(
                    zip(part, files, strict=True),
                    lambda pair: small_files.kind_of(pair[1], options),
                ):
                    several = list(some)
                    mine, found = [span for span, _ in several], None
                    if form is not None:
                        index = self._source[mine[0].file.source]
                        found = small_files.read_joined(
                            [file for _, file in several], form, options, source=index
                        )
                    if found is None:
                        yield from self._read_each(mine, reports)
                        continue
                    if len(found.block):
                        self._progress.add(
                            self._config.stage,
                            bytes=int(found.covered.sum()),
                            records=len(found.block),
                            payload=blocks.payload_bytes(found.block),
                        )
                        yield _ids(mine, found.rows), found.block
                    reports += _reports_of(mine, found)

    def _read_each(self, spans: list[Span], reports: list[SpanReport]) -> Iterator[Located]:
        """Read spans one by one, by the readers of their files' formats."""
        for span in spans:
            with self._progress.doing(f"reading {span.file.url}"):
                try:
                    yield from self._read(span, reports)
                except TooLarge as error:
                    raise error.advised(self._config.options.memory) from error

    def _read(self, span: Span, reports: list[SpanReport]) -> Iterator[Located]:
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
                ReadTask(
                    name=file.url,
                    size=file.size,
                    start=span.start,
                    stop=span.stop,
                    options=config.options,
                    source=self._source[file.source],
                ),
                told=file.format,
            )
            for block, bad, reasons in reader:
                if bad is not None:
                    first = span.start == 0 and not (kept.records or dropped.records)
                    first = first and (not len(block) or _begins(bad) < _begins(block))
                    if config.on_bad_record == "fail":
                        raise refusal(bad, reasons, file=file, options=config.options, first=first)
                    if config.on_bad_record == "quarantine" and not span.pass_number:
                        kept_apart.add(bad, reasons)  # once is enough
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
                    yield span.id, block
            covered, whole = reader.covered(kept + dropped), reader.whole
        # reading ahead and beyond a span's end: in the end a file counts its own size
        self._progress.add(config.stage, bytes=span.stop - span.start - counted)
        check_unchanged(file)
        reports.append(
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
                trailing=reader.trailing,
                number=span.number,
                start=span.start,
            )
        )


def _begins(block: pa.RecordBatch) -> int:
    return int(blocks.column(block, "position")[0])


def _join_small(found: Iterable[Located], chunk_bytes: int) -> Iterator[Located]:
    """Join small blocks of one source and pass; others go on as they are, in order."""
    held: list[Located] = []
    size = 0
    for located in found:
        more = blocks.block_footprint(located[1])
        large = more > chunk_bytes // 2
        if held and (large or size + more > chunk_bytes or not _go_together(held[-1], located)):
            yield _joined(held)
            held, size = [], 0
        if large:
            yield located
        else:
            held.append(located)
            size += more
    if held:
        yield _joined(held)


def _go_together(left: Located, right: Located) -> bool:
    (file, block), (other, after) = left, right
    return block.schema.equals(after.schema, check_metadata=True) and (
        (file.source, file.pass_number, file.buckets)
        == (other.source, other.pass_number, other.buckets)
    )


def _joined(held: list[Located]) -> Located:
    if len(held) == 1:
        return held[0]
    pieces = [piece for file, block in held for piece in file.each(block)]
    names = tuple(file.name for file, _ in pieces)
    rows = tuple(len(block) for _, block in pieces)
    first = held[0][0]
    ids = FileIds(first.source, names, rows, first.pass_number, first.buckets)
    return ids, pa.concat_batches([block for _, block in held])


def _ids(spans: Sequence[Span], rows: I64) -> FileIds:
    first = spans[0]
    names = tuple(span.file.name for span in spans)
    return FileIds(first.file.source, names, tuple(rows.tolist()), first.pass_number, first.buckets)


def _reports_of(spans: Sequence[Span], found: small_files.Joined) -> Iterator[SpanReport]:
    edges = offsets_of(found.rows)
    hash0, hash1, lengths = blocks.hashes(found.block)
    digests = blocks.digests_between(edges, hash0, hash1, lengths)
    payload = np.diff(blocks.extents(found.block)[1][edges]) if edges[-1] else found.rows
    for span, digest, covered, held in zip(
        spans, digests, found.covered.tolist(), payload.tolist(), strict=True
    ):
        yield SpanReport(
            span.file,
            digest,
            covered=covered,
            whole=span.file.size,
            pass_number=span.pass_number,
            payload=held,
            number=span.number,
        )


def _fetch(span: Span) -> small_files.SmallFile:
    """Read a small file whole, and see that it is what was listed."""
    file = span.file
    try:
        data, version = storage.read_small(file.url, file.size)
    except FileNotFoundError:
        raise _vanished(file) from None
    _require_version(file, version)
    return small_files.SmallFile(file.url, file.format, data)


def check_unchanged(file: SourceFile) -> None:
    """Raise DataError where a file is gone or is not what it was when it was listed."""
    fs, path = storage.filesystem(file.url)
    try:
        now = storage.version_of(fs.info(path))
    except FileNotFoundError:
        raise _vanished(file) from None
    _require_version(file, now)


def _require_version(file: SourceFile, now: str) -> None:
    if now != file.version:
        raise DataError(
            f"{file.url}: the file changed during the run (size and time {file.version} before, "
            f"{now} now); run again when nothing writes to it"
        )


def _vanished(file: SourceFile) -> DataError:
    return DataError(f"{file.url}: the file vanished during the run; put it back and run again")
