"""Where records hold some strings: one pass over all their bytes, whatever the number of strings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from transforms.kernels.arrays import I64, U8

_HEAD = 4  # bytes of a string that are compared by tables
_FEW = 4  # first bytes that are compared one by one: quicker than a table of all
_AT_ONCE = 1 << 16  # places whose windows are compared, which take some hundred bytes each


class Hits(NamedTuple):
    """Strings that were found, in order; none overlaps another, or crosses from record to record."""

    begins: I64
    """int64[h]: where in the bytes of all records."""

    ends: I64
    """int64[h]."""

    strings: I64
    """int64[h]: which of the strings."""

    records: I64
    """int64[h]: in which of the records."""


class Strings:
    """Strings that are looked for.

    What may begin one is found in the whole buffer at once, by the first byte, and of that what the next
    bytes leave over; only those places are compared with the strings. So text without them costs
    little more than a comparison a byte.

    >>> found = Strings([b"<s>", b"<s>s"]).find(np.frombuffer(b"a<s>s<s>", np.uint8), np.array([0, 8]))
    >>> found.begins.tolist(), found.strings.tolist()
    ([1, 5], [1, 0])
    """

    def __init__(self, strings: Iterable[bytes]) -> None:
        """Take strings, all different, none empty."""
        numbered = list(enumerate(strings))
        self._by_length = []
        for length in sorted({len(string) for _, string in numbered}, reverse=True):
            some = sorted((string, number) for number, string in numbered if len(string) == length)
            table = np.array([string for string, _ in some], f"S{length}")
            self._by_length.append((length, table, np.array([number for _, number in some])))
        self._firsts = sorted({string[0] for _, string in numbered})
        self._may_be = np.zeros((_HEAD, 256), bool)
        for _, string in numbered:
            self._may_be[np.arange(_HEAD)[len(string) :]] = True  # anything behind a short one
            head = np.frombuffer(string[:_HEAD], np.uint8)
            self._may_be[np.arange(len(head)), head] = True

    def find(self, data: U8, offsets: I64) -> Hits:
        """Find the leftmost strings of each record, and of those that begin together the longest.

        Args:
            data: uint8[m].
            offsets: int64[r + 1]: record i is data[offsets[i]:offsets[i + 1]].
        """
        begins = self._candidates(data)
        records = np.searchsorted(offsets, begins, side="right") - 1
        stops = offsets[records + 1] if len(begins) else begins
        strings, ends = np.full(len(begins), -1), begins.copy()
        for at in range(0, len(begins), _AT_ONCE):
            part = slice(at, at + _AT_ONCE)
            self._compare(data, begins[part], stops[part], strings[part], ends[part])
        hit = strings >= 0
        found = Hits(begins[hit], ends[hit], strings[hit], records[hit])
        if (found.begins[1:] >= found.ends[:-1]).all():
            return found
        keep = _leftmost(found)
        return Hits(*(column[keep] for column in found))

    def _candidates(self, data: U8) -> I64:
        """Return int64[c]: where the first bytes allow for one of the strings."""
        if not self._firsts:
            return np.zeros(0, np.int64)
        if len(self._firsts) <= _FEW:
            may = data == self._firsts[0]
            for first in self._firsts[1:]:
                may |= data == first
        else:
            may = self._may_be[0][data]
        begins = np.flatnonzero(may)
        for place in range(1, _HEAD):
            table = self._may_be[place]
            if not table.all():
                # behind the end is the last byte again: what is too long for its record goes later
                begins = begins[table[np.take(data, begins + place, mode="clip")]]
        return begins

    def _compare(self, data: U8, begins: I64, stops: I64, strings: I64, ends: I64) -> None:
        """Put the number of the longest string at each place into ``strings``, and where it ends."""
        for length, table, numbers in self._by_length:
            places = np.flatnonzero((strings < 0) & (begins + length <= stops))
            if not len(places):
                continue
            windows = data[begins[places, np.newaxis] + np.arange(length)].view(table.dtype)[:, 0]
            row = np.minimum(np.searchsorted(table, windows), len(table) - 1)
            same = table[row] == windows  # of one length, so that NULs at their ends say nothing
            strings[places[same]] = numbers[row[same]]
            ends[places[same]] = begins[places[same]] + length


def _leftmost(found: Hits) -> list[int]:
    """Return which are left when each takes away those that begin before it ends."""
    keep, behind = [], 0
    for number, (begin, end) in enumerate(
        zip(found.begins.tolist(), found.ends.tolist(), strict=True)
    ):
        if begin >= behind:
            keep.append(number)
            behind = end
    return keep
