"""Preparing for Megatron with files that many workers write: the bytes that one worker writes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

import pipelines.prepare
from pipelines.verify import verify
from tests.pipelines import prepared
from tests.pipelines.support import command
from tests.pipelines.test_prepare import ONE, lines_of, prepare, texts_of
from tests.pipelines.tokenized import write_model
from transforms.storage import parts
from transforms.trainers import shards, write_parts
from transforms.trainers.complete_shard import WrittenPart, complete_shard

NAMES = ("a", "b")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in-parts")
    write_model(folder / "model.json")
    for number, name in enumerate(NAMES):
        (folder / name).mkdir()
        lengths = [(i * 7 + number) % 40 + (i % 11 > 0) for i in range(600)]
        (folder / name / "f.jsonl").write_bytes(lines_of(texts_of(lengths, name)))
    return folder


@pytest.mark.parametrize(
    "flags",
    [
        ("--megatron=documents",),
        ("--packing=best_fit", "--sequence_length=16", "--pack_window=2000"),
        ("--packing=concat", "--sequence_length=16", "--num_shards=2"),
    ],
    ids=["documents", "best_fit", "concat"],
)
def test_the_bytes_are_those_of_one_writer(
    root: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    name = flags[0].partition("=")[2]
    asked = ("--output_format=megatron", "--text_field=text", "--split=validation=5%", *flags)
    model = root / "model.json"
    whole = prepare(root, model, NAMES, *asked, output=f"{name}-whole")
    monkeypatch.setattr(shards, "PART_BYTES", 4000)
    monkeypatch.setattr(parts, "LEAST", 1000)
    completed = list[int]()
    real = complete_shard

    def counting(written: list[WrittenPart], *more: object) -> object:
        completed.append(len(written))
        return real(written, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(write_parts, "complete_shard", counting)
    split = prepare(root, model, NAMES, *asked, output=f"{name}-parts")
    assert completed
    assert min(completed) >= 2
    files = prepared.files_of(root / f"{name}-parts")
    assert files == prepared.files_of(root / f"{name}-whole")
    assert split.shards == whole.shards
    assert {"weights.json", "sequences.json", "weights-train.txt"} <= set(files)


STEPS = ("begin", "write_part", "before complete", "complete")


def die_after(step: str, *flags: str) -> None:
    """Prepare in parts in this process, and be killed before or after the first step of a name."""
    shards.PART_BYTES, parts.LEAST = 4000, 1000
    name = step.removeprefix("before ")
    module = write_parts if name == "write_part" else parts
    real = getattr(module, name)

    def dying(*given: object, **more: object) -> object:
        found = None if step.startswith("before ") else real(*given, **more)
        os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(module, name, dying)
    pipelines.prepare.run(flags)


@pytest.mark.slow
def test_killed_between_any_two_steps_a_run_leaves_no_dataset(root: Path, tmp_path: Path) -> None:
    asked = ("--output_format=megatron", "--megatron=documents", "--text_field=text", *ONE)
    flags = (f"--input={root / 'a'}/*", f"--tokenizer={root / 'model.json'}", *asked)
    pipelines.prepare.run([*flags, f"--output={tmp_path / 'whole'}"])
    whole = prepared.files_of(tmp_path / "whole")
    for step in STEPS:
        folder = tmp_path / step.replace(" ", "-")
        died = command(step, *flags, f"--output={folder}", python=("-m", __name__))
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
        seen = {path.suffix for path in folder.glob("data/*")}
        expected: dict[str, set[str]] = {"before complete": {".idx"}, "complete": {".idx", ".bin"}}
        assert seen == expected.get(step, set())
        assert not (folder / "manifest.json").exists()
        pipelines.prepare.run([*flags, f"--output={folder}"])
        assert prepared.files_of(folder) == whole
        assert verify(str(folder))[1] == []
        assert {path.name for path in folder.iterdir()} == {
            path.name for path in (tmp_path / "whole").iterdir()
        }


if __name__ == "__main__":
    die_after(sys.argv[1], *sys.argv[2:])
