"""Slow, plain versions of the schedules: one position at a time, in Python integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import count

from tests.transforms.kernels import oracles
from transforms.kernels.randomness import derive


def random_source(
    weights: Sequence[int], *, seed: int, epoch: int, position: int, stage: int = 0
) -> int:
    """Walk along the weights until the position's draw is used up."""
    labels = ("stage", stage) if stage else ()
    draw = oracles.record_key(*derive(seed, "schedule", epoch, *labels), position)
    for source, weight in enumerate(weights):
        if draw < weight:
            return source
        draw -= weight
    raise AssertionError("weights sum to less than 2**64")


def random_sequence(
    weights: Sequence[int], *, seed: int, epoch: int, stage: int = 0
) -> Iterator[int]:
    """Sources from position 0 on, without end."""
    law = {"seed": seed, "epoch": epoch, "stage": stage}
    return (random_source(weights, position=p, **law) for p in count())


class Node:
    """A node of a Huffman tree that sends its arrivals down, one by one."""

    def __init__(self, weight: int, source: int | None, children: tuple[Node, ...] = ()) -> None:
        self.weight, self.source, self.children, self.arrived = weight, source, children, 0

    def arrive(self) -> int:
        """Let one more arrive; return the source that it ends at."""
        if self.source is not None:
            return self.source
        light, heavy = self.children
        if light.source is None and heavy.source is None:
            assert light.weight <= heavy.weight
        share = Fraction(round(Fraction(light.weight * 2**64, self.weight)), 2**64)
        before, after = (int(n * share + Fraction(1, 2)) for n in (self.arrived, self.arrived + 1))
        self.arrived += 1
        return (light if after > before else heavy).arrive()


def stratified_sequence(weights: Sequence[int]) -> Iterator[int]:
    """Sources from position 0 on, without end."""
    nodes = [Node(weight, source) for source, weight in enumerate(weights) if weight]
    while len(nodes) > 1:
        nodes.sort(key=lambda node: node.weight)  # stable: of equal ones the older goes first
        light, heavy, *others = nodes
        nodes = [*others, Node(light.weight + heavy.weight, None, (light, heavy))]
    while True:
        yield nodes[0].arrive()


def repeats_sequence(totals: Sequence[int], *, seed: int, epoch: int, ranges: int) -> list[int]:
    """All sources: slots dealt to ranges, each range sorted by fresh keys."""
    dealt: list[list[int]] = [[] for _ in range(ranges)]
    for source, total in enumerate(totals):
        pair = derive(seed, "slots", epoch, source)
        for slot in range(total):
            dealt[oracles.record_key(*pair, slot) * ranges >> 64].append(source)
    out = []
    for index, slots in enumerate(dealt):
        pair = derive(seed, "arrange", epoch, index)
        keys = [oracles.record_key(*pair, number) for number in range(len(slots))]
        out += [source for _, source in sorted(zip(keys, slots, strict=True))]
    return out


def stop_first(sequence: Iterator[int], sizes: Sequence[int]) -> int:
    """Draw one at a time until a source has no record left; return how many were drawn."""
    left = list(sizes)
    for position, source in enumerate(sequence):
        if not left[source]:
            return position
        left[source] -= 1
    raise AssertionError("all of it can be served")


def stop_all(sequence: Iterator[int], sizes: Sequence[int]) -> int:
    """Draw one at a time until every source's last record was drawn; return how many were."""
    unseen = {source: size for source, size in enumerate(sizes) if size}
    if not unseen:
        return 0
    for position, source in enumerate(sequence):
        if source in unseen:
            unseen[source] -= 1
            if not unseen[source]:
                del unseen[source]
        if not unseen:
            return position + 1
    raise AssertionError("some source is never seen whole")
