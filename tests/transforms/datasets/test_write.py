"""Writing: shards as they should be, and a writer or runner that loses anything is caught."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest

from tests.transforms.helpers import (
    Row,
    collect,
    create,
    digests_of,
    lay_out,
    make_rows,
    make_run,
    make_runs,
    run,
    shuffle_runs,
)
from transforms.datasets.files_read import add_up
from transforms.datasets.reports import (
    ShardReport,
    ShardReports,
    SpanReport,
    SpanReports,
    digests_in,
)
from transforms.datasets.source_files import SourceFile
from transforms.datasets.write import Ordered, WriteShards, write_shard
from transforms.datasets.write_manifest import WriteManifest, make_manifest
from transforms.errors import DataError, LosslessError, RunError, from_traceback
from transforms.formats.line_format import LineFormat
from transforms.formats.writing import ShardFormat
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.shuffling.groups import BlockGroup
from transforms.shuffling.shuffle import PlainShard
from transforms.shuffling.streams import Streams
from transforms.storage import layout

ROWS = make_rows(60, sources=2)
ORDER = sorted(ROWS)
TEXT = b"".join(row.record + b"\n" for row in ORDER)
SHARD = PlainShard(0, 1, (), ranges=1, streams=Streams.as_one(["one", "two"], seed=0), folders=())


def span(rows: Sequence[Row], *, sources: Sequence[str] = ("one", "two")) -> list[SpanReports]:
    """What readers report of rows that come from no file."""
    digests = digests_of(rows, sources=len(sources))
    return [
        SpanReports.of([SpanReport(SourceFile(name, "", "", 0, ""), digest)])
        for name, digest in zip(sources, digests, strict=True)
    ]


def dataset(
    root: Any,
    output: Path,
    *,
    shard_records: int | None = None,
    run_id: str = "",
    line_format: LineFormat | None = None,
    release: bool = False,
) -> None:
    """The second half of a shuffle: from runs to a manifest."""
    shards = shuffle_runs(
        root | create(make_runs(ROWS, 3, sources=2)),
        ranges=3,
        folder=f"{output}/spill",
        page_bytes=800,
        sources=2,
        shard_records=shard_records,
    ) | WriteShards(
        output=str(output),
        run_id=run_id,
        extension=".jsonl",
        sources=2,
        form=ShardFormat(line_format=line_format or LineFormat()),
        release=release,
    )
    spans = root | "Spans" >> create(span(ROWS))
    (spans, shards) | WriteManifest(
        output=str(output),
        sources=["one", "two"],
        recipe={"a": 1},
        seed=3,
        epoch=4,
        started="then",
        run_id=run_id,
    )


def published(output: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.relative_to(output).parts[0] in ("data", "manifest.json")
    }


def caught(build: Callable[[Any], Any]) -> BaseException:
    """Run a pipeline that must fail, and return our error."""
    with pytest.raises(Exception) as info:  # noqa: PT011  # Beam's, with ours in its text
        run(build)
    error = info.value
    return error if isinstance(error, RunError) else from_traceback(str(error)) or error


@pytest.mark.parametrize("shard_records", [None, 25], ids=["plain", "counted"])
def test_a_dataset_holds_the_records_and_a_manifest_that_describes_it(
    tmp_path: Path, shard_records: int | None
) -> None:
    run(lambda root: dataset(root, tmp_path, shard_records=shard_records))
    files = published(tmp_path)
    manifest = json.loads(files.pop("manifest.json"))
    assert list(files) == [f"data/train-{i:05d}-of-00003.jsonl" for i in range(3)]
    assert b"".join(files.values()) == TEXT
    assert manifest["shards"] == [
        {
            "path": path,
            "records": content.count(b"\n"),
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for path, content in files.items()
    ]
    assert (manifest["records"], manifest["bytes"]) == (60, len(TEXT))
    assert manifest["digest"] == digests_of(ROW._replace(source=0) for ROW in ROWS)[0].to_json()
    assert [(s["name"], s["digest"]) for s in manifest["sources"]] == [
        (name, digest.to_json())
        for name, digest in zip(("one", "two"), digests_of(ROWS, sources=2), strict=True)
    ]
    assert (manifest["seed"], manifest["epoch"], manifest["recipe"]) == (3, 4, {"a": 1})


def test_each_shard_has_the_header_on_top(tmp_path: Path) -> None:
    header = LineFormat(header_lines=2, header=b"a,b\n#\n")
    run(lambda root: dataset(root, tmp_path, line_format=header))
    files = published(tmp_path)
    manifest = json.loads(files.pop("manifest.json"))
    assert [content[:6] for content in files.values()] == [b"a,b\n#\n"] * 3
    assert b"".join(content[6:] for content in files.values()) == TEXT
    assert [shard["sha256"] for shard in manifest["shards"]] == [
        hashlib.sha256(content).hexdigest() for content in files.values()
    ]
    assert sum(shard["records"] for shard in manifest["shards"]) == 60
    assert manifest["bytes"] == len(TEXT) + 18


@pytest.mark.parametrize("owner", [None, "{}", '{"id": "another"}'], ids=["gone", "empty", "lost"])
def test_a_run_that_lost_its_marker_publishes_nothing(tmp_path: Path, owner: str | None) -> None:
    if owner is not None:
        (tmp_path / layout.MARKER).write_text(owner)
    (tmp_path / "_tmp-mine").mkdir()
    error = caught(lambda root: dataset(root, tmp_path, run_id="mine"))
    assert isinstance(error, RunError)
    assert "this run (mine) no longer owns the output" in str(error)
    assert published(tmp_path) == {}


def test_a_run_that_loses_its_marker_before_the_end_publishes_no_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / layout.MARKER
    marker.write_text('{"id": "mine"}')
    write = make_manifest

    def late(*args: Any, **options: Any) -> Any:
        marker.write_text('{"id": "next"}')
        return write(*args, **options)

    monkeypatch.setattr("transforms.datasets.write_manifest.make_manifest", late)
    (tmp_path / "_tmp-mine").mkdir()
    error = caught(lambda root: dataset(root, tmp_path, run_id="mine"))
    assert "now belongs to next" in str(error)
    assert "manifest.json" not in published(tmp_path)


def test_with_its_marker_a_run_publishes(tmp_path: Path) -> None:
    (tmp_path / layout.MARKER).write_text('{"id": "mine"}')
    (tmp_path / "_tmp-mine").mkdir()
    run(lambda root: dataset(root, tmp_path, run_id="mine"))
    assert len(published(tmp_path)) == 4


def test_a_writer_that_is_tried_again_writes_the_same_bytes(tmp_path: Path) -> None:
    shards = lay_out(make_runs(ROWS, 3, sources=2), ranges=3, folder=tmp_path / "spill", sources=2)
    reports = []
    for _ in range(2):  # the second time over what is there
        reports.append(
            collect(
                lambda root: (
                    root
                    | create([0, 1, 2])
                    | beam.Map(lambda i: shards[i])
                    | WriteShards(output=str(tmp_path / "out"), sources=2)
                )
            )
        )
        assert b"".join(published(tmp_path / "out").values()) == TEXT
    assert reports[0] == reports[1]
    assert list((tmp_path / "out").rglob("*.txt")) == list((tmp_path / "out" / "data").iterdir())


@pytest.mark.parametrize("shard_records", [None, 25], ids=["plain", "counted"])
def test_giving_spill_space_back_changes_no_byte(tmp_path: Path, shard_records: int | None) -> None:
    run(lambda root: dataset(root, tmp_path, shard_records=shard_records, release=True))
    files = published(tmp_path)
    del files["manifest.json"]
    assert b"".join(files.values()) == TEXT
    if shard_records is None:  # else two shards may share a bucket
        for path in tmp_path.glob("spill/*.pages"):
            assert ORDER[-1].record not in path.read_bytes()


# ---- a writer at fault ----


def ordered(rows: Sequence[Row] = ORDER, *, line_end: bytes = b"\n") -> Ordered:
    """Records in their order, and the digests that they were read with."""
    block = make_run(rows, sources=2, line_end=line_end).drop_columns(["hash0", "hash1"])
    return Ordered(block, digests_of(rows, sources=2))


def write(parts: Sequence[Ordered], *, separator: int = 10) -> tuple[ShardReport, bytes]:
    file = io.BytesIO()
    report = write_shard(
        file,
        iter(parts),
        shard=SHARD,
        path="data/x",
        form=ShardFormat(line_format=LineFormat(separator=separator)),
        sources=2,
    )
    return report, file.getvalue()


def test_a_sound_writer_passes() -> None:
    report, text = write([ordered(ORDER[:20]), ordered(ORDER[20:])])
    assert text == TEXT
    assert (report.records, report.bytes, report.sha256) == (
        60,
        len(TEXT),
        hashlib.sha256(TEXT).hexdigest(),
    )
    assert report.digests == digests_of(ROWS, sources=2)


def _taken(block: pa.RecordBatch, places: list[int]) -> pa.RecordBatch:
    return block.take(pa.array(places, pa.int64()))


AT_FAULT_BLOCK: dict[str, Callable[[list[int]], list[int]]] = {
    "drops one": lambda places: places[:7] + places[8:],
    "drops the last": lambda places: places[:-1],
    "doubles one": lambda places: [*places[:8], *places[7:]],
    "writes one for another": lambda places: [*places[:7], places[8], *places[8:]],
    "drops all": lambda places: [],
}


@pytest.mark.parametrize("fault", AT_FAULT_BLOCK.values(), ids=AT_FAULT_BLOCK)
def test_a_writer_that_loses_doubles_or_swaps_records_is_caught(
    fault: Callable[[list[int]], list[int]],
) -> None:
    good = ordered()
    bad = _taken(good.block, fault(list(range(len(good.block)))))
    with pytest.raises(LosslessError, match=r"data/x: source [01] should have"):
        write([Ordered(bad, good.expected)])


def test_a_record_under_another_source_is_caught() -> None:
    other = ordered(
        [row._replace(source=1 - row.source) if i == 5 else row for i, row in enumerate(ORDER)]
    )
    with pytest.raises(LosslessError):
        write([Ordered(other.block, ordered().expected)])


# two records whose second 8-byte words change places; then bytes that move within one word, and a
# byte that goes from the end of one record to the next: count and size stay as they were
WORDS = [
    Row(1, b"AAAAAAAABBBBBBBBtail", 0),
    Row(2, b"CCCCCCCCDDDDDDDDtail", 0),
    Row(3, b"third", 1),
]
AT_FAULT_BYTES = {
    "swaps words between records": (b"BBBBBBBB", b"DDDDDDDD"),
    "swaps words within a record": (b"AAAAAAAA", b"BBBBBBBB"),
    "moves a byte to the next record": (b"tail\nC", b"tai\nlC"),
    "flips a bit": (b"third", b"thire"),
}


@pytest.mark.parametrize(("old", "new"), AT_FAULT_BYTES.values(), ids=AT_FAULT_BYTES)
def test_bytes_that_change_on_their_way_to_the_file_are_caught(
    monkeypatch: pytest.MonkeyPatch, old: bytes, new: bytes
) -> None:
    part = ordered(WORDS)
    payload = blocks.payload

    def changed(block: pa.RecordBatch) -> memoryview:
        data = bytes(payload(block))
        assert old in data
        return memoryview(data.replace(old, b"\0" * 9, 1).replace(new, old).replace(b"\0" * 9, new))

    monkeypatch.setattr("transforms.datasets.write.blocks.payload", changed)
    with pytest.raises(LosslessError, match="data/x"):
        write([part])


def test_a_writer_at_fault_fails_the_run_and_no_manifest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = PlainShard.ordered

    def forgetful(self: PlainShard) -> Iterator[Ordered]:
        for part in walk(self):
            yield part._replace(block=part.block.slice(1))

    monkeypatch.setattr(PlainShard, "ordered", forgetful)
    error = caught(lambda root: dataset(root, tmp_path))
    assert isinstance(error, LosslessError)
    assert published(tmp_path) == {}


def test_a_page_that_goes_with_its_digest_is_missed_by_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = BlockGroup.read
    monkeypatch.setattr(BlockGroup, "read", lambda *args, **options: read(*args, **options)[1:])
    error = caught(lambda root: dataset(root, tmp_path))
    assert isinstance(error, LosslessError)
    assert "the sources one, two" in str(error)
    assert "manifest.json" not in published(tmp_path)


# ---- separators ----


def test_a_record_that_holds_the_separator_is_refused() -> None:
    with pytest.raises(DataError, match=r"^data/x: .*a record holds the separator b'\\x0a'"):
        write([ordered([Row(1, b"fine"), Row(2, b"two\nlines")])])


def test_a_separator_between_records_may_be_data_under_another() -> None:
    _, text = write([ordered([Row(1, b"two\nlines"), Row(2, b"")], line_end=b"\0")], separator=0)
    assert text == b"two\nlines\0\0"


@pytest.mark.parametrize("line_end", [b"", b"\0"], ids=["none", "another"])
def test_records_that_do_not_end_in_the_separator_are_refused(line_end: bytes) -> None:
    with pytest.raises(DataError, match="--separator"):
        write([ordered([Row(1, b"one"), Row(2, b"two")], line_end=line_end)])


# ---- the manifest's own checks ----

REPORTS = [
    ShardReport(i, 3, f"data/{i}", 20, 1, "0" * 64, digests_of(ORDER[i::3], sources=2))
    for i in range(3)
]


def manifest(shards: Sequence[ShardReport], spans: Sequence[SpanReport] | None = None) -> Any:
    return make_manifest(
        add_up(
            span(ROWS) if spans is None else [SpanReports.of(spans)], ["one", "two"], expected=None
        ),
        ShardReports.of(shards, sources=2),
        None,
        WriteManifest(output="", sources=["one", "two"], recipe={}, seed=0, epoch=0),
    )


def test_shards_may_report_in_any_order() -> None:
    found = manifest([REPORTS[i] for i in (2, 0, 1)])
    assert [shard.path for shard in found.shards] == ["data/0", "data/1", "data/2"]


# an empty one, whose digest no sum would miss
EMPTY = ShardReport(3, 4, "data/3", 0, 0, "0" * 64, [Digest(), Digest()])
OF_4 = [replace(report, of=4) for report in REPORTS]


def test_a_shard_may_be_empty() -> None:
    assert len(manifest([*OF_4, EMPTY]).shards) == 4


@pytest.mark.parametrize(
    "shards",
    [
        [],
        REPORTS[:2],
        REPORTS[1:],
        [*REPORTS, REPORTS[1]],
        [REPORTS[0], REPORTS[0], REPORTS[2]],
        OF_4,
        [*OF_4, EMPTY, EMPTY],
    ],
    ids=[
        "none",
        "last missing",
        "first missing",
        "one twice",
        "one in another's place",
        "an empty one missing",
        "an empty one twice",
    ],
)
def test_shards_that_are_missing_or_double_are_refused(shards: list[ShardReport]) -> None:
    with pytest.raises(LosslessError):
        manifest(shards)


@pytest.mark.parametrize("source", [0, 1])
@pytest.mark.parametrize("field", ["records", "bytes", "hash0", "hash1"])
def test_a_digest_that_differs_in_anything_names_its_source(source: int, field: str) -> None:
    digests = list(REPORTS[1].digests)
    digests[source] = replace(digests[source], **{field: getattr(digests[source], field) + 1})
    with pytest.raises(LosslessError, match=f"source {source} should have"):
        manifest([REPORTS[0], replace(REPORTS[1], digests=digests), REPORTS[2]])


@pytest.mark.parametrize(("size", "fits"), [(12, True), (11, False), (13, False)])
def test_every_byte_of_a_file_must_be_accounted_for(size: int, fits: bool) -> None:
    # 3 bytes of header, then "ab", "", "cde" with two ends in this file: 3 + 3 + 1 + 3 = 10, and
    # of a second span "x" and its end
    file = SourceFile("one", "a", "file:///a", size, "")
    first, second = (
        digests_of([Row(0, b"ab"), Row(0, b""), Row(0, b"cde")]),
        digests_of([Row(0, b"x")]),
    )
    spans = [
        SpanReport(file, first[0], covered=10, whole=size),
        SpanReport(file, second[0], covered=2, whole=size),
    ]
    shard = ShardReport(0, 1, "data/0", 4, 10, "0" * 64, [first[0] + second[0], Digest()])
    if fits:
        assert manifest([shard], spans).sources[0].files[0].records == 4
    else:
        with pytest.raises(
            DataError, match=f"file:///a: expected to read {size} bytes or rows, read 12"
        ):
            manifest([shard], spans)


def test_reports_of_shards_are_added_up_however_they_come() -> None:
    reports = [replace(report, unused=report.digests) for report in REPORTS]
    some = ShardReports.of(reports[1:], sources=2)
    found = ShardReports.of([ShardReports.of([], sources=2), reports[0], some], sources=2)
    assert digests_in(found.digests) == digests_of(ORDER, sources=2)
    assert digests_in(found.unused) == digests_of(ORDER, sources=2)
    assert sorted(shard.number for shard in found.shards) == [0, 1, 2]


def test_what_a_thousand_shards_of_a_thousand_sources_report_stays_small() -> None:
    digests = [Digest(i + 1, 2, 3, 2**64 - 1 - i) for i in range(1000)]
    one = ShardReport(0, 1000, "data/0", 1, 1, "0" * 64, digests, digests)
    found = ShardReports.of((replace(one, number=i) for i in range(1000)), sources=1000)
    assert len(pickle.dumps(found)) < 1 << 20  # with all digests it would be some 50 MB
    assert digests_in(found.digests)[7] == Digest.total([digests[7]] * 1000)


@pytest.mark.parametrize("of", [1, 99_999, 100_000, 100_001, 200_000])
def test_shards_in_the_order_of_names_are_in_the_order_of_numbers(of: int) -> None:
    numbers = sorted({0, 1, 9_999, of // 2, 99_999, 100_000, of - 1} & set(range(of)))
    paths = [layout.shard_path(split="x", number=i, of=of, extension=".a") for i in numbers]
    assert paths == sorted(paths)
    for path, number in zip(paths, numbers, strict=True):
        assert layout.is_shard_path(path, number=number, of=of)
        assert not layout.is_shard_path(path, number=number + 1, of=of)
