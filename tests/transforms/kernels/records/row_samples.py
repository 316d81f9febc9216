"""Rows to test with: drawn from a seed, or of one column."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from tests.transforms.kernels.records import row_oracles as oracles
from transforms.kernels.records.row_hashes import row_hashes
from transforms.kernels.records.rows import to_rows

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int) -> tuple[pa.DataType, list[tuple[Any, ...]], random.Random]:
    """Draw the type and the values of some rows of one to three columns."""
    draw = random.Random(seed)
    kind = pa.struct([(f"c{i}", oracles.any_type(draw)) for i in range(draw.randrange(1, 4))])
    rows = [oracles.any_value(kind, draw, nulls=False) for _ in range(draw.randrange(12))]
    return kind, rows, draw


def hashes(rows: pa.StructArray) -> list[tuple[int, int]]:
    hash0, hash1 = row_hashes(rows)
    assert hash0.dtype == hash1.dtype == np.uint64
    return list(zip(hash0.tolist(), hash1.tolist(), strict=True))


def of(*values: Any, kind: pa.DataType | None = None) -> pa.StructArray:
    """Rows of one column."""
    return to_rows(pa.record_batch([pa.array(values, kind)], names=["c"]))
