"""What ``--like`` has to show: weights are right, what is drawn is nearer, and it is honest.

The mixture is fitted once, for all that is asked of it. Seeds and functions were fixed before; how it
goes with other seeds and sizes, ``bench/like.py`` shows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from tests.transforms.likeness.like_samples import (
    chosen,
    gaussians,
    poems_and_reviews,
    read_texts,
    sample_of,
    scores_of,
    uniform,
)
from transforms.kernels.arrays import F64
from transforms.kernels.likeness.draws import drawn, points
from transforms.kernels.likeness.features import FeatureSpec
from transforms.kernels.likeness.weights import Weighing, counted, weigh
from transforms.likeness.fit import FitReport, FitSample, fit
from transforms.likeness.report import LABELS, LikeReport, make_report, words

RESAMPLED = 200
SEED = 0
SHARED = Path(os.environ["DOVETAIL_SHARED"]) if "DOVETAIL_SHARED" in os.environ else None

needs_shared = pytest.mark.skipif(SHARED is None, reason="needs DOVETAIL_SHARED")


class Fitted(NamedTuple):
    sample: FitSample
    inputs: int
    scores: npt.NDArray[np.uint32]  # of the input's records
    weighing: Weighing
    truth: F64  # log of the densities' ratio, of the input's records
    report: FitReport

    @property
    def weights(self) -> F64:
        return self.weighing.weights_of(self.scores)


def fitted(sample: FitSample, truth: F64) -> Fitted:
    inputs = int((~sample.is_test).sum())
    model, report = fit(sample, FeatureSpec(), SEED)
    scores = scores_of(model, sample.take(np.arange(inputs)))
    return Fitted(sample, inputs, scores, weigh(*counted(scores)), truth, report)


@pytest.fixture(scope="module")
def mixture() -> tuple[Fitted, npt.NDArray[np.bool_]]:
    assert SHARED is not None
    sample, is_review, truth = poems_and_reviews(SHARED, 8000, seed=1)
    return fitted(sample, truth), is_review


@pytest.fixture(scope="module")
def bins() -> tuple[Fitted, F64]:
    sample, middles, truth = gaussians(6000, seed=1)
    return fitted(sample, truth), middles


def errors(found: Fitted, values: F64) -> float:
    """Return by how many standard errors the weighted mean of the input is off the test set's mean.

    The error is that of the difference, by bootstrap: contents are drawn with replacement, with all of
    their records in either set; weights stay as they are.
    """
    _, content = np.unique(
        np.stack([found.sample.hash0, found.sample.hash1]), axis=1, return_inverse=True
    )
    many = int(content.max()) + 1
    weights = np.concatenate([found.weights, np.ones(len(values) - found.inputs)])

    def difference(times: F64) -> float:
        each = weights * times[content]
        mine, theirs = slice(None, found.inputs), slice(found.inputs, None)
        means = [(each[side] @ values[side]) / each[side].sum() for side in (mine, theirs)]
        return float(means[0] - means[1])

    again = []
    for number in range(RESAMPLED):
        places = (uniform(many, "bootstrap", number) * many).astype(np.int64)
        again.append(difference(np.bincount(places, minlength=many).astype(np.float64)))
    return difference(np.ones(many)) / float(np.std(again))


OF_NUMBERS: dict[str, Callable[[F64], F64]] = {
    "x": lambda x: x,
    "x squared": lambda x: x**2,
    "x over 1": lambda x: (x > 1).astype(np.float64),
    "sine of 2x": lambda x: np.sin(2 * x),
    "a bump at 0": lambda x: np.exp(-(x**2)),
}


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_weighted_means_of_gaussians_are_the_test_sets(bins: tuple[Fitted, F64], name: str) -> None:
    """6,000 records of either set."""
    found, middles = bins
    off = errors(found, OF_NUMBERS[name](middles))
    assert abs(off) < 3, f"{name}: {off:.2f} standard errors off"


def test_without_weights_the_means_of_gaussians_are_not(bins: tuple[Fitted, F64]) -> None:
    found, middles = bins
    even = weigh(np.array([7], np.uint32), np.array([found.inputs]))
    control = found._replace(scores=np.full(found.inputs, 7, np.uint32), weighing=even)
    assert abs(errors(control, middles)) > 30


def test_log_weights_of_gaussians_follow_the_truth(bins: tuple[Fitted, F64]) -> None:
    found, _ = bins
    assert np.corrcoef(np.log(found.weights), found.truth)[0, 1] > 0.9


OF_TEXTS: dict[str, Callable[[str], float]] = {
    "length": len,
    "full stops": lambda text: text.count("。"),
    "holds 的": lambda text: "的" in text,
    "lines": lambda text: text.count("\n"),
    "different characters": lambda text: len(set(text)),
}


@needs_shared
@pytest.mark.parametrize("name", OF_TEXTS)
def test_weighted_means_of_a_mixture_are_the_test_sets(
    mixture: tuple[Fitted, npt.NDArray[np.bool_]], name: str
) -> None:
    """8,000 records of either set, 240 of them reviews in the input."""
    found, _ = mixture
    texts = found.sample.texts.to_pylist()
    off = errors(found, np.array([float(OF_TEXTS[name](text)) for text in texts]))
    assert abs(off) < 3, f"{name}: {off:.2f} standard errors off"


@needs_shared
def test_log_weights_of_a_mixture_follow_the_truth(
    mixture: tuple[Fitted, npt.NDArray[np.bool_]],
) -> None:
    found, _ = mixture
    assert np.corrcoef(np.log(found.weights), found.truth)[0, 1] > 0.9
    effective = np.exp(found.truth).sum() ** 2 / np.exp(2 * found.truth).sum()
    assert found.weighing.effective == pytest.approx(effective, rel=0.2)
    assert found.weighing.mean == pytest.approx(1, rel=0.2)


def auc_after(found: Fitted, places: npt.NDArray[np.int64]) -> float:
    """Return how well a fresh discriminator tells records of the input, drawn, from the test set."""
    tests = np.arange(found.inputs, found.inputs + 4000)
    return fit(found.sample.take(np.concatenate([places, tests])), FeatureSpec(), SEED)[1].auc


@needs_shared
def test_what_is_drawn_is_nearer(mixture: tuple[Fitted, npt.NDArray[np.bool_]]) -> None:
    found, is_review = mixture
    assert found.report.auc > 0.9
    count = int(found.weighing.effective / 3)
    units = found.weighing.units_of(found.scores)
    at = points(count, total=found.weighing.total, seed=SEED)
    places = np.repeat(*drawn(units, begin=0, points=at))
    assert len(places) == count
    assert is_review[places].mean() > 0.9
    assert auc_after(found, places) < 0.6
    # the control: as many, without weights
    even = np.ones(found.inputs, np.uint64)
    places = np.repeat(*drawn(even, begin=0, points=points(count, total=found.inputs, seed=SEED)))
    assert auc_after(found, places) > 0.9


def report_of(inputs: list[str], tests: list[str]) -> LikeReport:
    found = fitted(sample_of(inputs, tests), np.zeros(0))
    return make_report(found.weighing, fitted=found.report)


@needs_shared
def test_sets_that_are_alike_are_recognised() -> None:
    assert SHARED is not None
    reviews = chosen(read_texts(SHARED / "data" / "reviews.jsonl"), 4000, "alike")
    report = report_of(reviews[:2000], reviews[2000:])
    assert report.verdict == "alike"
    said = words(report)
    assert "there is nothing to mend" in said[0]
    assert report.quantiles["0.05"] > 0.8
    assert report.quantiles["0.95"] < 1.25
    assert report.effective_share > 0.95
    assert said[-1] == LABELS


@needs_shared
def test_sets_that_have_nothing_in_common_are_recognised() -> None:
    assert SHARED is not None
    poems = chosen(read_texts(SHARED / "data" / "poems.jsonl"), 2000, "apart")
    reviews = chosen(read_texts(SHARED / "data" / "reviews.jsonl"), 2000, "apart")
    report = report_of(poems, reviews)
    assert report.verdict == "apart"
    assert report.covered < 0.5
    said = " ".join(words(report))
    assert "hardly overlap" in said
    assert "no weights can make up" in said
    assert "nothing to mend" not in said
    assert LABELS in said
