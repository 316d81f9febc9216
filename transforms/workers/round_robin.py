"""Groups go to workers in turn, to each as many as to the next."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import FlinkRunnerOptions

from transforms.kernels.planning.round_robin import round_robin_keys

T = TypeVar("T")


class GroupRoundRobin(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Group numbered elements: (int, T) -> (int, iterable of T), as GroupByKey does.

    On Flink, by ``--parallelism``, the workers take turns: see ``kernels.planning.round_robin``. Not a
    Reshuffle, whose random keys share out unevenly.

    Args:
        of: type of the elements, by which they are encoded.
    """

    def __init__(self, of: Any) -> None:
        self._of = of

    def expand(self, numbered: Any) -> Any:
        """Number anew, group, and give the numbers back."""
        options = numbered.pipeline.options.view_as(FlinkRunnerOptions)
        workers = max(options.parallelism, 1)
        if workers == 1:
            return numbered | "ByNumber" >> beam.GroupByKey()
        turns = beam.MapTuple(functools.partial(_take_turns, workers))
        numbers = beam.MapTuple(functools.partial(_number, workers))
        one: Any = tuple[int, self._of]  # type: ignore[name-defined]  # a value, of what Beam reads
        group: Any = tuple[int, Iterable[self._of]]  # type: ignore[name-defined]  # as above
        return (
            numbered
            | "TakeTurns" >> turns.with_output_types(one)
            | "ByTurn" >> beam.GroupByKey()
            | "Number" >> numbers.with_output_types(group)
        )


def _take_turns(workers: int, number: int, element: T) -> tuple[int, T]:
    return round_robin_keys(workers).key(number), element


def _number(workers: int, key: int, elements: Iterable[T]) -> tuple[int, Iterable[T]]:
    return round_robin_keys(workers).number(key), elements
