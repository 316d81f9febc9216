"""Shares: known answers, what decides and what doesn't, and that they are met by chance alone."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import statistics
from tests.transforms.kernels.splitting import split_oracle
from transforms.errors import UsageError
from transforms.kernels import randomness
from transforms.kernels.arrays import U64, offsets_of
from transforms.kernels.randomness import content_keys, derive, file_key, record_keys, split_pair
from transforms.kernels.records.digest import record_hashes
from transforms.kernels.splitting.plan import Counted, Part, SplitPlan

PLAN = SplitPlan(
    parts=(Part("validation", share=Fraction(1, 10)), Part("test", share=Fraction(3, 10)))
)


def hashes_of(contents: list[bytes]) -> tuple[U64, U64]:
    values = np.frombuffer(b"".join(contents), np.uint8)
    return record_hashes(values, offsets_of([len(content) for content in contents]))


def numbered(count: int, *, start: int = 0) -> list[bytes]:
    return [b"%d" % i for i in range(start, start + count)]


def test_contents_fall_where_they_always_fell() -> None:
    contents = [b"", b"a", b"text", "文本".encode(), *numbered(8)]
    pair = split_pair(0, "share")
    assert pair == (0x7554ECF904C295D3, 0x5ABF896DD6CCE81F)
    keys = content_keys(pair, *hashes_of([b"", b"text"])).tolist()
    assert keys == [0xFA89FDF280D2EDF6, 0x2CCA3954AE2C66E7]
    assert keys == [split_oracle.content_key(pair, content) for content in (b"", b"text")]
    for seed, known in ((0, "ttTtTtTVttVt"), (7, "TtTTttTTTtTt")):
        plan = SplitPlan(parts=PLAN.parts, seed=seed)
        assert "".join("tVT"[part] for part in plan.split(*hashes_of(contents))) == known


@given(
    contents=st.lists(st.binary(max_size=20), min_size=1),
    seed=st.integers(),
    shares=st.lists(st.fractions(Fraction(1, 1000), 1), max_size=5),
)
def test_shares_are_as_in_plain_integers(
    contents: list[bytes], seed: int, shares: list[Fraction]
) -> None:
    total = max(sum(shares), Fraction(1))
    parts = tuple(Part(f"p{i}", share=share / total) for i, share in enumerate(shares))
    plan = SplitPlan(parts=parts, seed=seed)
    found = [plan.names[part] for part in plan.split(*hashes_of(contents))]
    assert found == [split_oracle.share_of(plan, content) or "train" for content in contents]


def test_order_version_has_no_part_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = split_pair(0, "share"), derive(0, "share")
    monkeypatch.setattr(randomness, "ORDER_VERSION", 2)
    assert split_pair(0, "share") == before[0]
    assert derive(0, "share") != before[1]
    monkeypatch.setattr(randomness, "SPLIT_VERSION", 2)
    assert split_pair(0, "share") != before[0]


def test_both_hashes_decide() -> None:
    """Of contents that have one hash in common, half of 128 bits, each falls by itself."""
    ones = np.arange(100_000, dtype=np.uint64)
    same = np.full(100_000, 5, np.uint64)
    for hashes in ((ones, same), (same, ones)):
        counts = np.bincount(PLAN.split(*hashes), minlength=3)
        statistics.require_chance(
            statistics.law_p(counts, np.array([0.6, 0.1, 0.3])), cases=2, what="one hash alone"
        )


def test_edges_of_shares_are_exact() -> None:
    """Keys are laid where they have to be: mix is a bijection, so any key can be asked for."""
    plan = SplitPlan(parts=(Part("a", share=Fraction(1, 3)), Part("b", share=Fraction(1, 2**64))))
    edge = 2**64 // 3
    assert plan._lasts.tolist() == [edge - 1, (2**64 + 3) // 3 - 1]
    keys = np.array([0, edge - 1, edge, edge + 1, 2**64 - 1], np.uint64)
    numbers = np.searchsorted(plan._lasts, keys)
    assert numbers.tolist() == [0, 0, 1, 2, 2]
    whole = SplitPlan(
        parts=(Part("a", share=Fraction(1, 3)), Part("b", share=Fraction(2, 3))), rest=None
    )
    assert whole.names == ("a", "b")
    assert whole._lasts[-1] == 2**64 - 1
    assert set(whole.split(*hashes_of(numbered(1000)))) == {0, 1}


@pytest.mark.parametrize("seed", range(10))
def test_shares_are_met_by_chance_alone(seed: int) -> None:
    plan = SplitPlan(parts=PLAN.parts, seed=seed)
    counts = np.bincount(plan.split(*hashes_of(numbered(20_000))), minlength=3)
    p = statistics.law_p(counts, np.array([0.6, 0.1, 0.3]))
    statistics.require_chance(p, cases=10, what=f"shares of seed {seed}")


def independent_p(left: Any, right: Any) -> float:
    """Chi-square of two samples of 0 and 1 against independence, their margins given."""
    n = len(left)
    cells = np.bincount(2 * left + right, minlength=4).astype(np.int64)
    a, b = left.mean(), right.mean()
    law = np.array([(1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b])
    assert len(cells) == 4
    assert cells.sum() == n
    return statistics.law_p(cells, law, freedom=1)


def in_share(seed: int, hashes: tuple[U64, U64]) -> Any:
    half = SplitPlan(parts=(Part("a", share=Fraction(1, 2)),), seed=seed)
    return half.split(*hashes).astype(np.int64)


def test_splits_of_two_seeds_know_nothing_of_each_other() -> None:
    hashes = hashes_of(numbered(20_000))
    cases = [(0, 1), (0, -1), (1, 2), (42, 43), (0, 2**64), (7, 70)]
    for left, right in cases:
        p = independent_p(in_share(left, hashes), in_share(right, hashes))
        statistics.require_chance(p, cases=len(cases), what=f"seeds {left} and {right}")
    same = independent_p(in_share(0, hashes), in_share(0, hashes))
    assert same < statistics.ALPHA / len(cases)  # the control: one seed twice


def test_splits_know_nothing_of_the_order() -> None:
    """Of a file's records, numbered, those of a share lie in the shuffled order as all do."""
    n = 20_000
    hashes = hashes_of(numbered(n))
    cases = [(seed, split) for seed in (0, 1, 42) for split in (0, 42)]
    for seed, split in cases:
        pair = file_key(seed=seed, epoch=0, source="default", pass_number=0, file_name="a.txt")
        keys = record_keys(pair, np.arange(n, dtype=np.uint64))
        half = (keys >> np.uint64(63)).astype(np.int64)
        p = independent_p(in_share(split, hashes), half)
        statistics.require_chance(p, cases=len(cases), what=f"order {seed}, split {split}")
    by_order = (keys >> np.uint64(63)).astype(np.int64)
    assert independent_p(by_order, half) < statistics.ALPHA / len(cases)  # the control


