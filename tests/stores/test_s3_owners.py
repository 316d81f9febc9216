"""Who owns an output on a store: living runs, dead ones, and what isn't ours."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.outputs import store_folder
from pipelines.outputs.claim import Claim, claim_output
from tests.pipelines.support import make_lines, run, write_tree
from tests.stores import faulty  # noqa: F401  # registers its protocol
from tests.stores.conftest import forget_stores, put, tree
from transforms.errors import RunError, StoreError, UsageError
from transforms.storage import files as storage
from transforms.storage import layout, versions
from transforms.workers import signs_of_life

CORPUS = {"a.txt": make_lines(900), "b/c.txt": make_lines(700, name="q"), "b/empty.txt": b""}
ONE = "--workers=1"


def marker(*, beat: float = 0, run_id: str = "0123456789ab", **more: object) -> bytes:
    left = {"id": run_id, "run": run_id, "beat": beat, "patience": 0.05, **more}
    return json.dumps(left).encode()


@pytest.mark.parametrize("clock", [-1e6, 1e6])
def test_a_living_run_is_not_disturbed_whatever_its_clock_says(
    bucket: str, monkeypatch: pytest.MonkeyPatch, clock: float
) -> None:
    out, real = f"{bucket}/out", time.time
    monkeypatch.setattr(store_folder, "BEAT", 0.02)
    monkeypatch.setattr(signs_of_life, "_LOOK", 0.02)
    monkeypatch.setattr(store_folder.time, "time", lambda: real() + clock)
    with claim_output(out, overwrite=False) as claim:
        for overwrite in (False, True):
            says = f"another run is writing there .its sign of life.*{claim.run_id}"
            with (
                pytest.raises(UsageError, match=says),
                claim_output(out, overwrite=overwrite),
            ):
                pass
        assert json.loads(tree(out)["_incomplete.json"])["run"] == claim.run_id
    assert tree(out) == {}


@pytest.mark.parametrize("beat", [0, 1e12])
def test_a_run_that_is_silent_is_dead_whatever_its_clock_said(bucket: str, beat: float) -> None:
    put(f"{bucket}/out", {"_incomplete.json": marker(beat=beat)})
    with claim_output(f"{bucket}/out", overwrite=False) as claim:
        assert claim.left["run"] == claim.run_id
    assert tree(f"{bucket}/out") == {}


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_folder, "_SETTLE", 0.0)


@pytest.fixture(params=["s3", "gs", "faulty"])
def anywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give a folder on stores that know conditions, each in its own way, and on one that doesn't."""
    name = uuid.uuid4().hex
    if request.param == "s3":
        yield f"{request.getfixturevalue('bucket')}/{name}"
        return
    if request.param == "gs":
        port = request.getfixturevalue("gcs_port")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    forget_stores()
    storage.configure({"gs": {"token": "anon"}})
    yield f"{'gs://bucket' if request.param == 'gs' else 'faulty://b'}/{name}"
    forget_stores()


