"""Many small files: dealt out, read and reported together, and what comes of them is the same."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipelines.support import read_shards, run
from tests.transforms.helpers import collect
from transforms.datasets.identity import FileId, FileIds
from transforms.datasets.listing import list_source
from transforms.datasets.map_shards import cut_shards
from transforms.datasets.read import ReadRecords, SpanReader
from transforms.datasets.reports import SpanReport
from transforms.datasets.source_files import Files, SourceFile
from transforms.datasets.spans import MOST, MOST_BYTES, Spans, cut_spans, group_spans
from transforms.errors import DovetailError
from transforms.formats import parquet_files, small_files
from transforms.formats.kept import Kept
from transforms.formats.line_format import LineFormat
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import open_span
from transforms.kernels.randomness import record_keys
from transforms.kernels.records import blocks

ODD = {
    "empty.txt": b"",
    "open.txt": b"no end",
    "blank.txt": b"\n\n",
    "plain.txt": b"one\ntwo\n",
    "crlf.txt": b"one\r\ntwo",
    "mark.txt": b"\xef\xbb\xbfone\n",
    "bad.txt": b"this \xff is no text\nbut this is\n",
    "rows.jsonl": b'{"a":1}\n\n{"a":2}\n',
    "array.json": b'[{"a":1},{"a":2}]',
    "pretty.json": b'{\n "a": 1\n}\n',
    "row.json": b'{"a":1}',
    "texts-0.jsonl": b'{"a":"x","b":1}\n{"a":"","b":2}',
    "texts-1.jsonl": b'{"a":"y","b":3}\n',
    "texts-2.txt": b'{"a":"z"}\n',
    "packed.txt.gz": gzip.compress(b"packed\nlines\n", mtime=0),
    "table.csv": b"a,b\n1,2\n",
    "large.txt": b"much of it\n" * 7000,
}


PLAIN = tuple(name for name in ODD if not name.startswith("texts"))
B = pa.schema([("b", pa.int64())])


class Made(NamedTuple):
    """What reading gave."""

    rows: list[tuple[FileId, int, bytes]]
    reports: list[SpanReport]
    blocks: int


def read(folder: Path, *, options: ReadOptions | None = None, **config: Any) -> Made:
    """Read a folder's files as a worker does, all of them in one group after another."""
    reader = SpanReader(
        ReadRecords(sources={"s": [str(folder)]}, options=options or ReadOptions(), **config)
    )
    reader.setup()
    rows, count = [], 0
    reports: list[SpanReport] = []
    for spans in cut_spans(list_source("s", [str(folder)]), 1 << 20):
        for group in group_spans(spans):
            for origin, joined in reader.read(group, reports.extend):
                count += 1
                for file, block in origin.each(joined):
                    places = blocks.column(block, "position").tolist()
                    rows += [
                        (file, *row) for row in zip(places, blocks.records(block), strict=True)
                    ]
    return Made(rows, sorted(reports, key=lambda report: report.number), count)


def outcome(folder: Path, options: ReadOptions) -> Any:
    """Return rows and reports, or why there are none."""
    try:
        return read(folder, options=options, on_bad_record="skip")[:2]
    except DovetailError as error:
        return str(error)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    "options",
    [
        ReadOptions(),
        ReadOptions(check="utf8"),
        ReadOptions(check="json"),
        ReadOptions(format="lines"),
        ReadOptions(line_format=LineFormat(separator=0)),
        ReadOptions(record_limit=100),
        ReadOptions(chunk_bytes=10),
        ReadOptions(text_field="a"),
        ReadOptions(text_field=""),
        ReadOptions(
            text_field="a", validate=lambda block: {0: "the first"} if len(block) > 2 else {}
        ),
        ReadOptions(text_field="a", kept=Kept(names=("b",), schema=B, kinds=("integer",))),
    ],
    ids=[
        "any",
        "utf8",
        "json",
        "lines",
        "NUL",
        "limit",
        "chunks",
        "texts",
        "whole",
        "judged",
        "kept",
    ],
)
@pytest.mark.parametrize("left_out", [(), ("bad.txt", "table.csv", "array.json"), PLAIN])
def test_small_files_give_what_each_gives_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: ReadOptions, left_out: Sequence[str]
) -> None:
    folder = write(tmp_path / "in", {k: v for k, v in ODD.items() if k not in left_out})
    together = outcome(folder, options)
    monkeypatch.setattr(small_files, "SMALL", -1)
    assert together == outcome(folder, options)


