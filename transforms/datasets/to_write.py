"""What a shard's writer asks of it: plain shards, a mixture's and those made of spans all answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import pyarrow as pa

from transforms.kernels.records.digest import Digest


class Ordered(NamedTuple):
    """Records in their final order, and what the digests per source have to be of these and all
    before them that came without; None where that isn't known yet.
    """

    block: pa.RecordBatch
    expected: list[Digest] | None


class ToWrite(Protocol):
    """What one output file holds."""

    @property
    def number(self) -> int:
        """Its place among the shards."""

    @property
    def of(self) -> int:
        """How many shards there are."""

    def ordered(self) -> Iterator[Ordered]:
        """Yield its records in order; walked again where writing has to be tried again."""

    def unused(self) -> list[Digest]:
        """Return the digests of what was read for it and isn't in it, by source; [] for nothing."""

    def release(self) -> None:
        """Give back the storage behind it that no other shard needs."""