def test_of_two_that_take_over_one_dead_output_the_loser_clears_nothing(
    anywhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = f"{anywhere}/t/dovetail-0123456789ab"
    put(f"{anywhere}/out", {"_incomplete.json": marker(spill=[dead])})
    put(dead, {"a.pages": b"x"})
    claim = functools.partial(
        claim_output, f"{anywhere}/out", overwrite=False, temp_locations=[f"{anywhere}/t"]
    )
    with contextlib.ExitStack() as stack:
        begun: list[str] = []
        winners: list[Claim] = []
        real = store_folder.StoreFolder._write

        def late(self: store_folder.StoreFolder, **more: float) -> None:
            if not begun:
                begun.append("the winner")
                winners.append(stack.enter_context(claim()))
                put(winners[0].spills[0], {"b.pages": b"y"})
                put(winners[0].temporary[-1], {"c.txt": b"z"})
            real(self, **more)

        monkeypatch.setattr(store_folder.StoreFolder, "_write", late)
        with pytest.raises(UsageError, match="another run has begun"), claim():
            pass
        (winner,) = winners
        below = winner.spills[0].removeprefix(f"{anywhere}/")
        assert set(tree(anywhere)) == {
            "out/_incomplete.json",
            f"{below}/b.pages",
            f"out/_tmp-{winner.run_id}/c.txt",
        }
        assert layout.owner(f"{anywhere}/out") == winner.run_id
    assert tree(anywhere) == {}


def test_a_run_that_was_taken_for_dead_does_not_take_its_output_back(
    anywhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"{anywhere}/out"
    with pytest.raises(RunError, match="no longer owns"), claim_output(out, overwrite=False) as one:
        held = one.held
        assert isinstance(held, store_folder.StoreFolder)
        looked = held.owned()
        put(out, {"_incomplete.json": marker(run_id="another")})  # while it slept
        with pytest.raises(FileExistsError):
            held._write()
        assert looked
        assert not held.owned()
        held.write_marker({**one.left})
    assert json.loads(tree(out)["_incomplete.json"])["run"] == "another"


def test_a_sign_of_life_whose_answers_were_all_lost_is_not_taken_for_anothers(
    anywhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = versions.replace
    with claim_output(f"{anywhere}/out", overwrite=False) as claim:
        held = claim.held
        assert isinstance(held, store_folder.StoreFolder)

        def lost(*args: Any, **more: Any) -> str:
            real(*args, **more)
            raise StoreError("no answer came")

        with monkeypatch.context() as patched:
            patched.setattr(versions, "replace", lost)
            with pytest.raises(StoreError, match="no answer"):
                held.write_marker(claim.left)
        before = tree(f"{anywhere}/out")["_incomplete.json"]
        held.write_marker(claim.left)
        assert tree(f"{anywhere}/out")["_incomplete.json"] != before
        assert held.owned()


def test_where_a_store_heeds_no_conditions_a_run_that_lost_its_output_stays_silent(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = storage.filesystem(bucket)[0].raw
    real = raw.call_s3

    def call(name: str, **which: Any) -> Any:
        return real(name, **{k: v for k, v in which.items() if k not in ("IfMatch", "IfNoneMatch")})

    monkeypatch.setattr(raw, "call_s3", call)
    monkeypatch.setattr(store_folder, "BEAT", 0.02)
    out = f"{bucket}/out"
    with pytest.raises(RunError, match="no longer owns"), claim_output(out, overwrite=False) as one:
        held = one.held
        assert isinstance(held, store_folder.StoreFolder)
        with held._writing:  # while it slept
            put(out, {"_incomplete.json": marker(run_id="another")})
        ended = time.monotonic() + 60
        while any(thread.name == "heartbeat" for thread in threading.enumerate()):
            assert time.monotonic() < ended
            time.sleep(0.01)
        layout.require_marker(out, one.run_id)
    assert json.loads(tree(out)["_incomplete.json"])["run"] == "another"


def test_an_answer_that_is_lost_is_found_again(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = storage.filesystem(bucket)[0].raw
    real, lost = raw.call_s3, []

    def call(name: str, **which: str) -> Any:
        answer = real(name, **which)
        if name == "put_object" and not lost:
            lost.append(which)
            raise OSError("the answer was lost")
        return answer

    monkeypatch.setattr(raw, "call_s3", call)
    first = versions.replace(f"{bucket}/x", b"one", known=None)
    assert lost
    assert versions.read_version(f"{bucket}/x") == (b"one", first)
    with pytest.raises(FileExistsError):
        versions.replace(f"{bucket}/x", b"two", known=None)
    second = versions.replace(f"{bucket}/x", b"two", known=first)
    with pytest.raises(FileExistsError):
        versions.replace(f"{bucket}/x", b"three", known=first)
    assert versions.read_version(f"{bucket}/x") == (b"two", second)


def test_a_dead_runs_leftovers_are_cleared_where_its_marker_says(
    bucket: str, tmp_path: Path
) -> None:
    put(f"{bucket}/in", CORPUS)
    dead = f"{bucket}/t/dovetail-0123456789ab"
    mine = f"{bucket}/mine"
    local = write_tree(tmp_path / "dovetail-0123456789ab", {"a.pages": b"x"})
    put(dead, {"a.pages": b"x"})
    put(mine, {"keep": b"x"})
    left = {
        "_incomplete.json": marker(spill=[dead, str(local), mine]),
        "_tmp-0123456789ab/spill/a.pages": b"x",
        "data/train-00000-of-00009.txt": b"half",
    }
    put(f"{bucket}/out", left)
    run(f"--input={bucket}/in", f"--output={bucket}/out", "--num_shards=1", ONE)
    assert set(tree(bucket)) == {
        *(f"in/{name}" for name in CORPUS),
        "mine/keep",
        "out/manifest.json",
        "out/data/train-00000-of-00001.txt",
    }
    assert not local.exists()


def test_a_run_shows_that_it_lives_and_notices_that_it_lost_its_output(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_folder, "BEAT", 0.02)
    out = f"{bucket}/out"
    with (
        pytest.raises(RunError, match="no longer owns"),
        claim_output(out, overwrite=False) as claim,
    ):
        beats = set()
        for _ in range(2000):
            beats.add(json.loads(tree(out)["_incomplete.json"])["beat"])
            if len(beats) > 2:
                break
        assert len(beats) > 2
        with layout.publish(out, "data/train-00000-of-00001.txt", run_id=claim.run_id) as file:
            storage.write_all(file, b"mine")
        put(out, {"_incomplete.json": marker(run_id="another")})
        with layout.publish(out, "data/train-00001-of-00001.txt", run_id=claim.run_id) as file:
            storage.write_all(file, b"mine")
    # what lies there now is the other run's
    assert set(tree(out)) == {"_incomplete.json", "data/train-00000-of-00001.txt"}
    assert json.loads(tree(out)["_incomplete.json"])["run"] == "another"


def test_of_two_that_begin_at_once_one_is_refused(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"{bucket}/out"
    real = store_folder.StoreFolder._write

    def late(self: store_folder.StoreFolder, **more: float) -> None:
        if self._version is None:
            put(out, {"_incomplete.json": marker(run_id="another")})
        real(self, **more)

    monkeypatch.setattr(store_folder.StoreFolder, "_write", late)
    refused = pytest.raises(UsageError, match="another run has begun")
    with refused, claim_output(out, overwrite=False):
        pass
    assert json.loads(tree(out)["_incomplete.json"])["run"] == "another"


def test_what_is_not_ours_is_named_and_left_alone(bucket: str) -> None:
    put(f"{bucket}/in", CORPUS)
    for mine in ("mine.txt", "data/x.bin", "manifest.json"):
        url = put(f"{bucket}/{uuid.uuid4().hex}", {mine: b"mine"})
        with pytest.raises(UsageError, match="Dovetail didn't write"):
            run(f"--input={bucket}/in", f"--output={url}", "--overwrite", ONE)
        assert tree(url) == {mine: b"mine"}
    with pytest.raises(UsageError, match="expected a folder, got a file"):
        run(f"--input={bucket}/in", f"--output={bucket}/in/a.txt", ONE)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--input={}/out/x", "--output={}/out"], "is inside --output="),
        (["--input={}/in", "--output={}/o", "--temp_location={}/in/t"], "--temp_location=.*inside"),
        (["--input={}/in", "--output={}/o", "--temp_location={}/o/t"], "--temp_location=.*inside"),
    ],
)
def test_inputs_and_what_is_written_may_not_overlap(
    bucket: str, flags: list[str], says: str
) -> None:
    put(f"{bucket}/in", CORPUS)
    with pytest.raises(UsageError, match=says):
        run(*(flag.format(bucket) for flag in flags), ONE)
    assert set(tree(bucket)) == {f"in/{name}" for name in CORPUS}


@pytest.mark.parametrize("pattern", ["in", "in/**"])
def test_an_output_inside_the_inputs_folder_is_not_read(bucket: str, pattern: str) -> None:
    put(f"{bucket}/in", CORPUS)
    flags = f"--input={bucket}/{pattern}", f"--output={bucket}/in/out", ONE
    first = run(*flags)
    assert run(*flags, "--overwrite").records == first.records == 1600
