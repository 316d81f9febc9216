"""Labels: one whatever type they come in, counted, numbered by their bytes, bounded."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from transforms.errors import DataError
from transforms.kernels.records import blocks
from transforms.kernels.records.labels import first_unlabelled, label_hashes, labels_of
from transforms.kernels.splitting import labels
from transforms.kernels.splitting.labels import Labels, add_counts, count_labels, shown


def block_of(values: Any, *, kind: pa.DataType | None = None, rows: bool = False) -> pa.RecordBatch:
    """Lines with a label kept beside them, or rows that have it."""
    column = pa.array(values, kind)
    positions = np.arange(len(column), dtype=np.uint64)
    struct = pa.StructArray.from_arrays([column], names=["label"])
    if rows:
        return blocks.from_rows(struct, positions=positions)
    lines = blocks.from_records([b"x"] * len(column), positions, line_end=b"\n")
    return lines.append_column("kept", struct)


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([7, 10, 7], pa.int64()),
        ([7, 10, 7], pa.uint8()),
        (["7", "10", "7"], pa.string()),
        (["7", "10", "7"], pa.large_string()),
        ([b"7", b"10", b"7"], pa.binary()),
    ],
)
def test_a_label_is_the_same_in_every_type(
    values: list[Any], kind: pa.DataType, rows: bool
) -> None:
    found = labels_of(block_of(values, kind=kind, rows=rows), "label")
    assert found.to_pylist() == [b"7", b"10", b"7"]
    assert Labels.of({b"7": 2, b"10": 1}).numbers(found).tolist() == [1, 0, 1]
    other = labels_of(block_of(["7"]), "label")
    assert label_hashes(found)[0] == label_hashes(other)[0] != label_hashes(found)[1]


def test_booleans_are_labels_and_floats_are_none() -> None:
    assert labels_of(block_of([True, False]), "label").to_pylist() == [b"true", b"false"]
    with pytest.raises(DataError, match="--stratify=label: expected text, integers or booleans"):
        labels_of(block_of([1.0, 2.0]), "label")
    with pytest.raises(
        DataError, match="field mark: expected records that have it, to stratify by it"
    ):
        labels_of(block_of([1]), "mark")


def test_records_without_a_label_are_found() -> None:
    assert first_unlabelled(labels_of(block_of(["a", "b"]), "label")) is None
    assert first_unlabelled(labels_of(block_of(["a", None, "b", None]), "label")) == 1
    assert first_unlabelled(labels_of(block_of([None, None]), "label")) == 0


def test_labels_are_counted_where_no_share_takes_their_records() -> None:
    values = labels_of(block_of(["b", "a", "b", "c"]), "label")
    total: Counter[bytes] = Counter()
    add_counts(total, count_labels(values, np.array([0, 1, 2])), "label")
    add_counts(total, count_labels(values.slice(1, 2), np.array([0, 1])), "label")
    assert Labels.of(total) == Labels((b"a", b"b", b"c"), (2, 3, 0))


def test_too_many_labels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MOST_LABELS", 3)
    total: Counter[bytes] = Counter()
    add_counts(total, {b"a": 1, b"b": 1, b"c": 1}, "id")
    with pytest.raises(
        DataError, match="--stratify=id: expected at most 3 different labels, got more"
    ):
        add_counts(total, {b"d": 1}, "id")
    with pytest.raises(
        DataError, match=r"labels of at most 1,024 bytes, got one of 2,000: 'xxx.*…'"
    ):
        add_counts(total, {b"x" * 2000: 1}, "text")


def test_a_label_that_came_later_is_refused() -> None:
    with pytest.raises(DataError, match="label 'new' wasn't in the input when labels were counted"):
        Labels.of({b"a": 1}).numbers(labels_of(block_of(["a", "new"]), "label"))


def test_a_label_is_shown_as_text() -> None:
    assert shown(b"gut") == "'gut'"
    assert shown(b"\xff") == "'\\\\xff'"
    assert len(shown(b"x" * 100)) == 42
