"""A store that fails: the right dataset or a clear error, after so many attempts and no more."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.verify import verify
from tests.pipelines.support import cut_otherwise, make_lines, read_tree, run, write_tree
from tests.stores.conftest import forget_stores
from tests.stores.faulty import Faults, FaultyStore
from transforms.errors import DovetailError, PassingError, RunError, StoreError, UsageError
from transforms.storage import files as storage
from transforms.storage import store_files, stores

CORPUS = {"a.txt": make_lines(300), "b.txt": make_lines(200, name="q"), "c.txt": b"", "d.txt": b"x"}
SOME, ALL = 12, 200


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FaultyStore]]:
    """The store, empty and without faults; objects of more than 2000 bytes go up in parts."""
    monkeypatch.setenv("DOVETAIL_RETRY_WAIT", "0")
    monkeypatch.setattr(store_files, "_PART", 2000)
    FaultyStore.objects.clear()
    FaultyStore.uploads.clear()
    FaultyStore.faults = Faults()
    forget_stores()
    yield FaultyStore
    FaultyStore.faults = Faults()
    forget_stores()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The shards of the corpus, made on local disks."""
    root = tmp_path_factory.mktemp("expected")
    write_tree(root / "in", CORPUS)
    run(f"--input={root / 'in'}", f"--output={root / 'out'}", "--num_shards=3")
    return {k: v for k, v in read_tree(root / "out").items() if k.startswith("data/")}


def shuffle() -> None:
    """Shuffle from the store to the store, with several runs."""
    with cut_otherwise(run_bytes=12_000, span_bytes=4_000):
        run("--input=faulty://b/in", "--output=faulty://b/out", "--num_shards=3")


def plant() -> None:
    FaultyStore.objects.update({f"b/in/{name}": data for name, data in CORPUS.items()})


def left() -> dict[str, bytes]:
    """Return what lies below the output, asked of no store."""
    found = FaultyStore.objects.items()
    return {name.removeprefix("b/out/"): data for name, data in found if name.startswith("b/out/")}


def require_right(expected: dict[str, bytes]) -> None:
    FaultyStore.faults = Faults()
    assert {k: v for k, v in left().items() if k.startswith("data/")} == expected
    assert verify("faulty://b/out")[1] == []


def check(seed: int, rate: float, expected: dict[str, bytes]) -> bool:
    """Run once under faults; return whether it succeeded."""
    plant()
    FaultyStore.faults = faults = Faults(seed, rate=rate)
    error = None
    try:
        shuffle()
    except DovetailError as raised:
        error = raised
    print(f"seed {seed}, rate {rate}: {faults.errors} errors, then {error or 'done'}")
    if error is not None:
        assert "\n" not in str(error)
        assert "faulty://b" in str(error), "an error says which object it was"
        if "manifest.json" in left():  # it was done, only its end was not seen: then it is right
            require_right(expected)
        return False
    require_right(expected)
    return True


@pytest.mark.parametrize("seed", range(SOME))
def test_under_faults_there_is_the_right_dataset_or_a_clear_error(
    seed: int, expected: dict[str, bytes]
) -> None:
    check(seed, (0.02, 0.05, 0.2, 0.5)[seed % 4], expected)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SOME, ALL))
def test_under_faults_of_many_seeds_there_is_the_right_dataset_or_a_clear_error(
    seed: int, expected: dict[str, bytes]
) -> None:
    check(seed, (0.02, 0.05, 0.2, 0.5)[seed % 4], expected)


def test_without_faults_this_store_works_as_any(expected: dict[str, bytes]) -> None:
    plant()
    shuffle()
    require_right(expected)
    assert set(left()) == {*expected, "manifest.json"}
    assert FaultyStore.uploads == set()


@pytest.mark.parametrize("seed", [1001, 1002, 1003])
def test_a_store_that_fails_one_request_in_twenty_is_good_enough(
    seed: int, expected: dict[str, bytes]
) -> None:
    plant()
    FaultyStore.faults = faults = Faults(seed, rate=1 / 20, kind="before")
    shuffle()
    assert faults.errors > 3
    require_right(expected)


def test_a_store_that_fails_every_request_is_asked_five_times() -> None:
    plant()
    FaultyStore.faults = faults = Faults(rate=1.0, kind="before")
    with pytest.raises(UsageError, match=r"faulty://b.*the store failed.*tried 5 times"):
        shuffle()
    assert sum(faults.requests.values()) == stores.ATTEMPTS


@pytest.mark.parametrize(
    ("only", "attempts"),
    [("part", 5), ("complete", 5), ("begin", 5)],
)
def test_uploads_that_always_fail_end_the_run_with_an_error_and_leave_nothing(
    only: str, attempts: int
) -> None:
    plant()
    FaultyStore.faults = faults = Faults(rate=1.0, only=(only,), kind="before")
    with pytest.raises(StoreError, match=r"faulty://b/out/_tmp-.*\.pages: .*tried 5 times"):
        shuffle()
    assert faults.requests[only] == attempts
    assert left() == {}
    assert FaultyStore.uploads == set()


def test_an_answer_that_is_always_short_is_an_error() -> None:
    FaultyStore.objects["b/x"] = b"0123456789"
    FaultyStore.faults = faults = Faults(rate=1.0, only=("cat_file",), kind="short")
    with pytest.raises(
        StoreError, match=r"faulty://b/x: expected a range of 10 bytes.*sent 5.*tried 5 times"
    ):
        storage.read_range("faulty://b/x", 0, 10)
    with pytest.raises(
        StoreError, match=r"faulty://b/x: expected a range of 10 bytes.*sent 5.*tried 5 times"
    ):
        storage.read_all("faulty://b/x")
    assert faults.requests["cat_file"] == 10


