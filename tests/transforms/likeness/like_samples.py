"""Samples for tests of ``--like``: texts made by a law that is known, and those of the shared folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import stats

from transforms.kernels.arrays import F64, I64
from transforms.kernels.likeness.folds import folds_of
from transforms.kernels.likeness.weights import ONE
from transforms.kernels.randomness import derive, mix
from transforms.kernels.records.digest import record_hashes
from transforms.likeness.fit import FitSample
from transforms.likeness.model import LikeModel

POEM_SHARE = 0.97


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
