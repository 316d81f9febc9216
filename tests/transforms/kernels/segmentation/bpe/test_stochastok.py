"""StochasTok against its law, enumerated in plain Python."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from tests.statistics import law_p, require_chance
from tests.transforms.kernels.segmentation.bpe import bpe_oracle as oracle
from transforms.kernels.randomness import derive, record_keys
from transforms.kernels.segmentation.bpe.merges import pairs_of, split_pairs
from transforms.kernels.segmentation.bpe.stochastok import Splits, split

PIECES = {b"a": 0, b"b": 1, b"c": 2, b"ab": 3, b"bc": 4, b"abc": 5}
SPLITS = {3: [(0, 1)], 4: [(1, 2)], 5: [(0, 4), (3, 2)]}
SAMPLES = 60_000
CASES = [((5, 3), 0.5), ((5, 3), 1.0), ((0, 5, 9, 5), 0.75), ((3,), 1.0)]


def splits() -> Splits:
    return Splits(*split_pairs(pairs_of(PIECES, int), 6))


def drawn(word: oracle.Word, proportion: float, *, seed: int = 5) -> Counter[oracle.Word]:
    offsets = np.arange(SAMPLES + 1) * len(word)
    ids = np.tile(np.array(word, np.uint32), SAMPLES)
    keys = record_keys(derive(seed), np.arange(SAMPLES, dtype=np.uint64))
    out, new = split(splits(), ids, offsets, keys, proportion=proportion)
    return Counter(tuple(out[a:b].tolist()) for a, b in pairwise(new.tolist()))


def p_value(seen: Counter[oracle.Word], law: oracle.Law) -> float:
    assert seen.keys() <= law.keys()
    if len(law) == 1:
        return 1.0
    return law_p(np.array([seen[w] for w in law]), np.array([float(c) for c in law.values()]))


@pytest.mark.parametrize(("word", "proportion"), CASES)
def test_draws_follow_the_law(word: oracle.Word, proportion: float):
    law = oracle.stochastok_law(word, SPLITS, int(len(word) * proportion))
    assert sum(law.values()) == 1
    p = p_value(drawn(word, proportion), law)
    require_chance(p, cases=len(CASES), what=f"{word} at {proportion}, seed 5")


def test_another_law_fails():
    law = oracle.stochastok_law((5, 3), {**SPLITS, 5: [(0, 4), (3, 2), (3, 2)]}, 2)
    assert p_value(drawn((5, 3), 1.0), law) < 1e-6


def test_a_record_of_many_tokens_takes_its_steps():
    ids = np.full(100, 5, np.uint32)
    key = np.array([11], np.uint64)
    out, new = split(splits(), ids, np.array([0, 100]), key, proportion=0.29)
    # 0.29 * 100 is 28.999… in floating point. Some steps may fall on what doesn't split
    assert 120 < new[-1] <= 129
    spelled = {0: b"a", 1: b"b", 2: b"c", 3: b"ab", 4: b"bc", 5: b"abc"}
    assert b"".join(spelled[i] for i in out.tolist()) == b"abc" * 100
    one, steps = split(splits(), ids[:1], np.array([0, 1]), key, proportion=0.99)
    assert one.tolist() == [5]
    assert steps.tolist() == [0, 1]


def test_records_are_independent_of_their_batch():
    ids = np.array([5, 3, 5, 5, 3, 5, 4], np.uint32)
    keys = record_keys(derive(2), np.arange(3, dtype=np.uint64))
    offsets = np.array([0, 3, 3, 7])
    out, new = split(splits(), ids, offsets, keys, proportion=1.0)
    alone, _ = split(splits(), ids[3:], np.array([0, 4]), keys[2:], proportion=1.0)
    assert out[new[2] :].tolist() == alone.tolist()
    assert split(splits(), ids, offsets, keys, proportion=0.0)[0].tolist() == ids.tolist()
