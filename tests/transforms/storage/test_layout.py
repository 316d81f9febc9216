"""Which paths of a dataset's folder are ours, with levels for epochs and formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.support import write_tree
from transforms.storage import layout

OURS = (
    "manifest.json",
    "manifest.files.parquet",
    "dataset.json",
    "like.json",
    "like.svg",
    "weights-train.txt",
    "data/train-00000-of-00002.jsonl.gz",
    "data/validation-00000-of-00001.idx.parquet",
    "megatron/data/train-00000-of-00001.bin",
    "megatron/data/train-00000-of-00001.idx",
    "megatron/sequences.json",
    "megatron/weights-test_2.txt",
    "epoch-0/data/train-00000-of-00001.npy",
    "epoch-12/olmo/data/train-000000-of-100001.csv.gz",
    "epoch-12/olmo/dataset.json",
    "quarantine/0123456789abcdef.parquet",
)
FOREIGN = (
    "",
    "data",
    "notes.txt",
    "like.png",
    "data/like.json",
    "epoch-0/like.json",
    "weights-.txt",
    "weights-a/b.txt",
    "data/dataset.json",
    "data/manifest.json",
    "data/mine.csv",
    "data/../train-00000-of-00001.bin",
    "data/x/train-00000-of-00001.bin",
    "/data/train-00000-of-00001.bin",
    "../data/train-00000-of-00001.bin",
    "my/data/train-00000-of-00001.bin",
    "train-00000-of-00001.bin",
    "epoch-0/train-00000-of-00001.bin",
    "epoch-00/data/train-00000-of-00001.bin",
    "epoch--1/data/train-00000-of-00001.bin",
    "flat/epoch-0/data/train-00000-of-00001.bin",
    "flat/flat/data/train-00000-of-00001.bin",
    "epoch-0/manifest.json",
    "epoch-0/quarantine/0123456789abcdef.parquet",
    "flat/_incomplete.json",
    "epoch-0/notes.txt",
    "epoch-0\n/dataset.json",
    "dataset.json\n",
)


@pytest.mark.parametrize("path", OURS)
def test_what_a_dataset_may_hold(path: str) -> None:
    assert layout.is_our_file(path)
    assert layout.why_not_read("nowhere", path) is None
    folders = [str(folder) for folder in Path(path).parents][:-1]
    assert all(map(layout.is_our_folder, folders))
    assert not layout.is_our_folder(path)


@pytest.mark.parametrize("path", FOREIGN)
def test_what_no_dataset_holds(path: str) -> None:
    assert not layout.is_our_file(path)
    assert layout.why_not_read("nowhere", path) == "not read: it is not a path that Dovetail writes"


@pytest.mark.parametrize(
    "path", ["", "/", "epoch-0/data/data", "data/flat", "x", "epoch-1/epoch-0"]
)
def test_folders_of_others(path: str) -> None:
    assert not layout.is_our_folder(path)


@pytest.mark.parametrize("form", [None, *layout.FORMATS])
@pytest.mark.parametrize("epoch", [None, 0, 7, 1000])
def test_every_path_of_a_shard_is_ours(epoch: int | None, form: str | None) -> None:
    for extension in ("", ".bin", ".csv.gz", ".idx.parquet"):
        path = layout.shard_path(
            split="train", number=3, of=9, extension=extension, epoch=epoch, form=form
        )
        assert layout.is_our_file(path)
        assert path.startswith(layout.levels(epoch=epoch, form=form) + "data/train-00003-of-00009")


def test_what_is_read_lies_in_the_datasets_folder(tmp_path: Path) -> None:
    name = "train-00000-of-00001.bin"
    private = write_tree(tmp_path / "private", {"key": b"1", f"data/{name}": b"2"})
    folder = write_tree(tmp_path / "set", {f"epoch-0/flat/data/{name}": b"3"})
    path = f"epoch-0/flat/data/{name}"
    assert layout.why_not_read(str(folder), path) is None
    (folder / path).unlink()
    (folder / path).symlink_to(private / "key")
    assert "outside of the dataset's folder" in (layout.why_not_read(str(folder), path) or "")
    (folder / path).unlink()
    (folder / path).mkdir()
    assert "a folder, a pipe or a device" in (layout.why_not_read(str(folder), path) or "")
