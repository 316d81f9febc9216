"""One process's share of the memory budget.

A harness may run several bundles at once inside a process, so a bundle takes a place before it
holds payload, and waits where all places are taken. A bundle holds at most one place, and gives it
back before it ends, so no two can wait for each other.
"""

from __future__ import annotations

import threading
from types import TracebackType

_lock = threading.Lock()
_places: dict[str, threading.BoundedSemaphore] = {}


class Place:
    """A bundle's place: at most ``places`` of one run hold payload in this process at once."""

    def __init__(self, run_id: str, places: int) -> None:
        with _lock:
            self._free = _places.setdefault(run_id, threading.BoundedSemaphore(places))
        self._held = False

    def take(self) -> None:
        """Wait for a place; does nothing where it is held already."""
        if not self._held:
            self._free.acquire()
            self._held = True

    def leave(self) -> None:
        """Give the place back; does nothing where it isn't held."""
        if self._held:
            self._held = False
            self._free.release()

    def __enter__(self) -> Place:
        self.take()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()
