"""Two levels of the exchange: the same bytes, the requests that the model says, and proof."""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bench.request_model import Requests, count_requests
from tests.pipelines.support import (
    Tree,
    count_asked,
    cut_otherwise,
    make_lines,
    read_shards,
    run,
    write_tree,
)
from transforms.datasets import write
from transforms.errors import DovetailError, RunError
from transforms.kernels.planning.plan import Plan
from transforms.kernels.records import sorting
from transforms.shuffling import partition, spill_files, spill_pages
from transforms.shuffling.groups import BlockGroup


def lines(count: int, name: bytes) -> bytes:
    return b"".join(b"%s%d%s\n" % (name, i, b"." * (i * i % 487)) for i in range(count))


FILES = {"a.txt": lines(32_000, b"r"), "deep/b.txt": lines(20_000, b"q"), "c.txt": b"\n\n"}
RECORDS = 52_002
BYTES = sum(map(len, FILES.values()))
FOOTPRINT = BYTES + RECORDS * 64
CHUNK = 1 << 16
PIECE = CHUNK * FOOTPRINT // BYTES  # of memory that a chunk takes
RUN = PIECE * 5 // 2  # two chunks
# a hundred runs, cut a hundred times
TINY = {
    "run_bytes": RUN,
    "span_bytes": 1 << 24,
    "chunk_bytes": CHUNK,
    "page_bytes": RUN // 8,
    "bucket_bytes": FOOTPRINT // 75,  # a range of keys of a fiftieth is halved, of a hundredth not
    "buckets": 100,
}
SHARDS = "--num_shards=25"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("source"), FILES)


@pytest.fixture(scope="module")
def plain(source: Path) -> Tree:
    """The shards, made in the plainest way."""
    run(f"--input={source}", f"--output={source.parent / 'plain'}", SHARDS)
    return read_shards(source.parent / "plain")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    yield count_asked(monkeypatch)
    MemoryFileSystem.store.clear()


def shuffle(source: Path, output: Path, *flags: str, **cut: int) -> Plan:
    with cut_otherwise(**{**TINY, **cut}) as plans:
        run(f"--input={source}", f"--output={output}", SHARDS, *flags)
    return plans[-1]


def expected(plan: Plan) -> Requests:
    return count_requests(
        footprint=FOOTPRINT,
        spilled=BYTES + RECORDS * 16,
        records=RECORDS,
        run_bytes=plan.run_bytes,
        page_bytes=plan.page_bytes,
        chunk_bytes=PIECE,
        buckets=plan.buckets,
        partitions=plan.partitions,
        first=plan.first,
    )


# ten divide the buckets, seven do not
@pytest.mark.parametrize("first", [1, 10, 7])
def test_ten_thousand_segments_go_both_ways_with_the_requests_that_the_model_says(
    source: Path, plain: Tree, tmp_path: Path, asked: Counter[str], first: int
) -> None:
    at = "--temp_location=memory://levels"
    plan = shuffle(source, tmp_path / "o", at, first=first)
    assert read_shards(tmp_path / "o") == plain
    model = expected(plan)
    if first == 1:
        assert model.segments == pytest.approx(10_000, rel=0.1)
    else:
        assert model.segments < 3_500
    assert asked["cat_file"] == pytest.approx(model.read, rel=0.1)
    assert asked["cat_file pages"] + asked["cat_file references"] == asked["cat_file"]
    assert asked["pipe_file"] == pytest.approx(model.written, rel=0.1)
    assert asked["rm_file"] == pytest.approx(model.removed, rel=0.1)
    assert not any("levels" in path for path in MemoryFileSystem.store)


@pytest.mark.parametrize(
    "flags",
    [
        ["--workers=2", "--spill_compression=zstd"],
        ["--workers=2", "--direct_running_mode=multi_threading"],
    ],
    ids=["processes, compressed", "threads"],
)
def test_workers_and_compression_change_no_byte(
    source: Path, plain: Tree, tmp_path: Path, flags: list[str]
) -> None:
    shuffle(source, tmp_path / "o", *flags, first=9)
    assert read_shards(tmp_path / "o") == plain


