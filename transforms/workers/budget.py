"""One process's share of the memory budget.

A harness may run several bundles at once inside a process, so a bundle takes a place before it
holds payload, and waits where all places are taken. A bundle runs on one thread: steps of one bundle
share its place, so they never wait for each other.
"""

from __future__ import annotations

import threading
from collections import Counter


class _Pool:
    def __init__(self) -> None:
        self.places = 1
        self.changed = threading.Condition()
        self.holders: Counter[object] = Counter()


class _Thread(threading.local):
    """Stands for the thread that made its ``token``; the system's own numbers come again."""

    def __init__(self) -> None:
        self.token = object()


_this = _Thread()
_lock = threading.Lock()
_pools: dict[str, _Pool] = {}


class Place:
    """A bundle's place: at most ``places`` bundles of a run hold payload in this process at once."""

    def __init__(self, run_id: str, places: int) -> None:
        with _lock:
            self._pool = _pools.setdefault(run_id, _Pool())
            self._pool.places = places
        self._thread: object | None = None  # that took it

    def take(self) -> None:
        """Wait for a place; does nothing where it is held already."""
        if self._thread is not None:
            return
        pool, thread = self._pool, _this.token
        with pool.changed:
            pool.changed.wait_for(lambda: thread in pool.holders or len(pool.holders) < pool.places)
            pool.holders[thread] += 1
        self._thread = thread

    def leave(self) -> None:
        """Give the place back; does nothing where it isn't held."""
        if self._thread is None:
            return
        pool = self._pool
        with pool.changed:
            pool.holders[self._thread] -= 1
            if not pool.holders[self._thread]:
                del pool.holders[self._thread]
            pool.changed.notify_all()
        self._thread = None

    def __enter__(self) -> Place:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
