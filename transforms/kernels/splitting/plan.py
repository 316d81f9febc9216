"""The plan of a split: shares and counts by name, and which of them a content falls to.

A content is known by two 64-bit hashes (``transforms.kernels.records.contents``). Its first key says
whether it falls to a share: shares are ranges of [0, 2**64), laid end to end in their order. So a
content stays where it is whatever is added. What no share takes, counts take in turn: whole contents,
the first by a key of their own (``counted``). All else is the rest's, ``train``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from transforms.errors import UsageError
from transforms.kernels.arrays import U8, U16, U64
from transforms.kernels.randomness import KeyPair, content_keys, record_keys, split_pair

TRAIN = "train"
_MOST = 255  # splits: their numbers are bytes
_SPACE = 1 << 64


@dataclass(frozen=True)
class Part:
    """A split that is asked for: by its share of contents, or by its count of records.

    Attributes:
        name: of the split.
        share: over 0, at most 1; or
        count: of records, over 0.
    """

    name: str
    share: Fraction | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if (self.share is None) == (self.count is None):
            raise UsageError(f"split {self.name}: expected either a share or a count")
        if self.share is not None and not 0 < self.share <= 1:
            raise UsageError(
                f"expected a share of split {self.name} above 0% and at most 100%, got {self.asked}"
            )
        if self.share is not None and self.share * _SPACE < 1:
            raise UsageError(
                f"split {self.name}: expected a share of at least 2**-64, got {self.asked}"
            )
        if self.count is not None and self.count < 1:
            raise UsageError(
                f"expected at least one record of split {self.name}, got {self.count}; leave the "
                "split out if it needs none"
            )

    @property
    def asked(self) -> str:
        """What is asked for, as one would write it.

        >>> Part("test", count=1000).asked, Part("test", share=Fraction(1, 200)).asked
        ('1000', '0.5%')
        """
        if self.share is None:
            return str(self.count)
        percent = 100 * self.share
        written = Decimal(percent.numerator) / Decimal(percent.denominator)
        if Fraction(written) != percent:  # a third
            return f"{self.share}"
        return f"{written.normalize():f}%"


@dataclass(frozen=True, eq=False)
class Counted:
    """Which contents a counted split takes: what was found when all were counted.

    Attributes:
        lasts: of each label, the largest order (``SplitPlan.order``) of a content that it takes; None if
            it takes none. One of all where they aren't told apart.
        skipped: uint64[s], sorted: keys of contents below that have more records than there was room
            for.
        by_label: of each label, how many records it takes.
        contents: how many it takes in all.
    """

    lasts: tuple[int | None, ...]
    skipped: U64
    by_label: tuple[int, ...]
    contents: int

    @property
    def records(self) -> int:
        """How many records it takes in all."""
        return sum(self.by_label)

    @cached_property
    def reach(self) -> tuple[U64, npt.NDArray[np.bool_]]:
        """uint64[labels] and bool[labels]: the lasts, 0 for none, and whether there is one."""
        found = [last is not None for last in self.lasts]
        return np.array([last or 0 for last in self.lasts], np.uint64), np.array(found)


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """What is asked, and which split each content falls to; the same wherever records come from.

    Attributes:
        parts: in order: shares take the ranges of the first key in this order, then counts choose in
            this order. Shares are decided before counts, wherever they stand, so that data that is
            added moves nothing between shares.
        rest: the split of all else; None where shares come to 1.
        seed: of the split; the dataset's own has no part in it.
    """

    parts: tuple[Part, ...]
    rest: str | None = TRAIN
    seed: int = 0

    def __post_init__(self) -> None:
        names = self.names
        for number, name in enumerate(names):
            if name in names[:number]:
                raise UsageError(f"expected each split once, got {name} twice")
        if not 0 < len(names) <= _MOST:
            raise UsageError(f"expected 1 to {_MOST} splits, got {len(names)}")
        total = sum(part.share for part in self.parts if part.share is not None)
        if total > 1:
            shares = ", ".join(f"{part.name} {part.asked}" for part in self.parts if part.share)
            raise UsageError(f"expected shares that add up to at most 100%, got {shares}")
        if self.rest is None and (total < 1 or self.is_counted):
            raise UsageError(
                "expected a split for the rest, because the shares don't add up to 100%"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """All splits, the rest's first, then the parts' in order; a split's number is its place."""
        rest = () if self.rest is None else (self.rest,)
        return (*rest, *(part.name for part in self.parts))

    @property
    def is_counted(self) -> bool:
        """Whether a split is counted, so that contents have to be counted before they are split."""
        return any(part.count is not None for part in self.parts)

    @property
    def counts(self) -> tuple[int, ...]:
        """What the counted splits should have, in their order."""
        return tuple(part.count for part in self.parts if part.count is not None)

    @cached_property
    def _numbers(self) -> tuple[list[int], list[int]]:
        """Numbers of splits by share and of those by count."""
        first = 0 if self.rest is None else 1
        shares = [first + i for i, part in enumerate(self.parts) if part.share is not None]
        counts = [first + i for i, part in enumerate(self.parts) if part.count is not None]
        return shares, counts

    @cached_property
    def _lasts(self) -> U64:
        """The last first key that falls to each share, rising."""
        total, lasts = Fraction(0), []
        for part in self.parts:
            if part.share is not None:
                total += part.share
                lasts.append(total.numerator * _SPACE // total.denominator - 1)
        return np.array(lasts, np.uint64)

    @cached_property
    def _pairs(self) -> tuple[KeyPair, KeyPair, list[KeyPair]]:
        orders = [split_pair(self.seed, "order", i) for i in range(len(self.counts))]
        return split_pair(self.seed, "share"), split_pair(self.seed, "content"), orders

    def shares_of(self, hash0: U64, hash1: U64) -> U8:
        """Return uint8[n]: the number of the split by share, or ``no_share`` where none takes it.

        Args:
            hash0, hash1: uint64[n], the hashes of contents.
        """
        numbers = np.array([*self._numbers[0], self.no_share], np.uint8)
        if len(numbers) == 1:
            return np.full(len(hash0), numbers[0])
        keys = content_keys(self._pairs[0], hash0, hash1)
        return numbers[np.searchsorted(self._lasts, keys)]

    @property
    def no_share(self) -> int:
        """What stands for no split by share: the rest's number, where there is a rest."""
        return 0 if self.rest is not None else _MOST

    def keys_of(self, hash0: U64, hash1: U64) -> U64:
        """Return uint64[n], the keys by which contents are counted."""
        return content_keys(self._pairs[1], hash0, hash1)

    def order(self, split: int, keys: U64) -> U64:
        """Return uint64[n]: in which order a counted split, from 0 on, chooses among contents.

        Args:
            split: its place among counted ones.
            keys: uint64[n], as of ``keys_of``; no two of them have one order.
        """
        return record_keys(self._pairs[2][split], keys)

    def split(
        self,
        hash0: U64,
        hash1: U64,
        counted: Sequence[Counted] = (),
        labels: U16 | None = None,
    ) -> U8:
        """Return uint8[n]: the number of the split that each content falls to, as of ``names``.

        Args:
            hash0, hash1: uint64[n], the hashes of contents.
            counted: of each counted split, what it takes.
            labels: uint16[n], their numbers, where counted splits tell labels apart.
        """
        if len(counted) != len(self.counts):
            raise ValueError(f"expected {len(self.counts)} counted splits, got {len(counted)}")
        out = self.shares_of(hash0, hash1)
        if not counted:
            return out
        left = np.flatnonzero(out == self.no_share)
        keys = self.keys_of(hash0[left], hash1[left])
        for i, (number, found) in enumerate(zip(self._numbers[1], counted, strict=True)):
            taken = self._takes(i, keys, found, 0 if labels is None else labels[left])
            out[left[taken]] = number
            left, keys = left[~taken], keys[~taken]
        return out

    def _takes(
        self, split: int, keys: U64, found: Counted, labels: U16 | int
    ) -> npt.NDArray[np.bool_]:
        lasts, some = found.reach
        taken: npt.NDArray[np.bool_] = self.order(split, keys) <= lasts[labels]
        taken &= some[labels]
        taken[taken] = ~among(keys[taken], found.skipped)
        return taken


def among(keys: U64, known: U64) -> npt.NDArray[np.bool_]:
    """Say which keys are among known ones, sorted."""
    if not len(known):
        return np.zeros(len(keys), bool)
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    found: npt.NDArray[np.bool_] = known[places] == keys
    return found
