"""Every order is equally likely: statistics over many seeds, and controls that must fail them.

The biased control is the quick algorithm of kexue.fm/archives/8662: cut the input into m files of n
lines, shuffle each, then repeatedly write one line of each file in random order. It looks shuffled,
and its marginal positions are uniform, yet neighbours are torn apart and every stretch of the
output draws evenly from all files.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from tests import statistics
from tests.statistics import I64
from transforms.kernels.randomness import KeyPair, file_key, record_keys
from transforms.kernels.records import blocks, sorting
from transforms.shuffling import spill_pages

N = 100_000
SEEDS = range(20)
ROUTES = ("whole", "cut")
SIZES = (2, 3, 4, 5)
# (seed, epoch) twice, each pair a way in which two datasets could turn out to be related
RELATED = (
    ((0, 0), (1, 0)),
    ((0, 0), (0, 1)),
    ((42, 1), (43, 0)),  # equal where seeds are added to epochs
    ((1, 0), (0, 1)),
    ((0, 0), (2**63, 0)),
    ((0, 0), (2**64 - 1, 0)),
)
# p-values compared in this module: permutations of one file by both routes and of two files, then
# positions a seed, neighbours, two for each related pair, two a seed for twins and one of all
CASES = len(SIZES) * len(ROUTES) + 1 + len(SEEDS) + 1 + 2 * len(RELATED) + 2 * len(SEEDS) + 1

require_chance = functools.partial(statistics.require_chance, cases=CASES)


def key_of(seed: int, *, epoch: int = 0, name: str = "a.jsonl") -> KeyPair:
    """The pair of one file of the dataset."""
    return file_key(seed=seed, epoch=epoch, source="default", pass_number=0, file_name=name)


@functools.cache
def numbered(count: int, *, first: int = 0, width: int = 290) -> pa.RecordBatch:
    """Records that hold their own number, at the offsets of lines of one width."""
    numbers = np.arange(first, first + count, dtype="<u4")
    return blocks.from_records(
        [number.tobytes() for number in numbers],
        np.arange(count, dtype=np.uint64) * np.uint64(width),
        line_end=b"",
    )


def numbers_of(block: pa.RecordBatch) -> I64:
    """The numbers that records hold, in their order."""
    return np.frombuffer(blocks.payload(block), "<u4").astype(np.int64)


def shuffle_whole(files: list[tuple[pa.RecordBatch, KeyPair]]) -> I64:
    """Shuffle as one bucket."""
    return numbers_of(sorting.gather([blocks.with_keys(block, pair) for block, pair in files]))


def shuffle_cut(files: list[tuple[pa.RecordBatch, KeyPair]], runs: int = 2, parts: int = 3) -> I64:
    """Shuffle as a cluster does: sorted runs, cut into buckets, gathered from all runs."""
    buckets: list[list[pa.RecordBatch]] = [[] for _ in range(parts)]
    for block, pair in files:
        keyed = blocks.with_keys(block, pair)
        edges = np.arange(runs + 1) * len(keyed) // runs
        for begin, size in zip(edges[:-1].tolist(), np.diff(edges).tolist(), strict=True):
            run = sorting.sort_run([keyed.slice(begin, size)])
            for part, piece in spill_pages.cut_run(run, parts=parts, page_bytes=1 << 16):
                buckets[part].append(piece)
    return np.concatenate([numbers_of(sorting.gather(bucket)) for bucket in buckets if bucket])


def quick_shuffle(files: int, lines: int, *, trials: int, seed: int) -> I64:
    """The biased control: int64[trials, files * lines] orders of the quick algorithm."""
    rng = np.random.default_rng(seed)
    inputs = np.arange(files * lines).reshape(files, lines)
    shuffled = rng.permuted(np.broadcast_to(inputs, (trials, files, lines)), axis=2)
    return rng.permuted(shuffled.swapaxes(1, 2), axis=2).reshape(trials, -1)


@functools.cache
def large_orders() -> I64:
    """int64[seeds, N]: N records shuffled under each seed."""
    block = numbered(N)
    return np.stack([shuffle_whole([(block, key_of(seed))]) for seed in SEEDS])


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("route", ROUTES)
def test_every_permutation_of_a_few_records_is_equally_likely(route: str, count: int) -> None:
    shuffle: Callable[..., I64] = shuffle_whole if route == "whole" else shuffle_cut
    trials = max(3000, 100 * math.factorial(count))
    block = numbered(count)
    orders = np.stack([shuffle([(block, key_of(seed))]) for seed in range(trials)])
    require_chance(
        statistics.permutations_p(orders),
        what=f"permutations of {count} records, {route}, seeds 0 to {trials - 1}",
    )


def test_every_permutation_of_two_files_of_two_lines_is_equally_likely() -> None:
    # their offsets coincide, so that only the names keep the files apart
    left, right = numbered(2), numbered(2, first=2)
    orders = np.stack(
        [
            shuffle_whole([(left, key_of(seed, name="a")), (right, key_of(seed, name="b"))])
            for seed in range(3000)
        ]
    )
    require_chance(
        statistics.permutations_p(orders), what="permutations of two files, seeds 0 to 2999"
    )


@pytest.mark.parametrize("route", ROUTES)
def test_a_single_record_has_one_order(route: str) -> None:
    shuffle: Callable[..., I64] = shuffle_whole if route == "whole" else shuffle_cut
    assert shuffle([(numbered(1), key_of(0))]).tolist() == [0]


def test_the_quick_algorithm_is_rejected_by_its_permutations() -> None:
    orders = quick_shuffle(2, 2, trials=1000, seed=0)
    with pytest.raises(AssertionError, match="p = "):
        require_chance(statistics.permutations_p(orders), what="quick")


def test_cutting_into_runs_and_buckets_changes_no_order() -> None:
    block = numbered(N)
    for runs, parts in [(1, 1), (3, 1), (1, 7), (4, 16)]:
        found = shuffle_cut([(block, key_of(0))], runs, parts)
        assert np.array_equal(found, large_orders()[0]), f"{runs} runs, {parts} buckets"


def test_a_large_order_is_that_of_its_sorted_keys() -> None:
    keys = record_keys(key_of(0), np.arange(N, dtype=np.uint64) * np.uint64(290))
    assert np.array_equal(large_orders()[0], np.argsort(keys))


def test_places_in_the_output_do_not_follow_places_in_the_input() -> None:
    for seed, order in zip(SEEDS, large_orders(), strict=True):
        require_chance(statistics.positions_p(order), what=f"positions, seed {seed}")


def test_neighbours_stay_neighbours_as_often_as_chance_has_it() -> None:
    require_chance(
        statistics.neighbours_p(large_orders()), what=f"neighbours, seeds {SEEDS} together"
    )


def test_the_quick_algorithm_is_rejected_by_its_positions_and_neighbours() -> None:
    orders = np.concatenate([quick_shuffle(100, N // 100, trials=1, seed=seed) for seed in SEEDS])
    with pytest.raises(AssertionError, match="p = "):
        require_chance(statistics.positions_p(orders[0]), what="quick")
    with pytest.raises(AssertionError, match="p = "):
        require_chance(statistics.neighbours_p(orders), what="quick")


@pytest.mark.parametrize(("one", "other"), RELATED)
def test_two_datasets_have_unrelated_orders(one: tuple[int, int], other: tuple[int, int]) -> None:
    block = numbered(N)
    # argsort of an order: the place of each record
    left, right = (
        np.argsort(shuffle_whole([(block, key_of(seed, epoch=epoch))]))
        for seed, epoch in (one, other)
    )
    what = f"(seed, epoch) {one} and {other}"
    require_chance(statistics.correlation_p(left, right), what=f"rank correlation of {what}")
    require_chance(statistics.positions_p(left[np.argsort(right)]), what=f"places of {what}")


def test_seeds_that_are_added_to_epochs_would_be_rejected() -> None:
    block = numbered(N)
    left, right = (shuffle_whole([(block, key_of(total))]) for total in (42 + 1, 43 + 0))
    with pytest.raises(AssertionError, match="p = "):
        require_chance(statistics.correlation_p(left, right), what="added seeds")
    with pytest.raises(AssertionError, match="p = "):
        require_chance(statistics.positions_p(left[np.argsort(right)]), what="added seeds")


def shuffle_twins(seed: int, *, names: tuple[str, str] = ("a.jsonl", "b.jsonl")) -> I64:
    """Shuffle two files whose lines have one width, so that offsets coincide.

    Lines 0 to N / 2 are the first file's, the others the second's: i and i + N / 2 are twins.
    """
    half = N // 2
    return shuffle_whole(
        [
            (numbered(half), key_of(seed, name=names[0])),
            (numbered(half, first=half), key_of(seed, name=names[1])),
        ]
    )


def twin_places(order: I64) -> tuple[I64, I64]:
    """The places of the first file's lines, and of their twins."""
    places = np.argsort(order)
    return places[: N // 2], places[N // 2 :]


def twins_together_p(orders: list[I64]) -> float:
    """How likely so many twins come out side by side; chance has it once an order."""
    found = 0
    for left, right in map(twin_places, orders):
        found += int((np.abs(left - right) == 1).sum())
    return statistics.poisson_p(found, mean=len(orders))


def test_lines_at_equal_offsets_of_two_files_go_separate_ways() -> None:
    orders = [shuffle_twins(seed) for seed in SEEDS]
    require_chance(twins_together_p(orders), what=f"twins side by side, seeds {SEEDS} together")
    for seed, order in zip(SEEDS, orders, strict=True):
        require_chance(
            statistics.correlation_p(*twin_places(order)), what=f"twins' places, seed {seed}"
        )
        require_chance(statistics.positions_p(order), what=f"places of two files, seed {seed}")


def test_keys_that_leave_the_file_out_would_be_rejected() -> None:
    order = shuffle_twins(0, names=("a.jsonl", "a.jsonl"))
    with pytest.raises(AssertionError, match="p = "):
        require_chance(twins_together_p([order]), what="twins")
    with pytest.raises(AssertionError, match="p = "):
        require_chance(statistics.correlation_p(*twin_places(order)), what="twins")
