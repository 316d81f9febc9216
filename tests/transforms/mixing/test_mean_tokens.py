"""The mean of a source's tokens: of documents whose keys lie below thresholds that exact counts give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.kernels.randomness import mix
from transforms.mixing.mean_tokens import (
    LEAST,
    LEVELS,
    count_levels,
    level_for,
    threshold,
    tokens_of,
)

EDGES = [threshold(n) for n in range(LEVELS)]


def test_thresholds_rise_to_the_whole_space() -> None:
    every = [*EDGES, threshold(LEVELS)]
    assert every == sorted(set(every))
    assert (every[0], every[1], every[-1]) == (0, 8 << 32, 1 << 64)


@given(
    st.lists(
        st.integers(0, 2**64 - 1)
        | st.sampled_from(EDGES)
        | st.sampled_from([edge - 1 for edge in EDGES[1:]]),
        max_size=50,
    )
)
def test_levels_count_what_lies_below_their_thresholds(keys: list[int]) -> None:
    lengths = np.arange(1, len(keys) + 1)
    found = count_levels(np.array(keys, np.uint64), lengths)
    below = np.concatenate([[[0, 0]], np.cumsum(found, axis=0)])
    for level in range(1, LEVELS + 1):
        mine = [length for key, length in zip(keys, lengths, strict=True) if key < threshold(level)]
        assert below[level].tolist() == [len(mine), sum(mine)]


@given(st.integers(1, 10**12), st.floats(0, 1))
def test_a_level_has_enough_documents_and_no_more_than_are_tokenized(
    records: int, share: float
) -> None:
    used = records * share
    level = level_for(records, used)
    held = records * threshold(level) / 2**64
    assert held >= min(records, LEAST) * 0.999
    assert held <= max(LEAST, used if share < 0.9 else records) * 1.13 or level == LEVELS


def test_the_mean_is_the_same_however_much_more_is_tokenized() -> None:
    keys = mix(np.arange(100_000, dtype=np.uint64))
    lengths = np.arange(100_000) % 700
    level = level_for(len(keys), 10_000)
    found = set()
    for share in (0.2, 0.5, 1.0):
        kept = keys < np.uint64(int(share * 2**64) - 1)
        levels = count_levels(keys[kept], lengths[kept])
        tokenized = int(share * 2**64)
        found.add(tokens_of(len(keys), levels, level=level, tokenized=tokenized))
    assert len(found) == 1
    (tokens,) = found
    assert tokens == pytest.approx(lengths.sum(), rel=0.03)


def test_of_whole_passes_it_is_exact() -> None:
    keys = mix(np.arange(50_000, dtype=np.uint64))
    lengths = np.arange(50_000) % 37
    levels = count_levels(keys, lengths)
    level = level_for(50_000, 50_000.0)
    assert tokens_of(50_000, levels, level=level, tokenized=1 << 64) == lengths.sum()


def test_where_too_little_is_tokenized_a_lower_threshold_does() -> None:
    keys = mix(np.arange(100_000, dtype=np.uint64))
    kept = keys < np.uint64(1 << 57)  # 781 of them
    levels = count_levels(keys[kept], np.full(int(kept.sum()), 5))
    assert tokens_of(100_000, levels, level=level_for(100_000, 0), tokenized=1 << 57) == 500_000
    nothing = np.zeros((LEVELS, 2), np.int64)
    assert tokens_of(100_000, nothing, level=LEVELS, tokenized=1 << 64) == 0
