"""Which n-grams a feature stands for."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.transforms.kernels.likeness.oracle import vectorizers
from tests.transforms.kernels.likeness.test_features import ODD
from transforms.kernels.likeness.features import featurize
from transforms.kernels.likeness.naming import name_buckets
from transforms.kernels.likeness.spec import FeatureSpec, Ngrams

pytest.importorskip("sklearn")


@pytest.mark.parametrize("buckets", [2, 1 << 18])
def test_every_ngram_that_sklearn_finds_is_behind_its_bucket(buckets: int) -> None:
    spec = FeatureSpec(
        characters=Ngrams(shortest=1, longest=4, buckets=buckets),
        words=Ngrams(shortest=1, longest=3, buckets=buckets),
    )
    from sklearn.utils import murmurhash3_32

    texts = [*ODD, "many words, many words and more words", "x" * 5000]
    expected: dict[int, Counter[str]] = {}
    for first, maker in zip((0, buckets), vectorizers(spec), strict=True):
        analyze = maker.build_analyzer()
        for ngram in (ngram for text in texts for ngram in analyze(text)):
            bucket = first + abs(murmurhash3_32(ngram)) % buckets
            expected.setdefault(bucket, Counter())[ngram] += 1
    found = name_buckets(spec, texts, expected)
    assert {bucket: dict(names) for bucket, names in found.items()} == {
        bucket: dict(names) for bucket, names in expected.items()
    }
    for names in found.values():
        assert names == sorted(names, key=lambda item: (-item[1], item[0]))


def test_what_isnt_there_has_no_name() -> None:
    spec = FeatureSpec(categories=("kind",))
    assert name_buckets(spec, ["a"], [0, spec.width - 1]) == {0: [], spec.width - 1: []}
    assert name_buckets(FeatureSpec(characters=None, words=None), [], [3]) == {3: []}


def test_features_of_a_text_are_named_by_it() -> None:
    spec, texts = FeatureSpec(), ["Ein Text, 2 Sätze."]
    names = name_buckets(spec, texts, featurize(spec, texts).indices.tolist())
    assert all(names.values())
    assert {name for found in names.values() for name, _ in found} >= {"ein", "ein text", "sätz"}
