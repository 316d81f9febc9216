"""What ``--like`` has to show: weights are right, what is drawn is nearer, and it is honest.

The mixture is fitted once, for all that is asked of it. Seeds and functions were fixed before; how it
goes with other seeds and sizes, ``bench/like.py`` shows.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.transforms.likeness.like_samples import (
    OF_NUMBERS,
    OF_TEXTS,
    Fitted,
    auc_after,
    chosen,
    draw,
    errors,
    fitted,
    gaussians,
    poems_and_reviews,
    read_texts,
    sample_of,
)
from transforms.kernels.arrays import F64
from transforms.kernels.likeness.weights import weigh
from transforms.likeness.report import LABELS, LikeReport, make_report, words

SHARED = Path(os.environ["DOVETAIL_SHARED"]) if "DOVETAIL_SHARED" in os.environ else None

needs_shared = pytest.mark.skipif(SHARED is None, reason="needs DOVETAIL_SHARED")


@pytest.fixture(scope="module")
def mixture() -> tuple[Fitted, npt.NDArray[np.bool_]]:
    assert SHARED is not None
    sample, is_review, truth = poems_and_reviews(SHARED, 8000, seed=1)
    return fitted(sample, truth), is_review


@pytest.fixture(scope="module")
def bins() -> tuple[Fitted, F64]:
    sample, middles, truth = gaussians(6000, seed=1)
    return fitted(sample, truth), middles


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


@needs_shared
def test_what_is_drawn_is_nearer(mixture: tuple[Fitted, npt.NDArray[np.bool_]]) -> None:
    found, is_review = mixture
    assert found.report.auc > 0.9
    count = int(found.weighing.effective / 3)
    places = draw(found.weighing.units_of(found.scores), count)
    assert len(places) == count
    assert is_review[places].mean() > 0.9
    assert auc_after(found, places) < 0.6
    # the control: as many, without weights
    assert auc_after(found, draw(np.ones(found.inputs, np.uint64), count)) > 0.9


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
    assert "there is nothing to fix" in said[0]
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
    assert "nothing to fix" not in said
    assert LABELS in said
