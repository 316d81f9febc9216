"""Features of columns: numbers, categories, embeddings."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.transforms.kernels.likeness.oracle import assert_same, by_sklearn
from transforms.errors import DataError
from transforms.kernels.likeness.columns import specify
from transforms.kernels.likeness.features import Features, featurize
from transforms.kernels.likeness.spec import Embedding, FeatureSpec, Number

NO_TEXT = FeatureSpec(characters=None, words=None)


def dense(found: Features) -> Any:
    out = np.zeros((len(found.indptr) - 1, found.width))
    for i in range(len(out)):
        row = slice(found.indptr[i], found.indptr[i + 1])
        assert (np.diff(found.indices[row]) > 0).all()
        out[i, found.indices[row]] = found.data[row]
    return out


def test_numbers_are_standardized_and_missing_ones_are_said() -> None:
    values = pa.array([1.0, 3.0, None, float("nan"), float("inf"), 1e300])
    spec = FeatureSpec(characters=None, words=None, numbers=(Number(name="x", mean=1, scale=2),))
    assert dense(featurize(spec, None, {"x": values})).tolist() == [
        [0, 0],
        [1, 0],
        [0, 1],
        [0, 1],
        [0, 1],
        [1024, 0],
    ]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 3, None, 8], pa.int8()),
        pa.array([1, 3, None, 8], pa.float32()),
        pa.array([decimal.Decimal(n) for n in (1, 3)] + [None, decimal.Decimal(8)]),
        pa.array([1, 3, None, 8], pa.timestamp("s")),
        pa.array([1, 3, None, 8], pa.time32("s")),
        pa.array([None if n is None else datetime.date(1970, 1, 1 + n) for n in (1, 3, None, 8)]),
    ],
)
def test_numbers_are_of_any_kind_of_number_or_time(values: pa.Array) -> None:
    spec = specify(NO_TEXT, {"x": values})
    assert spec.numbers == (
        Number(name="x", mean=pytest.approx(4), scale=pytest.approx(26**0.5 / 3**0.5)),
    )
    found = dense(featurize(spec, None, {"x": values}))
    assert found[:, 1].tolist() == [0, 0, 1, 0]
    assert found[[0, 1, 3], 0].mean() == pytest.approx(0)
    assert found[[0, 1, 3], 0].std() == pytest.approx(1)


@pytest.mark.parametrize(
    "kind",
    [pa.float16(), pa.uint64(), pa.bool_(), pa.decimal256(50, 2), pa.duration("us"), pa.date64()],
)
def test_numbers_of_rarer_kinds_are_taken_too(kind: pa.DataType) -> None:
    values = pa.array([0, 1, None], pa.int64())
    column = values.cast(pa.float32()).cast(kind) if kind == pa.float16() else values.cast(kind)
    spec = FeatureSpec(characters=None, words=None, numbers=(Number(name="x"),))
    assert dense(featurize(spec, None, {"x": column})).tolist() == [[0, 0], [1, 0], [0, 1]]


def test_columns_of_nothing_but_nulls_are_missing_whatever_was_fitted() -> None:
    columns = {"kind": pa.array(["a"]), "n": pa.array([1.0]), "e": pa.array([[1.0, 2.0]])}
    spec = specify(NO_TEXT, columns)
    typed = {name: pa.nulls(2, column.type) for name, column in columns.items()}
    untyped = {name: pa.nulls(2) for name in columns}
    assert_same(featurize(spec, None, untyped), featurize(spec, None, typed))
    assert len(featurize(spec, None, untyped).indices) == 6


def test_values_in_a_dictionary_are_taken_out_of_it() -> None:
    columns = {"a": pa.array(["x", None, "x"]), "n": pa.array([1.5, 2.5, 1.5])}
    coded = {name: column.dictionary_encode() for name, column in columns.items()}
    spec = specify(NO_TEXT, columns)
    assert specify(NO_TEXT, coded) == spec
    assert_same(featurize(spec, None, coded), featurize(spec, None, columns))


def test_nothing_to_make_features_of_is_an_error() -> None:
    with pytest.raises(DataError, match="expected features of a text or of columns"):
        featurize(NO_TEXT, ["a"])
    with pytest.raises(DataError, match="expected texts to make features of"):
        featurize(FeatureSpec(categories=("kind",)), None, {"kind": pa.array(["a"])})


@pytest.mark.parametrize("values", [[5.0, 5.0], [None, None], [], [1e308, -1e308], [5e-324, 0.0]])
def test_columns_without_a_spread_or_with_too_large_a_one_are_finite(values: list[float]) -> None:
    column = pa.array(values, pa.float64())
    spec = specify(NO_TEXT, {"x": column})
    assert np.isfinite(dense(featurize(spec, None, {"x": column}))).all()


def test_categories_are_hashed_as_sklearn_hashes_names_and_values() -> None:
    extraction = pytest.importorskip("sklearn.feature_extraction")
    columns = {
        "kind": pa.array(["news", "blog é", None, ""]),
        "stars": pa.array([5, -1, 5, None]),
        "old": pa.array([True, False, None, True]),
        "same": pa.array(["a", "b", "a", None]).dictionary_encode(),
    }
    spec = FeatureSpec(
        characters=None, words=None, categories=tuple(columns), category_buckets=1 << 4
    )
    named = [
        {
            (
                name
                if value is None
                else f"{name}={str(value).lower() if name == 'old' else value}"
            ): 1
            for name, value in ((name, column[i].as_py()) for name, column in columns.items())
        }
        for i in range(4)
    ]
    expected = extraction.FeatureHasher(n_features=1 << 4).transform(named).toarray()
    assert dense(featurize(spec, None, columns)).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 2)]
)
def test_embeddings_stand_last_and_missing_ones_are_said(kind: pa.DataType) -> None:
    spec = FeatureSpec(
        characters=None,
        words=None,
        numbers=(Number(name="n"),),
        embedding=Embedding(name="e", means=(1.0, 0.0), scales=(1.0, 2.0)),
    )
    vectors = pa.array([[9, 9], [1, 4], None, [2, float("nan")]], pa.list_(pa.float64())).cast(kind)
    columns = {"n": pa.array([0, 7, 0, 0]).slice(1), "e": vectors.slice(1)}
    assert dense(featurize(spec, None, columns)).tolist() == [
        [7, 0, 0, 2, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1],
    ]


def test_lists_of_json_are_embeddings_too() -> None:
    texts = pa.array(["[1, 2.5]", None, "[-1, 0]"])
    lists = pa.array([[1, 2.5], None, [-1, 0]], pa.list_(pa.float64()))
    spec = specify(NO_TEXT, {"e": texts})
    assert spec == specify(NO_TEXT, {"e": lists})
    assert spec.width == 3
    found = featurize(spec, None, {"e": texts})
    assert_same(found, featurize(spec, None, {"e": lists}))
    assert dense(found)[1].tolist() == [0, 0, 1]
    assert np.square(dense(found)[[0, 2]]).sum(axis=1).mean() == pytest.approx(1)


def test_text_that_only_looks_like_a_list_is_a_category() -> None:
    spec = specify(
        NO_TEXT,
        {"a": pa.array(["[1]", "[a"]), "b": pa.array(["[true]"]), "c": pa.nulls(2, pa.string())},
    )
    assert spec.categories == ("a", "b", "c")


def test_all_kinds_lie_side_by_side() -> None:
    texts = ["one text", "", "another"]
    columns = {
        "kind": pa.array(["a", None, "b"]),
        "n": pa.array([1.0, 2.0, 4.0]),
        "e": pa.array([[1.0], None, [3.0]]),
    }
    spec = specify(FeatureSpec(), columns)
    assert (spec.categories, [n.name for n in spec.numbers]) == (("kind",), ["n"])
    assert spec.columns == ("kind", "n", "e")
    found = featurize(spec, texts, columns)
    first = spec.ranges["categories"][0]
    alone = by_sklearn(FeatureSpec(), texts)
    for i in range(3):
        row = slice(found.indptr[i], found.indptr[i + 1])
        ours, theirs = found.indices[row], alone.indices[alone.indptr[i] : alone.indptr[i + 1]]
        assert ours[ours < first].tolist() == theirs.tolist()
        assert (np.diff(ours) > 0).all()
    others = {name: column.slice(1) for name, column in columns.items()}
    assert (
        featurize(spec, texts[1:], others).indptr.tolist()
        == (found.indptr[1:] - found.indptr[1]).tolist()
    )


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"x": pa.array([{"a": 1}])}, "column x: expected text, booleans"),
        (
            {"x": pa.array([[1.0]]), "y": pa.array([[1.0]])},
            "columns x and y: expected one embedding",
        ),
        (
            {"x": pa.array([[1.0], [1.0, 2.0]])},
            "column x: expected lists of 1 numbers, got one of 2",
        ),
        ({"x": pa.array([["a"]])}, "column x: expected lists of numbers"),
    ],
)
def test_columns_without_a_feature_are_refused(columns: dict[str, pa.Array], what: str) -> None:
    with pytest.raises(DataError, match=what):
        specify(NO_TEXT, columns)


@pytest.mark.parametrize(
    ("spec", "column", "what"),
    [
        (FeatureSpec(numbers=(Number(name="x"),)), pa.array(["1"]), "column x: expected numbers"),
        (FeatureSpec(categories=("x",)), pa.array([1.5]), "column x: expected text, integers"),
        (FeatureSpec(categories=("y",)), pa.array([1.5]), r"expected a column y .* got \['x'\]"),
    ],
)
def test_other_columns_than_those_that_were_fitted_are_refused(
    spec: FeatureSpec, column: pa.Array, what: str
) -> None:
    with pytest.raises(DataError, match=what):
        featurize(spec, ["text"], {"x": column})
