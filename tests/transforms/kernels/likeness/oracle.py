"""Features as scikit-learn makes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.likeness.features import Features
from transforms.kernels.likeness.spec import FeatureSpec


def by_sklearn(spec: FeatureSpec, texts: list[str]) -> Features:
    """Return the features of texts, by ``HashingVectorizer`` twice, side by side."""
    from scipy import sparse

    made: Any = sparse.hstack(
        [vectorizer.transform(texts) for vectorizer in vectorizers(spec)], format="csr"
    )
    return Features(
        made.indptr.astype(np.int64), made.indices.astype(np.int32), made.data, made.shape[1]
    )


def vectorizers(spec: FeatureSpec) -> list[Any]:
    """Return scikit-learn's vectorizers of the n-grams of characters and of words."""
    from sklearn.feature_extraction.text import HashingVectorizer

    return [
        HashingVectorizer(
            analyzer=analyzer,
            ngram_range=(ngrams.shortest, ngrams.longest),
            n_features=ngrams.buckets,
            norm="l2" if spec.normed else None,
        )
        for analyzer, ngrams in (("char", spec.characters), ("word", spec.words))
        if ngrams is not None
    ]


def assert_same(found: Features, expected: Features) -> None:
    """Features are equal to the last bit."""
    assert found.width == expected.width
    assert found.indptr.tolist() == expected.indptr.tolist()
    assert np.array_equal(found.indices, expected.indices)
    assert np.array_equal(found.data, expected.data)
