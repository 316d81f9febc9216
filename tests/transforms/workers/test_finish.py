"""The end of a run on a cluster, and its signs of life."""

from __future__ import annotations

import json
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline

from transforms.datasets.write_manifest import is_written
from transforms.errors import RunError
from transforms.workers import signs_of_life
from transforms.workers.finish import Finish
from transforms.workers.progress import Progress
from transforms.workers.signs_of_life import Beat

RUN = "0123456789ab"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Give an output folder as a run has it, with temporary files, some of dead attempts."""
    folder = tmp_path / "out"
    for path in (f"_tmp-{RUN}/spill/a.pages", f"_tmp-{RUN}/half.txt", "data/train-0.txt"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")
    (folder / "_incomplete.json").write_text(json.dumps({"id": RUN, "run": RUN}))
    (tmp_path / "scratch" / f"dovetail-{RUN}").mkdir(parents=True)
    return folder


@pytest.fixture(autouse=True)
def _first_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs_of_life, "_last", {})


def finish(output: Path) -> None:
    scratch = output.parent / "scratch"
    folders = [str(scratch / f"dovetail-{RUN}"), str(output / f"_tmp-{RUN}")]
    made = [str(path) for path in (scratch, output.parent / "scratch-2", output.parent)]
    with Pipeline() as pipeline:
        written = pipeline | beam.Create([None])
        written | Finish(output=str(output), run_id=RUN, folders=folders, made=made)


def test_all_temporary_files_and_the_marker_go_and_the_dataset_stays(output: Path) -> None:
    finish(output)
    assert sorted(path.name for path in output.rglob("*")) == ["data", "train-0.txt"]
    assert not (output.parent / "scratch").exists()  # the run made it; what holds the dataset stays
    finish(output)  # by an attempt that didn't hear that it was done
    assert (output / "data/train-0.txt").exists()


def test_what_another_run_owns_by_now_is_left_alone(output: Path) -> None:
    (output / "_incomplete.json").write_text('{"id": "ba9876543210", "run": "ba9876543210"}')
    finish(output)
    assert (output / f"_tmp-{RUN}/spill/a.pages").exists()
    assert (output / "_incomplete.json").exists()


def test_the_marker_stays_where_not_all_can_be_removed(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str) -> None:
        raise OSError("a disk that fails")

    monkeypatch.setattr("transforms.storage.files.remove_tree", refuse)
    finish(output)
    assert (output / "_incomplete.json").exists()


def test_a_worker_that_counts_gives_a_sign_of_life_now_and_then(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = Beat(str(output), RUN)
    assert beat.seen() == b""
    progress = Progress.open(beat)
    progress.add("partition", bytes=1)
    assert beat.seen()
    (output / f"_tmp-{RUN}/alive").write_text("1000")
    progress.add("partition", bytes=1)
    assert beat.seen() == b"1000", "the second one comes too early"
    monkeypatch.setattr(signs_of_life, "_last", {beat: -1e9})
    progress.add("write", bytes=1)
    assert beat.seen() != b"1000"


def test_who_waits_for_a_sign_of_life_looks_whether_it_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(signs_of_life, "monotonic", lambda: clock[0])
    monkeypatch.setattr(signs_of_life, "sleep", lambda s: clock.__setitem__(0, clock[0] + s))
    assert signs_of_life.stays(lambda: clock[0] > 120, patience=120)
    assert clock == [120.0]
    assert not signs_of_life.stays(lambda: clock[0] > 239, patience=120)
    assert clock == [240.0]


def test_a_worker_whose_run_was_given_up_stops_at_its_next_sign(output: Path) -> None:
    (output / "_incomplete.json").write_text(json.dumps({"id": None, "run": RUN}))
    with pytest.raises(RunError, match="no longer owns the output"):
        Progress.open(Beat(str(output), RUN)).add("partition", bytes=1)
    assert not (output / f"_tmp-{RUN}/alive").exists()


def test_a_manifest_is_known_by_its_run(output: Path) -> None:
    assert not is_written(str(output), RUN)
    (output / "manifest.json").write_text(json.dumps({"run_id": RUN}))
    assert is_written(str(output), RUN)
    assert not is_written(str(output), "ba9876543210")
    assert not is_written(str(output), "")
