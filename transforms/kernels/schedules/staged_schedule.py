"""The schedule of stages: schedules one after another, each over positions of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from transforms.kernels.arrays import I64, U16, offsets_of
from transforms.kernels.schedules.repeats_schedule import RepeatsSchedule
from transforms.kernels.schedules.schedule import Known, Schedule


class StagedSchedule(Schedule):
    """Schedules one after another; the ranks of sources go on from one to the next.

    Args:
        schedules: of the stages, of the same sources. Only the first may need its counts to say which
            sources are drawn.
        lengths: how many positions of each there are.

    Attributes:
        starts: int64[stages + 1], where each stage begins, and the last one ends.
    """

    length: int

    def __init__(self, schedules: Sequence[Schedule], lengths: Sequence[int]) -> None:
        self.schedules, self.lengths = tuple(schedules), tuple(lengths)
        if len(schedules) != len(lengths) or not lengths or min(lengths) < 0:
            raise ValueError(f"expected a length of each of {len(schedules)} stages, got {lengths}")
        self.sources = schedules[0].sources
        if any(one.sources != self.sources for one in schedules):
            raise ValueError("expected the same sources in all stages")
        if any(isinstance(one, RepeatsSchedule) for one in schedules[1:]):
            raise ValueError("expected repeats in no stage but the first")
        self.starts = offsets_of(lengths)
        self.length = int(self.starts[-1])
        self._before = [np.zeros(self.sources, np.int64)]  # each stage, as far as it was asked

    @property
    def counted_to(self) -> int:
        for start, one, length in zip(self.starts, self.schedules, self.lengths, strict=False):
            if one.counted_to < length:
                return int(start) + one.counted_to
        return self.length

    def stages_of(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield the stages that positions [begin, end) lie in, and which of their own these are."""
        for number in range(len(self.lengths)):
            start, stop = self.starts[number : number + 2].tolist()
            low, high = max(begin, start), min(end, stop)
            if low < high:
                yield number, low - start, high - start

    def sources_of(self, begin: int, end: int) -> U16:
        self._check(begin, end)
        parts = [
            self.schedules[number].sources_of(low, high)
            for number, low, high in self.stages_of(begin, end)
        ]
        return np.concatenate([np.empty(0, np.uint16), *parts])

    def counts_before(self, position: int) -> I64:
        self._check(position)
        stage = self._stage_before(position)
        own = self.schedules[stage].counts_before(position - int(self.starts[stage]))
        out: I64 = self._before_stage(stage) + own
        return out

    def counts_after(self, before: I64, begin: int, end: int) -> I64:
        self._check(begin, end)
        stage = self._stage_before(end)
        start = int(self.starts[stage])
        if begin < start:
            return self.counts_before(end)
        base = self._before_stage(stage)
        own = self.schedules[stage].counts_after(before - base, begin - start, end - start)
        out: I64 = base + own
        return out

    def known(self, begin: int, end: int) -> Known:
        first = self.lengths[0]
        return self.schedules[0].known(min(begin, first), min(end, first))

    def knowing(self, known: Known) -> StagedSchedule:
        return StagedSchedule([self.schedules[0].knowing(known), *self.schedules[1:]], self.lengths)

    def _stage_before(self, position: int) -> int:
        """Return the stage of the record before a position; of none, the first."""
        return max(int(np.searchsorted(self.starts, position, side="left")) - 1, 0)

    def _before_stage(self, stage: int) -> I64:
        while len(self._before) <= stage:
            one = len(self._before) - 1
            counts = self.schedules[one].counts_before(self.lengths[one])
            self._before.append(self._before[-1] + counts)
        return self._before[stage]

    def _check(self, *positions: int) -> None:
        for position in positions:
            if not 0 <= position <= self.length:
                raise IndexError(f"expected positions from 0 to {self.length}, got {position}")
