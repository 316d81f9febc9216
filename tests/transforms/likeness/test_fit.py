"""The fit: repeatable, blind to what it scores, whatever order records come in; and its file."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.transforms.likeness.like_samples import (
    chosen,
    gaussians,
    odds,
    sample_of,
    scores_of,
    uniform,
)
from transforms.errors import DataError, UsageError
from transforms.kernels.arrays import F64
from transforms.kernels.likeness.columns import specify
from transforms.kernels.likeness.folds import FOLDS, folds_of
from transforms.kernels.likeness.spec import FeatureSpec, Ngrams
from transforms.kernels.likeness.weights import ONE
from transforms.kernels.randomness import mix
from transforms.likeness import fit_fold, matrix, needs
from transforms.likeness.auc import auc_by_folds
from transforms.likeness.calibration import calibrate, platt
from transforms.likeness.fit import fit, has_enough
from transforms.likeness.fit_sample import FitSample
from transforms.likeness.model import LikeModel, Packed

SMALL = FeatureSpec(
    characters=Ngrams(shortest=1, longest=2, buckets=1 << 12),
    words=Ngrams(shortest=1, longest=1, buckets=1 << 12),
)


def small(count: int = 400, *, seed: int = 1) -> FitSample:
    return gaussians(count, seed=seed)[0]


@pytest.fixture(scope="module")
def model() -> LikeModel:
    return fit(small(), SMALL, 7)[0]


IN_ANOTHER_PROCESS = """
import hashlib
from tests.transforms.likeness.test_fit import SMALL, small
from transforms.likeness.fit import fit
print(hashlib.sha256(fit(small(), SMALL, 7)[0].to_json()).hexdigest())
"""


def test_a_fit_is_the_same_in_another_process(model: LikeModel) -> None:
    import hashlib

    found = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == hashlib.sha256(model.to_json()).hexdigest()


def test_the_order_of_the_sample_moves_nothing(model: LikeModel) -> None:
    sample = small()
    other = sample.take(np.argsort(uniform(len(sample.is_test), "order")))
    assert fit(other, SMALL, 7)[0] == model


def test_another_seed_has_other_folds_and_models(model: LikeModel) -> None:
    assert fit(small(), SMALL, 8)[0].folds != model.folds


@pytest.mark.parametrize("fold", range(FOLDS))
def test_a_model_never_saw_its_fold(model: LikeModel, fold: int) -> None:
    """Records of a fold become others, on one side even on the wrong one: its model stays as it is."""
    sample = small()
    mine = folds_of(sample.hash0, sample.hash1, 7) == fold
    texts = [
        "something else" if gone else text
        for gone, text in zip(mine.tolist(), sample.texts.to_pylist(), strict=True)
    ]
    changed = FitSample(
        texts=pa.array(texts, pa.large_string()),
        columns={},
        is_test=sample.is_test,
        hash0=sample.hash0,
        hash1=sample.hash1,
    )
    again = fit(changed, SMALL, 7)[0]
    assert again.folds[fold] == model.folds[fold]
    assert again.folds[(fold + 2) % FOLDS] != model.folds[(fold + 2) % FOLDS]  # the control


def test_duplicates_are_scored_by_a_model_that_saw_none_of_them() -> None:
    """Every content stands in either set equally often. Whoever had seen some would tell them apart."""
    texts = [f"{a} {b}" for a in "klmnopqrst" for b in range(60)]
    sides = (
        [text for text in texts if hash_bit(text)],
        [text for text in texts if not hash_bit(text)],
    )
    inputs, tests = sides[0] * 3, sides[1] * 3
    report = fit(sample_of(inputs, tests), SMALL, 0)[1]
    assert report.auc < 0.6
    assert report.sample.input == 3 * report.sample.input_contents


def hash_bit(text: str) -> bool:
    return uniform(1, "bit", text)[0] < 0.5


def test_a_small_test_set_is_oversampled() -> None:
    sample = gaussians(1000, seed=2, mean=2.0)[0]
    few = sample.take(np.arange(1200))  # 1,000 of the input, 200 of the test set
    model, report = fit(few, SMALL, 0)
    assert (report.sample.input, report.sample.test) == (1000, 200)
    assert report.auc > 0.8
    # calibrated for as many of either: weights average to 1, not to a fifth
    scores = scores_of(model, few.take(np.arange(1000)))
    assert odds(scores).mean() == pytest.approx(1, abs=0.35)


def test_batches_hold_as_many_of_either_set() -> None:
    is_test = np.arange(50) < 7
    seen = np.arange(50) % 5 > 0
    sizes = np.full(50, fit_fold._BATCH // 8)
    batches = list(fit_fold.batches(seen, is_test, sizes, seed=0, fold=0, epoch=1))
    assert len(batches) > 4
    every = np.concatenate(batches)
    assert is_test[every].sum() * 2 == len(every)
    assert (is_test[every] == (np.arange(len(every)) % 2 == 0)).all()
    many = np.bincount(every, minlength=50)
    assert (many[seen & ~is_test] == 1).all()
    assert (many[~seen] == 0).all()
    assert np.ptp(many[seen & is_test]) <= 1
    other = np.concatenate(list(fit_fold.batches(seen, is_test, sizes, seed=0, fold=0, epoch=2)))
    assert sorted(other.tolist()) != other.tolist() != every.tolist()


def test_what_has_no_room_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "MOST_VALUES", 20_000)
    monkeypatch.setattr(matrix, "_CHUNK", 16)
    sample = gaussians(600, seed=3)[0]
    report = fit(sample.take(np.arange(800)), SMALL, 0)[1]  # 200 of the test set: all have room
    assert report.sample.input == 600
    assert report.fitted.test == 200
    assert 200 < report.fitted.input < 600


def test_too_little_is_refused() -> None:
    few = sample_of([str(i) for i in range(49)] * 2, [f"t{i}" for i in range(80)])
    assert not has_enough(few)
    with pytest.raises(DataError, match=r"at least 50 .* input, .* got 49 \(in 98 records\)"):
        fit(few, SMALL, 0)


def test_what_tells_sets_apart_has_its_name() -> None:
    base = chosen(
        [f"{a}{b} {b}{c}" for a in "abcde" for b in "fghij" for c in "klmno"], 100, "base"
    )
    inputs = [f"{text} winter" if i % 2 else text for i, text in enumerate(base)]
    tests = [f"{text} summer" if i % 2 else text for i, text in enumerate(base)]
    words = FeatureSpec(characters=None, words=Ngrams(shortest=1, longest=1))
    report = fit(sample_of(inputs, tests), words, 0)[1]
    first = report.toward_test[0], report.toward_input[0]
    assert [one.name for one in first] == ["summer", "winter"]
    assert (first[0].in_test, first[0].in_input, first[0].kind) == (0.5, 0.0, "words")


def normal(count: int, *labels: int | str) -> F64:
    return stats.norm.ppf(uniform(count, *labels) + 2**-54)


NONE_OF_TEXT = FeatureSpec(characters=None, words=None)


@pytest.mark.parametrize("kind", ["number", "category", "embedding", "all and text"])
def test_columns_are_weighed_too(kind: str) -> None:
    """N(0, 1) against N(1, 1), as whatever a column may be, beside one of nothing but outliers."""
    count = 2000
    is_test = np.arange(2 * count) >= count
    numbers = normal(2 * count, "x") + is_test
    others = [[*row] for row in np.stack([normal(2 * count, "e", i) for i in range(8)], axis=1)]
    columns = {
        "number": numbers,
        "category": [f"c{round(x)}" for x in numbers],
        "embedding": [[x, *row] for x, row in zip(numbers.tolist(), others, strict=True)],
    }
    shown = [kind] if kind in columns else list(columns)
    held = {name: pa.array(columns[name]) for name in shown}
    held["noise"] = pa.array(np.exp(2 * normal(2 * count, "noise")))
    has_text = kind == "all and text"
    places = np.arange(2 * count, dtype=np.uint64)
    sample = FitSample(
        texts=pa.array(["one text"] * 2 * count) if has_text else None,
        columns=held,
        is_test=is_test,
        hash0=mix(places),
        hash1=mix(~places),
    )
    model, report = fit(sample, specify(SMALL if has_text else NONE_OF_TEXT, held), 0)
    found = np.log(odds(scores_of(model, sample.take(np.arange(count)))))
    assert np.corrcoef(found, numbers[:count])[0, 1] > 0.9
    names = {one.name for one in report.toward_test}
    if kind == "category":
        assert names >= {"category=c1", "category=c2"}
    else:
        assert names & {"number", "embedding[0]"}


# the file


def test_a_model_comes_back_from_its_file(model: LikeModel) -> None:
    data = model.to_json()
    again = LikeModel.of_json(data, what="like.json")
    assert again == model
    assert again.to_json() == data
    sample = small(100, seed=9)
    assert (scores_of(again, sample) == scores_of(model, sample)).all()
    assert model.versions.keys() == {"numpy", "scikit-learn", "scipy"}
    assert model.processor


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "something"),
        (("folds",), []),
        (("folds", 0, "weights", "values"), "AAAA"),
        (("folds", 0, "weights", "values"), "no base64!"),
        (("folds", 0, "weights", "size"), 5),
        (("folds", 0, "weights", "size"), 2**40),
        (("folds", 0, "a"), -1.0),
        (("folds", 0, "b"), float("nan")),
        (("folds", 0, "low"), 0.7),
        (("features", "characters", "longest"), 99),
        (("features", "characters", "buckets"), 1 << 10),
        (("more",), 1),
    ],
)
def test_a_damaged_model_is_refused(model: LikeModel, path: tuple[Any, ...], value: object) -> None:
    data = json.loads(model.to_json())
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(DataError, match=r"m\.json: expected a model as --like writes it"):
        LikeModel.of_json(json.dumps(data).encode(), what="m.json")


def test_a_file_of_something_else_is_refused() -> None:
    with pytest.raises(DataError, match=r"expected a model"):
        LikeModel.of_json(b"\x00 nothing", what="m.json")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.0, 1.5, -2.25, 3e-8]), max_size=30))
def test_vectors_are_packed_whole(values: list[float]) -> None:
    vector = np.array(values, np.float32).astype(np.float64)
    assert (Packed.of(vector).vector() == vector).all()


# calibration and AUC


def test_calibration_finds_the_law() -> None:
    """D from 0.1 to 0.8 by a sigmoid of 2z - 1."""
    z = 6 * uniform(40_000, "z") - 3
    d = 0.1 + 0.7 / (1 + np.exp(-(2 * z - 1)))
    is_test = uniform(len(z), "test") < d
    # as many of either set: the odds shift by how many there are, which calibration undoes
    found = calibrate(3 * z + 5, is_test)
    made = found.low + (found.high - found.low) / (1 + np.exp(-(found.a * (3 * z + 5) + found.b)))
    prior = is_test.mean() / (1 - is_test.mean())
    right = d / (1 - d) / prior
    assert np.abs(np.log(made / (1 - made) / right)).max() < 0.12
    assert found.loss < platt(3 * z + 5, is_test).loss


def test_sums_that_say_nothing_give_one_half() -> None:
    z = uniform(500, "noise")
    is_test = np.arange(500) % 2 == 0
    for found in (calibrate(-is_test.astype(float), is_test), calibrate(z, is_test | True)):
        assert (found.a, found.b, found.low, found.high) == (0.0, 0.0, 0.0, 1.0)
        assert found.loss == pytest.approx(np.log(2))


def test_a_few_records_beyond_the_others_are_chance() -> None:
    """Four of 300 test records far out: a curve of four parameters would make their odds 25."""
    z = uniform(900, "alike")
    is_test = np.arange(900) % 3 == 0
    z[[0, 3, 6, 9]] = 30.0
    assert calibrate(z, is_test) == (0.0, 0.0, 0.0, 1.0, np.log(2))
    z[np.flatnonzero(is_test)[:40]] = 30.0
    found = calibrate(z, is_test)
    assert found.a > 0
    assert found.high > 0.9


def test_copies_prove_nothing() -> None:
    for seed in range(4):
        texts = gaussians(60, seed=seed, mean=0.0)[0]
        copies = texts.take(np.repeat(np.arange(120), 8))
        scores = scores_of(fit(copies, SMALL, seed)[0], texts)
        assert np.mean(scores == ONE // 2) > 0.7


def test_sets_without_overlap_stay_finite() -> None:
    is_test = np.arange(200) < 100
    found = calibrate(np.where(is_test, 5.0, -5.0), is_test)
    d = found.low + (found.high - found.low) / (1 + np.exp(-(5 * found.a + found.b)))
    assert 0.95 < d < 0.999


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=20))
def test_auc_is_that_of_all_pairs(records: list[tuple[int, bool]]) -> None:
    tests = [value for value, is_test in records if is_test]
    inputs = [value for value, is_test in records if not is_test]
    if not tests or not inputs:
        return
    wins = sum((a > b) + (a == b) / 2 for a in tests for b in inputs)
    values = np.array([float(value) for value, _ in records])
    is_test = np.array([flag for _, flag in records])
    found = auc_by_folds(values, is_test, np.zeros(len(values), np.uint8))
    assert found == wins / (len(tests) * len(inputs))


def test_auc_by_folds_compares_inside_of_folds_alone() -> None:
    values = np.array([0.0, 1.0, 10.0, 11.0])
    is_test = np.array([False, True, False, True])
    folds = np.array([0, 0, 1, 1], np.uint8)
    assert auc_by_folds(values, is_test, np.zeros_like(folds)) == 0.75
    assert auc_by_folds(values, is_test, folds) == 1.0


def test_what_is_not_installed_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    needs.require_like()
    monkeypatch.setattr(needs, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as raised:
        needs.require_like()
    assert str(raised.value) == (
        "--like needs scikit-learn and matplotlib, which aren't installed; "
        "run pip install 'dovetail-data[like]'"
    )
