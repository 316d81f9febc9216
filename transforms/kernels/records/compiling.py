"""When a process takes compiled loops instead of numpy's passes: once they have paid for numba.

Both give the same, bit by bit, so that nobody else needs to know. numba takes 0.45 s to import and to
load what it compiled before (a second where nothing is), and 65 MB; a small job would never earn that.
"""

from __future__ import annotations

import sys
from types import ModuleType

WORTH_IT = 256 << 20
"""Bytes of records that a process has passed over by numpy before it takes the compiled loops."""

_loops: ModuleType | None = None
_passed = 0


def use_loops() -> ModuleType:
    """Take the compiled loops from now on, and return them."""
    global _loops  # noqa: PLW0603  # a process has them or not
    if _loops is None:
        from transforms.kernels.records import loops

        _loops = loops
    return _loops


def loops_for(size: int) -> ModuleType | None:
    """Return the compiled loops where they are worth it, None where numpy has to do.

    That is where numba is there already, and after WORTH_IT bytes.

    Args:
        size: bytes that are to be passed over now; they count from the next time on.
    """
    global _passed  # noqa: PLW0603  # threads may lose each other's bytes: it is about a size
    if _loops is not None:
        return _loops
    if _passed >= WORTH_IT or "numba" in sys.modules:
        return use_loops()
    _passed += size
    return None
