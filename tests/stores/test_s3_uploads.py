"""Uploads in parts that were begun and never completed: those of our runs end, all others stay."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import psutil
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline

from tests.pipelines.support import command, environment, make_lines, run
from tests.stores.conftest import put, tree, unfinished
from transforms.errors import StoreError
from transforms.storage import files as storage
from transforms.storage import layout, store_files
from transforms.workers.finish import Finish

ONE = "--workers=1"
DEAD = "0123456789ab"
OURS = (
    "out/data/train-00000-of-00009.txt",
    f"out/_tmp-{DEAD}/spill/a.pages",
    "out/quarantine/0123456789abcdef.parquet",
    "out/manifest.files.parquet",
    f"t/dovetail-{DEAD}/a.pages",
)
OTHERS = (
    "out/data/mine.bin",
    "out/mine/train-00000-of-00009.txt",
    "out2/data/train-00000-of-00009.txt",
    "t/dovetail-ba9876543210/a.pages",
    f"t/dovetail-{DEAD}2/a.pages",
    "mine.bin",
)

DIE = """
import contextlib, os, sys
from transforms.storage import files as storage
with contextlib.ExitStack() as stack:
    for url in sys.argv[1:]:
        file = stack.enter_context(storage.open_write(url))
        storage.write_all(file, bytes(9 << 20))
    os.kill(os.getpid(), 9)
"""


def abandon(bucket: str, names: tuple[str, ...]) -> None:
    """Begin uploads by a process that is killed in the middle of them."""
    done = command(*(f"{bucket}/{name}" for name in names), python=("-c", DIE))
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert set(names) <= keys(bucket)


def keys(bucket: str) -> set[str]:
    return {str(upload["Key"]) for upload in unfinished(bucket)}


def marker(bucket: str, run_id: str | None = DEAD) -> bytes:
    spills = [f"{bucket}/t/dovetail-{DEAD}"]
    left = {"id": run_id, "run": DEAD, "beat": 0, "patience": 0.05, "spill": spills}
    return json.dumps(left).encode()


def test_what_a_dead_run_began_to_upload_ends_and_nothing_elses_does(bucket: str) -> None:
    put(f"{bucket}/in", {"a.txt": make_lines(500)})
    put(f"{bucket}/out", {"_incomplete.json": marker(bucket)})
    abandon(bucket, OURS + OTHERS)
    run(f"--input={bucket}/in", f"--output={bucket}/out", ONE)
    assert keys(bucket) == set(OTHERS)
    assert "out/manifest.json" in tree(bucket)


def test_a_job_on_a_cluster_ends_what_its_killed_workers_began_to_upload(bucket: str) -> None:
    put(f"{bucket}/out", {"_incomplete.json": marker(bucket)})
    abandon(bucket, OURS + OTHERS)
    folders = [f"{bucket}/t/dovetail-{DEAD}", f"{bucket}/out/_tmp-{DEAD}"]
    with Pipeline() as pipeline:
        written = pipeline | beam.Create([None])
        written | Finish(output=f"{bucket}/out", run_id=DEAD, folders=folders)
    assert keys(bucket) == set(OTHERS)


def test_a_run_that_ends_well_ends_what_its_failed_attempts_began(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(f"{bucket}/in", {"a.txt": make_lines(500)})
    real = layout.publish

    def begin_twice(output: str, path: str, **more: Any) -> Any:
        if path.startswith("data/"):
            fs, at = storage.filesystem(storage.join(output, path))
            name, key, _ = fs.raw.split_path(at)
            fs.raw.call_s3("create_multipart_upload", Bucket=name, Key=key)
            assert unfinished(bucket)
        return real(output, path, **more)

    monkeypatch.setattr(layout, "publish", begin_twice)
    run(f"--input={bucket}/in", f"--output={bucket}/out", ONE)
    assert unfinished(bucket) == []


@pytest.mark.slow
def test_the_next_run_ends_the_uploads_of_one_that_was_killed(bucket: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in.txt", f"{bucket}/out"
    source.write_bytes(b"".join(b"%0999d\n" % i for i in range(60_000)))
    flags = f"--input={source}", f"--output={out}", "--num_shards=1", "--workers=2"
    with (tmp_path / "log").open("wb") as log:
        words = sys.executable, "-m", "pipelines.shuffle", *flags
        running = subprocess.Popen(words, env=environment(), stdout=log, stderr=log)
    try:
        for _ in range(3000):  # looks, not seconds: the machine may be busy with something else
            if any(key.startswith("out/data/") for key in keys(bucket)):
                break
            assert running.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.02)
    finally:
        processes: list[Any] = [running]
        if running.poll() is None:
            processes[:0] = psutil.Process(running.pid).children(recursive=True)
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
    assert keys(bucket), "the kill came too late"
    left = json.loads(tree(out)["_incomplete.json"])
    put(out, {"_incomplete.json": json.dumps({**left, "patience": 0.05}).encode()})
    assert run(*flags).records == 60_000
    assert unfinished(bucket) == []


def test_who_may_not_list_uploads_can_run_all_the_same(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(f"{bucket}/in", {"a.txt": make_lines(500)})
    put(f"{bucket}/out", {"_incomplete.json": marker(bucket)})
    abandon(bucket, OURS)
    raw = storage.filesystem(bucket)[0].raw
    asked, real = [], raw.call_s3

    def refuse(name: str, **which: str) -> Any:
        asked.append(name)
        if name == "list_multipart_uploads":
            raise PermissionError("Access Denied")
        return real(name, **which)

    with monkeypatch.context() as patch:
        patch.setattr(raw, "call_s3", refuse)
        run(f"--input={bucket}/in", f"--output={bucket}/out", ONE)
    assert "list_multipart_uploads" in asked
    assert keys(bucket) == set(OURS)
    assert "out/manifest.json" in tree(bucket)


def test_of_very_many_uploads_all_pages_are_seen(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto gives all at once; S3 a thousand at a time."""
    names = [f"t/{i // 2}.pages" for i in range(7)]  # some objects were begun twice
    ended = []

    def call(name: str, **which: str) -> dict[str, Any]:
        if name == "abort_multipart_upload":
            ended.append((which["Key"], which["UploadId"]))
            return {}
        assert which["Prefix"] == "t/"
        after = which.get("KeyMarker", ""), which.get("UploadIdMarker", "")
        rest = [(n, str(i)) for i, n in enumerate(names) if (n, str(i)) > after]
        page: dict[str, Any] = {"Uploads": [{"Key": n, "UploadId": i} for n, i in rest[:3]]}
        if rest[3:]:
            last = dict(zip(("NextKeyMarker", "NextUploadIdMarker"), rest[2], strict=True))
            page |= {"IsTruncated": True, **last}
        return page

    monkeypatch.setattr(storage.filesystem(bucket)[0].raw, "call_s3", call)
    storage.drop_uploads(f"{bucket}/t")
    assert ended == [(name, str(i)) for i, name in enumerate(names)]