@given(
    contents=st.lists(
        st.binary(max_size=6) | st.text("a\n", max_size=6).map(str.encode), max_size=8
    )
)
def test_so_do_files_of_any_bytes(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("in") / "x"
    write(folder, {f"{i}.txt": b"." + content for i, content in enumerate(contents)} | {"x": b"."})
    together = read(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_files, "SMALL", -1)
        alone = read(folder)
    assert together[:2] == alone[:2]


def test_a_group_that_is_read_again_gives_the_same(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", ODD)
    first, second = (read(folder, on_bad_record="skip") for _ in range(2))
    assert first == second


def test_files_of_a_record_become_few_blocks_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "in", {f"{i:05}.txt": b"line %d\n" % i for i in range(2500)})
    assert read(folder).blocks == 3
    reading = ReadRecords(sources={"s": [str(folder)]})
    reports = collect(lambda root: (root | reading).spans)
    assert [len(report) for report in reports] == [1000, 1000, 500]
    monkeypatch.setattr(small_files, "SMALL", -1)  # of other formats too, blocks are joined
    assert read(folder).blocks == 3


def test_a_bad_record_ends_the_run_though_others_are_read_with_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.txt": b"good\n", "b.txt": b"\xff\n"})
    with pytest.raises(DovetailError, match=r"b\.txt: .*not UTF-8"):
        read(folder, options=ReadOptions(check="utf8"))


@pytest.mark.parametrize("change", [b"more than before\n", None], ids=["changed", "gone"])
def test_a_small_file_that_changes_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: bytes | None
) -> None:
    folder = write(tmp_path / "in", {"a.txt": b"good\n", "b.txt": b"good\n"})
    list_once = cut_spans

    def cut(files: Files, span_bytes: int) -> Iterator[Spans]:
        (folder / "b.txt").write_bytes(change) if change else (folder / "b.txt").unlink()
        return list_once(files, span_bytes)

    monkeypatch.setitem(read.__globals__, "cut_spans", cut)
    with pytest.raises(DovetailError, match=r"b\.txt: the file (changed|vanished) during the run"):
        read(folder)


def files_of(sizes: Sequence[int], *, source: str = "s") -> list[SourceFile]:
    return [SourceFile(source, str(i), f"file:///{i}", size, "") for i, size in enumerate(sizes)]


@given(st.lists(st.integers(0, 3 * MOST_BYTES), max_size=30), st.integers(1, 30))
def test_spans_are_dealt_out_in_order_in_groups_of_a_bounded_size(
    sizes: list[int], others: int
) -> None:
    files = files_of(sizes[:others]) + files_of(sizes[others:], source="t")
    (spans,) = list(cut_spans(files, MOST_BYTES * 2)) or [Spans.of([])]
    groups = list(group_spans(spans))
    assert [span for group in groups for span in group] == list(spans)
    for group in groups:
        assert len({span.file.source for span in group}) == 1
        assert len(group) == 1 or group.sizes.sum() <= MOST_BYTES
    for one, other in itertools.pairwise(groups):
        same = one.source == other.source
        assert not same or one.sizes.sum() + other.sizes[0] > MOST_BYTES


def test_ten_thousand_small_files_are_dealt_out_as_some_groups() -> None:
    groups = [
        g for spans in cut_spans(files_of([300] * 10_000), 1 << 20) for g in group_spans(spans)
    ]
    assert len(groups) <= 10_000 // MOST + 3
    assert max(map(len, groups)) == MOST


