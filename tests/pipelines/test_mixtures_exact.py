"""Promise 1 of mixtures, through the whole command: the law of independent draws, uniform passes.

The kernels' own tests look closer; here it is that no step between them spoils it. alpha = 0.001,
shared out among the p-values of a test; the seeds are fixed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.support import cut_otherwise, join_shards, run, split, write_tree
from tests.statistics import (
    ALPHA,
    I64,
    correlation_p,
    law_p,
    neighbours_p,
    normal_p,
    permutations_p,
    positions_p,
    require_chance,
    uniform_p,
)

WEIGHTS = np.array([3, 2, 1]) / 6
DRAWN = 60_000
WORD = 4  # draws that are looked at together: 81 words, the rarest expected 11 times


def draw(tmp_path: Path, *flags: str) -> I64:
    """Return the source of every position."""
    for name in "abc":
        lines = b"".join(b"%s%d\n" % (name.encode(), i) for i in range(2000))
        write_tree(tmp_path / name, {"x.txt": lines})
    inputs = [f"--input={name}={tmp_path / name}" for name in "abc"]
    run(*inputs, f"--output={tmp_path / 'o'}", f"--max_records={DRAWN}", "--num_shards=7", *flags)
    return np.array([record[0] - ord("a") for record in split(join_shards(tmp_path / "o"))])


def words_p(drawn: I64) -> float:
    """Chi-square of words of draws against the product of the weights."""
    words = drawn.reshape(-1, WORD) @ 3 ** np.arange(WORD)
    law = WEIGHTS
    for _ in range(WORD - 1):
        law = np.multiply.outer(WEIGHTS, law).ravel()
    return law_p(np.bincount(words, minlength=3**WORD), law)


def changes_p(drawn: I64) -> float:
    """How likely so many draws differ from the one before."""
    n = len(drawn) - 1
    same, thrice = (WEIGHTS**2).sum(), (WEIGHTS**3).sum()
    # neighbouring pairs share a draw: covariance of "equal" at both is sum p^3 - (sum p^2)^2
    variance = n * same * (1 - same) + 2 * (n - 1) * (thrice - same**2)
    return normal_p(((drawn[1:] == drawn[:-1]).sum() - n * same) / np.sqrt(variance))


@pytest.mark.parametrize("seed", [0, 1])
def test_random_sources_have_the_law_of_independent_draws(tmp_path: Path, seed: int) -> None:
    with cut_otherwise(span_bytes=5000, run_bytes=100_000, bucket_bytes=200_000, page_bytes=9000):
        drawn = draw(tmp_path, "--weights=a=3,b=2,c=1", f"--seed={seed}")
    assert len(drawn) == DRAWN
    require_chance(words_p(drawn), cases=4, what=f"words of sources, seed {seed}")
    require_chance(changes_p(drawn), cases=4, what=f"changes of source, seed {seed}")


@pytest.mark.parametrize(
    "flags",
    [["--weights=a=3,b=2,c=1.1"], ["--weights=a=3,b=2,c=1", "--interleave=stratified"]],
    ids=["other weights", "too even"],
)
def test_the_statistics_above_see_other_laws(tmp_path: Path, flags: list[str]) -> None:
    drawn = draw(tmp_path, *flags)
    assert words_p(drawn) < ALPHA / 4
    if len(flags) == 2:
        assert changes_p(drawn) < ALPHA / 4


TRIALS, N, PASSES = 1200, 3, 3  # as many stretches of so many records


def permutation_numbers(orders: I64) -> I64:
    """Return the number, below 6, of each of int64[trials, 3] permutations."""
    return orders[:, 0] * 2 + (orders[:, 1] > orders[:, 2])


def joint_p(left: I64, right: I64) -> float:
    """Chi-square of pairs of permutations, all 36 equally likely."""
    pairs = permutation_numbers(left) * 6 + permutation_numbers(right)
    return uniform_p(np.bincount(pairs, minlength=36))


@pytest.mark.parametrize("flags", [["--repeats=s=3"], ["--weights=s=2,t=1", "--max_records=19000"]])
@pytest.mark.parametrize("bucket_bytes", [64 << 20, 100_000], ids=["held", "read again"])
def test_every_pass_has_a_uniform_order_of_its_own(
    tmp_path: Path, flags: list[str], bucket_bytes: int
) -> None:
    """Three records that lie together are a trial: in a uniform permutation, theirs is its own."""
    size = TRIALS * N
    lines = [b"s%05d\n" % i for i in range(size)]
    write_tree(
        tmp_path / "s",
        {f"{i}.txt": b"".join(lines[i * size // 4 : (i + 1) * size // 4]) for i in range(4)},
    )
    write_tree(tmp_path / "t", {"x.txt": b"".join(b"t%d\n" % i for i in range(3000))})
    inputs = [f"--input={name}={tmp_path / name}" for name in "st"]
    with cut_otherwise(bucket_bytes=bucket_bytes):
        manifest = run(*inputs, f"--output={tmp_path / 'o'}", *flags, "--num_shards=3")
    entry = (manifest.mixture or [])[0]
    assert entry.passes_begun >= PASSES
    mine = [r for r in split(join_shards(tmp_path / "o")) if r.startswith(b"s")]
    places, orders = [], []
    for number in range(PASSES):
        records = mine[number * size : (number + 1) * size]
        places.append(np.array([int(r[1:]) for r in records], np.int64))
        assert sorted(places[-1]) == list(range(size))
        found: list[list[int]] = [[] for _ in range(TRIALS)]
        for place in places[-1].tolist():
            found[place // N].append(place % N)
        orders.append(np.array(found, np.int64))
    samples = {}
    for i, (place, order) in enumerate(zip(places, orders, strict=True)):
        samples[f"orders of trials, pass {i}"] = permutations_p(order)
        samples[f"places, pass {i}"] = positions_p(place)
        samples[f"neighbours, pass {i}"] = neighbours_p(place[None])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        samples[f"orders of passes {i} and {j}"] = joint_p(orders[i], orders[j])
        ranks = [np.argsort(place) for place in (places[i], places[j])]
        samples[f"ranks in passes {i} and {j}"] = correlation_p(*ranks)
        samples[f"places in passes {i} and {j}"] = positions_p(ranks[0][places[j]])
    for what, p in samples.items():
        require_chance(p, cases=4 * len(samples), what=f"{what}, {flags}, seed 0")
    if bucket_bytes > 100_000:  # a control: one order twice is seen by each of them
        assert joint_p(orders[0], orders[0]) < ALPHA
        assert positions_p(np.arange(size)) < ALPHA
        ranks = np.argsort(places[0])
        assert correlation_p(ranks, ranks) < ALPHA
