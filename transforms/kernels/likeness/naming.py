"""What a bucket stands for: the n-grams of some texts that are hashed into it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pyarrow as pa

from transforms.kernels.likeness.spec import FeatureSpec


def name_buckets(
    spec: FeatureSpec, texts: pa.Array | Sequence[str], buckets: Iterable[int]
) -> dict[int, list[tuple[str, int]]]:
    """Return the n-grams behind some features, with how often they are in these texts.

    Args:
        spec: which features there are.
        texts: a sample; what isn't in it has no name.
        buckets: numbers of features, of those of texts alone.

    Returns:
        For each of the features its n-grams, the most frequent first, then by their characters.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    held = [text or "" for text in pa.array(texts).to_pylist()]
    wanted: dict[int, Counter[str]] = {int(bucket): Counter() for bucket in buckets}
    for analyzer, kind, ngrams in (
        ("char", "characters", spec.characters),
        ("word", "words", spec.words),
    ):
        if ngrams is None:
            continue
        maker = HashingVectorizer(
            analyzer=analyzer,
            ngram_range=(ngrams.shortest, ngrams.longest),
            n_features=ngrams.buckets,
            norm=None,
        )
        analyze = maker.build_analyzer()
        counts = Counter(ngram for text in held for ngram in analyze(text))
        names = list(counts)
        hashed = maker._get_hasher().transform([[name] for name in names]).indices.tolist()
        for name, index in zip(names, hashed, strict=True):
            bucket = index + spec.ranges[kind][0]
            if bucket in wanted:
                wanted[bucket][name] += counts[name]
    return {
        bucket: sorted(found.items(), key=lambda item: (-item[1], item[0]))
        for bucket, found in wanted.items()
    }
