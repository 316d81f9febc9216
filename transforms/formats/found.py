"""What a reader finds in a file: good records, and those that fail a check, with the reason."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from transforms.kernels import checks


class Found(NamedTuple):
    """A block of good records, and one of bad ones with a reason each."""

    block: pa.RecordBatch
    bad: pa.RecordBatch | None = None
    reasons: tuple[str, ...] = ()

    @classmethod
    def sort_out(cls, block: pa.RecordBatch, bad: dict[int, str]) -> Found:
        """Split a block by the places of its bad records."""
        if not bad:
            return cls(block)
        good, rest = checks.split(block, bad)
        return cls(good, rest, tuple(bad[place] for place in sorted(bad)))
