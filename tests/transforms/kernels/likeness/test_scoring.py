"""Scores: features times weights, exactly, then a probability that is the same everywhere."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.kernels.likeness.test_features import ODD
from transforms.kernels.likeness.columns import specify
from transforms.kernels.likeness.features import featurize
from transforms.kernels.likeness.ngrams import AT_ONCE
from transforms.kernels.likeness.scoring import SCORES, Scorer, to_scores
from transforms.kernels.likeness.spec import Embedding, FeatureSpec, Ngrams, Number
from transforms.kernels.randomness import mix

TEXTS = [*ODD, "Some words of a text, " * 400]
COLUMNS = {
    "kind": pa.array(["a", None, "b"] * 12).slice(0, len(TEXTS)),
    "n": pa.array([1.0, 2.5, None] * 12).slice(0, len(TEXTS)),
    "e": pa.array([[1.0, 2.0], None, [3.0, 7.0]] * 12).slice(0, len(TEXTS)),
}
CALIBRATION = np.array([[1.0, 0.0, 0.0, 1.0], [0.5, -1.0, 0.1, 0.8], [2.0, 0.25, 0.0, 0.9]])
FOLDS = (np.arange(len(TEXTS)) % 3).astype(np.uint8)


def weights_of(spec: FeatureSpec, models: int) -> Any:
    """Return weights between -1 and 1 that have 24 bits, which are the same on every machine."""
    numbers = mix(np.arange(models * spec.width, dtype=np.uint64)) >> np.uint64(40)
    return (numbers.astype(np.float64) / (1 << 23) - 1).reshape(models, -1)


@pytest.mark.parametrize("normed", [True, False])
def test_logits_are_features_times_the_weights_of_the_record_s_model(normed: bool) -> None:
    spec = specify(FeatureSpec(normed=normed), COLUMNS)
    weights = weights_of(spec, 3)
    scorer = Scorer(spec, weights, CALIBRATION)
    found = scorer.logits(TEXTS, COLUMNS, folds=FOLDS)
    made = featurize(spec, TEXTS, COLUMNS)
    for i, z in enumerate(found.tolist()):
        row = slice(made.indptr[i], made.indptr[i + 1])
        expected = math.fsum(made.data[row] * weights[FOLDS[i], made.indices[row]])
        size = math.fsum(np.abs(made.data[row]))
        assert z == pytest.approx(expected, abs=1e-9 * size + 1e-12)
    scores = scorer.score(TEXTS, COLUMNS, folds=FOLDS)
    a, b, low, high = CALIBRATION[FOLDS].T
    assert scores.tolist() == to_scores(a * found + b, low, high).tolist()
    assert scores.dtype == np.uint32


@pytest.mark.parametrize("rounds", [1, 2, 3])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_long_texts_take_several_rounds_and_leave_nothing_behind(rounds: int, more: int) -> None:
    spec = FeatureSpec()
    weights = weights_of(spec, 1)
    scorer = Scorer(spec, weights, CALIBRATION[:1])
    size = rounds * AT_ONCE + more
    plain = "".join(chr(97 + i * i % 26) for i in range(size))
    words = " ".join(f"w{i % 999}" for i in range(2 * size))
    texts = [plain, "é" + plain[:-1], words, "behind"]
    made = featurize(spec, texts)
    for i, z in enumerate(scorer.logits(texts).tolist()):
        row = slice(made.indptr[i], made.indptr[i + 1])
        expected = math.fsum(made.data[row] * weights[0, made.indices[row]])
        assert z == pytest.approx(expected, abs=1e-6)
        assert z == scorer.logits(texts[i : i + 1])[0]


def test_scores_are_what_they_always_were() -> None:
    """On every machine: a change of this digest makes every like.json mean something else."""
    spec = FeatureSpec(
        categories=("kind",),
        numbers=(Number(name="n", mean=1.7, scale=0.6),),
        embedding=Embedding(name="e", means=(2.1, 4.0), scales=(1.3, 0.9)),
    )
    scorer = Scorer(spec, weights_of(spec, 3) * 0.7, CALIBRATION)
    z = scorer.logits(TEXTS, COLUMNS, folds=FOLDS)
    scores = scorer.score(TEXTS, COLUMNS, folds=FOLDS)
    found = hashlib.sha256(z.tobytes() + scores.tobytes()).hexdigest()
    assert found == "0c240d91f7993c2af4a7ac2e10c5bc3b9c647a006bf7b0f33e982191c4461a88", (
        found,
        scores.tolist(),
    )


def test_a_record_s_score_is_its_own() -> None:
    spec = specify(FeatureSpec(), COLUMNS)
    scorer = Scorer(spec, weights_of(spec, 3), CALIBRATION)
    together = scorer.score(TEXTS, COLUMNS, folds=FOLDS)
    for i, text in enumerate(TEXTS):
        column = {name: values.slice(i, 1) for name, values in COLUMNS.items()}
        assert scorer.score([text], column, folds=FOLDS[i : i + 1]) == together[i : i + 1]


def test_sums_of_ngrams_are_exact() -> None:
    spec = FeatureSpec(
        characters=Ngrams(shortest=1, longest=2, buckets=4), words=None, normed=False
    )
    weights = np.array([[2.0**20, 1.0, 2.0**-9, 3.0]])
    texts = ["a" * 100_000, "ab" * 77_777, "é" * 5]
    made = featurize(spec, texts)
    for i, z in enumerate(Scorer(spec, weights, CALIBRATION[:1]).logits(texts).tolist()):
        row = slice(made.indptr[i], made.indptr[i + 1])
        assert z == math.fsum(made.data[row] * weights[0, made.indices[row]])


def test_weights_may_all_be_zero() -> None:
    spec = FeatureSpec()
    scorer = Scorer(spec, np.zeros((1, spec.width)), CALIBRATION[:1])
    assert scorer.score(["a", ""]).tolist() == [SCORES // 2] * 2
    assert len(scorer.score([])) == 0


@given(st.lists(st.floats(-40, 40)))
def test_probabilities_are_right_to_the_last_place(zs: list[float]) -> None:
    for found, z in zip(to_scores(np.array(zs)).tolist(), zs, strict=True):
        exact = SCORES / (1 + math.exp(-z))
        assert 1 <= found <= SCORES - 1
        assert abs(found - exact) <= 0.5 + 1e-6 or not 1 <= exact <= SCORES - 1


def test_probabilities_have_a_floor_and_a_ceiling() -> None:
    assert to_scores(np.array([-99.0, 0.0, 99.0]), 0.25, 0.75).tolist() == [
        SCORES // 4,
        SCORES // 2,
        SCORES // 4 * 3,
    ]


def test_scores_rise_and_end() -> None:
    scores = to_scores(np.linspace(-1e9, 1e9, 10001))
    assert (np.diff(scores.astype(np.int64)) >= 0).all()
    assert scores[[0, 5000, -1]].tolist() == [1, SCORES // 2, SCORES - 1]


def test_weights_that_do_not_fit_the_features_are_refused() -> None:
    spec = FeatureSpec()
    with pytest.raises(
        ValueError, match="expected 524288 weights and a calibration for each model"
    ):
        Scorer(spec, np.zeros((2, 5)), CALIBRATION[:2])
    with pytest.raises(ValueError, match="calibration"):
        Scorer(spec, np.zeros((2, spec.width)), CALIBRATION[:2, :2])
