"""The lists beside Megatron's data say what its own tools would."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.transforms.trainers.support import dataset_of
from transforms.datasets.prepared import FileOfShard, PreparedShard
from transforms.storage import layout
from transforms.trainers.megatron import Megatron
from transforms.trainers.megatron_lists import Prefix, lists, prefix_of

TRAIN = [Prefix("train", f"data/train-0000{n}-of-00002", 100 + n, 7 + n, 8 + n) for n in (0, 1)]
VALID = Prefix("validation", "../data/validation-00000-of-00001", 9, 2, 3)
EMPTY = Prefix("test", "../data/test-00000-of-00001", 0, 0, 1)


def _shard(
    split: str = "train", *, epoch: int | None = None, rows: int = 5, more: int = 0
) -> PreparedShard:
    path = layout.shard_path(split=split, number=0, of=1, extension=".bin", epoch=epoch)
    index = 34 + 12 * (rows + more) + 8 * (rows + 1)
    files = [
        FileOfShard(path=path, bytes=600, sha256="0" * 64),
        FileOfShard(path=path.replace(".bin", ".idx"), bytes=index, sha256="0" * 64),
    ]
    return PreparedShard(
        epoch=epoch,
        format="megatron",
        split=split,
        number=0,
        of=1,
        files=files,
        rows=rows + 2,
        ids=300,
        filler=0,
        digest="0" * 32,
        dropped_rows=2,
    )


def test_sequences_json_counts_as_the_index_does() -> None:
    """As tools/build_sequences_per_dataset.py: sequence_count and document_count of the index's head."""
    found = json.loads(dict(lists([*TRAIN, VALID, EMPTY]))["sequences.json"])
    assert found == {
        "data/train-00000-of-00002": [7, 8],
        "data/train-00001-of-00002": [8, 9],
        "../data/validation-00000-of-00001": [2, 3],
        "../data/test-00000-of-00001": [0, 1],
    }


def test_weights_are_read_as_megatron_reads_them() -> None:
    found = dict(lists([*TRAIN, VALID, EMPTY]))
    blend = found["weights-train.txt"].split()
    assert list(zip(map(float, blend[::2]), blend[1::2], strict=True)) == [
        (100.0, "data/train-00000-of-00002"),
        (101.0, "data/train-00001-of-00002"),
    ]
    assert found["weights-validation.txt"] == "9 ../data/validation-00000-of-00001\n"
    assert json.loads(found["weights.json"]) == {
        "train": ["100", TRAIN[0].path, "101", TRAIN[1].path],
        "valid": ["9", VALID.path],
        "test": None,
    }


def test_an_empty_prefix_is_not_opened() -> None:
    assert "weights-test.txt" not in dict(lists([*TRAIN, EMPTY]))


def test_without_train_nothing_says_what_to_train_on() -> None:
    assert set(dict(lists([VALID, EMPTY]))) == {"sequences.json", "weights-validation.txt"}


def test_the_line_that_opens_it_names_a_list_that_is_there() -> None:
    for split in ("train", "web"):
        shards = [_shard(split), _shard("validation")]
        there = {name for name, _ in Megatron().beside(dataset_of("none"), shards, "")}
        line = Megatron().how_to_open(dataset_of("none"), "my files", split)
        words = shlex.split(line)
        assert words[:2] == ["cd", "my files"]
        assert [word.partition("args-path=")[2] in there for word in words].count(True) == 1


def test_splits_that_megatron_does_not_know_have_weights_of_their_own() -> None:
    found = dict(lists([*TRAIN, Prefix("probe", "data/probe-00000-of-00001", 5, 1, 2)]))
    assert found["weights-probe.txt"] == "5 data/probe-00000-of-00001\n"
    assert "probe" not in found["weights.json"]


def test_of_two_splits_that_megatron_calls_alike_validation_is_its() -> None:
    other = Prefix("valid", "data/valid-00000-of-00001", 5, 1, 2)
    for prefixes in ([*TRAIN, VALID, other], [*TRAIN, other, VALID]):
        found = dict(lists(prefixes))
        assert json.loads(found["weights.json"])["valid"] == ["9", VALID.path]
        assert found["weights-valid.txt"] == f"5 {other.path}\n"


def test_the_lists_lie_where_ours_do() -> None:
    for level in ("", "epoch-3/megatron/", "megatron/"):
        assert all(layout.is_our_file(level + name) for name, _ in lists([*TRAIN, VALID]))


@pytest.mark.parametrize(
    ("epoch", "folder", "path"),
    [
        (None, "", "data/train-00000-of-00001"),
        (3, "epoch-3/", "data/train-00000-of-00001"),
        (None, "epoch-3/", "../data/train-00000-of-00001"),
    ],
)
def test_paths_begin_where_the_lists_lie(epoch: int | None, folder: str, path: str) -> None:
    found = prefix_of(_shard(epoch=epoch), folder=folder, id_bytes=2)
    assert found == Prefix("train", path, 300, 5, 6)


def test_documents_of_several_sequences_are_counted() -> None:
    found = prefix_of(_shard(more=3), folder="", id_bytes=4)
    assert (found.ids, found.sequences, found.boundaries) == (150, 8, 6)


def test_it_is_what_lies_beside_the_data() -> None:
    shards = [_shard(epoch=1), _shard("validation")]
    found = dict(Megatron().beside(dataset_of("none"), shards, "epoch-1/"))
    assert json.loads(found["weights.json"]) == {
        "train": ["300", "data/train-00000-of-00001"],
        "valid": ["300", "../data/validation-00000-of-00001"],
        "test": None,
    }
