"""What became of the records that were read: which split they went to, as was proved on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pyarrow as pa

from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.splitting.placing import Part


class Placed(NamedTuple):
    """What one source has in one split.

    Attributes:
        split: its name; None of what was left out.
        source: its name.
        was: digest of the records as they were read, each once.
        made: of what is written of them; of nothing where they were left out.
    """

    split: str | None
    source: str
    was: Digest
    made: Digest

    def __add__(self, other: Placed) -> Placed:  # type: ignore[override]  # sums, not tuples
        return self._replace(was=self.was + other.was, made=self.made + other.made)


class Tally:
    """Adds up what went where.

    Args:
        names: of the splits.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._found: dict[tuple[str | None, str], Placed] = {}

    def add(self, part: Part) -> Digest:
        """Count a part; return the digest of what is written of it."""
        made = Digest() if part.block is None else digest_of(part.block)
        name = None if part.block is None else self._names[part.split]
        key = name, part.origin.source
        placed = Placed(*key, part.was, made)
        have = self._found.get(key)
        self._found[key] = placed if have is None else have + placed
        return made

    def __iter__(self) -> Iterator[Placed]:
        return iter(self._found.values())


def digest_of(block: pa.RecordBatch) -> Digest:
    """Return the digest of a block's records, of one source."""
    return Digest.total(blocks.digests(blocks.without_source(block), sources=1))


def add_up(every: Iterable[Placed]) -> dict[tuple[str | None, str], Placed]:
    """Return one for each split and source."""
    found: dict[tuple[str | None, str], Placed] = {}
    for placed in every:
        key = placed.split, placed.source
        found[key] = placed if key not in found else found[key] + placed
    return found