def test_many_files_key_their_records_as_each_does_alone() -> None:
    ids = FileIds("web", ("a", "b", "none", "c"), (2, 1, 0, 3), pass_number=1)
    positions = np.array([0, 9, 0, 0, 4, 9], np.uint64)
    block = pa.record_batch({"position": positions})
    keys = record_keys(ids.key(seed=7, epoch=1, pass_number=2), positions)
    alone = [
        record_keys(file.key(seed=7, epoch=1, pass_number=2), blocks.column(part, "position"))
        for file, part in ids.each(block)
    ]
    assert keys.tolist() == np.concatenate(alone).tolist()
    assert [file for file, _ in ids.each(block)] == [FileId("web", n, 1) for n in ids.names]
    assert [ids.name_of(row) for row in range(6)] == ["a", "a", "b", "c", "c", "c"]


def deal_plainly(sizes: Sequence[int], shards: int) -> list[list[int]]:
    """Cut spans into shards, one by one."""
    shards = min(shards, len(sizes))
    total = sum(sizes)
    out: list[list[int]] = [[] for _ in range(shards)]
    begin = number = 0
    for place, size in enumerate(sizes):
        ahead = number + 1 < shards and begin * shards >= total * (number + 1)
        if out[number] and (ahead or len(sizes) - place <= shards - number - 1):
            number += 1
        out[number].append(place)
        begin += size
    return out


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(1, 25))
def test_shards_are_cut_where_they_would_be_cut_one_by_one(sizes: list[int], shards: int) -> None:
    edges = cut_shards(sizes, shards)
    cut = [list(range(*edge)) for edge in itertools.pairwise(edges)]
    assert cut == deal_plainly(sizes, shards)


def test_a_dataset_of_small_files_is_byte_for_byte_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in", {f"{i:04}.txt": b"line %d\nand more" % i for i in range(300)})
    flags = (f"--input={tmp_path / 'in'}", "--num_shards=3", "--workers=1", "--seed=5")
    run(*flags, f"--output={tmp_path / 'together'}")
    monkeypatch.setattr(small_files, "SMALL", -1)
    run(*flags, f"--output={tmp_path / 'alone'}")
    assert read_shards(tmp_path / "together") == read_shards(tmp_path / "alone")


def test_the_footer_of_a_file_of_many_row_groups_is_parsed_once_for_all_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "_LONG_FOOTER", 1000)
    parsed = []

    class Counted(pq.ParquetFile):  # type: ignore[misc]  # pyarrow is untyped
        def __init__(self, *args: Any, **options: Any) -> None:
            if options.get("metadata") is None:
                parsed.append(1)
            super().__init__(*args, **options)

    found = []
    for name in "ab":
        path = tmp_path / name
        table = pa.table({"text": [f"{name} {i}" for i in range(60)]})
        pq.write_table(table, path, row_group_size=1)
        size = path.stat().st_size
        with monkeypatch.context() as patch, path.open("rb", buffering=0) as file:
            patch.setattr(pq, "ParquetFile", Counted)
            for i in range(20):
                reader = open_span(
                    file,
                    ReadTask(
                        name=name,
                        size=size,
                        start=size * i // 20,
                        stop=size * (i + 1) // 20,
                        options=ReadOptions(rows=True, schema=table.schema),
                    ),
                )
                for block, _, _ in reader:
                    found += block.column("record").field("text").to_pylist()
    assert found == [f"{name} {i}" for name in "ab" for i in range(60)]
    assert len(parsed) == 2


@pytest.mark.parametrize("chunk_bytes", [10, 1500, 2000, 3000, 10_000])
def test_records_come_in_the_order_of_files_and_lines_whatever_is_joined(
    tmp_path: Path, chunk_bytes: int
) -> None:
    sizes = [300, 1200, 30, 700, 1400, 1, 2500, 400, 900, 60, 1100]
    files = {f"{i:02}.json": b"[%s]" % b",".join([b"7" * size]) for i, size in enumerate(sizes)}
    files |= {f"{i:02}.txt": b"8" * size + b"\n" for i, size in enumerate(sizes, len(sizes))}
    folder = write(tmp_path / "in", files)
    rows = read(folder, options=ReadOptions(chunk_bytes=chunk_bytes)).rows
    assert [(file.name, len(record)) for file, _, record in rows] == [
        (name, size) for name, size in zip(files, [*sizes, *sizes], strict=True)
    ]
