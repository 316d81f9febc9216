"""Giving freed memory back to the system, which else stays a process's own until it ends."""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Return to the system what was freed: after work that took much, once.

    Workers keep what they free, as blocks come and go (``pipelines/runners/worker_processes.py``).
    """
    import pyarrow as pa  # late: the tokenizer alone doesn't need it

    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
