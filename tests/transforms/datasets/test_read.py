"""ReadRecords: patterns to blocks and reports, and files that change under it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.helpers import THREADS, Row, collect, digests_of, plain_lines
from transforms.datasets.identity import FileId
from transforms.datasets.listing import list_sources
from transforms.datasets.read import ReadRecords, check_unchanged
from transforms.datasets.reports import SpanReports
from transforms.datasets.source_files import SourceFile, fingerprint
from transforms.datasets.spans import cut_spans
from transforms.errors import DataError, DovetailError, from_traceback
from transforms.formats.line_format import LineFormat
from transforms.formats.readers import ReadOptions
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.storage import files as storage

FILES = {
    "a/plain.txt": b"one\ntwo\n\nfour\n",
    "a/open.txt": b"first\nlast without an end",
    "a/empty.txt": b"",
    "b/long.txt": b"".join(b"line %d\r\n" % i for i in range(300)),
    "b/deep/bytes.bin": bytes(range(256)) * 2,
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def found(transform: ReadRecords, **options: Any) -> list[tuple[FileId, int, bytes]]:
    elements = collect(lambda root: (root | transform).blocks, **options)
    return sorted(
        (file, place, record)
        for origin, joined in elements
        for file, block in origin.each(joined)
        for place, record in zip(
            block.column("position").to_pylist(), blocks.records(block), strict=True
        )
    )


@pytest.mark.parametrize("options", [{}, THREADS], ids=["one worker", "three"])
@pytest.mark.parametrize("span_bytes", [7, 100, 1 << 20])
def test_every_line_of_every_file_comes_once_under_its_identity(
    tree: Path, span_bytes: int, options: dict[str, Any]
) -> None:
    read = ReadRecords(
        sources={"one": [f"{tree}/a"], "two": [f"{tree}/b"]},
        span_bytes=span_bytes,
        options=ReadOptions(chunk_bytes=50),
    )
    assert found(read, **options) == sorted(
        (FileId("one" if name[0] == "a" else "two", name[2:]), place, line)
        for name, content in FILES.items()
        for place, line in plain_lines(content)
    )


def test_the_source_is_a_column_where_there_are_several(tree: Path) -> None:
    sources = {"x": [f"{tree}/a"], "w": [f"{tree}/b"]}
    elements = collect(lambda root: (root | ReadRecords(sources=sources)).blocks)
    for file, block in elements:
        assert set(block.column("source").to_pylist()) == {0 if file.source == "w" else 1}
    alone = collect(lambda root: (root | ReadRecords(sources={"x": [f"{tree}/a"]})).blocks)
    assert all("source" not in block.schema.names for _, block in alone)


@pytest.mark.parametrize("span_bytes", [7, 1 << 20])
def test_reports_say_what_was_read_of_each_file(tree: Path, span_bytes: int) -> None:
    options = ReadOptions(line_format=LineFormat(header_lines=1, header=b"one\n"))
    (tree / "a/open.txt").write_bytes(b"one\nopen")
    (tree / "a/empty.txt").write_bytes(b"one\n")
    found: list[SpanReports] = collect(
        lambda root: (
            (
                root
                | ReadRecords(sources={"s": [f"{tree}/a"]}, span_bytes=span_bytes, options=options)
            ).spans
        )
    )
    reports = [report for several in found for report in several]
    assert all(report.file.size for report in reports)
    for name in ("plain.txt", "open.txt", "empty.txt"):
        mine = [report for report in reports if report.file.name == name]
        content = (tree / "a" / name).read_bytes()
        rows = [Row(0, line) for _, line in plain_lines(content, begin=4)]
        assert [Digest.total(report.digest for report in mine)] == digests_of(rows)
        assert sum(report.covered for report in mine) == len(content)
        assert {report.whole for report in mine} == {len(content)}


def test_another_separator_cuts_elsewhere(tree: Path) -> None:
    read = ReadRecords(
        sources={"s": [f"{tree}/b/deep"]},
        span_bytes=100,
        options=ReadOptions(line_format=LineFormat(separator=0)),
    )
    content = FILES["b/deep/bytes.bin"]
    assert found(read) == [
        (FileId("s", "bytes.bin"), place, line) for place, line in plain_lines(content, separator=0)
    ]


def refused(transform: ReadRecords) -> str:
    with pytest.raises(Exception, match=r"run again|fetch") as caught:
        collect(lambda root: (root | transform).blocks)
    error = caught.value
    ours = error if isinstance(error, DovetailError) else from_traceback(str(error)) or error
    assert isinstance(ours, DovetailError)
    return str(ours)


def test_a_listing_that_changed_since_the_plan_is_refused(tree: Path) -> None:
    sources = {"s": [f"{tree}/a"]}
    planned = fingerprint(list_sources(sources))
    assert len(found(ReadRecords(sources=sources, expected=planned))) == 6
    (tree / "a/new.txt").write_bytes(b"new\n")
    message = refused(ReadRecords(sources=sources, expected=planned))
    assert "changed between planning and reading" in message


@pytest.mark.parametrize("when", [1, 2], ids=["before it is read", "while it is read"])
def test_a_file_that_changes_during_the_run_is_refused_by_name(
    tree: Path, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    looks = []

    def look(file: SourceFile) -> None:
        looks.append(file)
        if len(looks) == when:
            (tree / "a/plain.txt").write_bytes(b"more than before\n" * 9)
        check_unchanged(file)

    monkeypatch.setattr("transforms.datasets.read.check_unchanged", look)
    monkeypatch.setattr("transforms.formats.small_files.SMALL", -1)
    message = refused(ReadRecords(sources={"s": [f"{tree}/a/plain.txt"]}))
    assert "a/plain.txt: the file changed during the run" in message


@pytest.mark.parametrize(
    ("change", "says"),
    [("grow", "changed during the run"), ("touch", "changed during the run"), ("drop", "vanished")],
)
def test_a_file_is_what_was_listed_or_refused(tree: Path, change: str, says: str) -> None:
    path = tree / "a/plain.txt"
    (file,) = list_sources({"s": [str(path)]})
    check_unchanged(file)
    if change == "grow":
        path.write_bytes(path.read_bytes() + b"x")
    elif change == "touch":
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))
    else:
        path.unlink()
    with pytest.raises(DataError, match=says) as caught:
        check_unchanged(file)
    assert str(caught.value).startswith(file.url)


def test_a_damaged_file_is_refused_by_name_and_codec(tree: Path) -> None:
    (tree / "a/x.gz").write_bytes(b"\x1f\x8b\x08\x00whatever")
    message = refused(ReadRecords(sources={"s": [f"{tree}/a"]}))
    assert "a/x.gz: " in message
    assert "truncated: the gzip member" in message


@given(sizes=st.lists(st.integers(0, 1000), max_size=5), span_bytes=st.integers(1, 400))
def test_spans_tile_each_file_evenly(sizes: list[int], span_bytes: int) -> None:
    files = [SourceFile("s", str(i), "", size, "") for i, size in enumerate(sizes)]
    spans = [span for several in cut_spans(files, span_bytes) for span in several]
    for file in files:
        mine = [span for span in spans if span.file == file]
        edges = [mine[0].start, *(span.stop for span in mine)]
        assert [span.start for span in mine] == edges[:-1]
        assert (edges[0], edges[-1]) == (0, file.size)
        lengths = {span.stop - span.start for span in mine}
        assert max(lengths) <= span_bytes
        assert max(lengths) - min(lengths) <= 1
        assert file.size == 0 or 0 not in lengths


def test_a_file_of_a_store_is_read_alike() -> None:
    with storage.open_write("memory://read/x.txt") as file:
        storage.write_all(file, b"a\nb")
    read = ReadRecords(sources={"s": ["memory://read/*"]}, span_bytes=2)
    assert found(read) == [(FileId("s", "x.txt"), 0, b"a"), (FileId("s", "x.txt"), 2, b"b")]
