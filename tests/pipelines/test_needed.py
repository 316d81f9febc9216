"""A mixture spills about what it uses; what it doesn't spill is counted, proved, and never missed."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.verify import verify
from tests.pipelines.support import Tree, cut_otherwise, read_shards, run, write_tree
from transforms.datasets import read
from transforms.datasets.identity import REREAD
from transforms.datasets.manifest import Manifest
from transforms.datasets.spans import Spans
from transforms.errors import LosslessError
from transforms.kernels.records import blocks
from transforms.mixing import counted, interleave
from transforms.shuffling import partition, spill_files
from transforms.shuffling.spill_pages import STREAM_TABLE

Patch = pytest.MonkeyPatch
OWN = {"run_id", "started", "ended"}


def lines(count: int, name: str) -> bytes:
    return b"".join(b"%s%d%s\n" % (name.encode(), i, b"." * (i * i % 97)) for i in range(count))


SOURCES = {
    "books": {"b.txt": lines(2_000, "book")},
    "web": {"w.txt": lines(30_000, "web"), "v.txt": lines(14_000, "other")},
}
MANY = {"bucket_bytes": 40_000, "run_bytes": 300_000, "page_bytes": 30_000, "span_bytes": 1 << 20}
ASKED = {
    "as one": ["--max_records=3000"],
    "as one, bytes": ["--max_bytes=200000"],
    "first exhausted": ["--weights=books=0.4,web=0.6"],
    "stratified": ["--weights=books=0.4,web=0.6", "--interleave=stratified"],
    "as needed": ["--weights=books=0.5,web=0.5", "--max_records=9000"],
    "bytes": ["--weights=books=0.2,web=0.8", "--max_bytes=300000"],
    "by bytes": ["--weights=books=0.2,web=0.8", "--weigh_by=bytes", "--max_bytes=250000"],
    "repeats": ["--repeats=books=2.5,web=0.1"],
    "repeats, cut": ["--repeats=books=1,web=1", "--max_records=4000"],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("needed")
    for name, files in SOURCES.items():
        write_tree(found / name, files)
    return found


Made = tuple[Tree, dict[str, Any]]


@pytest.fixture(scope="module")
def whole(root: Path) -> dict[str, Made]:
    """Each mixture, made with all of its sources spilled: shards and manifest."""
    found = {}
    with Patch.context() as patch:
        patch.setattr(interleave, "needed_share", lambda *_, **__: 1.0)
        for name, flags in ASKED.items():
            manifest = mix(root, root / f"whole-{name}", *flags)
            found[name] = read_shards(root / f"whole-{name}"), manifest.model_dump(exclude=OWN)
    return found


def mix(root: Path, output: Path, *flags: str) -> Manifest:
    inputs = [f"--input={name}={root / name}" for name in SOURCES]
    with cut_otherwise(**MANY):
        return run(*inputs, f"--output={output}", "--num_shards=3", *flags)


@pytest.fixture
def spilled(monkeypatch: Patch) -> list[int]:
    """Bytes of records in each page that is spilled, by stream: of first passes of two sources."""
    found = [0, 0]
    real = spill_files.end_spill

    def end_spill(file: Any, url: str, rows: list[tuple[int, ...]], **how: Any) -> bytes:
        table = np.array(rows, STREAM_TABLE)
        for stream in (0, 1):
            found[stream] += int(table["bytes"][table["stream"] == stream].sum())
        return real(file, url, rows, **how)

    monkeypatch.setattr(spill_files, "end_spill", end_spill)
    return found


def guess(patch: Patch, share: float) -> None:
    """Have what is needed guessed to be this share of a source."""
    patch.setattr(interleave, "needed_share", lambda *_, **__: share)


@pytest.mark.parametrize("asked", ASKED)
def test_about_as_much_is_spilled_as_is_used_and_no_byte_changes(
    root: Path, whole: dict[str, Made], tmp_path: Path, asked: str, spilled: list[int]
) -> None:
    manifest = mix(root, tmp_path / "o", *ASKED[asked])
    shards, expected = whole[asked]
    assert read_shards(tmp_path / "o") == shards
    assert manifest.model_dump(exclude=OWN) == expected
    assert manifest.mixture is not None
    web = manifest.mixture[1].written.bytes
    if manifest.mixture[0].passes_finished == 0 and "as one" in asked:
        web += manifest.mixture[0].written.bytes  # they are one stream
        spilled = [0, sum(spilled)]
    all_ = sum(map(len, SOURCES["web"].values()))
    assert web < 0.2 * all_
    assert web <= spilled[1] <= 1.5 * web
    assert verify(str(tmp_path / "o"))[1] == []


@pytest.mark.parametrize(
    ("asked", "share"),
    [*((asked, 0.0001) for asked in ASKED), ("bytes", 0.04), ("stratified", 0.04), ("bytes", 0.5)],
)
def test_a_guess_that_falls_short_costs_time_and_no_byte(
    root: Path,
    whole: dict[str, Made],
    tmp_path: Path,
    asked: str,
    share: float,
    spilled: list[int],
    monkeypatch: Patch,
) -> None:
    guess(monkeypatch, share)
    again = count_reads(monkeypatch)
    manifest = mix(root, tmp_path / "o", *ASKED[asked])
    shards, expected = whole[asked]
    assert read_shards(tmp_path / "o") == shards
    assert manifest.model_dump(exclude=OWN) == expected
    assert manifest.mixture is not None
    web = manifest.mixture[1].written.bytes
    if share == 0.0001:
        assert set(again) >= {"w.txt", "v.txt"}
        assert sum(spilled) <= 1.5 * sum(entry.written.bytes for entry in manifest.mixture)
    if share == 0.5 and "as one" not in asked:
        assert "w.txt" not in again
        assert spilled[1] > 2 * web


def count_reads(patch: Patch) -> list[str]:
    """Return a list that grows by each file that is read once more."""
    found: list[str] = []
    real = read.SpanReader.read

    def spans(self: Any, some: Spans, report: Any) -> Any:
        found.extend(span.file.name for span in some if span.pass_number == REREAD)
        return real(self, some, report)

    patch.setattr(read.SpanReader, "read", spans)
    return found


@pytest.mark.parametrize(
    ("asked", "share"), [("bytes", None), pytest.param("as one", 0.01, marks=pytest.mark.slow)]
)
def test_so_it_is_with_worker_processes(
    root: Path,
    whole: dict[str, Made],
    tmp_path: Path,
    asked: str,
    share: float | None,
    monkeypatch: Patch,
) -> None:
    if share is not None:
        guess(monkeypatch, share)
    manifest = mix(root, tmp_path / "o", *ASKED[asked], "--workers=2")
    assert read_shards(tmp_path / "o") == whole[asked][0]
    assert manifest.model_dump(exclude=OWN) == whole[asked][1]


def test_of_rows_whose_number_is_known_hardly_more_is_spilled_than_is_used(
    tmp_path: Path, spilled: list[int]
) -> None:
    table = pa.table({"text": [f"row {i} " * 9 for i in range(60_000)]})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "a.parquet", row_group_size=5000)
    with cut_otherwise(**MANY):
        manifest = run(
            f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", "--max_records=12000"
        )
    assert manifest.mixture is not None
    used = manifest.mixture[0].written.bytes
    assert used <= sum(spilled) <= 1.15 * used


# ---- what isn't spilled is proved all the same

LESS = ["--weights=books=0.4,web=0.6"]


def harm(patch: Patch, how: Any) -> None:
    """Change what the step that leaves records out gives, once."""
    done: list[int] = []

    def cut_to_buckets(block: Any, low: int, high: int, **asked: Any) -> Any:
        kept, tally = blocks.cut_to_buckets(block, low, high, **asked)
        if len(kept) in (0, len(block)) or done:
            return kept, tally
        done.append(1)
        return how(block, kept, tally)

    other = types.SimpleNamespace(**{**vars(blocks), "cut_to_buckets": cut_to_buckets})
    patch.setattr(partition, "blocks", other)


def lost(block: Any, kept: Any, tally: Any) -> Any:
    return kept.slice(1), tally


def doubled(block: Any, kept: Any, tally: Any) -> Any:
    return kept.take(pa.array([0, *range(len(kept))])), tally


def in_both(block: Any, kept: Any, tally: Any) -> Any:
    return block, tally


def other_records_beyond(block: Any, kept: Any, tally: Any) -> Any:
    records, sizes, beyond = tally
    return kept, (records, sizes, type(beyond)(beyond.records, beyond.bytes, 1, 2))


@pytest.mark.parametrize(
    ("how", "share"),
    [
        *((how, None) for how in (lost, doubled, in_both, other_records_beyond)),
        # read once more, what was beyond at first is of no use
        *((how, 0.01) for how in (lost, doubled, in_both)),
    ],
)
def test_a_fault_where_records_are_left_out_is_caught(
    root: Path, tmp_path: Path, monkeypatch: Patch, *, how: Any, share: float | None
) -> None:
    harm(monkeypatch, how)
    if share is not None:
        guess(monkeypatch, share)
    with pytest.raises(LosslessError, match=r"source (web|books), pass 0: read"):
        mix(root, tmp_path / "o", *LESS)
    assert not (tmp_path / "o").exists()


def test_a_guess_that_is_too_short_and_goes_unnoticed_is_caught(
    root: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    guess(monkeypatch, 0.01)
    monkeypatch.setattr(counted, "buckets_holding", lambda counts, wanted: 1)
    with pytest.raises(LosslessError, match="were spilled"):
        mix(root, tmp_path / "o", *LESS)
