"""Watching the work: how far it is, what it waits for, and what memory it takes."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby

import psutil

from pipelines.jobs.bars import Bars, Standing, on_terminal
from pipelines.recipes.cli import LOG
from pipelines.recipes.wording import write_count
from transforms.workers.progress import Counts, Stage, read_doing, read_progress

_LINE_EVERY, _LATER_EVERY = 10.0, 30.0  # seconds between two progress lines, at first and later
_LATER = 120.0  # seconds after which a run is no longer young
_STALL = 120.0  # seconds without a move after which we say so, and again when they have doubled
_STILL = 5.0  # seconds without a move after which counts don't tell what goes on
_SAID = 2  # things that go on, in one line
_NAMED = 4  # workers in one message
_PACE_OVER = 15.0  # seconds over which a rate is taken
# each time the kernel walks all pages, which takes longer the more there are and the busier it is
_WEIGH_EVERY, _WEIGH_SHARE = 1.0, 0.01  # seconds; of a core, at most


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
    full = process.memory_full_info()
    return int(getattr(full, "pss", full.rss))  # which only Linux knows


class PeakMemory:
    """The most memory seen, in bytes."""

    def __init__(self) -> None:
        self.bytes = 0
        self._weigh_at = time.monotonic()

    def tick(self) -> None:
        """Weigh, if it is time to; cheap enough to call often."""
        begin = time.monotonic()
        if begin >= self._weigh_at:
            self.bytes = max(self.bytes, tree_memory())
            end = time.monotonic()
            self._weigh_at = end + max(_WEIGH_EVERY, (end - begin) / _WEIGH_SHARE)


@contextlib.contextmanager
def watching(folder: str, totals: Mapping[Stage, int | None], *, live: bool) -> Iterator[Watch]:
    """Watch meanwhile, with live bars on a terminal unless ``live`` is False; arguments as of Watch."""
    os.makedirs(folder, mode=0o700, exist_ok=True)  # names of files are said there
    with Bars() if live and on_terminal() else contextlib.nullcontext() as bars:
        watch = Watch(folder, totals, bars=bars)
        watch.tick()
        yield watch
        if bars:
            watch.tick()  # the bars that stay are those of the end


class Watch:
    """Shows how far a run is: bars, or a log line now and then.

    Says so where nothing moves for minutes, and what the workers wait for.

    Args:
        folder: where workers count, as of ``transforms.workers.progress``.
        totals: bytes of each stage, in the stages' order; None stands for the payload of the stage
            before, known when that one is finished.
        bars: to show it on.
        clock: gives seconds.
    """

    def __init__(
        self,
        folder: str,
        totals: Mapping[Stage, int | None],
        *,
        bars: Bars | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._totals, self._bars, self._clock = folder, totals, bars, clock
        self._begin = self._moved_at = clock()
        self._line_at = self._begin + _LINE_EVERY
        self._complain_after = _STALL
        self._counts: dict[Stage, Counts] = {}
        self._paces = {stage: _Pace(stage, self._begin) for stage in totals}

    def tick(self) -> None:
        """Look, and show or say what is due; cheap enough to call some times a second."""
        now = self._clock()
        counts = read_progress(self._folder)
        if counts != self._counts:
            self._counts, self._moved_at, self._complain_after = counts, now, _STALL
        standings = self._standings(now)
        # a stage has begun when it counts: the one before ends with files still to be written
        current = ([one for one in standings if one.done] or standings[:1])[-1]
        if self._bars:
            self._bars.show(standings, self._now_doing(now))
        elif now >= self._line_at:
            every = _LINE_EVERY if now - self._begin < _LATER else _LATER_EVERY
            self._line_at = now + every
            words = ", ".join(filter(None, current.words()))
            said = "; ".join(filter(None, (words, self._now_doing(now))))
            LOG.info("%s: %s", current.does, said or "begins")
        if now - self._moved_at >= self._complain_after:
            self._complain_after *= 2
            LOG.warning(
                "%s: no progress for %d minutes; %s",
                current.does,
                (now - self._moved_at) // 60,
                self._reasons(),
            )

    def _standings(self, now: float) -> list[Standing]:
        out: list[Standing] = []
        payload: int | None = None
        for stage, given in self._totals.items():
            counts = self._counts[stage]
            total = payload if given is None else given
            standing = self._paces[stage].standing(now, counts, total)
            if not standing.finished and now - self._moved_at >= _STILL:  # a pause has no pace
                standing = replace(standing, rate=0.0, tokens=0.0, seconds=None)
            out.append(standing)
            payload = counts.payload if out[-1].finished else None
        return out

    def _now_doing(self, now: float) -> str:
        """Say what workers do where nothing is counted, such as fitting a model; else nothing."""
        if now - self._moved_at < _STILL:
            return ""
        doing = list(dict.fromkeys(what for _, what in read_doing(self._folder)))
        return f"now {', '.join(doing[:_SAID])}" if doing else ""

    def _reasons(self) -> str:
        workers = [
            f"process {pid} is {', '.join(what for _, what in said)}"
            for pid, said in groupby(read_doing(self._folder), key=lambda one: one[0])
        ]
        if len(workers) > _NAMED:
            more = write_count(len(workers) - _NAMED, "more process", plural="es")
            waits = "waits" if len(workers) == _NAMED + 1 else "wait"
            workers[_NAMED:] = [f"{more} {waits} too"]
        return "; ".join(workers) or "no worker has work: they wait for Beam's runner"


class _Pace:
    """How fast a stage is."""

    def __init__(self, stage: Stage, now: float) -> None:
        self._last = Standing(stage=stage)
        self._began = now
        self._seen = deque([(now, 0, 0)])  # times of the last seconds, bytes and tokens by then

    def standing(self, now: float, counts: Counts, total: int | None) -> Standing:
        """Return how far the stage is by these counts."""
        last, done = self._last, counts.bytes
        if last.finished and (last.done, last.records, last.total) == (done, counts.records, total):
            return last  # what it took was known when it ended
        if not done:
            self._began = now
            self._seen.clear()
        self._seen.append((now, done, counts.tokens))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _PACE_OVER:
            self._seen.popleft()
        (before, already, had), took = self._seen[0], now - self._began
        passed = max(now - before, 1e-9)
        rate, tokens = (done - already) / passed, (counts.tokens - had) / passed
        seconds = (total - done) / rate if total is not None and rate else None
        self._last = replace(
            self._last,
            done=done,
            total=total,
            records=counts.records,
            tokens=tokens,
            rate=rate,
            seconds=seconds,
        )
        if self._last.finished:
            took_at_least = max(took, 1e-9)
            self._last = replace(
                self._last,
                rate=done / took_at_least,
                tokens=counts.tokens / took_at_least,
                seconds=took,
            )
        return self._last
