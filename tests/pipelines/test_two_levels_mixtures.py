"""Mixtures in two levels of the exchange: the same bytes, no more spilled, and proof."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bench.request_model import count_requests
from pipelines.jobs import build
from pipelines.jobs.job import Job
from pipelines.verify import verify
from tests.pipelines.support import (
    Tree,
    count_asked,
    cut_otherwise,
    cut_twice,
    read_shards,
    run,
    write_tree,
)
from tests.pipelines.test_two_levels import BYTES, FILES, FOOTPRINT, PIECE, RECORDS, TINY
from transforms.datasets import read, write
from transforms.datasets.identity import REREAD
from transforms.datasets.manifest import Manifest
from transforms.errors import DovetailError, LosslessError
from transforms.kernels.records.ranges import WHOLE
from transforms.mixing import interleave
from transforms.shuffling import partition, spill_files
from transforms.shuffling.groups import BlockGroup
from transforms.shuffling.spill_pages import STREAM_TABLE
from transforms.shuffling.streams import Streams

OWN = {"run_id", "started", "ended"}  # of each run


def lines(count: int, name: str) -> bytes:
    return b"".join(b"%s%d%s\n" % (name.encode(), i, b"." * (i * i % 97)) for i in range(count))


SOURCES = {
    "books": {"b.txt": lines(2_000, "book")},
    "notes": {"n.txt": lines(40, "note")},
    "web": {"w.txt": lines(16_000, "web"), "v.txt": lines(9_000, "other")},
}
BOOKS, NOTES, WEB = range(3)  # streams of their first passes, of three a pass
CUT = {"bucket_bytes": 60_000, "run_bytes": 150_000, "page_bytes": 15_000, "span_bytes": 100_000}
WEIGHTS = "--weights=books=0.3,notes=0.1,web=0.6"
ASKED = {
    "repeats": ["--repeats=books=2.5,notes=20,web=1"],  # later passes of a large source
    "as needed": ["--weights=books=0.7,notes=0.2,web=0.1", "--max_records=9000"],
    "all exhausted": [WEIGHTS, "--stop=all_exhausted"],
    "stratified": [WEIGHTS, "--interleave=stratified", "--stop=all_exhausted"],
    "bytes": ["--weights=books=0.2,notes=0.1,web=0.7", "--max_bytes=900000"],
    "as one": ["--max_records=9000"],
    "as one, by records": ["--max_records=26000", "--shard_records=999"],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("levels")
    for name, files in SOURCES.items():
        write_tree(found / name, files)
    return found


Made = tuple[Tree, dict[str, Any]]


@pytest.fixture(scope="module")
def once(root: Path) -> dict[str, Made]:
    """Each mixture in one level: shards and manifest."""
    found = {}
    for name, flags in ASKED.items():
        with cut_otherwise(**CUT):
            manifest = mix(root, root / f"once-{name}", *flags)
        found[name] = read_shards(root / f"once-{name}"), manifest.model_dump(exclude=OWN)
    return found


def mix(root: Path, output: Path, *flags: str) -> Manifest:
    inputs = [f"--input={name}={root / name}" for name in SOURCES]
    shards = [] if any("shard" in flag for flag in flags) else ["--num_shards=3"]
    return run(*inputs, f"--output={output}", *shards, *flags)


@pytest.fixture
def spilled(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Counter[int]]]:
    """Bytes of records that each stream spilled, by level."""
    found: dict[str, Counter[int]] = {"first": Counter(), "second": Counter()}
    real = spill_files.end_spill

    def end_spill(file: Any, url: str, rows: list[tuple[int, ...]], **how: Any) -> bytes:
        table = np.array(rows, STREAM_TABLE)
        for stream in np.unique(table["stream"]).tolist():
            size = int(table["bytes"][table["stream"] == stream].sum())
            found["first" if "/first/" in url else "second"][stream] += size
        return real(file, url, rows, **how)

    monkeypatch.setattr(spill_files, "end_spill", end_spill)
    return found


@pytest.mark.parametrize("asked", ASKED)
def test_two_levels_change_no_byte(
    root: Path,
    once: dict[str, Made],
    tmp_path: Path,
    asked: str,
    spilled: dict[str, Counter[int]],
) -> None:
    with cut_twice(**CUT):
        manifest = mix(root, tmp_path / "o", *ASKED[asked])
    shards, expected = once[asked]
    assert read_shards(tmp_path / "o") == shards
    assert manifest.model_dump(exclude=OWN) == expected
    assert verify(str(tmp_path / "o"))[1] == []
    first, second = spilled["first"], spilled["second"]
    if "as one" in asked:
        assert first == second
    else:
        assert {BOOKS, WEB} <= set(first)
        assert first == second - Counter(
            {NOTES: second[NOTES]}
        )  # held in memory: one bucket, whole
    if asked == "repeats":
        assert {BOOKS, BOOKS + 3, BOOKS + 6} <= set(first)  # each pass


@pytest.mark.parametrize(
    "flags",
    [
        ["--workers=2", "--spill_compression=zstd"],
        ["--workers=2", "--direct_running_mode=multi_threading"],
    ],
    ids=["processes, compressed", "threads"],
)
def test_neither_do_workers_and_compression(
    root: Path, once: dict[str, Made], tmp_path: Path, flags: list[str]
) -> None:
    with cut_twice(**CUT):
        mix(root, tmp_path / "o", *ASKED["repeats"], *flags)
    assert read_shards(tmp_path / "o") == once["repeats"][0]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            "repeats",
            r"exchange    two levels of books, web, by \d+ partitions first; \d+ buck",
        ),
        ("as one", r"exchange    two levels, by \d+ partitions first; \d+ buckets"),
    ],
)
def test_the_plan_says_what_takes_two_levels(
    root: Path, tmp_path: Path, asked: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with cut_twice(**CUT):
        mix(root, tmp_path / "o", *ASKED[asked], "--plan")
    assert re.search(words, capsys.readouterr().out)
    with cut_otherwise(**CUT):
        mix(root, tmp_path / "o", *ASKED[asked], "--plan")
    assert "levels" not in capsys.readouterr().out


# ---- what is not needed is not spilled


@pytest.mark.parametrize("asked", ["as one", "as needed"])
def test_the_first_level_spills_no_more_than_is_needed(
    root: Path, tmp_path: Path, asked: str, spilled: dict[str, Counter[int]]
) -> None:
    with cut_twice(**CUT):
        manifest = mix(root, tmp_path / "o", *ASKED[asked])
    assert manifest.mixture is not None
    written = {entry.source: entry.written.bytes for entry in manifest.mixture}
    used = sum(written.values()) if asked == "as one" else written["web"]
    stream = 0 if asked == "as one" else WEB
    whole = sum(map(len, SOURCES["web"].values()))
    assert used < 0.5 * whole
    assert used <= spilled["first"][stream] <= used + 0.1 * whole


@pytest.mark.parametrize("asked", ["as one", "as needed", "bytes"])
def test_a_guess_that_falls_short_is_made_good_in_two_levels(
    root: Path,
    once: dict[str, Made],
    tmp_path: Path,
    asked: str,
    spilled: dict[str, Counter[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interleave, "needed_share", lambda *_, **__: 0.1)
    again: list[str] = []
    real = read.SpanReader.read

    def spans(self: Any, span: Any, report: Any) -> Any:
        if any(one.pass_number == REREAD for one in span):
            again.append(next(iter(span)).file.name)
        return real(self, span, report)

    monkeypatch.setattr(read.SpanReader, "read", spans)
    with cut_twice(**CUT):
        manifest = mix(root, tmp_path / "o", *ASKED[asked])
    shards, expected = once[asked]
    assert read_shards(tmp_path / "o") == shards
    assert manifest.model_dump(exclude=OWN) == expected
    assert again
    largest = 0 if asked == "as one" else WEB
    assert spilled["first"][largest] == spilled["second"][largest] > 0


@pytest.mark.parametrize("asked", [f"--max_records={RECORDS - 2}", "--num_shards=12"])
@pytest.mark.parametrize(
    ("runner", "held"), [("DirectRunner", (1.0, 1.35)), ("PrismRunner", (1.95, 2.05))]
)
def test_room_is_reckoned_for_both_levels_where_both_stay(
    runner: str,
    held: tuple[float, float],
    asked: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    source = write_tree(tmp_path / "in", FILES)
    jobs: list[Job] = []

    def plan(*parts: Any) -> Job:
        jobs.append(Job(*parts))
        return jobs[-1]

    monkeypatch.setattr("pipelines.shuffle.Job", plan)
    with cut_twice(**TINY, first=6):
        run(
            f"--input={source}", f"--output={tmp_path / 'o'}", asked, f"--runner={runner}", "--plan"
        )
    assert build.streams_of(jobs[-1]).levels == 2
    assert held[0] <= jobs[-1].spilled_bytes / BYTES <= held[1]


# ---- requests


@pytest.mark.parametrize("segment_bytes", [0, 1 << 60], ids=["one level", "two"])
def test_a_store_is_asked_what_the_model_says(
    tmp_path: Path, segment_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_tree(tmp_path / "in", FILES)
    found: list[Streams] = []
    real = build.streams_of

    def streams_of(job: Any) -> Any:
        found.append(real(job))
        return found[-1]

    monkeypatch.setattr(build, "streams_of", streams_of)
    asked = count_asked(monkeypatch)
    with cut_twice(**{**TINY, "segment_bytes": segment_bytes}) as plans:
        run(
            f"--input={source}",
            f"--output={tmp_path / 'o'}",
            f"--max_records={RECORDS - 2}",
            "--num_shards=12",
            "--temp_location=memory://levels",
        )
    (buckets,), (first,) = found[-1].buckets, found[-1].partitions
    assert first == (10 if segment_bytes else 1)
    model = count_requests(
        footprint=FOOTPRINT,
        spilled=BYTES + RECORDS * 16,
        records=RECORDS,
        run_bytes=plans[-1].run_bytes,
        page_bytes=plans[-1].page_bytes,
        chunk_bytes=PIECE,
        buckets=buckets,
        partitions=12,
        first=first,
        mixed=True,
    )
    assert model.segments > 9_000 if first == 1 else model.segments < 3_500
    assert asked["cat_file"] == pytest.approx(model.read, rel=0.1)
    assert asked["pipe_file"] == pytest.approx(model.written, rel=0.1)
    assert asked["rm_file"] == pytest.approx(model.removed, rel=0.1)
    assert not any("levels" in path for path in MemoryFileSystem.store)


# ---- what the first level spilled goes as early as it can


def test_the_disk_never_holds_two_levels_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    real = spill_files.end_spill

    def end_spill(*args: Any, **more: Any) -> bytes:
        found = (tmp_path / "t").rglob("*.pages")
        held.append(sum(path.stat().st_blocks * 512 for path in found))
        return real(*args, **more)

    monkeypatch.setattr(spill_files, "end_spill", end_spill)
    records = b"".join(b"%09d" % i * 90 + b"\n" for i in range(9000))
    write_tree(tmp_path / "large", {"a": records})
    size = len(records)
    cut = {
        "run_bytes": size // 10,
        "page_bytes": size // 80,
        "chunk_bytes": 8192,
        "bucket_bytes": size // 60,
    }
    with cut_twice(**cut):
        run(
            f"--input={tmp_path / 'large'}",
            f"--output={tmp_path / 'o'}",
            f"--temp_location={tmp_path / 't'}",
            "--max_records=8999",
            "--num_shards=3",
        )
    assert size < max(held) < 1.35 * size


def test_on_a_store_it_goes_before_any_shard_is_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[set[str]] = []
    firsts: list[str] = []
    real, end_spill = write.write_shard, spill_files.end_spill

    def write_shard(*args: Any, **more: Any) -> Any:
        left.append({path.rpartition("/")[0].rpartition("/")[2] for path in MemoryFileSystem.store})
        return real(*args, **more)

    def end(file: Any, url: str, *args: Any, **more: Any) -> bytes:
        firsts.extend([url] * ("/first/" in url))
        return end_spill(file, url, *args, **more)

    monkeypatch.setattr(write, "write_shard", write_shard)
    monkeypatch.setattr(spill_files, "end_spill", end)
    with cut_twice(**CUT):
        mix(root, tmp_path / "o", *ASKED["repeats"], "--temp_location=memory://levels")
    assert firsts
    assert len(left) == 3
    assert not any("first" in folders for folders in left)


# ---- damage between the levels


@pytest.mark.parametrize("asked", ["repeats", "as one"])
@pytest.mark.parametrize("kind", ["a page lost", "a page doubled", "a record changed"])
def test_damage_is_found_where_the_first_level_is_read(
    root: Path, tmp_path: Path, asked: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_pages(kind, monkeypatch)
    where = r"source \S+, pass \d, partition \d+: [\d,]+ records were spilled"
    with (
        cut_twice(**CUT),
        pytest.raises(
            DovetailError, match="damaged" if "changed" in kind else where.replace(r"\S+", ".+")
        ),
    ):
        mix(root, tmp_path / "o", *ASKED[asked])
    assert not (tmp_path / "o").exists()


def change_pages(kind: str, patch: pytest.MonkeyPatch) -> None:
    """Do harm to what is read of the first level; its table doesn't show it."""
    fetch = BlockGroup.fetch

    def other(self: BlockGroup, part: Any) -> Any:
        found = list(fetch(self, part))
        if part != WHOLE:  # a bucket, of the second level
            return iter(found)
        if kind == "a record changed":
            found[0] = found[0]._replace(block=found[0].block.slice(1))
            return iter(found)
        return iter(found[1:] if kind == "a page lost" else [*found, found[0]])

    patch.setattr(partition.BlockGroup, "fetch", other)


def test_a_partition_that_is_not_gathered_anew_is_missed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = partition._ReferToPartitions.process

    def fewer(self: Any, element: Any) -> Iterator[Any]:
        return itertools.islice(process(self, element), 1, None)

    monkeypatch.setattr(partition._ReferToPartitions, "process", fewer)
    with cut_twice(**CUT), pytest.raises(LosslessError, match=r"source \S+, pass \d: read"):
        mix(root, tmp_path / "o", *ASKED["repeats"])
    assert not (tmp_path / "o").exists()
