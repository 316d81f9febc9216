"""How many positions a second one core schedules: each mode, at 3, 50 and 1,000 sources.

Sources' weights are 1 to 17, in turn. ``sources_of`` is what writers of shards call, over ranges;
``count`` is the stage before (of random schedules and repeats; stratified ones have none).
Each round runs all of them in turn.

    python bench/schedule.py --positions=4194304 --rounds=5
"""

from __future__ import annotations

import argparse
import os
import pickle
import time
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import common
import numpy as np

from transforms.kernels.schedules.random_schedule import CHUNK, RandomSchedule
from transforms.kernels.schedules.repeats_schedule import RepeatsSchedule
from transforms.kernels.schedules.schedule import Schedule
from transforms.kernels.schedules.stratified_schedule import StratifiedSchedule
from transforms.kernels.schedules.weights import scale

SOURCES = (3, 50, 1000)


class Rates:
    """Millions of positions a second, by what was run."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, str, str], list[float]] = defaultdict(list)

    def timed(self, what: tuple[int, str, str], positions: int, work: Callable[[], Any]) -> Any:
        """Run something over so many positions, and note its rate."""
        begin = time.perf_counter()
        out = work()
        self.found[what].append(positions / (time.perf_counter() - begin) / 1e6)
        return out


def counted_random(rates: Rates, sources: int, positions: int) -> RandomSchedule:
    """Count a random schedule as its stage does, over whole chunks."""
    schedule = RandomSchedule(scale(parts(sources)), seed=0, epoch=0)
    chunks = -(-positions // CHUNK)
    rows = rates.timed(
        (sources, "random", "count"),
        chunks * CHUNK,
        lambda: np.array([schedule.count_chunk(index) for index in range(chunks)]),
    )
    return schedule.with_counts(rows)


def counted_repeats(rates: Rates, sources: int, positions: int) -> RepeatsSchedule:
    """Count a schedule of repeats as its stage does, source by source."""
    unit = positions / sum(parts(sources))
    totals = [int(part * unit) for part in parts(sources)]
    schedule = RepeatsSchedule(totals, seed=0, epoch=0)
    columns = rates.timed(
        (sources, "repeats", "count"),
        schedule.length,
        lambda: np.array([schedule.count_slots(s, 0, total) for s, total in enumerate(totals)]),
    )
    return schedule.with_counts(columns.T)


def parts(sources: int) -> list[Fraction]:
    """Weights of 1 to 17, in turn."""
    return [Fraction(1 + number % 17) for number in range(sources)]


def run_round(rates: Rates, positions: int) -> None:
    """Measure every mode once."""
    for sources in SOURCES:
        made: dict[str, Schedule] = {
            "random": counted_random(rates, sources, positions),
            "stratified": StratifiedSchedule(scale(parts(sources))),
            "repeats": counted_repeats(rates, sources, positions),
        }
        for mode, schedule in made.items():
            length = min(positions, schedule.length or positions)
            named = (sources, mode)
            rates.timed(
                (*named, "sources_of"), length, lambda s=schedule, n=length: s.sources_of(0, n)
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--positions", type=int, default=1 << 22, help="(default 2**22)")
    parser.add_argument("--rounds", type=int, default=5, help="(default 5)")
    common.add_work_arguments(parser)
    args = parser.parse_args()
    with common.work_folder(args):
        pass
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"- input: {args.positions} positions, one core, {args.rounds} rounds")
    run_round(Rates(), args.positions)  # it warms up
    rates = Rates()
    for number in range(args.rounds):
        common.say(f"round {number + 1} of {args.rounds}")
        run_round(rates, args.positions)
    common.header("sources", "mode", "what", "million positions a second, least / median / most")
    for what, found in rates.found.items():
        common.row(*what, common.spread(found, 1))
    size = len(pickle.dumps(counted_random(Rates(), 50, args.positions)))
    print(
        f"\n- a random schedule of 50 sources over {args.positions} positions, pickled: {size} bytes"
    )


if __name__ == "__main__":
    main()
