"""The budget: a process's bundles share slots, and get them back whatever happens."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest

from tests.transforms.helpers import THREADS, collect, create, partition, run, spilled_rows
from transforms.datasets.identity import FileId
from transforms.kernels.records import blocks, sorting
from transforms.workers import slots as module
from transforms.workers.slots import Slot


@pytest.fixture
def run_id() -> str:
    """A run of its own: slots live as long as the process."""
    return uuid.uuid4().hex


def elsewhere(slot: Slot) -> None:
    """Let another bundle, on a thread of its own, take a slot that must be free, and keep it."""
    thread = threading.Thread(target=slot.take, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "waited for a slot that should be free"


def taken_soon(run_id: str) -> bool:
    """Return whether another bundle gets a slot in a moment, where it should get none."""
    slot = Slot(run_id, module._pools[run_id].slots)
    took = threading.Event()

    def visit() -> None:
        with slot:
            took.set()

    # where it has to wait it goes on waiting, and gives back what it gets
    threading.Thread(target=visit, daemon=True).start()
    return took.wait(0.2)


@pytest.mark.parametrize("slots", [1, 3])
def test_no_more_bundles_hold_a_place_than_there_are(run_id: str, slots: int) -> None:
    with Slot(run_id, slots):
        for _ in range(slots - 1):
            elsewhere(Slot(run_id, slots))
        late = Slot(run_id, slots)
        taken = threading.Event()

        def wait() -> None:
            late.take()
            taken.set()

        threading.Thread(target=wait, daemon=True).start()
        assert not taken.wait(0.1)
    assert taken.wait(60)


def test_taking_twice_holds_one_place_and_leaving_twice_gives_back_one(run_id: str) -> None:
    first, second = Slot(run_id, 2), Slot(run_id, 2)
    first.take()
    first.take()
    elsewhere(second)
    assert not taken_soon(run_id)
    first.leave()
    first.leave()
    elsewhere(Slot(run_id, 2))
    assert not taken_soon(run_id)


def test_steps_of_one_bundle_share_its_place_until_the_last_one_leaves(run_id: str) -> None:
    with Slot(run_id, 1):
        with Slot(run_id, 1):
            pass
        assert not taken_soon(run_id)


def test_runs_do_not_wait_for_each_other(run_id: str) -> None:
    with Slot(run_id, 1):
        assert not taken_soon(run_id)
        elsewhere(Slot(run_id + "x", 1))


def test_a_place_comes_back_when_what_it_was_for_fails(run_id: str) -> None:
    with pytest.raises(ZeroDivisionError), Slot(run_id, 1):
        raise ZeroDivisionError
    elsewhere(Slot(run_id, module._pools[run_id].slots))


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> Iterator[list[int]]:
    """Gather how many bundles hold payload at each moment that one sorts its run.

    A bundle waits for another one to hold some, unless two have been seen to, for some seconds.
    """
    seen: list[int] = []
    holding: set[int] = set()
    changed = threading.Condition()
    with_keys, sort_run = blocks.with_keys, sorting.sort_run

    def gathering(*args: Any) -> Any:
        with changed:
            holding.add(threading.get_ident())
            changed.notify_all()
        return with_keys(*args)

    def watched_sort(*args: Any) -> Any:
        with changed:
            changed.wait_for(lambda: len(holding) > 1 or max(seen, default=0) > 1, seconds)
            seen.append(len(holding))
            holding.discard(threading.get_ident())
        return sort_run(*args)

    with monkeypatch.context() as patched:
        patched.setattr(blocks, "with_keys", gathering)
        patched.setattr(sorting, "sort_run", watched_sort)
        yield seen


@pytest.mark.parametrize("slots", [1, 3])
def test_bundles_of_one_process_hold_payload_only_as_far_as_there_are_places(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_id: str, slots: int
) -> None:
    # a second one that may come is waited for, one that may not has time to come
    with watched(monkeypatch, seconds=0.5 if slots == 1 else 60) as seen:
        run(
            lambda root: (
                root
                | create([_block([b"%d" % i]) for i in range(30)], spread=True)
                | partition(tmp_path, run_id=run_id, slots=slots)
            ),
            **THREADS,
        )
    assert len(seen) > 1  # else there was nothing to wait for
    assert max(seen) == 1 if slots == 1 else max(seen) > 1
    elsewhere(Slot(run_id, module._pools[run_id].slots))


def _fail(_: Any) -> None:
    raise ZeroDivisionError("on purpose")


def _block(records: list[bytes]) -> tuple[FileId, Any]:
    positions = np.arange(len(records), dtype=np.uint64)
    return FileId("s", "f"), blocks.from_records(records, positions, line_end=b"\n")


@pytest.mark.parametrize("where", ["in the step", "below it"])
@pytest.mark.parametrize("run_bytes", [1, 1 << 20], ids=["in process", "in finish_bundle"])
@pytest.mark.timeout(60)
def test_a_run_that_failed_leaves_its_places_to_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_id: str, run_bytes: int, where: str
) -> None:
    def build(root: Any, fail: bool) -> Any:
        spills = (
            root
            | beam.Create([_block([b"a"]), _block([b"b"])])
            | partition(tmp_path, run_id=run_id, run_bytes=run_bytes)
        ).spills
        return spills | "Fail" >> beam.Map(_fail) if fail else spills

    with monkeypatch.context() as patched:
        if where == "in the step":
            patched.setattr(sorting, "sort_run", _fail)
        with pytest.raises(Exception, match="on purpose"):
            run(lambda root: build(root, where == "below it"))
    found = collect(lambda root: build(root, False))
    assert sum(len(spilled_rows(spill)) for spill in found) == 2
    elsewhere(Slot(run_id, module._pools[run_id].slots))


@pytest.mark.timeout(60)
def test_one_bundle_may_partition_its_records_twice(tmp_path: Path, run_id: str) -> None:
    def two_epochs(root: Any) -> Any:
        located = root | beam.Create([_block([b"a"])])
        return (
            tuple(
                (
                    located | f"Epoch{epoch}" >> partition(tmp_path, epoch=epoch, run_id=run_id)
                ).spills
                for epoch in (0, 1)
            )
            | beam.Flatten()
        )

    assert len(collect(two_epochs)) == 2


def test_a_later_pipeline_without_a_run_id_has_the_places_that_it_asks_for() -> None:
    Slot("", 3)
    with Slot("", 1):
        assert not taken_soon("")
