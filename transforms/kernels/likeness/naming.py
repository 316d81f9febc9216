"""What a bucket stands for: the n-grams of some texts that are hashed into it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from transforms.kernels.likeness.features import bytes_of
from transforms.kernels.likeness.spec import FeatureSpec
from transforms.kernels.likeness.texts import find_ngrams


def name_buckets(
    spec: FeatureSpec, texts: pa.Array | Sequence[str], buckets: Iterable[int]
) -> dict[int, list[tuple[str, int]]]:
    """Return the n-grams behind some features, with how often they are in these texts.

    Args:
        spec: which features there are.
        texts: a sample; what isn't in it has no name.
        buckets: numbers of features; those that aren't of texts have no names.

    Returns:
        For each of the features its n-grams, as they are hashed (in lower case), most frequent first,
        then by their characters.

    >>> spec = FeatureSpec(words=None)
    >>> name_buckets(spec, ["Ab ab"], [10401])
    {10401: [('ab', 2)]}
    """
    counts: dict[int, Counter[str]] = {int(bucket): Counter() for bucket in buckets}
    wanted = np.zeros(sum(kind[2] for kind in spec.kinds), bool)
    wanted[[bucket for bucket in counts if bucket < len(wanted)]] = True
    for bucket, ngram in find_ngrams(*bytes_of(texts), spec.kinds, wanted):
        counts[bucket][ngram.decode()] += 1
    return {
        bucket: sorted(found.items(), key=lambda item: (-item[1], item[0]))
        for bucket, found in counts.items()
    }
