"""Counts and strata through the command: what is refused once all is counted, and what is said."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from pipelines.split import run
from tests.pipelines import splits
from transforms.errors import DataError


def write(path: Path, records: list[tuple[str, object]]) -> Path:
    lines = (json.dumps({"text": text, "label": label}) for text, label in records)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def refused(output: Path, *flags: object) -> str:
    """Return the error of a run that has counted, and published nothing."""
    with pytest.raises(DataError) as caught:
        run([f"--output={output}", *splits.ONE, *map(str, flags)])
    assert not output.exists() or not any(output.iterdir())
    return str(caught.value)


@pytest.mark.parametrize("shuffle", [[], ["--shuffle"]])
def test_texts_of_several_labels_are_refused_before_anything_is_written(
    tmp_path: Path, shuffle: list[str]
) -> None:
    records: list[tuple[str, object]] = [(f"text {i % 80}", i % 80 % 2) for i in range(200)]
    path = write(tmp_path / "in.jsonl", [*records, ("text 3", 0), ("text 4", 1)])
    flags = [f"--input={path}", "--counts=train=20,test=rest", "--stratify=label", *shuffle]
    says = refused(tmp_path / "out", *flags)
    assert "2 of them have several" in says
    assert "in.jsonl, byte" in says
    assert "pass --by=identity" in says
    manifest = splits.run(tmp_path / "by", *flags, "--by=identity")
    assert manifest.splits is not None
    assert [(split.name, split.records) for split in manifest.splits] == [
        ("train", 20),
        ("test", 182),
    ]
    train = [json.loads(line)["label"] for line in splits.lines(tmp_path / "by", "train")]
    assert Counter(train) == {0: 10, 1: 10}


def test_counts_larger_than_what_is_there_are_named_with_what_is(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", [("x", 0)] * 3 + [("y", 1)] * 100)
    flags = [f"--input={path}", "--counts=train=104,test=rest"]
    for more in ([], ["--by=identity"], ["--stratify=label"]):
        says = refused(tmp_path / "out", *flags, *more)
        assert "--counts=train=104" in says
        assert "the input has 103" in says


def test_what_parts_by_identity_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "in.jsonl", [("x", 0)] * 100 + [(f"y{i}", 1) for i in range(50)])
    manifest = splits.run(
        tmp_path / "out", f"--input={path}", "--fractions=validation=0.5", "--by=identity"
    )
    assert manifest.parted is not None
    assert (manifest.parted.contents, manifest.parted.records) == (1, 100)
    assert "1 content of 100 records is in more than one split" in caplog.text
    none = splits.run(tmp_path / "none", f"--input={path}", "--fractions=validation=0.5")
    assert none.parted is None
