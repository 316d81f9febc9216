"""What a bucket stands for: the n-grams of some texts that are hashed into it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.kernels.arrays import I64, U8, read_only
from transforms.kernels.compiled import inlined, unowning
from transforms.kernels.likeness.characters import characters
from transforms.kernels.likeness.features import bytes_of
from transforms.kernels.likeness.murmur import code_of, hash_bytes
from transforms.kernels.likeness.room import hash_next, make_room
from transforms.kernels.likeness.spec import FeatureSpec, Kinds
from transforms.kernels.likeness.written import step_of, write_text

Bools = npt.NDArray[np.bool_]


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


def find_ngrams(
    values: U8, offsets: I64, kinds: Kinds, wanted: Bools
) -> Iterator[tuple[int, bytes]]:
    """Yield the buckets that are wanted with each n-gram that is hashed into them, text by text.

    Args:
        values: uint8[m], in UTF-8.
        offsets: int64[n + 1]: text i is values[offsets[i]:offsets[i + 1]].
        kinds: which n-grams.
        wanted: bool[buckets of all kinds].
    """
    if len(offsets) < 2 or not wanted.any():
        return
    room = make_room(int(np.diff(offsets).max()), kinds)
    found = np.empty((1 << 12, 3), np.int64)
    for i in range(len(offsets) - 1):
        base = 0
        for kind in range(2):
            while True:
                count = _find(
                    read_only(values),
                    (offsets[i], offsets[i + 1]),
                    read_only(characters()),
                    kind,
                    kinds[kind],
                    read_only(wanted),
                    base,
                    room,
                    found,
                )
                if count <= len(found):
                    break
                found = np.empty((2 * count, 3), np.int64)
            text = room.words if kind else room.text
            for bucket, begin, end in found[:count].tolist():
                yield bucket, text[begin:end].tobytes()
            base += kinds[kind][2]


@unowning
def _find(
    values: Any,
    where: Any,
    table: Any,
    kind: Any,
    ngrams: Any,
    wanted: Any,
    base: Any,
    room: Any,
    found: Any,
) -> Any:
    """Find a text's n-grams in buckets that are wanted.

    Args:
        found: int64[r, 3]: takes the first r: the bucket, and where the n-gram begins and ends in the
            room's text, or words.

    Returns:
        How many there are.
    """
    shortest, longest, buckets = ngrams
    hits = 0
    if buckets == 0:
        return hits
    size, plain = write_text(values, where[0], where[1], table, room.text)
    mask, at = np.uint32(buckets - 1), 0
    if kind == 0:
        while at < size:
            end = at
            for n in range(1, longest + 1):
                if end >= size:
                    break
                end += step_of(room.text[end])
                if n >= shortest:
                    code = code_of(hash_bytes(room.text, at, end), mask)
                    hits = _keep(code, base, wanted, at, end, found, hits)
            at += step_of(room.text[at])
        return hits
    room.state[:] = 0
    while at < size:
        count, at = hash_next(kind, ngrams, size, plain, at, table, room)
        for j in range(count):
            begin, end = room.ends[j, 0], room.ends[j, 1]
            hits = _keep(room.codes[j], base, wanted, begin, end, found, hits)
    return hits


@inlined
def _keep(code: Any, base: Any, wanted: Any, begin: Any, end: Any, found: Any, hits: Any) -> Any:
    bucket = base + np.int64(code >> np.uint32(1))
    if not wanted[bucket]:
        return hits
    if hits < len(found):
        found[hits, 0], found[hits, 1], found[hits, 2] = bucket, begin, end
    return hits + 1
