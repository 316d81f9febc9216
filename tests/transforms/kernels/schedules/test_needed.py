"""How much of a source a mixture can use: the guess, and what counting makes of it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.kernels.randomness import mix
from transforms.kernels.records.ranges import parts_of
from transforms.kernels.schedules.mixture import Amounts, Mixture, draft
from transforms.kernels.schedules.needed import (
    LEAST_BUCKET,
    buckets_holding,
    cut_needed,
    length_of_size,
    needed_share,
    surely_below,
)

ONE = Mixture(sources=("a",), max_records=1)
WEIGHTED = Mixture(sources=("a", "b"), weights=(Fraction(1), Fraction(2)))


@given(st.integers(1, 10**9), st.floats(0, 2), st.booleans())
def test_the_guess_is_no_less_than_is_expected_and_no_more_than_all(
    records: int, part: float, exact: bool
) -> None:
    for mixture in (ONE, WEIGHTED):
        found = needed_share(
            mixture, expected=part * records, records=records, fewest=records, exact=exact
        )
        assert min(1.0, part) <= found <= 1.0


@pytest.mark.parametrize(("exact", "most"), [(True, 0.102), (False, 0.121)])
def test_of_a_large_source_it_is_little_more(exact: bool, most: float) -> None:
    given_: dict[str, Any] = {"expected": 1e6, "records": 10**7, "fewest": 10**7}
    assert 0.1 < needed_share(ONE, **given_, exact=exact) < most


def test_where_a_small_source_may_end_a_mixture_sooner_or_later_it_is_wide() -> None:
    found = needed_share(WEIGHTED, expected=1e6, records=10**7, fewest=900, exact=True)
    assert found == pytest.approx(0.12)


def test_an_exact_guess_is_hardly_ever_too_short() -> None:
    """Of 2,000 sets of keys; a guess without a margin would be short in half of them."""
    records, expected, short = 4000, 400, [0, 0]
    margin = needed_share(ONE, expected=expected, records=records, fewest=records, exact=True)
    for trial in range(2000):
        keys = mix(np.arange(records, dtype=np.uint64) + np.uint64(trial << 32))
        rank = float(np.sort(keys)[expected - 1]) / 2**64
        for i, share in enumerate((margin, expected / records)):
            short[i] += rank >= share
    assert short[0] == 0
    assert short[1] > 600


@given(st.floats(0, 1), st.integers(1, 5000), st.integers(0, 1 << 40))
def test_buckets_are_cut_finer_only_as_far_as_they_stay_large(
    share: float, buckets: int, size: int
) -> None:
    cut, reach = cut_needed(share, buckets=buckets, size=size)
    assert surely_below(share) <= (reach << 64) // cut
    assert 1 <= reach <= cut
    assert cut == buckets or size // cut >= LEAST_BUCKET
    assert reach == cut or (cut * share <= reach <= 0.8 * cut and cut >= buckets)


def test_of_a_large_source_a_tenth_is_spilled_to_within_a_sixth() -> None:
    cut, reach = cut_needed(0.1, buckets=3, size=1 << 30)
    assert (cut, reach) == (160, 17)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(0, 70))
def test_needed_is_the_least_number_of_buckets_that_hold_so_many(
    counts: list[int], wanted: int
) -> None:
    enough = [n for n in range(len(counts) + 1) if sum(counts[:n]) >= wanted]
    assert buckets_holding(np.array(counts), wanted) == min([*enough, len(counts)])


@pytest.mark.parametrize("most", [0, 1, 500, 3000, 7000, 10**9])
@pytest.mark.parametrize("seed", range(3))
def test_a_length_by_bytes_lies_beyond_the_end_by_less_than_a_bucket_of_each(
    most: int, seed: int
) -> None:
    lengths = [np.arange(300) % 17, np.arange(90) % 41 + 5]
    order = [mix(np.arange(len(own), dtype=np.uint64) + np.uint64(seed * 1000)) for own in lengths]
    of = [parts_of(np.sort(keys), 30) for keys in order]
    mixture = Mixture(
        sources=("a", "b"), weights=(Fraction(3), Fraction(1)), max_records=250, seed=seed
    )
    amounts = Amounts((300, 90), (int(lengths[0].sum()), int(lengths[1].sum())))
    found = draft(mixture, amounts)
    found, _ = found.counted((item, found.count(item)) for item in found.items()).ended()
    schedule = found.schedule
    bytes_of = [
        np.bincount(b, own, 30).astype(np.int64) for b, own in zip(of, lengths, strict=True)
    ]
    length = length_of_size(
        schedule,
        most,
        bound=250,
        records=amounts.records,
        sizes=amounts.bytes,
        counts=[np.bincount(b, minlength=30) for b in of],
        sizes_of=bytes_of,
    )

    def before(position: int) -> int:
        used = schedule.counts_before(position)
        return sum(int(own[: used[i]].sum()) for i, own in enumerate(lengths))

    slack = sum(int(held.max()) for held in bytes_of)
    if length is None:
        assert before(250) <= most + slack
    else:
        assert before(length) > most
        assert before(length - 1) <= most + slack
