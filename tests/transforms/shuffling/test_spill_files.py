"""Spill files: what was spilled comes back by ranges of keys, and what damage to them does."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.transforms.helpers import (
    THREADS,
    Row,
    digests_of,
    groups_of,
    hashed,
    inside,
    lay_out,
    make_rows,
    make_run,
    make_runs,
    rows_of,
    size_of,
)
from transforms.datasets.write import write_shard
from transforms.errors import RunError
from transforms.formats.writing import ShardFormat
from transforms.kernels.records import blocks
from transforms.kernels.records.ranges import KeyRange
from transforms.shuffling.groups import BlockGroup, OverLimit, expected_digests
from transforms.shuffling.shuffle import PlainShard, ShuffleWithinBuckets
from transforms.shuffling.spill_files import Spilling
from transforms.shuffling.streams import Streams

PARTITIONS, SOURCES, EMPTY = 5, 2, 3
ROWS = [row for row in make_rows(1500, sources=SOURCES) if row.key * PARTITIONS // 2**64 != EMPTY]
NO_LIMIT = 1 << 40


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[PlainShard]:
    """The rows, dealt out to six runs, in pages of some 25 rows, cut at ten buckets."""
    return lay_out(
        make_runs(ROWS, 6, sources=SOURCES),
        ranges=PARTITIONS,
        buckets=2 * PARTITIONS,
        sources=SOURCES,
        folder=tmp_path_factory.mktemp("spill"),
    )


@pytest.fixture(scope="module")
def groups(shards: list[PlainShard]) -> dict[int, BlockGroup]:
    return groups_of(shards)


def read(one: BlockGroup, index: int, count: int, *, limit: int = NO_LIMIT) -> list[Row]:
    return sorted(rows_of(one.read(KeyRange(index, count), limit=limit)))


def test_every_partition_comes_out_once_those_without_records_too(
    shards: list[PlainShard], groups: dict[int, BlockGroup]
) -> None:
    assert [shard.number for shard in shards] == list(range(PARTITIONS))
    assert {partition: one.records for partition, one in groups.items()} == {
        partition: len(inside(ROWS, partition, PARTITIONS)) for partition in range(PARTITIONS)
    }


def test_all_groups_together_hold_what_went_in(groups: dict[int, BlockGroup]) -> None:
    found = [row for i, one in groups.items() for row in read(one, i, PARTITIONS)]
    assert sorted(found) == sorted(ROWS)


# below 2 parts a partition, boundaries lie inside pages
@pytest.mark.parametrize("parts", [1, 2, 12])
def test_a_group_gives_any_range_of_its_keys_as_often_as_asked(
    groups: dict[int, BlockGroup], parts: int
) -> None:
    count = PARTITIONS * parts
    for _ in range(2):
        for index in range(count):
            assert read(groups[index // parts], index, count) == inside(ROWS, index, count)


@pytest.mark.parametrize("parts", [1, 2, 8, 16])
def test_digests_of_a_range_are_those_of_its_records(
    groups: dict[int, BlockGroup], parts: int
) -> None:
    count = PARTITIONS * parts
    for index in range(count):
        pages = groups[index // parts].read(KeyRange(index, count), limit=NO_LIMIT)
        assert expected_digests(pages, sources=SOURCES) == digests_of(
            inside(ROWS, index, count), sources=SOURCES
        )


@pytest.mark.parametrize("parts", [1, 2, 16])
def test_a_range_over_the_limit_is_refused_and_one_at_the_limit_is_given(
    groups: dict[int, BlockGroup], parts: int
) -> None:
    index, count = 2 * parts, PARTITIONS * parts
    expected = inside(ROWS, index, count)
    assert read(groups[2], index, count, limit=size_of(expected)) == expected
    with pytest.raises(OverLimit):
        groups[2].read(KeyRange(index, count), limit=size_of(expected) - 1)


def test_the_estimate_is_exact_for_a_partition_and_near_for_parts_of_it(
    groups: dict[int, BlockGroup],
) -> None:
    for partition, one in groups.items():
        whole = size_of(inside(ROWS, partition, PARTITIONS))
        assert one.estimate(KeyRange(partition, PARTITIONS)) == whole
        for half in KeyRange(partition, PARTITIONS).halves():
            exact = size_of(inside(ROWS, half.index, half.count))
            assert one.estimate(half) == pytest.approx(exact, rel=0.05)


def test_one_record_is_given_whatever_the_limit(tmp_path: Path) -> None:
    rows = [Row(1 << 62, b"x" * 10_000), Row(3 << 62, b"y" * 10_000)]
    one = groups_of(lay_out(make_runs(rows, 2), ranges=1, folder=tmp_path, page_bytes=1))[0]
    assert read(one, 0, 2, limit=1) == rows[:1]
    with pytest.raises(OverLimit):
        one.read(KeyRange(0, 1), limit=10_100)


@pytest.mark.parametrize(
    ("rows", "runs", "partitions"),
    [
        ([], 0, 1),
        ([], 0, 4),
        (make_rows(1), 1, 1),
        (make_rows(3), 1, 50),
        (make_rows(3), 3, 7),
        (make_rows(200), 100, 3),
        ([Row(0, b"first"), Row(2**64 - 1, b"last")], 1, 3),
        ([Row(2**63 - 1, b"a"), Row(2**63, b"b"), Row(2**63, b"")], 2, 2),
        ([Row(5, b"same")] * 20, 4, 2),
    ],
    ids=[
        "nothing",
        "nothing, four ways",
        "one",
        "more partitions than records",
        "a record a run",
        "many runs",
        "first and last key",
        "on a boundary",
        "equal keys",
    ],
)
def test_few_and_strange_records_are_grouped_too(
    tmp_path: Path, rows: list[Row], runs: int, partitions: int
) -> None:
    found = groups_of(lay_out(make_runs(rows, runs), ranges=partitions, folder=tmp_path))
    assert sorted(found) == list(range(partitions))
    for i, one in found.items():
        assert one.records == len(inside(rows, i, partitions))
        assert read(one, i, partitions) == inside(rows, i, partitions)
        for half in KeyRange(i, partitions).halves():
            assert read(one, half.index, half.count) == inside(rows, half.index, half.count)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    keys=st.lists(
        st.integers(0, 2**64 - 1) | st.integers(0, 3) | st.integers(2**63 - 2, 2**63 + 1),
        max_size=30,
    ),
    runs=st.integers(1, 4),
    partitions=st.integers(1, 6),
    finer=st.integers(1, 3),
    page_bytes=st.sampled_from([1, 150, 1 << 20]),
    index=st.integers(0, 1000),
    parts=st.integers(1, 9),
)
def test_any_range_of_any_keys_comes_back(
    *,
    tmp_path: Path,
    keys: list[int],
    runs: int,
    partitions: int,
    finer: int,
    page_bytes: int,
    index: int,
    parts: int,
) -> None:
    rows = [Row(key, b"%d" % i) for i, key in enumerate(keys)]
    shards = lay_out(
        make_runs(rows, runs),
        ranges=partitions,
        buckets=partitions * finer,
        page_bytes=page_bytes,
        folder=tmp_path,
    )
    found = groups_of(shards)
    assert sorted(row for i, one in found.items() for row in read(one, i, partitions)) == sorted(
        rows
    )
    count = partitions * parts
    index %= count
    assert read(found[index // parts], index, count) == inside(rows, index, count)


def test_bundles_that_run_at_once_give_the_same(tmp_path: Path) -> None:
    shards = lay_out(
        make_runs(ROWS, 12, sources=SOURCES),
        ranges=2,
        sources=SOURCES,
        folder=tmp_path,
        options=THREADS,
    )
    assert {i: read(one, i, 2) for i, one in groups_of(shards).items()} == {
        i: inside(ROWS, i, 2) for i in (0, 1)
    }


def test_only_references_go_through_the_runner(tmp_path: Path) -> None:
    rows = [Row(hashed(i), bytes(1000)) for i in range(1000)]
    shards = lay_out(make_runs(rows, 2), ranges=4, folder=tmp_path, page_bytes=50_000)
    assert sum(len(pickle.dumps(shard)) for shard in shards) < 10_000
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 1_000_000


def test_attempts_never_share_a_spill_file(tmp_path: Path) -> None:
    for attempt in (1, 2):
        lay_out(make_runs(ROWS, 3, sources=2), ranges=2, sources=2, folder=tmp_path)
        assert len(list(tmp_path.glob("*.pages"))) == 3 * attempt


@pytest.mark.parametrize("folders", ["/a/folder", (), ["/a/folder", ""]])
def test_spilling_nowhere_is_refused_on_construction(folders: list[str]) -> None:
    with pytest.raises(ValueError, match="expected URLs of folders for spill files, got"):
        Spilling(folders=folders)


def test_ranges_that_end_inside_buckets_are_refused_on_construction() -> None:
    streams = Streams.as_one(["s"], seed=0, buckets=5)
    with pytest.raises(ValueError, match=r"a multiple of ranges \(2\), got 5"):
        ShuffleWithinBuckets(streams=streams, spill=Spilling(folders=["f"]), ranges=2)


# ---- damage ----

DAMAGED_ROWS = [Row(i * (2**64 // 40) + 12345, b"record %d " % i * (1 + i % 3)) for i in range(40)]


def spill(folder: Path, kind: str = "pages") -> tuple[PlainShard, Path]:
    """One spill file of four pages, the shard that refers to it, and a file to be damaged."""
    (shard,) = lay_out(
        [make_run(DAMAGED_ROWS)], ranges=1, buckets=2, folder=folder, page_bytes=1200
    )
    (path,) = folder.glob(f"*.{kind}")
    return shard, path


def written(shard: PlainShard, *, limit: int) -> bytes:
    """Write a shard, with all the checks that writer and manifest step make."""
    file = io.BytesIO()
    new = replace(shard, streams=replace(shard.streams, limits=(limit,)))  # that has read nothing
    report = write_shard(
        file, new.ordered(), shard=new, path="shard", form=ShardFormat(), sources=1
    )
    blocks.compare_digests(report.digests, digests_of(DAMAGED_ROWS), what="all shards")
    return file.getvalue()


WHOLE = b"".join(row.record + b"\n" for row in DAMAGED_ROWS)
LIMITS = pytest.mark.parametrize("limit", [NO_LIMIT, 700], ids=["whole pages", "pages cut up"])
KINDS = pytest.mark.parametrize("kind", ["pages", "references"])


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _nothing(_: bytes) -> bytes:
    return b""


def _zeros(data: bytes) -> bytes:
    return bytes(len(data))


def _another_record(data: bytes) -> bytes:
    assert data.count(b"record 9 ") == 1
    return data.replace(b"record 9 ", b"record 8 ")


def _words_between_records(data: bytes) -> bytes:
    assert data.count(b"record 4 record 4 ") == data.count(b"record 7 record 7 ") == 1
    data = data.replace(b"record 4 record 4 ", b"record 7 record 4 ")
    return data.replace(b"record 7 record 7 ", b"record 4 record 7 ")


@LIMITS
@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        *(("pages", damage) for damage in (_half, _nothing, _zeros)),
        *(("pages", damage) for damage in (_another_record, _words_between_records)),
        ("references", _half),
        ("references", _nothing),
        ("references", _zeros),
    ],
)
def test_a_damaged_spill_file_is_refused(
    tmp_path: Path, kind: str, damage: Callable[[bytes], bytes], limit: int
) -> None:
    shard, path = spill(tmp_path, kind)
    assert written(shard, limit=limit) == WHOLE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError):
        written(shard, limit=limit)


def test_a_page_that_is_cut_is_checked_whole_before(tmp_path: Path) -> None:
    """What is left of it is digested anew, so that damage would be sealed in."""
    shard, path = spill(tmp_path)
    assert read(groups_of([shard])[0], 0, 8) == inside(DAMAGED_ROWS, 0, 8)
    path.write_bytes(_another_record(path.read_bytes()))
    with pytest.raises(RunError, match="damaged"):
        read(groups_of([shard])[0], 0, 8)


@KINDS
def test_a_spill_file_that_vanished_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    shard, path = spill(tmp_path, kind)
    path.unlink()
    with pytest.raises(RunError, match=path.name):
        written(shard, limit=NO_LIMIT)


def test_a_spill_file_that_was_given_back_is_not_read_again(tmp_path: Path) -> None:
    shard, path = spill(tmp_path)
    shard.release()
    if path.read_bytes().count(b"record 9 "):
        pytest.skip("this file system has no holes")
    with pytest.raises(RunError, match=path.name):
        written(shard, limit=NO_LIMIT)


# in a process of its own: a reader that believes damaged offsets may take its process with it
FLIPS = """
import faulthandler, pickle, sys
from pathlib import Path
from tests.transforms.shuffling.test_spill_files import NO_LIMIT, RunError, WHOLE, written

faulthandler.dump_traceback_later(60, exit=True)
shard, path = pickle.load(sys.stdin.buffer), Path(sys.argv[1])
good = path.read_bytes()
wrong = []
for at in range(0, len(good), len(good) // 150 | 1):
    data = bytearray(good)
    data[at] ^= 0x80
    path.write_bytes(data)
    for limit in (NO_LIMIT, 700):
        try:
            if written(shard, limit=limit) != WHOLE:
                wrong.append(f"byte {at}, limit {limit}: wrong data")
        except RunError:
            pass
        except Exception as error:
            wrong.append(f"byte {at}, limit {limit}: {error!r}")
    if len(wrong) > 5:
        break
sys.exit(chr(10).join(wrong) or None)
"""


@pytest.mark.parametrize(
    "kind",
    [
        "pages",
        "references",
    ],
)
def test_a_flipped_bit_anywhere_is_refused_or_harmless(tmp_path: Path, kind: str) -> None:
    shard, path = spill(tmp_path, kind)
    done = subprocess.run(
        [sys.executable, "-c", FLIPS, str(path)],
        input=pickle.dumps(shard),
        capture_output=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