def test_an_upload_that_does_not_end_at_once_is_tried_again(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = f"t/dovetail-{DEAD}/a.pages", f"t/dovetail-{DEAD}/b.pages"
    abandon(bucket, names)
    raw = storage.filesystem(bucket)[0].raw
    real, refused = raw.call_s3, []

    def refuse_once(name: str, **which: str) -> Any:
        if name == "abort_multipart_upload" and not refused:
            refused.append(which["Key"])
            raise OSError("Please reduce your request rate.")
        return real(name, **which)

    monkeypatch.setenv("DOVETAIL_RETRY_WAIT", "0.01")
    monkeypatch.setattr(raw, "call_s3", refuse_once)
    storage.drop_uploads(f"{bucket}/t/dovetail-{DEAD}")
    assert refused == [names[0]]
    assert unfinished(bucket) == []


def test_a_store_that_gives_the_same_page_for_ever_is_asked_twice(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def call(name: str, **which: str) -> dict[str, Any]:
        asked.append(name)
        assert len(asked) < 9
        one = {"Key": "t/a.pages", "UploadId": "1"}
        last = {"NextKeyMarker": one["Key"], "NextUploadIdMarker": "1"}
        return {"Uploads": [one], "IsTruncated": True, **last}

    monkeypatch.setattr(storage.filesystem(bucket)[0].raw, "call_s3", call)
    storage.drop_uploads(f"{bucket}/t")
    assert asked.count("list_multipart_uploads") == 2


def test_a_late_step_leaves_alone_who_took_the_folder_meanwhile(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "f" * 12
    put(f"{bucket}/out", {"_incomplete.json": marker(bucket)})
    abandon(bucket, OURS[:1])

    def take(url: str) -> None:
        put(f"{bucket}/out", {"_incomplete.json": marker(bucket, other)})

    monkeypatch.setattr(storage, "remove_temporary", take)
    with Pipeline() as pipeline:
        written = pipeline | beam.Create([None])
        written | Finish(output=f"{bucket}/out", run_id=DEAD, folders=["memory://nothing"])
    assert layout.owner(f"{bucket}/out") == other
    assert keys(bucket) == set(OURS[:1])


def test_ten_thousand_parts_hold_what_an_object_may() -> None:
    sent, sizes = 0, []
    while len(sizes) < store_files.MAX_PARTS:
        sizes.append(store_files.part_size(sent))
        sent += sizes[-1]
    assert sent >= 5 << 40, "S3's largest object"
    assert sizes == sorted(sizes)
    assert sizes[:900] == [8 << 20] * 900
    assert max(sizes) <= 1 << 30
    assert all(size % (1 << 18) == 0 for size in sizes), "as Google wants them"


def test_parts_grow_with_what_has_gone_up(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_files, "_PART", 5 << 20)  # the least that S3 takes
    monkeypatch.setattr(store_files, "_SHARE", 2)
    data = np.arange(8_000_000, dtype=np.uint32).tobytes()
    with storage.open_write(f"{bucket}/x") as file:
        for at in range(0, len(data), 700_001):
            storage.write_all(file, data[at : at + 700_001])
    fs, path = storage.filesystem(f"{bucket}/x")
    # 5, 5, 5 and 7.5 MiB, and the rest; of one size they would be seven
    assert fs.info(path)["ETag"].strip('"').endswith("-5")
    assert storage.read_all(f"{bucket}/x") == data
    monkeypatch.setattr(fs.raw, "fixed_upload_size", True)
    monkeypatch.setattr(store_files, "MAX_PARTS", 4)
    with (
        pytest.raises(StoreError, match=r"more than 4 parts of 5 MiB.*pass a larger --num_shards"),
        storage.open_write(f"{bucket}/y") as file,
    ):
        storage.write_all(file, data)
    assert unfinished(bucket) == []
