"""Counts of each label: as by all contents at once, uniform, exact where contents have one record."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import statistics
from tests.transforms.kernels import oracles
from tests.transforms.kernels.splitting import split_oracle
from tests.transforms.kernels.splitting.test_first_contents import PARTS
from tests.transforms.kernels.splitting.test_plan import hashes_of, numbered
from transforms.errors import DataError
from transforms.kernels.arrays import U16
from transforms.kernels.randomness import split_pair
from transforms.kernels.splitting import first_contents
from transforms.kernels.splitting.first_contents import LOOKED_AT, FirstContents, footprint
from transforms.kernels.splitting.labels import Labels
from transforms.kernels.splitting.plan import Counted, Part, SplitPlan
from transforms.kernels.splitting.quotas import quotas
from transforms.kernels.splitting.strata import Strata


def labels_of(contents: Sequence[bytes], labels: int) -> U16:
    """A label of each content: of few the first, of many the last."""
    return np.array([int(content) % (labels + 1) % labels for content in contents], np.uint16)


def left_by_shares(plan: SplitPlan, contents: Sequence[bytes]) -> list[bytes]:
    return [content for content in contents if split_oracle.share_of(plan, content) is None]


def all_at_once(
    plan: SplitPlan, contents: list[bytes], labels: int, slack: int
) -> dict[bytes, str]:
    """The split of each content in plain integers; counts are shared out as quotas has it."""
    left = Counter(left_by_shares(plan, contents))
    records = np.bincount(labels_of(list(left.elements()), labels), minlength=labels).tolist()
    out: dict[bytes, str] = {}
    until = np.zeros(labels, np.int64)
    counted = [part for part in plan.parts if part.count is not None]
    base = split_pair(plan.seed, "content")
    free = dict(left)
    for number, (part, mine) in enumerate(zip(counted, quotas(records, plan.counts), strict=True)):
        until += mine
        pair = split_pair(plan.seed, "order", number)
        order = sorted(
            left, key=lambda c: oracles.record_key(*pair, split_oracle.content_key(base, c))
        )
        for label in range(labels):
            room = int(mine[label])
            ours = [c for c in order if labels_of([c], labels)[0] == label]
            for content in ours[: max(int(until[label]) + slack, 1)]:
                if content in free and free[content] <= room:
                    room -= free.pop(content)
                    out[content] = part.name
    for content in contents:
        out.setdefault(content, split_oracle.share_of(plan, content) or plan.names[0])
    return out


def count_parts(plan: SplitPlan, parts: Sequence[list[bytes]], labels: int) -> tuple[Counted, ...]:
    """Count parts by themselves, a record or several at a time, and join them."""
    every = left_by_shares(plan, [content for part in parts for content in part])
    records = np.bincount(labels_of(every, labels), minlength=labels).tolist()
    shares = quotas(records, plan.counts)
    whole = FirstContents(plan, shares)
    for part in parts:
        one = FirstContents(plan, shares)
        for begin in range(0, len(part), 3):
            some = part[begin : begin + 3]
            one.add(*hashes_of(some), labels_of(some, labels))
        whole.join(one.tables())
    return whole.chosen()


@given(
    parts=PARTS,
    seed=st.integers(0, 2**64),
    labels=st.integers(1, 4),
    dealt=st.lists(st.lists(st.integers(0, 25).map(lambda i: b"%d" % i)), min_size=1),
    slack=st.integers(0, 6),
    waiting=st.integers(0, 8),
)
def test_counts_of_labels_are_as_by_all_contents_at_once(
    parts: tuple[Part, ...],
    seed: int,
    labels: int,
    dealt: list[list[bytes]],
    slack: int,
    waiting: int,
) -> None:
    plan = SplitPlan(parts=parts, seed=seed)
    contents = [content for part in dealt for content in part]
    if sum(plan.counts) > len(left_by_shares(plan, contents)):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first_contents, "LOOKED_AT", slack)
        patch.setattr(first_contents, "_OF_LABEL", 0)
        patch.setattr(first_contents, "_WAITING", waiting)
        counted = count_parts(plan, dealt, labels)
    numbers = plan.split(*hashes_of(contents), counted, labels_of(contents, labels))
    have = {content: plan.names[n] for content, n in zip(contents, numbers, strict=True)}
    assert have == all_at_once(plan, contents, labels, slack // labels)
    records = Counter((have[c], int(labels_of([c], labels)[0])) for c in contents)
    names = [part.name for part in parts if part.count is not None]
    for name, found in zip(names, counted, strict=True):
        assert list(found.by_label) == [records[name, label] for label in range(labels)]


def test_contents_of_one_record_fill_every_quota() -> None:
    plan = SplitPlan(parts=(Part("a", count=700), Part("b", count=250)), rest="c")
    contents = numbered(1000)
    counted = count_parts(plan, [contents[:300], contents[300:]], 7)
    records = np.bincount(labels_of(contents, 7), minlength=7).tolist()
    assert [list(one.by_label) for one in counted] == quotas(records, plan.counts).tolist()
    numbers = plan.split(*hashes_of(contents), counted, labels_of(contents, 7))
    assert np.bincount(numbers).tolist() == [50, 700, 250]


def subsets(trials: int, labels: U16, *, count: int) -> Counter[tuple[int, ...]]:
    contents, found = numbered(len(labels)), Counter[tuple[int, ...]]()
    shares = quotas(np.bincount(labels).tolist(), [count])
    for seed in range(trials):
        plan = SplitPlan(parts=(Part("test", count=count),), seed=seed)
        first = FirstContents(plan, shares)
        first.add(*hashes_of(contents), labels)
        numbers = plan.split(*hashes_of(contents), first.chosen(), labels)
        found[tuple(np.flatnonzero(numbers).tolist())] += 1
    return found


def test_a_stratified_subset_is_uniform() -> None:
    """3 of 6, 2 of one label and 1 of the other: each of the 12 equally often."""
    labels = np.array([0, 1, 0, 0, 1, 0], np.uint16)
    found = subsets(2000, labels, count=3)
    every = [
        subset
        for subset in itertools.combinations(range(6), 3)
        if np.bincount(labels[list(subset)], minlength=2).tolist() == [2, 1]
    ]
    assert len(every) == 12
    assert set(found) == set(every)
    counts = np.array([found[subset] for subset in every])
    statistics.require_chance(statistics.uniform_p(counts), cases=1, what="2 of 4, 1 of 2")
    counts[0] += 100  # the control
    assert statistics.uniform_p(counts) < statistics.ALPHA


def test_more_than_is_there_is_refused() -> None:
    plan = SplitPlan(parts=(Part("train", count=50_000),), rest="test")
    with pytest.raises(
        DataError,
        match=r"--counts=train=50000: expected at least 50,000 records, the input has 35,123",
    ):
        Strata.of(plan, "label", Labels((b"0", b"1"), (18_575, 16_548)))
    found = FirstContents(SplitPlan(parts=(Part("a", count=3), Part("b", count=4))))
    found.add(*hashes_of(numbered(3) * 2))
    with pytest.raises(
        DataError, match=r"--counts=a=3,b=4: expected at least 7 records, the input has 6"
    ):
        found.require_enough()
    found.add(*hashes_of(numbered(1)))
    found.require_enough()
    beside = SplitPlan(parts=(Part("a", count=30), Part("b", share=Fraction(1, 2))))
    shared = FirstContents(beside)
    shared.add(*hashes_of(numbered(30)))
    with pytest.raises(DataError, match=r"records beside the shares, the input has \d+"):
        shared.require_enough()


def test_memory_for_labels_follows_from_their_number() -> None:
    plan = SplitPlan(parts=(Part("a", count=1000),))
    assert footprint(plan, labels=2) == footprint(plan)
    assert footprint(plan, labels=10_000) == footprint(plan) + 180 * (40_000 - LOOKED_AT)
