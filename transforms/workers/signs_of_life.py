"""Signs of life of a run whose launcher may be gone, and what it counts, by its workers.

On a cluster the work goes on when the process that submitted it ends. The next run to the same output
must not take it for dead: so workers write the time into a file of the run's temporary folder now and
then, while they work. Nobody compares that time with a clock of his own: who wants to know watches
whether it changes. It is not the marker they write: of that one the launcher is the only writer, so
that a worker can't undo what it says there.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep, time
from typing import Any

from transforms.errors import StoreError
from transforms.storage import files as storage
from transforms.storage import layout

BEAT = 20.0  # seconds between two signs of life
DEAD = 120.0  # seconds without one after which a run is dead
_LOOK = 5.0  # seconds between two looks of who waits for one
_FILE = "alive"

_lock = threading.Lock()
_last: dict[Beat, float] = {}


def stays(look: Callable[[], object], *, patience: float) -> bool:
    """Return whether what is looked at stays as it is for so many seconds."""
    first, end = look(), monotonic() + patience
    while (left := end - monotonic()) > 0:
        sleep(min(_LOOK, left))
        if look() != first:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Beat:
    """Whose life it is; stands in for the folder of ``transforms.workers.progress`` on clusters.

    Attributes:
        output: URL of the dataset's folder.
        run_id: whose marker stands there.
    """

    output: str
    run_id: str

    @property
    def url(self) -> str:
        """Where the time is written."""
        return storage.join(self.output, layout.TEMPORARY + self.run_id, _FILE)

    def beat(self) -> None:
        """Give a sign of life, if the last one of this process is old; cheap enough to call often.

        Raises:
            RunError: the output is no longer this run's, so that no work for it has a purpose.
        """
        now = monotonic()
        with _lock:
            if now - _last.get(self, -BEAT) < BEAT:
                return
            _last[self] = now
        layout.require_marker(self.output, self.run_id)
        with contextlib.suppress(StoreError):  # one that is missed is no harm, others follow
            self.write()

    def write(self) -> None:
        """Write the time."""
        with storage.open_write(self.url) as file:
            storage.write_all(file, str(time()).encode())

    def seen(self) -> bytes:
        """Return what the last sign of life says; nothing where there was none."""
        try:
            return storage.read_all(self.url)
        except OSError:  # none has been written
            return b""

    def count(self, stage: str, **amounts: int) -> None:
        """Add to the runner's own counters, which its pages show, and give a sign of life."""
        for name, amount in amounts.items():
            if amount:
                _counter(f"{stage}_{name}").inc(amount)
        self.beat()


@functools.cache
def _counter(name: str) -> Any:
    from apache_beam.metrics import Metrics

    return Metrics.counter("dovetail", name)
