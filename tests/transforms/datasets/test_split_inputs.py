"""Datasets of several splits as inputs: one split by name, and never two mixed by accident."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipelines.support import make_lines, run, write_splits
from transforms.datasets.listing import list_source
from transforms.errors import InputError

TRAIN, TEST = (
    [f"train-0000{i}-of-00003.jsonl" for i in range(3)],
    [f"test-0000{i}-of-00003.jsonl" for i in range(3)],
)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Write train and test, of three shards each."""
    lines = {"train": make_lines(60), "test": make_lines(9, name="t")}
    return write_splits(tmp_path, lines, "--num_shards=3")


def listed(*patterns: object) -> list[str]:
    """Return the names of the files that patterns come to."""
    found = list_source("s", [str(pattern) for pattern in patterns])
    return sorted(Path(file.url).name for file in found)


def test_the_folder_is_refused_with_a_pattern_that_names_one_split(dataset: Path) -> None:
    with pytest.raises(
        InputError, match=r"holds a dataset of 2 splits \(train, test\); pass"
    ) as raised:
        listed(dataset)
    assert listed(str(raised.value).rpartition(" as in ")[2]) == TRAIN


@pytest.mark.parametrize(
    "pattern", ["data", "data/*", "data/*.jsonl", "da*/t*", "data/{train,test}-*"]
)
def test_a_pattern_that_matches_several_splits_is_refused(dataset: Path, pattern: str) -> None:
    if "{" in pattern:  # which is several patterns, each of which names one
        assert listed(f"{dataset}/{pattern}") == [*TEST, *TRAIN]
        return
    with pytest.raises(
        InputError, match=r"matches 2 splits of the dataset in .* \(test, train\); pass"
    ):
        listed(f"{dataset}/{pattern}")


def test_one_split_or_each_by_name_is_read(dataset: Path) -> None:
    assert listed(f"{dataset}/data/train-*") == TRAIN
    assert listed(f"{dataset}/data/test-00001*") == TEST[1:2]
    assert listed(f"{dataset}/data/train-*", f"{dataset}/data/test-*") == [*TEST, *TRAIN]
    out = dataset.parent / "o"
    assert run(f"--input={dataset}/data/test-*", f"--output={out}").records == 9


def test_a_named_split_has_to_be_whole_whatever_became_of_the_others(dataset: Path) -> None:
    (dataset / "data" / TEST[1]).unlink()
    assert listed(f"{dataset}/data/train-*") == TRAIN
    with pytest.raises(InputError, match=f"{TEST[1]} is missing"):
        listed(f"{dataset}/data/test-*")
    (dataset / "data" / TEST[1]).write_bytes(b"short\n")
    with pytest.raises(InputError, match=f"{TEST[1]} has 6 bytes, expected"):
        listed(f"{dataset}/data/test-*")


def test_what_nobody_lists_is_of_no_split(dataset: Path) -> None:
    (dataset / "data/train-00003-of-00004.jsonl").write_bytes(b"nobody's\n")
    assert listed(f"{dataset}/data/train-*") == [*TRAIN, "train-00003-of-00004.jsonl"]


def test_a_dataset_of_one_split_is_read_by_its_manifest(tmp_path: Path) -> None:
    dataset = write_splits(tmp_path, {"train": make_lines(60)}, "--num_shards=3")
    assert listed(dataset) == TRAIN


def test_a_shard_listed_in_another_splits_place_is_refused(dataset: Path) -> None:
    path = dataset / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["shards"].reverse()
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"stands at place 0 of 3 of train, counted from 0"):
        listed(dataset)
