"""The room that a run asks for: what lies on the disk at once, not all that is ever written."""

from __future__ import annotations

import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from tests.pipelines.support import run, write_tree
from transforms.errors import UsageError
from transforms.storage import files as storage

MB = 10**6
Usage = namedtuple("Usage", "total used free")  # as shutil's own


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 MB: with 16 MiB to spare 78 MB of spill files, and as much again of shards."""
    path = tmp_path_factory.mktemp("in") / "in.txt"
    path.write_bytes((b"x" * 999 + b"\n") * 60_000)
    return path


@pytest.fixture(autouse=True)
def _small_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 100 * MB))
    monkeypatch.setattr(storage, "punches_holes", lambda _: True)


ASKED = "--num_shards=12", "--workers=1", "--plan"


def test_what_spill_files_give_back_is_not_asked_for_twice(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(f"--input={source}", f"--output={tmp_path / 'o'}", *ASKED)
    said = capsys.readouterr().out
    (shards,) = re.findall(r"~(\S+) MB for shards beside spill files, which shrink, 100", said)
    (spilled,) = re.findall(r"~(\S+) MB for spill files", said)
    assert 10 <= float(shards) < 12, "two shards of 5 MB, and blocks that can't go"
    assert 77 < float(spilled) < 80
    run(f"--input={source}", f"--output={tmp_path / 'o'}", *ASKED, "--spill_compression=zstd")
    said = capsys.readouterr().out
    # less in spill files than comes out of them
    (shards,) = re.findall(r"~(\S+) MB for shards beside spill files, which shrink, 100", said)
    assert 11 < float(shards) < 13


@pytest.mark.parametrize(
    "flags",
    [
        ["--shard_records=5000"],
        ["--max_records=60000"],
        ["--num_shards=12", "--runner=PrismRunner"],
        ["--num_shards=12", "no holes"],
        ["--num_shards=2"],
    ],
)
def test_where_nothing_is_given_back_both_have_to_fit(
    source: Path, tmp_path: Path, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "no holes" in flags:
        monkeypatch.setattr(storage, "punches_holes", lambda _: False)
    given = [flag for flag in flags if flag.startswith("--")]
    with pytest.raises(UsageError, match=r"free some space, or choose another disk"):
        run(f"--input={source}", f"--output={tmp_path / 'o'}", "--workers=1", *given)


def test_where_shards_alone_are_too_large_nothing_else_is_blamed(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 50 * MB))
    monkeypatch.setattr(storage, "punches_holes", lambda _: False)
    with pytest.raises(UsageError, match=r"for shards, .* or choose another disk$"):
        run(f"--input={source}", f"--output={tmp_path / 'o'}", *ASKED)
    shards, spills = [line for line in capsys.readouterr().out.splitlines() if "room" in line]
    assert shards.endswith("50.00 MB free  DOES NOT FIT")
    assert spills.endswith(" for spill files, 0 bytes left after the above  DOES NOT FIT")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 70 * MB))
    with pytest.raises(UsageError, match=r"for spill files, .*, or pass --spill_compression$"):
        run(f"--input={source}", f"--output={tmp_path / 'o'}", *ASKED)


def test_a_dataset_that_is_replaced_makes_room_whatever_its_levels(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = b'{"format": "dovetail-manifest"}'
    folder = write_tree(tmp_path / "o", {"manifest.json": manifest})
    names = ("epoch-0/flat/data/train-00000-of-00001.bin", "data/train-00000-of-00001.txt")
    for name in names:
        write_tree(folder, {name: b""})
        with (folder / name).open("r+b") as file:
            file.truncate(30 * MB)
    run(f"--input={source}", f"--output={folder}", "--overwrite", *ASKED)
    assert "160.00 MB free" in capsys.readouterr().out