@pytest.mark.parametrize("first", [3, 400])
def test_neither_do_shards_by_records_and_more_partitions_than_records_of_some(
    source: Path, tmp_path: Path, first: int
) -> None:
    some = write_tree(tmp_path / "some", {"a": make_lines(300), "b": b""})
    by = "--shard_records=77"
    run(f"--input={some}", f"--output={tmp_path / 'plain'}", by)
    with cut_otherwise(run_bytes=3000, chunk_bytes=500, page_bytes=700, first=first):
        run(f"--input={some}", f"--output={tmp_path / 'o'}", by)
    assert read_shards(tmp_path / "o") == read_shards(tmp_path / "plain")


def test_nothing_and_one_record_go_through_two_levels(tmp_path: Path) -> None:
    for name, data in {"none": b"", "one": b"x\n"}.items():
        write_tree(tmp_path / name, {"a": data})
        with cut_otherwise(first=4):
            run(f"--input={tmp_path / name}", f"--output={tmp_path / name}-out", SHARDS)
        assert b"".join(read_shards(Path(f"{tmp_path / name}-out")).values()) == data


# ---- what the first level spilled goes as early as it can


def spilled(folder: Path) -> int:
    """Return the bytes on disk of spill files below a folder."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*.pages"))


def test_the_disk_never_holds_two_levels_whole(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    real = spill_files.end_spill

    def end_spill(*args: Any, **more: Any) -> bytes:
        held.append(spilled(tmp_path / "t"))
        return real(*args, **more)

    monkeypatch.setattr(spill_files, "end_spill", end_spill)
    large = write_tree(
        tmp_path / "large", {"a": b"".join(b"%09d" % i * 90 + b"\n" for i in range(9000))}
    )
    size = 9000 * 811
    with cut_otherwise(run_bytes=size // 10, page_bytes=size // 80, chunk_bytes=8192, first=8):
        run(
            f"--input={large}",
            f"--output={tmp_path / 'o'}",
            f"--temp_location={tmp_path / 't'}",
            SHARDS,
        )
    assert size < max(held) < 1.35 * size


def test_on_a_store_they_go_before_any_shard_is_written(
    source: Path, tmp_path: Path, asked: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[set[str]] = []
    real = write.write_shard

    def write_shard(*args: Any, **more: Any) -> Any:
        left.append({path.rpartition("/")[0].rpartition("/")[2] for path in MemoryFileSystem.store})
        return real(*args, **more)

    monkeypatch.setattr(write, "write_shard", write_shard)
    shuffle(source, tmp_path / "o", "--temp_location=memory://levels", first=10)
    assert len(left) == 25
    assert not any("first" in folders for folders in left)


# ---- damage between the levels


def change(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do harm to one page of the first level, in a way that its table doesn't show."""
    if kind == "a record of the page changed":
        real = spill_pages.encode_page
        harmed: list[int] = []

        def encode_page(block: Any, **how: Any) -> Any:
            encoded = real(block, **how)
            data = bytearray(b"".join(encoded))
            at = data.find(b"...")
            if not harmed and at > 0:
                harmed.append(at)
                data[at] ^= 1
            return [bytes(data)]

        other = types.SimpleNamespace(**{**vars(spill_pages), "encode_page": encode_page})
        monkeypatch.setattr(spill_files, "spill_pages", other)
    else:
        fetch = BlockGroup.fetch

        def fewer(self: BlockGroup, part: Any) -> Any:
            found = list(fetch(self, part))
            return iter(found[1:] if kind == "a page lost" else [*found, found[0]])

        monkeypatch.setattr(partition.BlockGroup, "fetch", fewer)


@pytest.mark.parametrize("kind", ["a record of the page changed", "a page lost", "a page doubled"])
def test_damage_is_found_where_the_first_level_is_read(
    source: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(kind, monkeypatch)
    words = "damaged" if "changed" in kind else "records were spilled"
    with pytest.raises(DovetailError, match=words):
        shuffle(source, tmp_path / "o", first=4)
    assert not (tmp_path / "o").exists()


def test_records_changed_while_they_are_gathered_anew_are_found_when_they_are_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sorting.sort_run
    runs: list[int] = []

    def sort_run(found: Any) -> Any:
        runs.append(1)
        run_ = real(found)
        return run_.slice(1) if len(runs) == 150 else run_

    monkeypatch.setattr(partition, "sorting", types.SimpleNamespace(sort_run=sort_run))
    with pytest.raises(RunError, match="should have"):
        shuffle(source, tmp_path / "o", first=4)
    assert len(runs) >= 150
