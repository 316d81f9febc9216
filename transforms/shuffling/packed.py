"""Plain values and arrays as bytes: the form in which references travel and lie in temporary files.

Whoever can write to a shared ``--temp_location`` writes what workers read there, so that nothing read
may be code, as a pickle is. Packed bytes are the size of a header, the header (JSON), and the bytes of
the arrays one after another; whoever unpacks says of which kinds they have to be, and checks the values.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

_HEAD = 4  # bytes of the header's size


class Malformed(ValueError):
    """Bytes that aren't what was packed, or values that can't be."""


def pack(values: Any, *arrays: npt.NDArray[Any]) -> bytes:
    """Pack values that JSON can say, and arrays of one dimension."""
    head = json.dumps([values, [len(array) for array in arrays]]).encode()
    size = len(head).to_bytes(_HEAD, "little")
    return b"".join([size, head, *(array.tobytes() for array in arrays)])


def unpack(data: bytes | memoryview, *kinds: Any) -> tuple[Any, list[npt.NDArray[Any]]]:
    """Return the values, and views of the arrays.

    Args:
        data: what ``pack`` gave.
        kinds: numpy types of the arrays; what holds Python objects is none.

    Raises:
        Malformed: it isn't; the values themselves are the caller's to check.
    """
    view = memoryview(data)
    at = _HEAD + int.from_bytes(view[:_HEAD], "little")
    try:
        values, lengths = json.loads(bytes(view[_HEAD:at]))
        sizes = [
            int_of(n) * np.dtype(kind).itemsize for n, kind in zip(lengths, kinds, strict=True)
        ]
    except (ValueError, TypeError, RecursionError) as error:
        raise Malformed(f"its header can't be read: {error}") from error
    if at + sum(sizes) != len(view):
        raise Malformed(f"expected {at + sum(sizes)} bytes, got {len(view)}")
    arrays = []
    for size, kind in zip(sizes, kinds, strict=True):
        arrays.append(np.frombuffer(view[at : at + size], kind))
        at += size
    return values, arrays


def require(holds: Any, what: str) -> None:
    """Raise Malformed with ``what`` came where something doesn't hold."""
    if not holds:
        raise Malformed(f"got {what}")


def int_of(value: Any, *, below: int = 1 << 63) -> int:
    """Return a value that has to be an integer from 0 to before ``below``; raises Malformed."""
    require(
        type(value) is int and 0 <= value < below,
        f"{value!r:.40}, expected a whole number below {below}",
    )
    return int(value)
