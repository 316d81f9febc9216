"""Watching a local run: how far it is, and what memory it takes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from pipelines.cli import LOG

_LINE_EVERY = 10.0  # seconds between two progress lines
_WEIGH_EVERY = 1.0  # each time the kernel walks all pages: at 0.5 it was 2% of a core


def tree_memory() -> int:
    """Return the bytes that this process and all below it take, shared pages counted once."""
    total = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            total += _proportional(process)
        except (psutil.Error, OSError):
            continue  # it ended meanwhile
    return total


def _proportional(process: psutil.Process) -> int:
    try:
        with open(f"/proc/{process.pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except FileNotFoundError:
        pass
    resident: int = process.memory_info().rss
    return resident


def _sizes(*folders: str) -> Iterator[int]:
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        yield entry.stat().st_size
        except FileNotFoundError:
            continue


@dataclass
class Watch:
    """Logs progress lines, measured on what the run has written so far.

    Attributes:
        total: bytes of input.
        spill, temporary, data: folders in which spill files, shards in the making and finished
            shards lie.
        peak: the most memory seen, in bytes.
    """

    total: int
    spill: str
    temporary: str
    data: str
    peak: int = 0

    def __post_init__(self) -> None:
        self._begin = time.monotonic()
        self._line_at = self._begin + _LINE_EVERY
        self._weigh_at = self._begin
        self._last = (self._begin, 0)

    def tick(self) -> None:
        """Look, if it is time to; cheap enough to call often."""
        now = time.monotonic()
        if now >= self._weigh_at:
            self.peak = max(self.peak, tree_memory())
            self._weigh_at = now + _WEIGH_EVERY
        if now >= self._line_at:
            self._line(now)
            self._line_at = now + _LINE_EVERY

    def _line(self, now: float) -> None:
        written = sum(_sizes(self.temporary, self.data))
        stage, done = ("write", written) if written else ("partition", sum(_sizes(self.spill)))
        passed = (0 if stage == "partition" else self.total) + done
        before, already = self._last
        rate = (passed - already) / (now - before) / 1e6
        self._last = (now, passed)
        LOG.info(
            "%s: %.1f of %.1f GB, %.0f MB/s",
            stage,
            min(done, self.total) / 1e9,
            self.total / 1e9,
            max(rate, 0.0),
        )
