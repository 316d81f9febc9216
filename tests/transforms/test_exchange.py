"""The contract of GroupBlocksByKey, held by both exchanges, and what damage to spill files does."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transforms.exchange import GroupBlocksByKey

from tests.transforms.helpers import (
    EXCHANGES,
    THREADS,
    Row,
    digests_of,
    group,
    hashed,
    inside,
    make_rows,
    make_run,
    make_runs,
    rows_of,
    size_of,
)
from transforms.errors import RunError
from transforms.formats.writing import ShardFormat
from transforms.gather import Piece
from transforms.groups import BlockGroup, GroupCoder, OverLimit, expected_digests
from transforms.kernels import blocks
from transforms.kernels.ranges import KeyRange
from transforms.shuffle import Shard
from transforms.write import write_shard

PARTITIONS, SOURCES, EMPTY = 5, 2, 3
ROWS = [row for row in make_rows(1500, sources=SOURCES) if row.key * PARTITIONS // 2**64 != EMPTY]
NO_LIMIT = 1 << 40


@pytest.fixture(scope="module", params=EXCHANGES)
def exchange(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def grouped(
    exchange: str, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[int, BlockGroup]]:
    """The rows, dealt out to six runs, in pages of some 25 rows, cut at ten buckets."""
    return group(
        make_runs(ROWS, 6, sources=SOURCES),
        exchange=exchange,
        partitions=PARTITIONS,
        buckets=2 * PARTITIONS,
        sources=SOURCES,
        folder=tmp_path_factory.mktemp("spill"),
    )


@pytest.fixture(scope="module", params=["as it came", "sent on"])
def groups(
    request: pytest.FixtureRequest, grouped: list[tuple[int, BlockGroup]]
) -> dict[int, BlockGroup]:
    """By partition; once as they came out, once after the coder took them to another worker."""
    if request.param == "as it came":
        return dict(grouped)
    coder = GroupCoder()
    return {partition: coder.decode(coder.encode(one)) for partition, one in grouped}


def read(one: BlockGroup, index: int, count: int, *, limit: int = NO_LIMIT) -> list[Row]:
    return sorted(rows_of(one.read(KeyRange(index, count), limit=limit)))


def test_every_partition_comes_out_once_those_without_records_too(
    grouped: list[tuple[int, BlockGroup]],
) -> None:
    assert sorted(partition for partition, _ in grouped) == list(range(PARTITIONS))
    assert {partition: one.records for partition, one in grouped} == {
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


def test_one_record_is_given_whatever_the_limit(exchange: str, tmp_path: Path) -> None:
    rows = [Row(1 << 62, b"x" * 10_000), Row(3 << 62, b"y" * 10_000)]
    ((_, one),) = group(
        make_runs(rows, 2), exchange=exchange, partitions=1, folder=tmp_path, page_bytes=1
    )
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
    exchange: str, tmp_path: Path, rows: list[Row], runs: int, partitions: int
) -> None:
    found = group(make_runs(rows, runs), exchange=exchange, partitions=partitions, folder=tmp_path)
    assert sorted(i for i, _ in found) == list(range(partitions))
    for i, one in found:
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
    exchange: str,
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
    found = group(
        make_runs(rows, runs),
        exchange=exchange,
        partitions=partitions,
        buckets=partitions * finer,
        page_bytes=page_bytes,
        folder=tmp_path,
    )
    assert sorted(row for i, one in found for row in read(one, i, partitions)) == sorted(rows)
    count = partitions * parts
    index %= count
    assert read(dict(found)[index // parts], index, count) == inside(rows, index, count)


def test_bundles_that_run_at_once_give_the_same(exchange: str, tmp_path: Path) -> None:
    found = group(
        make_runs(ROWS, 12, sources=SOURCES),
        exchange=exchange,
        partitions=2,
        sources=SOURCES,
        folder=tmp_path,
        options=THREADS,
    )
    assert {i: read(one, i, 2) for i, one in found} == {i: inside(ROWS, i, 2) for i in (0, 1)}


def test_only_references_go_through_the_runner_with_files(tmp_path: Path) -> None:
    rows = [Row(hashed(i), bytes(1000)) for i in range(1000)]
    found = group(
        make_runs(rows, 2), exchange="files", partitions=4, folder=tmp_path, page_bytes=50_000
    )
    assert sum(len(one.to_bytes()) for _, one in found) < 10_000
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 1_000_000


def test_attempts_never_share_a_spill_file(tmp_path: Path) -> None:
    for attempt in (1, 2):
        group(
            make_runs(ROWS, 3, sources=2),
            exchange="files",
            partitions=2,
            sources=2,
            folder=tmp_path,
        )
        assert len(list(tmp_path.glob("*.pages"))) == 3 * attempt


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"exchange": "file"}, "expected exchange files or engine, got 'file'"),
        ({"exchange": "files", "folder": ""}, "needs a folder"),
        ({"folder": "f", "buckets": 5}, r"buckets \(5\) is no multiple of 2"),
    ],
    ids=["exchange", "folder", "buckets"],
)
def test_what_cannot_work_is_refused_on_construction(wrong: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        GroupBlocksByKey(partitions=2, **wrong)


# ---- damage ----

DAMAGED_ROWS = [Row(i * (2**64 // 40) + 12345, b"record %d " % i * (1 + i % 3)) for i in range(40)]


def spill(folder: Path, kind: str = "pages") -> tuple[BlockGroup, Path]:
    """One spill file of four pages, the group that refers to it, and a file to be damaged."""
    ((_, one),) = group(
        [make_run(DAMAGED_ROWS)],
        exchange="files",
        partitions=1,
        buckets=2,
        folder=folder,
        page_bytes=1200,
    )
    (path,) = folder.glob(f"*.{kind}")
    return one, path


def written(one: BlockGroup, *, limit: int) -> bytes:
    """Write a group as its shard, with all the checks that writer and manifest step make."""
    file = io.BytesIO()
    shard = Shard(0, 1, (Piece(GroupCoder().decode(one.to_bytes()), KeyRange(0, 1)),))
    report = write_shard(
        file,
        shard.ordered(limit=limit, sources=1),
        shard=shard,
        path="shard",
        form=ShardFormat(),
        sources=1,
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
    one, path = spill(tmp_path, kind)
    assert written(one, limit=limit) == WHOLE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError):
        written(one, limit=limit)


def test_a_page_that_is_cut_is_checked_whole_before(tmp_path: Path) -> None:
    """What is left of it is digested anew, so that damage would be sealed in."""
    one, path = spill(tmp_path)
    assert read(one, 0, 8) == inside(DAMAGED_ROWS, 0, 8)
    path.write_bytes(_another_record(path.read_bytes()))
    with pytest.raises(RunError, match="damaged"):
        read(one, 0, 8)


@KINDS
def test_a_spill_file_that_vanished_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    one, path = spill(tmp_path, kind)
    path.unlink()
    with pytest.raises(RunError, match=path.name):
        written(one, limit=NO_LIMIT)


def test_a_spill_file_that_was_given_back_is_not_read_again(tmp_path: Path) -> None:
    one, path = spill(tmp_path)
    one.release()
    if path.read_bytes().count(b"record 9 "):
        pytest.skip("this file system has no holes")
    with pytest.raises(RunError, match=path.name):
        written(one, limit=NO_LIMIT)


# in a process of its own: a reader that believes damaged offsets may take its process with it
FLIPS = """
import faulthandler, sys
from pathlib import Path
from tests.transforms.test_exchange import GroupCoder, NO_LIMIT, RunError, WHOLE, written

faulthandler.dump_traceback_later(60, exit=True)
one, path = GroupCoder().decode(sys.stdin.buffer.read()), Path(sys.argv[1])
good = path.read_bytes()
wrong = []
for at in range(0, len(good), len(good) // 150 | 1):
    data = bytearray(good)
    data[at] ^= 0x80
    path.write_bytes(data)
    for limit in (NO_LIMIT, 700):
        try:
            if written(one, limit=limit) != WHOLE:
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
    one, path = spill(tmp_path, kind)
    done = subprocess.run(
        [sys.executable, "-c", FLIPS, str(path)],
        input=one.to_bytes(),
        capture_output=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
