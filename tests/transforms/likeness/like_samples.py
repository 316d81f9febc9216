"""What is asked of ``--like``, for its tests and ``bench/like.py``: samples of which the densities'
ratio is known, made by a law or mixed of the shared folder's texts, and how well the weights do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import stats

from transforms.kernels.arrays import F64, I64, U64
from transforms.kernels.likeness.draws import drawn, points
from transforms.kernels.likeness.folds import folds_of
from transforms.kernels.likeness.spec import FeatureSpec
from transforms.kernels.likeness.weights import ONE, Weighing, counted, weigh
from transforms.kernels.randomness import derive, mix
from transforms.kernels.records.digest import record_hashes
from transforms.likeness.fit import FitReport, fit
from transforms.likeness.fit_sample import FitSample
from transforms.likeness.model import LikeModel

POEM_SHARE = 0.97
RESAMPLED = 200
SEED = 0


def sample_of(inputs: Sequence[str], tests: Sequence[str]) -> FitSample:
    """Return a sample of texts, hashed as contents are."""
    texts = [*inputs, *tests]
    data = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, data)]).astype(np.int64)
    hash0, hash1 = record_hashes(np.frombuffer(b"".join(data), np.uint8), offsets)[:2]
    return FitSample(
        texts=pa.array(texts, pa.large_string()),
        columns={},
        is_test=np.arange(len(texts)) >= len(inputs),
        hash0=hash0,
        hash1=hash1,
    )


def uniform(count: int, *labels: int | str) -> F64:
    """Return float64[count] in [0, 1), by our own randomness."""
    keys = mix(np.arange(count, dtype=np.uint64) ^ np.uint64(derive(*_labels(labels)).k0))
    return (keys >> np.uint64(11)).astype(np.float64) / 2**53


def _labels(labels: tuple[int | str, ...]) -> tuple[int, int | str]:
    return 0, repr(labels)


def scores_of(model: LikeModel, sample: FitSample) -> npt.NDArray[np.uint32]:
    """Return the scores of a sample's records."""
    folds = folds_of(sample.hash0, sample.hash1, model.seed)
    return model.score(sample.texts, sample.columns, folds)


def odds(scores: npt.NDArray[np.uint32]) -> F64:
    return scores / (ONE - scores.astype(np.float64))


_NOISE = [f"{a}{b}" for a in "bcdfghklmnprstvz" for b in ("a", "e", "i", "o")]
_WIDTH = 0.25  # of a bin


def gaussians(count: int, *, seed: int, mean: float = 1.0) -> tuple[FitSample, F64, F64]:
    """Return records of N(0, 1), the input, and N(mean, 1), the test set, through bins as words.

    A text is its number's bin, as a word, among five words of the same law in both sets, so that nearly
    every text is a content of its own.

    Returns:
        The sample; float64 of all records: the middles of their bins; float64 of the input's records:
        the true logarithms of densities' ratios of their bins.
    """
    numbers = np.concatenate(
        [
            stats.norm.ppf(uniform(count, seed, "input") + 2**-54),
            mean + stats.norm.ppf(uniform(count, seed, "test") + 2**-54),
        ]
    )
    bins = np.floor(numbers / _WIDTH).astype(np.int64)
    others = [(uniform(len(bins), seed, "word", i) * len(_NOISE)).astype(int) for i in range(5)]
    texts = [
        " ".join([f"bin{chr(ord('k') + bin_) * 2}", *(_NOISE[other[i]] for other in others)])
        for i, bin_ in enumerate(bins.tolist())
    ]
    low, high = bins[:count] * _WIDTH, (bins[:count] + 1) * _WIDTH
    truth = _log_mass(low - mean, high - mean) - _log_mass(low, high)
    return sample_of(texts[:count], texts[count:]), (bins + 0.5) * _WIDTH, truth


def _log_mass(low: F64, high: F64) -> F64:
    # from the side where a difference of tails loses nothing
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    return np.log(stats.norm.cdf(high) - stats.norm.cdf(low))


def read_texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]


def poems_and_reviews(
    shared: Path, count: int, *, seed: int
) -> tuple[FitSample, npt.NDArray[np.bool_], F64]:
    """Return poems and reviews in shares of 0.97 to 0.03, the input, and 0.03 to 0.97, the test set.

    Returns:
        The sample; bool of all records: whether it is a review; float64 of the input's records: the true
        logarithms of densities' ratios.
    """
    many = round(POEM_SHARE * count)
    few = count - many
    poems = chosen(read_texts(shared / "data" / "poems.jsonl"), count, seed, "poems")
    reviews = chosen(read_texts(shared / "data" / "reviews.jsonl"), count, seed, "reviews")
    inputs, tests = poems[:many] + reviews[:few], poems[many:] + reviews[few:]
    is_review = np.repeat([False, True, False, True], [many, few, few, many])
    ratio = np.log(many / few)
    return sample_of(inputs, tests), is_review, np.where(is_review[:count], ratio, -ratio)


def chosen(texts: Sequence[str], count: int, *labels: int | str) -> list[str]:
    """Return so many of some texts, without replacement."""
    order: I64 = np.argsort(uniform(len(texts), *labels))
    return [texts[place] for place in order[:count].tolist()]


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


OF_TEXTS: dict[str, Callable[[str], float]] = {
    "length": len,
    "full stops": lambda text: text.count("。"),
    "holds 的": lambda text: "的" in text,
    "lines": lambda text: text.count("\n"),
    "different characters": lambda text: len(set(text)),
}


def draw(units: U64, count: int) -> I64:
    """Draw records by their weights: return their places, each as often as it was drawn."""
    at = points(count, total=int(units.sum(dtype=np.uint64)), seed=SEED)
    return np.repeat(*drawn(units, begin=0, points=at))


def auc_after(found: Fitted, places: npt.NDArray[np.int64]) -> float:
    """Return how well a fresh discriminator tells records of the input, drawn, from the test set."""
    tests = np.flatnonzero(found.sample.is_test)[:4000]
    return fit(found.sample.take(np.concatenate([places, tests])), FeatureSpec(), SEED)[1].auc
