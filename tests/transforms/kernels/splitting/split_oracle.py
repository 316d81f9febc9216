"""The split of a content by a plan, from the docstrings and in plain integers and fractions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

from tests.transforms.kernels import oracles
from transforms.kernels.randomness import KeyPair, split_pair
from transforms.kernels.splitting.plan import SplitPlan


def content_key(pair: KeyPair, content: bytes) -> int:
    """The key of a content."""
    halves = (oracles.mix(oracles.record_hash(content, k) ^ pair[k]) for k in (0, 1))
    return oracles.mix(sum(halves) & oracles.MASK64)


def share_of(plan: SplitPlan, content: bytes) -> str | None:
    """Name the share that a content falls to, None where none does."""
    place = Fraction(content_key(split_pair(plan.seed, "share"), content), 2**64)
    until = Fraction(0)
    for part in plan.parts:
        if part.share is not None:
            until += part.share
            if place < until:
                return part.name
    return None


def split_all(plan: SplitPlan, contents: Sequence[bytes], *, slack: int) -> Mapping[bytes, str]:
    """Name the split of each content, by all contents at once."""
    out: dict[bytes, str] = {}
    left = Counter(contents)
    for content in list(left):
        share = share_of(plan, content)
        if share is not None:
            out[content] = share
            del left[content]
    base = split_pair(plan.seed, "content")
    counted = [part for part in plan.parts if part.count is not None]
    looked_at = slack
    for number, part in enumerate(counted):
        assert part.count is not None
        pair = split_pair(plan.seed, "order", number)
        order = sorted(
            (oracles.record_key(*pair, content_key(base, content)), content)
            for content in Counter(contents)
            if share_of(plan, content) is None
        )
        looked_at += part.count
        room = part.count
        for _, content in order[:looked_at]:
            if content in left and left[content] <= room:
                room -= left.pop(content)
                out[content] = part.name
    assert plan.rest is not None or not left
    return out | dict.fromkeys(left, str(plan.rest))
