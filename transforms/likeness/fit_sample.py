"""What a discriminator is fitted on: records of the input and of the test set, in a keyed order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.kernels.arrays import I64, U64
from transforms.kernels.randomness import content_keys, record_keys, split_pair
from transforms.likeness.model import Sizes

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class FitSample:
    """Records of the input and of the test set, in any order.

    Attributes:
        texts: n, of any string or binary type; None where the features are of columns alone.
        columns: those that the features ask for, n values each.
        is_test: bool[n].
        hash0, hash1: uint64[n], the hashes of contents.
    """

    texts: pa.Array | None
    columns: Mapping[str, pa.Array]
    is_test: Bools
    hash0: U64
    hash1: U64

    def without_texts(self) -> FitSample:
        """Return which records there are, and nothing of what is in them."""
        return replace(self, texts=None, columns={})

    def take(self, places: I64) -> FitSample:
        """Return the records at some places, in that order; a place may come more than once."""
        chosen = pa.array(places)
        return FitSample(
            texts=None if self.texts is None else self.texts.take(chosen),
            columns={name: column.take(chosen) for name, column in self.columns.items()},
            is_test=self.is_test[places],
            hash0=self.hash0[places],
            hash1=self.hash1[places],
        )


def sizes(sample: FitSample, mine: Bools | None = None) -> Sizes:
    """Count records and contents of either set, of those that are ``mine`` (None: all)."""
    tests = sample.is_test if mine is None else sample.is_test & mine
    inputs = ~sample.is_test if mine is None else ~sample.is_test & mine
    return Sizes(
        input=int(inputs.sum()),
        test=int(tests.sum()),
        input_contents=_contents(sample, inputs),
        test_contents=_contents(sample, tests),
    )


def in_order(sample: FitSample, seed: int) -> I64:
    """Return places in an order of the seed's: by content, and number among equals of a side."""
    order = np.lexsort((sample.hash1, sample.hash0, sample.is_test))
    keys = content_keys(split_pair(seed, "like", "order"), sample.hash0, sample.hash1)[order]
    tests = sample.is_test[order]
    new = np.ones(len(keys), bool)
    new[1:] = (keys[1:] != keys[:-1]) | (tests[1:] != tests[:-1])
    begins = np.flatnonzero(new)
    among = np.arange(len(keys)) - np.repeat(begins, np.diff([*begins, len(keys)]))
    pair = split_pair(seed, "like", "order", "among equals")
    places = np.lexsort((record_keys(pair, keys + among.astype(np.uint64)), tests))
    return order[places]


def _contents(sample: FitSample, mine: Bools) -> int:
    pairs = np.stack([sample.hash0[mine], sample.hash1[mine]], axis=1)
    return len(np.unique(pairs, axis=0))
