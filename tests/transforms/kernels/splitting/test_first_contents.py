"""Counted splits: whole contents by an order of their own, however their records were dealt out."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import statistics
from tests.transforms.kernels.splitting import split_oracle
from tests.transforms.kernels.splitting.test_plan import hashes_of, numbered
from transforms.kernels.randomness import mix
from transforms.kernels.splitting import first_contents
from transforms.kernels.splitting.first_contents import LOOKED_AT, FirstContents, footprint
from transforms.kernels.splitting.plan import Counted, Part, SplitPlan


def found_in(plan: SplitPlan, parts: Sequence[list[bytes]]) -> tuple[Counted, ...]:
    """Count parts by themselves, a record or several at a time, and join them."""
    whole = FirstContents(plan)
    for part in parts:
        one = FirstContents(plan)
        for begin in range(0, len(part), 3):
            one.add(*hashes_of(part[begin : begin + 3]))
        whole.join(one.tables())
    return whole.chosen()


def splits_of(
    plan: SplitPlan, contents: list[bytes], counted: Sequence[Counted]
) -> dict[bytes, str]:
    numbers = plan.split(*hashes_of(contents), counted)
    return {content: plan.names[n] for content, n in zip(contents, numbers, strict=True)}


PARTS = st.lists(
    st.fractions(Fraction(1, 20), Fraction(1, 4)).map(lambda share: ("share", share))
    | st.integers(1, 12).map(lambda count: ("count", count)),
    max_size=3,
).map(lambda parts: tuple(Part(f"p{i}", **{kind: n}) for i, (kind, n) in enumerate(parts)))


@given(
    parts=PARTS,
    seed=st.integers(0, 2**64),
    dealt=st.lists(st.lists(st.integers(0, 25).map(lambda i: b"%d" % i)), min_size=1),
    slack=st.integers(0, 6),
    waiting=st.integers(0, 8),
)
def test_counted_splits_are_as_by_all_contents_at_once(
    parts: tuple[Part, ...], seed: int, dealt: list[list[bytes]], slack: int, waiting: int
) -> None:
    plan = SplitPlan(parts=parts, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first_contents, "LOOKED_AT", slack)
        patch.setattr(first_contents, "_WAITING", waiting)
        counted = found_in(plan, dealt)
    contents = [content for part in dealt for content in part]
    want = split_oracle.split_all(plan, contents, slack=slack)
    assert splits_of(plan, contents, counted) == want
    records = Counter(want[content] for content in contents)
    names = [part.name for part in parts if part.count is not None]
    for name, found, asked in zip(names, counted, plan.counts, strict=True):
        assert found.records == records[name] <= asked
        assert found.contents == sum(1 for split in want.values() if split == name)


def test_contents_are_taken_that_always_were() -> None:
    plan = SplitPlan(parts=(Part("test", count=5), Part("more", count=4)))
    contents = [b"%d" % (i % 17) for i in range(30)]
    counted = found_in(plan, [contents])
    found = splits_of(plan, contents, counted)
    assert {content: split for content, split in found.items() if split != "train"} == {
        **dict.fromkeys((b"8", b"11", b"16"), "test"),
        **dict.fromkeys((b"2", b"3"), "more"),
    }
    assert [(one.records, one.lasts) for one in counted] == [
        (5, (0x335EBCA9F51EACEB,)),
        (4, (0x2B99BD92A42E409B,)),
    ]


def test_a_content_larger_than_the_count_is_passed_over() -> None:
    """A million copies of the empty line, first in the order, leave the split to others."""
    seed = next(
        seed
        for seed in range(100)
        if splits_first(SplitPlan(parts=(Part("test", count=1),), seed=seed)) == b""
    )
    plan = SplitPlan(parts=(Part("test", count=10),), seed=seed)
    contents = [b""] * 1000 + numbered(50)
    (found,) = found_in(plan, [contents])
    assert (found.records, found.contents) == (10, 10)
    assert splits_of(plan, contents, [found])[b""] == "train"
    assert len(found.skipped) == 1


def splits_first(plan: SplitPlan) -> bytes:
    contents = [b"", *numbered(50)]
    counted = found_in(plan, [contents])
    return next(c for c, s in splits_of(plan, contents, counted).items() if s == "test")


def test_it_may_have_less_than_was_asked_for() -> None:
    plan = SplitPlan(parts=(Part("test", count=10),))
    (found,) = found_in(plan, [[b"a"] * 4 + [b"b"] * 4 + [b"c"] * 4])
    assert (found.records, found.contents) == (8, 2)
    (found,) = found_in(plan, [numbered(4)])
    assert (found.records, found.contents) == (4, 4)
    (found,) = found_in(plan, [])
    assert (found.records, found.contents, found.lasts) == (0, 0, (None,))


def test_data_that_is_added_moves_nothing_between_shares_and_out_of_them() -> None:
    plan = SplitPlan(
        parts=(
            Part("test", count=50),
            Part("a", share=Fraction(1, 10)),
            Part("b", share=Fraction(1, 10)),
        )
    )
    few, many = numbered(1000), numbered(1100)
    before = splits_of(plan, few, found_in(plan, [few]))
    after = splits_of(plan, few, found_in(plan, [many]))
    moved = {(before[c], after[c]) for c in few if before[c] != after[c]}
    assert moved == {("test", "train")}  # none the other way, while contents have one record each
    assert sum(1 for split in after.values() if split == "test") > 30


def test_memory_follows_from_the_counts() -> None:
    plan = SplitPlan(parts=(Part("a", count=10_000), Part("b", count=50_000)))
    assert footprint(plan) == 180 * (10_000 + 60_000 + 2 * LOOKED_AT)
    found = FirstContents(plan)
    tracemalloc.start()
    for start in range(0, 500_000, 20_000):
        keys = mix(np.arange(start, start + 20_000, dtype=np.uint64))
        found.add(keys, ~keys)
    found.tables()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < footprint(plan) + (8 << 20)  # what waits


def test_memory_holds_the_first_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_contents, "_WAITING", 100)
    monkeypatch.setattr(first_contents, "LOOKED_AT", 50)
    found = FirstContents(SplitPlan(parts=(Part("a", count=100), Part("b", count=200))))
    for start in range(0, 20_000, 500):
        found.add(*hashes_of(numbered(500, start=start)))
        held = [sum(len(keys) for keys, *_ in first._parts) for first in found._firsts]
        assert held[0] <= 150 + 600
        assert held[1] <= 350 + 600
    assert [len(keys) for keys, *_ in found.tables()] == [150, 350]
    found.add(*hashes_of(numbered(50, start=20_000)))
    held = [sum(len(keys) for keys, *_ in first._parts) for first in found._firsts]
    assert (
        held[0] + held[1] < 150 + 350 + 10
    )  # those behind the first aren't even kept to be sorted


def test_a_counted_subset_is_uniform() -> None:
    """3 of 6 over seeds: every subset equally often."""
    contents = numbered(6)
    counts = np.zeros(64, np.int64)
    for seed in range(3000):
        plan = SplitPlan(parts=(Part("test", count=3),), seed=seed)
        found = FirstContents(plan)
        found.add(*hashes_of(contents))
        numbers = plan.split(*hashes_of(contents), found.chosen())
        counts[int((numbers << np.arange(6)).sum())] += 1
    threes = [i for i in range(64) if i.bit_count() == 3]
    assert counts.sum() == counts[threes].sum()
    statistics.require_chance(statistics.uniform_p(counts[threes]), cases=1, what="3 of 6")
    skewed = counts[threes]
    skewed[0] += 100  # the control
    assert statistics.uniform_p(skewed) < statistics.ALPHA
