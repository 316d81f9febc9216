"""When a process takes compiled loops instead of numpy's passes: where they pay for numba.

Both give the same, bit by bit, so that nobody else needs to know. numba takes half a second to import
and to load what it compiled before (some seconds where nothing is), and up to 160 MiB; the loops save a
second and a half per GB of what is shuffled.
"""

from __future__ import annotations

import sys
from types import ModuleType

LARGE = 512 << 20
"""Bytes of input from which on a job pays for numba."""
ROOM = 256 << 20
"""Bytes of payload in all workers that a job needs to have room for numba beside it."""
PASSED = 256 << 20
"""Bytes that a process which nobody told anything passes over by numpy before it takes the loops."""

_loops: ModuleType | None = None
_told: bool | None = None
_passed = 0


def tell(compiled: bool | None) -> None:
    """Say whether this process takes the compiled loops: yes, no, or when they pay."""
    global _told  # noqa: PLW0603  # it is about the process
    _told = compiled
    if compiled:
        use_loops()


def use_loops() -> ModuleType:
    """Take the compiled loops from now on, and return them."""
    global _loops  # noqa: PLW0603  # a process has them or not
    if _loops is None:
        from transforms.kernels.records import loops

        _loops = loops
    return _loops


def load_loops(of_rows: bool = False, of_json: bool = False) -> None:
    """Have all of them ready, those for rows and for texts in JSON where they are wanted, for workers
    that are forked from this process.
    """
    use_loops().load()
    if of_rows:
        from transforms.kernels.records import row_loops, text_loops

        row_loops.load()
        text_loops.load()
    if of_json:
        from transforms.kernels.records import json_loops

        json_loops.load()


def loops_for(size: int) -> ModuleType | None:
    """Return the compiled loops where they are taken, None where numpy has to do.

    They are where numba is there already, too: then they cost nothing.

    Args:
        size: bytes that are to be passed over now; they count from the next time on.
    """
    global _passed  # noqa: PLW0603  # threads may lose each other's bytes: it is about a size
    if _loops is not None:
        return _loops
    if "numba" in sys.modules or (_told is None and _passed >= PASSED):
        return use_loops()
    _passed += size
    return None