def test_a_biased_hash_is_found() -> None:
    """The control: contents keyed by their length fall to shares by their length."""
    counts = np.bincount([min(len(content), 6) % 3 for content in numbered(20_000)], minlength=3)
    p = statistics.law_p(counts, np.array([0.6, 0.1, 0.3]))
    assert p < statistics.ALPHA / 10


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Part("a"), "split a: expected either a share or a count"),
        (lambda: Part("a", share=Fraction(1, 2), count=2), "either a share or a count"),
        (lambda: Part("a", share=Fraction(0)), "above 0% and at most 100%, got 0%"),
        (lambda: Part("a", share=Fraction(3, 2)), "got 150%"),
        (lambda: Part("a", share=Fraction(1, 2**65)), r"at least 2\*\*-64"),
        (lambda: Part("a", count=0), "at least one record of split a, got 0"),
        (lambda: SplitPlan(parts=(Part("train", count=1),)), "each split once, got train twice"),
        (lambda: SplitPlan(parts=(), rest=None), "expected 1 to 255 splits"),
        (
            lambda: SplitPlan(
                parts=(Part("a", share=Fraction(3, 5)), Part("b", share=Fraction(1, 2)))
            ),
            "add up to at most 100%, got a 60%, b 50%",
        ),
        (lambda: SplitPlan(parts=(Part("a", count=1),), rest=None), "a split for the rest"),
        (
            lambda: SplitPlan(parts=(Part("a", share=Fraction(1, 3)),), rest=None),
            "shares don't add up to 100%",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(make: Any, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says) if "*" not in says else says):
        make()


def test_counted_splits_need_what_was_counted() -> None:
    plan = SplitPlan(parts=(Part("test", count=5),))
    with pytest.raises(ValueError, match="expected 1 counted splits, got 0"):
        plan.split(*hashes_of([b"a"]))
    nothing = Counted((None,), np.zeros(0, np.uint64), (0,), contents=0)
    assert plan.split(*hashes_of([b"a"]), [nothing]).tolist() == [0]


def test_a_plan_of_nothing_is_all_train() -> None:
    plan = SplitPlan(parts=())
    assert plan.names == ("train",)
    assert plan.split(*hashes_of([b"a", b"b"])).tolist() == [0, 0]
    assert plan.split(*hashes_of([])).tolist() == []
