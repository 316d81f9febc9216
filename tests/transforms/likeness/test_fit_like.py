"""Samples of the input and of the test set are put together, whatever types their columns have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from transforms.errors import DataError
from transforms.likeness.fit_like import features_of, join_samples, spec_of


def sample(**columns: Any) -> pa.RecordBatch:
    """Make a table as ``read_sample`` gives it; ``text`` is the text."""
    arrays = [pa.array(column) for column in columns.values()]
    names = ["" if name == "text" else name for name in columns]
    keys = pa.array(np.arange(len(arrays[0]), dtype=np.uint64))
    seen = pa.StructArray.from_arrays(arrays, names=names)
    return pa.RecordBatch.from_arrays(
        [keys, keys, keys, seen], names=["key", "hash0", "hash1", "seen"]
    )


def test_texts_and_columns_stand_one_after_another() -> None:
    found = join_samples(
        sample(text=["a", "b"], n=[1, 2], kind=["x", None]),
        sample(text=["c"], kind=["y"], n=[0.5]),
        ["text", "kind", "n"],
    )
    assert found.texts is not None
    assert found.texts.to_pylist() == ["a", "b", "c"]
    assert found.columns["n"].to_pylist() == [1.0, 2.0, 0.5]
    assert found.columns["kind"].to_pylist() == ["x", None, "y"]
    assert found.is_test.tolist() == [False, False, True]
    assert found.hash0.tolist() == [0, 1, 0]
    spec = spec_of(found)
    assert features_of(spec) == ["text", "kind", "n"]


def test_without_the_text_there_are_columns_alone() -> None:
    found = join_samples(sample(text=["a"], n=[1]), sample(n=[2]), ["n"])
    assert found.texts is None
    assert features_of(spec_of(found)) == ["n"]


def test_rows_without_texts_can_not_be_compared_by_them() -> None:
    with pytest.raises(DataError, match="expected a text in every row of the input"):
        join_samples(sample(n=[1]), sample(text=["c"], n=[1]), ["text"])


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (
            None,
            sample(text=["a"]),
            "expected records in the sample of the input, got none.* exceeds --fit_bytes",
        ),
        (sample(text=["a"]), None, "expected records in the sample of the test set, got none"),
        (sample(n=[1]), sample(text=["a"]), "the test set has none"),
        (sample(text=["a"]), sample(n=[1]), "the input has none"),
        (
            sample(n=[1]),
            sample(n=["1"]),
            "one kind in the input and the test set, got int64 and string",
        ),
    ],
)
def test_what_does_not_fit_is_said(one: Any, other: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        join_samples(one, other, ["n"])
