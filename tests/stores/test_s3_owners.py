"""Who owns an output on a store: living runs, dead ones, and what isn't ours."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

import pytest

from pipelines import store_folder
from pipelines.output import claim_output
from tests.pipelines.support import make_lines, run, write_tree
from tests.stores.conftest import put, tree
from transforms import layout, storage
from transforms.errors import RunError, UsageError

CORPUS = {"a.txt": make_lines(900), "b/c.txt": make_lines(700, name="q"), "b/empty.txt": b""}
ONE = "--direct_num_workers=1"


def marker(*, beat: float, run_id: str = "0123456789ab", **more: object) -> bytes:
    return json.dumps({"id": run_id, "run": run_id, "beat": beat, **more}).encode()


def test_a_living_run_is_not_disturbed(bucket: str) -> None:
    put(f"{bucket}/in", CORPUS)
    put(f"{bucket}/out", {"_incomplete.json": marker(beat=time.time() - 30)})
    for more in ((), ("--overwrite",)):
        with pytest.raises(UsageError, match=r"another run is writing there.* s old.*0123456789ab"):
            run(f"--input={bucket}/in", f"--output={bucket}/out", ONE, *more)
    assert set(tree(f"{bucket}/out")) == {"_incomplete.json"}


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
        "_incomplete.json": marker(beat=time.time() - 150, spill=[dead, str(local), mine]),
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
        held = claim.held
        with held._writing:  # type: ignore[attr-defined]
            put(out, {"_incomplete.json": marker(beat=0, run_id="another")})
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

    def late(self: store_folder.StoreFolder, mode: str = "overwrite") -> None:
        if mode == "create":
            put(out, {"_incomplete.json": marker(beat=0, run_id="another")})
        real(self, mode)

    monkeypatch.setattr(store_folder.StoreFolder, "_write", late)
    refused = pytest.raises(UsageError, match="another run has begun")
    with refused, claim_output(out, overwrite=False):
        pass
    assert json.loads(tree(out)["_incomplete.json"])["run"] == "another"


def test_what_is_not_ours_is_named_and_left_alone(bucket: str) -> None:
    put(f"{bucket}/in", CORPUS)
    for mine in ("mine.txt", "data/x.bin", "manifest.json"):
        url = put(f"{bucket}/{uuid.uuid4().hex}", {mine: b"mine"})
        with pytest.raises(UsageError, match="not ours to replace"):
            run(f"--input={bucket}/in", f"--output={url}", "--overwrite", ONE)
        assert tree(url) == {mine: b"mine"}
    with pytest.raises(UsageError, match="it is a file"):
        run(f"--input={bucket}/in", f"--output={bucket}/in/a.txt", ONE)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--input={}/in", "--output={}/in/out"], "--output=.* lies inside --input="),
        (["--input={}/out/x", "--output={}/out"], "lies inside --output="),
        (["--input={}/in", "--output={}/o", "--temp_location={}/in/t"], "--temp_location=.*inside"),
        (["--input={}/in", "--output={}/o", "--temp_location={}/o/t"], "--temp_location=.*inside"),
        (["--input={}/in/**", "--output={}/in/o"], "lies inside --input="),
    ],
)
def test_inputs_and_what_is_written_may_not_overlap(
    bucket: str, flags: list[str], says: str
) -> None:
    put(f"{bucket}/in", CORPUS)
    with pytest.raises(UsageError, match=says):
        run(*(flag.format(bucket) for flag in flags), ONE)
    assert set(tree(bucket)) == {f"in/{name}" for name in CORPUS}