@pytest.mark.parametrize("size", [10, 5000])
def test_a_write_that_is_kept_otherwise_than_written_is_done_again_then_an_error(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FaultyStore, "_entry", lambda *_: {"size": 3, "type": "file"})
    tries = []

    def write() -> None:
        tries.append(1)
        with storage.open_write("faulty://b/x") as file:
            storage.write_all(file, bytes(size))

    with pytest.raises(StoreError, match=rf"wrote {size:,} bytes, the store has 3.*tried 5 times"):
        storage.retry(write, "faulty://b/x")
    assert len(tries) == 5


def test_a_part_that_arrives_twice_is_noticed_and_all_is_written_again() -> None:
    attempts = iter([Faults(rate=1.0, only=("part",), kind="twice"), Faults()])
    data = bytes(range(250)) * 40

    def write() -> None:
        FaultyStore.faults = next(attempts)
        with storage.open_write("faulty://b/x") as file:
            storage.write_all(file, data)

    storage.retry(write, "faulty://b/x")
    assert FaultyStore.objects["b/x"] == data


def test_what_will_not_pass_is_not_tried_again() -> None:
    for error, says in (
        (PermissionError("no"), "refuses access"),
        (OSError(errno.EINVAL, "bad"), "the store refuses"),
        (ValueError("bad"), "the store refuses"),
        (OSError("Forbidden: b/x"), "refuses access"),
    ):
        calls = []

        def work(error: Exception = error, calls: list[int] = calls) -> None:
            calls.append(1)
            raise error

        with pytest.raises(StoreError, match=says):
            stores.retry(lambda work=work: stores.request(work, "faulty://b/x"), "faulty://b/x")  # type: ignore[misc]
        assert len(calls) == 1


def test_waiting_grows_and_no_attempt_begins_a_minute_after_the_first_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    clock = [0.0]
    monkeypatch.setenv("DOVETAIL_RETRY_WAIT", "1")
    monkeypatch.setattr(
        stores.time, "sleep", lambda s: (waits.append(s), clock.__setitem__(0, clock[0] + s))
    )
    monkeypatch.setattr(stores.time, "monotonic", lambda: clock[0])

    def fail(seconds: float) -> None:
        clock[0] += seconds
        raise PassingError("x")

    with pytest.raises(StoreError, match="tried 5 times"):
        stores.retry(lambda: fail(0), "faulty://b/x")
    assert waits == [1, 3, 9, 27]
    waits.clear()
    with pytest.raises(StoreError, match="tried 2 times"):
        stores.retry(lambda: fail(61), "faulty://b/x")
    assert waits == [1]


def test_an_error_of_ours_inside_a_unit_of_work_is_not_taken_for_the_stores() -> None:
    calls = []

    def work() -> None:
        calls.append(1)
        raise RunError("ours")

    with pytest.raises(RunError, match="ours"):
        storage.retry(work, "faulty://b/x")
    assert len(calls) == 1


def test_a_retried_shard_is_the_same_bytes(expected: dict[str, bytes]) -> None:
    plant()
    # the second upload in parts of each pair is lost at its very end
    FaultyStore.faults = Faults(7, rate=0.4, only=("complete",), kind="before")
    shuffle()
    assert FaultyStore.faults.errors > 1
    require_right(expected)


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path / "in", CORPUS)
    real = storage.write_all
    for suffix in (".pages", ".references", ".txt", ".json"):

        def write_all(file: object, data: object, suffix: str = suffix) -> int:
            name = str(getattr(file, "name", ""))
            if name.endswith(suffix):
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(file, data)  # type: ignore[arg-type]

        monkeypatch.setattr(storage, "write_all", write_all)
        with pytest.raises(RunError, match=r"the disk is full.*free some space.*--temp_location"):
            run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}", "--num_shards=2")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_what_took_longer_than_a_minute_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = [0.0], [0]
    monkeypatch.setattr(stores.time, "monotonic", lambda: clock[0])

    def work() -> str:
        calls[0] += 1
        clock[0] += 3600.0
        if calls[0] == 1:
            raise PassingError("x")
        return "done"

    assert stores.retry(work, "faulty://b/x") == "done"
    assert calls == [2]


def test_a_part_that_fails_is_sent_again_by_itself() -> None:
    data = bytes(range(256)) * 100  # of 12 full parts and one more
    for kind in ("before", "after"):
        FaultyStore.faults = faults = Faults(5, rate=0.4, only=("part", "complete"), kind=kind)
        with storage.open_write("faulty://b/x") as file:
            storage.write_all(file, data)
        assert faults.errors > 3
        assert faults.requests["begin"] == 1
        assert FaultyStore.objects.pop("b/x") == data
        assert FaultyStore.uploads == set()


@pytest.mark.parametrize(
    ("module", "status", "says"),
    [
        ("httpx2", None, "the store failed: .*tried 5 times"),  # of the hub: no network
        ("huggingface_hub.errors", 503, "the store failed: .*tried 5 times"),
        ("huggingface_hub.errors", 404, "the store refuses"),
    ],
)
def test_what_the_hub_says_is_tried_again_where_it_may_pass(
    module: str, status: int | None, says: str
) -> None:
    error = type("SomeError", (Exception,), {"__module__": module})("no")
    if status is not None:
        error.response = SimpleNamespace(status_code=status)

    def work() -> None:
        raise error

    with pytest.raises(StoreError, match=says):
        stores.retry(lambda: stores.request(work, "hf://x/y"), "hf://x/y")
