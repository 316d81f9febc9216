"""A mixture in plain Python: one position at a time, one record after another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from tests.pipelines.support import split
from tests.transforms.kernels import oracles
from tests.transforms.kernels.schedules import schedule_oracles
from transforms.kernels.randomness import derive
from transforms.kernels.schedules.weights import scale

Record = Any
"""A line, bytes; or the ids of a row, a tuple. Its length is its bytes, or its tokens."""

Files = Mapping[str, bytes | Sequence[Record]]
"""By name, what is in a file: bytes of lines, or rows of ids."""


class Asked(NamedTuple):
    """What is asked, as the flags of the same names say it."""

    weights: Mapping[str, Fraction] | None = None
    repeats: Mapping[str, Fraction] | None = None
    interleave: str = "random"
    weigh_by: str = "records"
    stop: str | None = None
    max_records: int | None = None
    max_bytes: int | None = None
    max_tokens: int | None = None
    seed: int = 0
    epoch: int = 0


def records_of(data: bytes | Sequence[Record]) -> Iterator[tuple[int, Record]]:
    """Yield a file's records with their positions: bytes of lines, numbers of rows."""
    if not isinstance(data, bytes):
        yield from enumerate(data)
        return
    position = 0
    for record in split(data):
        yield position, record
        position += len(record) + 1


def _keyed(source: str, files: Files, *, seed: int, epoch: int) -> Iterator[tuple[int, Record]]:
    for name, data in files.items():
        k0, k1 = derive(seed, epoch, source, 0, name)
        for position, record in records_of(data):
            yield oracles.record_key(k0, k1, position), record


def pass_of(source: str, files: Files, number: int, *, seed: int, epoch: int) -> list[Record]:
    """Return one pass of a source, in its order."""
    pair = derive(seed, epoch, source, "pass", number)
    keyed = [
        (oracles.record_key(*pair, key) if number else key, record)
        for key, record in _keyed(source, files, seed=seed, epoch=epoch)
    ]
    return [record for _, record in sorted(keyed)]


def mix_plainly(sources: Mapping[str, Files], asked: Asked) -> list[Record]:
    """Return the records of a mixture."""
    return [record for _, record in mix_with_sources(sources, asked)]


def mix_with_sources(sources: Mapping[str, Files], asked: Asked) -> list[tuple[str, Record]]:
    """Return the records of a mixture, each with the name of its source."""
    return list(itertools.islice(_end_at_size(sources, asked), asked.max_records))


def _end_at_size(sources: Mapping[str, Files], asked: Asked) -> Iterator[tuple[str, Record]]:
    most = asked.max_bytes if asked.max_tokens is None else asked.max_tokens
    spent = 0
    for name, record in _records(sources, asked):
        spent += len(record)
        if most is not None and spent > most:
            return
        yield name, record


def _records(sources: Mapping[str, Files], asked: Asked) -> Iterator[tuple[str, Record]]:
    seeds = {"seed": asked.seed, "epoch": asked.epoch}
    if asked.weights is None and asked.repeats is None:
        every = [
            (key, record, name)
            for name, files in sources.items()
            for key, record in _keyed(name, files, **seeds)
        ]
        yield from ((name, record) for _, record, name in sorted(every))
        return
    names = sorted(sources)
    records = [
        [record for data in sources[name].values() for _, record in records_of(data)]
        for name in names
    ]
    sizes = [len(mine) for mine in records]
    if asked.repeats is not None:
        totals = [
            int(asked.repeats.get(name, Fraction(1)) * size)
            for name, size in zip(names, sizes, strict=True)
        ]
        sequence: Iterator[int] = iter(
            schedule_oracles.repeats_sequence(totals, **seeds, ranges=1)  # few slots: one range
        )
    else:
        assert asked.weights is not None
        shares = [asked.weights[name] for name in names]
        if asked.weigh_by != "records":
            shares = [
                share / Fraction(sum(map(len, mine)), len(mine))
                for share, mine in zip(shares, records, strict=True)
            ]
        scaled = scale(shares)

        def again() -> Iterator[int]:
            if asked.interleave == "stratified":
                return schedule_oracles.stratified_sequence(scaled)
            return schedule_oracles.random_sequence(scaled, **seeds)

        sequence = again()
        ends = asked.max_records, asked.max_bytes, asked.max_tokens
        endless = asked.stop is None and any(ends)
        if asked.stop == "all_exhausted":
            sequence = itertools.islice(again(), schedule_oracles.stop_all(again(), sizes))
        elif not endless:
            sequence = itertools.islice(again(), schedule_oracles.stop_first(again(), sizes))
    feeds = [_passes(name, sources[name], asked) for name in names]
    for source in sequence:
        yield names[source], next(feeds[source])


def _passes(source: str, files: Files, asked: Asked) -> Iterator[Record]:
    for number in itertools.count():
        yield from pass_of(source, files, number, seed=asked.seed, epoch=asked.epoch)
