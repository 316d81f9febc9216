"""A mixture in plain Python: one position at a time, one record after another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import NamedTuple

from tests.pipelines.support import shuffle_plainly, split
from tests.transforms.kernels import oracles
from tests.transforms.kernels.schedules import schedule_oracles
from transforms.kernels.randomness import derive
from transforms.kernels.schedules.weights import scale

Files = Mapping[str, bytes]


class Asked(NamedTuple):
    """What is asked, as the flags of the same names say it."""

    weights: Mapping[str, Fraction] | None = None
    repeats: Mapping[str, Fraction] | None = None
    interleave: str = "random"
    weigh_by: str = "records"
    stop: str | None = None
    max_records: int | None = None
    max_bytes: int | None = None
    seed: int = 0
    epoch: int = 0


def pass_of(source: str, files: Files, number: int, *, seed: int, epoch: int) -> list[bytes]:
    """Return one pass of a source, in its order."""
    pair = derive(seed, epoch, source, "pass", number)
    keyed = []
    for name, data in files.items():
        k0, k1 = derive(seed, epoch, source, 0, name)
        position = 0
        for record in split(data):
            key = oracles.record_key(k0, k1, position)
            keyed.append((oracles.record_key(*pair, key) if number else key, record))
            position += len(record) + 1
    return [record for _, record in sorted(keyed)]


def mix_plainly(sources: Mapping[str, Files], asked: Asked) -> list[bytes]:
    """Return the records of a mixture."""
    return list(itertools.islice(_end_at_bytes(sources, asked), asked.max_records))


def _end_at_bytes(sources: Mapping[str, Files], asked: Asked) -> Iterator[bytes]:
    spent = 0
    for record in _records(sources, asked):
        spent += len(record)
        if asked.max_bytes is not None and spent > asked.max_bytes:
            return
        yield record


def _records(sources: Mapping[str, Files], asked: Asked) -> Iterator[bytes]:
    seeds = {"seed": asked.seed, "epoch": asked.epoch}
    if asked.weights is None and asked.repeats is None:
        yield from shuffle_plainly(sources, **seeds)
        return
    names = sorted(sources)
    records = [[r for data in sources[name].values() for r in split(data)] for name in names]
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
        if asked.weigh_by == "bytes":
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
        endless = asked.stop is None and (asked.max_records or asked.max_bytes)
        if asked.stop == "all_exhausted":
            sequence = itertools.islice(again(), schedule_oracles.stop_all(again(), sizes))
        elif not endless:
            sequence = itertools.islice(again(), schedule_oracles.stop_first(again(), sizes))
    feeds = [_passes(name, sources[name], asked) for name in names]
    for source in sequence:
        yield next(feeds[source])


def _passes(source: str, files: Files, asked: Asked) -> Iterator[bytes]:
    for number in itertools.count():
        yield from pass_of(source, files, number, seed=asked.seed, epoch=asked.epoch)
