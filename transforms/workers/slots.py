"""Slots: how many bundles of a process hold payload at once, each with its share of the budget.

A harness may run several bundles at once inside a process, so a bundle takes a slot before it
holds payload, and waits where all slots are taken. A bundle runs on one thread: steps of one bundle
share its slot, so they never wait for each other.
"""

from __future__ import annotations

import threading
from collections import Counter


class _Pool:
    def __init__(self) -> None:
        self.slots = 1
        self.changed = threading.Condition()
        self.holders: Counter[object] = Counter()


class _Thread(threading.local):
    """Stands for the thread that made its ``token``; the system's own numbers come again."""

    def __init__(self) -> None:
        self.token = object()


_this = _Thread()
_lock = threading.Lock()
_pools: dict[str, _Pool] = {}


class Slot:
    """A bundle's slot: at most ``slots`` bundles of a run hold payload in this process at once."""

    def __init__(self, run_id: str, slots: int) -> None:
        with _lock:
            self._pool = _pools.setdefault(run_id, _Pool())
            self._pool.slots = slots
        self._thread: object | None = None  # that took it

    def take(self) -> None:
        """Wait for a slot; does nothing where it is held already."""
        if self._thread is not None:
            return
        pool, thread = self._pool, _this.token
        with pool.changed:
            pool.changed.wait_for(lambda: thread in pool.holders or len(pool.holders) < pool.slots)
            pool.holders[thread] += 1
        self._thread = thread

    def leave(self) -> None:
        """Give the slot back; does nothing where it isn't held."""
        if self._thread is None:
            return
        pool = self._pool
        with pool.changed:
            pool.holders[self._thread] -= 1
            if not pool.holders[self._thread]:
                del pool.holders[self._thread]
            pool.changed.notify_all()
        self._thread = None

    def __enter__(self) -> Slot:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
