"""What of a record decides its split: its content, or its identity, as two hashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from transforms.datasets.identity import Origin
from transforms.kernels.randomness import record_keys
from transforms.kernels.records import blocks
from transforms.kernels.records.contents import Hashes, content_hashes

HashContents = Callable[[Origin, pa.RecordBatch], Hashes]
"""Gives two hashes of what decides for each of a block's records, uint64[n] each; picklable."""


def by_content(
    origin: Origin, block: pa.RecordBatch, *, groups: Sequence[str] = (), ids: str | None = None
) -> Hashes:
    """Hash records by their contents: see ``content_hashes``."""
    return content_hashes(block, groups=groups, ids=ids)


def by_identity(origin: Origin, block: pa.RecordBatch) -> Hashes:
    """Hash records by source, file name and position: equal contents may part."""
    positions = blocks.column(block, "position").astype(np.uint64)
    first, second = (
        record_keys(origin.key(seed=0, epoch=number, pass_number=0), positions)
        for number in range(2)
    )
    return first, second
