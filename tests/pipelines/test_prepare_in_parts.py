"""Preparing for Megatron with files that many workers write: the bytes that one worker writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines import prepared
from tests.pipelines.test_prepare import lines_of, prepare, texts_of
from tests.pipelines.test_tokenize import write_model
from transforms.storage import parts
from transforms.trainers import shards, write_parts

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
    real = write_parts.complete_shard

    def counting(written: list[write_parts.WrittenPart], *more: object) -> object:
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
