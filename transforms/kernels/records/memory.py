"""What arrays keep in memory: the whole of the buffers that they are views of."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_SLACK = 8  # of so many parts of a buffer one may lie idle
_LITTLE = 1 << 10  # bytes: what a copy of less would save, it takes


def is_part(used: int, held: int) -> bool:
    """Return whether bytes that are used are few enough of those held that a copy is worth its time."""
    return held - used > max(held // _SLACK, _LITTLE)


def behind(values: npt.NDArray[Any]) -> int:
    """Return the bytes of the buffer that an array is a view of."""
    while isinstance(values.base, np.ndarray):
        values = values.base
    owner = values.base.obj if isinstance(values.base, memoryview) else values.base
    return _root(owner).size if isinstance(owner, pa.Buffer) else values.nbytes


def held(array: pa.Array) -> int:
    """Return the bytes of all buffers that an Arrow array and its children are views of."""
    roots = [_root(buffer) for buffer in array.buffers() if buffer is not None]
    return sum({root.address: root.size for root in roots}.values())


def _root(buffer: pa.Buffer) -> pa.Buffer:
    while buffer.parent is not None:
        buffer = buffer.parent
    return buffer
