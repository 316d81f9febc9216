"""Owning an output folder: who may write there, what is cleared, and what is left alone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest

import pipelines.shuffle
from pipelines.outputs.claim import check_foreign, check_output, claim_output
from pipelines.outputs.store_folder import StoreFolder
from pipelines.recipes.cli import run_main
from pipelines.verify import verify
from tests.pipelines.support import (
    command,
    environment,
    make_lines,
    read_shards,
    read_tree,
    run,
    write_tree,
)
from transforms.errors import RunError, StoreError, UsageError
from transforms.storage import layout, stores

DIE_WORKING = """
import os, pathlib, signal, sys
from pipelines.outputs.claim import claim_output
with claim_output(sys.argv[1], overwrite=False, temp_locations=[*filter(None, sys.argv[2:])]) as claim:
    for path in (claim.spills[0] + "/a.pages", f"{claim.folder}/_tmp-{claim.run_id}/b.txt",
                 claim.folder + "/data/train-00000-of-00002.txt"):
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(path).write_bytes(b"half")
    print(claim.run_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def die_working(output: Path, temp_location: object = "") -> str:
    """Be killed in the midst of a run; return its id."""
    done = command(output, temp_location, python=("-c", DIE_WORKING))
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    return done.stdout.decode().strip()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a small input file."""
    path = tmp_path / "in.txt"
    path.write_bytes(make_lines(50))
    return path


@pytest.fixture
def dataset(tmp_path: Path, source: Path) -> Path:
    """Return a folder with a dataset."""
    run(f"--input={source}", f"--output={tmp_path / 'set'}", "--num_shards=3")
    return tmp_path / "set"


def test_a_claim_leaves_nothing_but_what_was_published(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with claim_output(str(folder), overwrite=False, temp_locations=()) as claim:
        marker = json.loads((folder / "_incomplete.json").read_bytes())
        assert (marker["id"], marker["spill"]) == (claim.run_id, [claim.spills[0]])
        write_tree(Path(claim.spills[0]), {"a.pages": b"x"})
        write_tree(folder, {"data/train-00000-of-00001.txt": b"a\n", "manifest.json": b"{}"})
    assert read_tree(folder) == {"data/train-00000-of-00001.txt": b"a\n", "manifest.json": b"{}"}


def _publish_and_fail(folder: Path, temp_location: str) -> None:
    with claim_output(str(folder), overwrite=False, temp_locations=[temp_location]) as claim:
        write_tree(Path(claim.spills[0]), {"a.pages": b"x"})
        write_tree(folder, {"data/train-00000-of-00001.txt": b"a\n", "manifest.json": b"{}"})
        raise ZeroDivisionError


@pytest.mark.parametrize("stood_there", [False, True])
def test_a_failure_takes_back_what_was_published_and_the_folders_that_were_made(
    tmp_path: Path, stood_there: bool
) -> None:
    folder = tmp_path / "some/out"
    if stood_there:
        folder.mkdir(parents=True)
    before = read_tree(tmp_path)
    with pytest.raises(ZeroDivisionError):
        _publish_and_fail(folder, f"{tmp_path}/t/u")
    assert read_tree(tmp_path) == before


def test_a_temporary_location_that_was_missing_goes_and_one_that_stood_there_stays(
    tmp_path: Path,
) -> None:
    kept = write_tree(tmp_path / "kept", {"mine.txt": b"1", "dovetail-0123456789ab/x": b"2"})
    before = read_tree(kept)
    for location in (tmp_path / "new/deep", kept):
        with claim_output(
            str(tmp_path / "out"), overwrite=False, temp_locations=[str(location)]
        ) as claim:
            assert Path(claim.spills[0]).is_dir()
            assert Path(claim.spills[0]).parent == location
            write_tree(Path(claim.spills[0]), {"a.pages": b"x"})
    assert read_tree(kept) == before
    assert os.listdir(tmp_path) == ["kept"]


def test_a_made_temporary_location_that_somebody_else_uses_by_now_stays(tmp_path: Path) -> None:
    with claim_output(str(tmp_path / "out"), overwrite=False, temp_locations=[f"{tmp_path}/t"]):
        write_tree(tmp_path / "t", {"other-run/a.pages": b"x"})
    assert read_tree(tmp_path / "t") == {"other-run/a.pages": b"x"}


@pytest.mark.parametrize("location", ["", "elsewhere", "elsewhere/made/deep"])
def test_a_dead_runs_leftovers_are_cleared_and_said(
    tmp_path: Path, location: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_tree(tmp_path / "elsewhere", {"mine.txt": b"1"})
    folder = tmp_path / "out"
    dead = die_working(folder, location and tmp_path / location)
    assert len([name for name in read_tree(tmp_path) if name.endswith("a.pages")]) == 1
    with (
        caplog.at_level(logging.INFO, "dovetail"),
        claim_output(str(folder), overwrite=False, temp_locations=()) as claim,
    ):
        assert claim.run_id != dead
        inside = {
            Path(claim.spills[0]).relative_to(tmp_path).as_posix() + "/",
            "out/_incomplete.json",
        }
        assert set(read_tree(tmp_path)) == {"elsewhere/mine.txt", *inside}
    assert dead in caplog.text
    assert str(folder) in caplog.text


@pytest.mark.parametrize("location", ["out", "out/tmp", "out/data"])
def test_spill_files_inside_the_output_are_refused_or_cleared_like_any(
    tmp_path: Path, location: str
) -> None:
    died = command(tmp_path / "out", tmp_path / location, python=("-c", DIE_WORKING))
    if died.returncode == -signal.SIGKILL:
        with claim_output(str(tmp_path / "out"), overwrite=False, temp_locations=()):
            assert not [name for name in read_tree(tmp_path) if name.endswith(".pages")]
    else:
        assert f"--temp_location={tmp_path / location}" in died.stderr.decode()
        assert not (tmp_path / "out").exists()


def test_a_dead_runs_leftovers_are_cleared_by_a_run_that_fails_too(tmp_path: Path) -> None:
    die_working(tmp_path / "out", tmp_path / "t")
    with (
        pytest.raises(ZeroDivisionError),
        claim_output(str(tmp_path / "out"), overwrite=False, temp_locations=()),
    ):
        raise ZeroDivisionError
    assert read_tree(tmp_path) == {"out/": b""}


def test_a_spool_of_standard_input_whose_run_was_killed_is_cleared_by_the_next_run(
    tmp_path: Path, source: Path
) -> None:
    before = read_tree(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines.shuffle", "--input=-", f"--output={tmp_path / 'out'}"],
        stdin=subprocess.PIPE,
        env=environment(),
    ) as process:
        while read_tree(tmp_path) == before and process.poll() is None:
            time.sleep(0.02)
        assert read_tree(tmp_path) != before
        process.kill()
    run(f"--input={source}", f"--output={tmp_path / 'out'}")
    assert sorted(os.listdir(tmp_path)) == ["in.txt", "out"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_living_run_is_not_disturbed(tmp_path: Path, source: Path, overwrite: bool) -> None:
    folder = tmp_path / "out"
    with claim_output(str(folder), overwrite=False, temp_locations=()) as claim:
        write_tree(folder, {"data/train-00000-of-00001.txt": b"a\n"})
        write_tree(Path(claim.spills[0]), {"a.pages": b"x"})
        before = read_tree(folder)
        flags = ["--overwrite"] * overwrite
        with pytest.raises(UsageError, match=re.escape(f"--output={folder}: another run")):
            run(f"--input={source}", f"--output={folder}", *flags)
        assert read_tree(folder) == before


def test_a_living_run_in_another_process_is_not_disturbed(tmp_path: Path, source: Path) -> None:
    code = DIE_WORKING.replace("os.kill(os.getpid(), signal.SIGKILL)", "sys.stdin.read()")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out"), ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        before = read_tree(tmp_path)
        with pytest.raises(UsageError, match="another run is writing there"):
            run(f"--input={source}", f"--output={tmp_path / 'out'}")
        assert read_tree(tmp_path) == before
    assert process.returncode == 0


MARKER = json.dumps({"id": "0123456789ab", "spill": "", "made": []}).encode()
SHARD = "data/train-00000-of-00001.txt"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"notes.txt": b"1"}, "notes.txt"),
        ({".bashrc": b"1", "work/thesis.tex": b"2", "photos/1.jpg": b"3"}, ".bashrc"),
        ({"data/": b""}, "data"),
        ({"data/mine.csv": b"1"}, "data"),
        ({SHARD: b"1"}, "data"),
        ({"_tmp-mine/x": b"1"}, "_tmp-mine"),
        ({"manifest.json": b"{}", SHARD: b"1", "data/mine.csv": b"2"}, "data/mine.csv"),
        ({"manifest.json": b"{}", SHARD: b"1", "README.md": b"2"}, "README.md"),
        ({"manifest.json": b"{}", "data": b"a file"}, "data/"),
        ({"manifest.json": b'{"name": "an app", "icons": {}}'}, "manifest.json"),
        ({"_incomplete.json": MARKER, "data/mine.csv": b"2"}, "data/mine.csv"),
        ({"_incomplete.json": MARKER, "notes.txt": b"2"}, "notes.txt"),
        ({"flat/": b""}, "flat"),
        ({"epoch-0/dataset.json": b"1"}, "epoch-0"),
        ({"dataset.json": b"1"}, "dataset.json"),
        (
            {"manifest.json": b"{}", "epoch-0/flat/data/mine.bin": b"1"},
            "epoch-0/flat/data/mine.bin",
        ),
        ({"_incomplete.json": MARKER, "epoch-0/thesis.tex": b"1"}, "epoch-0/thesis.tex"),
        ({"_incomplete.json": MARKER, "megatron/data/src/": b""}, "megatron/data/src/"),
        ({"_incomplete.json": MARKER, "flat/flat/data/x": b"1"}, "flat/flat/"),
        ({"_incomplete.json": MARKER, f"{SHARD}/a": b"1"}, SHARD),
    ],
)
def test_what_is_not_ours_is_named_and_left_alone(
    tmp_path: Path, files: dict[str, bytes], named: str, overwrite: bool
) -> None:
    folder = tmp_path / "home"
    for name, data in files.items():
        if name.endswith("/"):
            (folder / name).mkdir(parents=True)
        else:
            write_tree(folder, {name: data})
    before = read_tree(tmp_path)
    for claim in (_claim, check_output):
        with pytest.raises(UsageError) as raised:
            claim(str(folder), overwrite=overwrite)
        assert f"--output={folder}" in str(raised.value)
        assert f"'{named}" in str(raised.value)
    assert read_tree(tmp_path) == before


PREPARED = {
    "dataset.json": b"{}",
    "data/train-00000-of-00001.parquet": b"1",
    "epoch-0/megatron/data/train-00000-of-00002.bin": b"1",
    "epoch-0/megatron/data/train-00000-of-00002.idx": b"2",
    "epoch-0/megatron/sequences.json": b"{}",
    "epoch-0/megatron/weights-train.txt": b"1",
    "epoch-0/megatron/dataset.json": b"{}",
    "epoch-1/olmo/data/train-00000-of-00002.csv.gz": b"3",
    "flat/data/validation-00000-of-00001.bin": b"4",
    "quarantine/0123456789abcdef.parquet": b"5",
}
DIE_PREPARING = DIE_WORKING.replace(
    "    print(claim.run_id",
    """    for name in sys.argv[3:]:
        path = pathlib.Path(claim.folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"whole")
    print(claim.run_id""",
)


@pytest.mark.parametrize("written", [1, 3, 6, len(PREPARED)])
def test_a_run_that_was_killed_between_files_formats_or_epochs_is_cleared_by_the_next(
    tmp_path: Path, written: int
) -> None:
    names = list(PREPARED)[:written]
    done = command(tmp_path / "out", "", *names, python=("-c", DIE_PREPARING))
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert {*names} < {*read_tree(tmp_path / "out")}
    _claim(str(tmp_path / "out"), overwrite=False)
    assert read_tree(tmp_path) == {"out/": b""}


def test_a_prepared_dataset_is_replaced_whole_and_only_when_asked_to(tmp_path: Path) -> None:
    manifest = b'{"format": "dovetail-manifest"}'
    folder = write_tree(tmp_path / "out", {**PREPARED, "manifest.json": manifest})
    before = read_tree(folder)
    for claim in (_claim, check_output):
        with pytest.raises(UsageError, match="the folder holds a dataset"):
            claim(str(folder), overwrite=False)
    check_output(str(folder), overwrite=True)
    assert read_tree(folder) == before
    _claim(str(folder), overwrite=True)
    assert read_tree(tmp_path) == {"out/": b""}


def test_folders_of_a_prepared_dataset_that_are_links_are_left_alone(tmp_path: Path) -> None:
    elsewhere = write_tree(tmp_path / "elsewhere", {"data/train-00000-of-00001.bin": b"1"})
    folder = write_tree(tmp_path / "out", {"manifest.json": b'{"format": "dovetail-manifest"}'})
    (folder / "flat").symlink_to(elsewhere)
    with pytest.raises(UsageError, match="holds 'flat/'"):
        _claim(str(folder), overwrite=True)
    assert read_tree(elsewhere) == {"data/train-00000-of-00001.bin": b"1"}


@pytest.mark.parametrize(
    "foreign", ["", "epoch-0/flat/data/mine.bin", "flat/flat/data", "notes.txt"]
)
def test_a_prepared_dataset_on_a_store_is_known_by_its_paths(foreign: str) -> None:
    folder = StoreFolder("memory://test_claim/out")
    fs = fsspec.filesystem("memory")
    paths = {**PREPARED, "manifest.json": b'{"format": "dovetail-manifest"}'}
    for path in [*paths, *filter(None, [foreign])]:
        fs.pipe_file(f"/test_claim/out/{path}", paths.get(path, b"1"))
    try:
        if foreign:
            with pytest.raises(UsageError, match=foreign):
                check_foreign(folder)
        else:
            check_foreign(folder)
            assert {p for p in folder.paths(layout.is_our_folder) if p in PREPARED} == {*PREPARED}
    finally:
        fs.rm("/test_claim", recursive=True)


def _claim(folder: str, *, overwrite: bool) -> None:
    with claim_output(folder, overwrite=overwrite, temp_locations=()):
        pass


@pytest.mark.parametrize("marked", [False, True])
def test_a_folder_of_somebodys_beside_a_dataset_is_never_removed(
    dataset: Path, source: Path, marked: bool
) -> None:
    write_tree(dataset, {"_tmp-thesis/chapter.tex": b"years of work"})
    if marked:
        write_tree(dataset, {"_incomplete.json": MARKER})
    with contextlib.suppress(UsageError):
        run(f"--input={source}", f"--output={dataset}", "--overwrite")
    assert read_tree(dataset)["_tmp-thesis/chapter.tex"] == b"years of work"


def test_a_dataset_is_replaced_only_when_asked_to(dataset: Path, source: Path) -> None:
    before = read_tree(dataset)
    with pytest.raises(UsageError, match=re.escape(f"--output={dataset}: the folder holds a")):
        run(f"--input={source}", f"--output={dataset}", "--seed=9")
    assert read_tree(dataset) == before
    assert run(f"--input={source}", f"--output={dataset}", "--seed=9", "--overwrite").seed == 9
    assert list(read_shards(dataset)) == ["train-00000-of-00001.txt"]
    assert verify(str(dataset))[1] == []


def test_a_dataset_with_a_marker_is_complete_and_the_marker_goes(
    dataset: Path, source: Path
) -> None:
    before = read_tree(dataset)
    write_tree(dataset, {"_incomplete.json": MARKER})
    with pytest.raises(UsageError, match="the folder holds a dataset"):
        run(f"--input={source}", f"--output={dataset}")
    assert read_tree(dataset) == before


@pytest.mark.parametrize("marker", [b"", b"{", b"[]", b"\xff"])
def test_a_marker_that_was_cut_short_is_cleared_like_any_other(
    tmp_path: Path, source: Path, marker: bytes
) -> None:
    write_tree(tmp_path / "out", {"_incomplete.json": marker, SHARD: b"half"})
    run(f"--input={source}", f"--output={tmp_path / 'out'}", "--num_shards=2")
    assert sorted(os.listdir(tmp_path / "out")) == ["data", "manifest.json"]
    assert verify(str(tmp_path / "out"))[1] == []


@pytest.mark.parametrize("what", ["progress", "sockets"])
def test_where_a_dead_run_counted_and_listened_is_cleared(
    tmp_path: Path, source: Path, what: str
) -> None:
    folder = write_tree(tmp_path / f"dovetail-0123456789ab.{what}", {"1-0": b"1"})
    left = {"id": "a", "spill": "", "made": [], what: str(folder)}
    write_tree(tmp_path / "out", {"_incomplete.json": json.dumps(left).encode()})
    run(f"--input={source}", f"--output={tmp_path / 'out'}")
    assert not folder.exists()


def test_a_marker_names_nothing_that_may_be_removed_but_a_spill_folder(
    tmp_path: Path, source: Path
) -> None:
    write_tree(tmp_path / "mine", {"x": b"1"})
    (tmp_path / "empty").mkdir()
    for spill in ("mine", "mine/x", "", "mine/../mine"):
        left = {"id": "a", "spill": str(tmp_path / spill), "made": [str(tmp_path / "mine")]}
        write_tree(tmp_path / "out", {"_incomplete.json": json.dumps(left).encode()})
        run(f"--input={source}", f"--output={tmp_path / 'out'}")
        (tmp_path / "out/manifest.json").unlink()
    assert (tmp_path / "mine/x").read_bytes() == b"1"
    assert (tmp_path / "empty").is_dir()


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        ("--temp_location={}/in.txt/x", "can't be created"),
        ("--memory=1MiB", "too little"),
        ("--input={}/missing", "no file matches"),
        ("--seed=-1", "0 or more"),
    ],
)
def test_a_run_that_is_refused_leaves_the_dataset_that_it_was_to_replace(
    tmp_path: Path, dataset: Path, source: Path, flag: str, why: str
) -> None:
    before = read_tree(tmp_path)
    with pytest.raises(UsageError, match=why):
        run(f"--input={source}", f"--output={dataset}", "--overwrite", flag.format(tmp_path))
    assert read_tree(tmp_path) == before


def test_a_run_without_room_leaves_the_dataset_that_it_was_to_replace(
    dataset: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_tree(dataset)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(UsageError, match="of free space for"):
        run(f"--input={source}", f"--output={dataset}", "--overwrite")
    assert read_tree(dataset) == before


def test_an_output_may_be_a_link_to_a_folder(tmp_path: Path, source: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(UsageError):
        run(f"--input={source}", f"--output={tmp_path / 'link'}", "--memory=1MiB")
    assert os.listdir(tmp_path / "real") == []
    run(f"--input={source}", f"--output={tmp_path / 'link'}")
    assert (tmp_path / "link").is_symlink()
    assert verify(str(tmp_path / "real"))[1] == []
    assert sorted(os.listdir(tmp_path)) == ["in.txt", "link", "real"]


@pytest.mark.parametrize("target", ["in.txt", "nowhere"])
def test_an_output_that_is_no_folder_is_refused(tmp_path: Path, source: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(target)
    before = read_tree(tmp_path) if target != "nowhere" else {}
    with pytest.raises(UsageError, match="expected a folder"):
        run(f"--input={source}", f"--output={tmp_path / 'link'}")
    assert not before or read_tree(tmp_path) == before


def test_shards_that_lie_behind_a_link_do_not_mix_with_new_ones(
    tmp_path: Path, dataset: Path, source: Path
) -> None:
    (dataset / "data").rename(tmp_path / "elsewhere")
    (dataset / "data").symlink_to(tmp_path / "elsewhere")
    with contextlib.suppress(UsageError):  # refusing is as good as replacing
        run(f"--input={source}", f"--output={dataset}", "--overwrite", "--num_shards=2")
    if (dataset / "data").is_symlink():  # verify doesn't follow it out of the dataset's folder
        (dataset / "data").unlink()
        (tmp_path / "elsewhere").rename(dataset / "data")
    assert verify(str(dataset))[1] == []


@pytest.mark.parametrize(
    "extension", [".txt", ".jsonl", ".2024-01-02", ".c++", "._x", ".a b", ".", ""]
)
def test_shards_are_known_as_ours_whatever_the_extension_of_the_inputs(
    tmp_path: Path, extension: str
) -> None:
    write_tree(tmp_path / "in", {f"x{extension}": b"a\nb\n"})
    for _ in range(2):
        run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}", "--overwrite")
    assert verify(str(tmp_path / "out"))[1] == []


def test_a_run_that_gives_up_owns_nothing_but_says_what_there_is_to_clear(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    with (
        pytest.raises(ZeroDivisionError),
        claim_output(str(folder), overwrite=False, temp_locations=[str(tmp_path / "t")]) as claim,
    ):
        size = (folder / layout.MARKER).stat().st_size
        layout.require_marker(str(folder), claim.run_id)
        claim.give_up()
        with pytest.raises(RunError, match="nobody"):
            layout.require_marker(str(folder), claim.run_id)
        left = (folder / layout.MARKER).read_bytes()
        assert json.loads(left)["spill"] == [claim.spills[0]]
        assert len(left) <= size  # a full disk has no room for more
        raise ZeroDivisionError
    assert not folder.exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_when_all_is_done_takes_nothing_back(
    tmp_path: Path, sent: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").write_bytes(b"1\n2\n")
    sent_at: list[bool] = []

    def summarize(*given: Any, **named: Any) -> None:
        sent_at.append((tmp_path / "out/manifest.json").exists())
        os.kill(os.getpid(), sent)

    monkeypatch.setattr(pipelines.shuffle.COMMAND, "summarize", summarize)
    flags = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
    assert pipelines.shuffle.main(flags) == 0
    assert sent_at == [True]
    assert verify(str(tmp_path / "out"))[1] == []
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"data", "manifest.json"}


def test_the_end_of_a_session_ends_a_run_that_clears_up_and_nohup_keeps_it(tmp_path: Path) -> None:
    output, spill = tmp_path / "o", tmp_path / "t"

    def work(flags: Sequence[str]) -> None:
        with claim_output(str(output), overwrite=False, temp_locations=[str(spill)]) as claim:
            write_tree(Path(claim.spills[0]), {"a.pages": b"x"})
            os.kill(os.getpid(), signal.SIGHUP)

    former = signal.signal(signal.SIGHUP, lambda *_: pytest.fail("not asked"))
    try:
        assert run_main(work, []) == 128 + signal.SIGHUP
        assert not output.exists()
        assert not spill.exists()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert run_main(work, []) == 0
    finally:
        signal.signal(signal.SIGHUP, former)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_refused_and_nothing_stays(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    for folder in (tmp_path / "made", tmp_path):
        with (
            pytest.raises(UsageError, match=r"--output=\S+: .*has no file locks .*-o flock"),
            claim_output(str(folder), overwrite=False),
        ):
            pass
        assert list(tmp_path.iterdir()) == []
    write_tree(tmp_path, {layout.MARKER: MARKER})
    with pytest.raises(UsageError, match="has no file locks"):
        claim_output(str(tmp_path), overwrite=False).__enter__()
    assert read_tree(tmp_path) == {layout.MARKER: MARKER}, "another run's"


def test_the_marker_is_on_disk_before_any_worker_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(opened: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{opened}"))
        if path.is_file():
            json.loads(path.read_bytes())
        synced.append(path.name)

    monkeypatch.setattr(os, "fsync", fsync)
    with claim_output(str(tmp_path / "o"), overwrite=False):
        assert synced == [layout.MARKER, "o"]


def test_a_marker_that_is_seen_late_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOVETAIL_RETRY_WAIT", "0")
    folder = write_tree(tmp_path, {layout.MARKER: b""})
    with pytest.raises(StoreError, match=r"_incomplete\.json: expected JSON, got 0 bytes"):
        layout.require_marker(str(folder), "0123456789ab")
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        write_tree(tmp_path, {layout.MARKER: MARKER})

    monkeypatch.setattr(stores.time, "sleep", sleep)
    layout.require_marker(str(folder), "0123456789ab")
    assert len(looks) == 1
