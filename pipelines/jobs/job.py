"""A planned run: what the pipeline is built from, and how much it will read, spill and write, about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from pipelines.jobs.execute import Planned
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.settings import Settings
from transforms.kernels.planning.levels import partition_streams
from transforms.kernels.planning.plan import Plan, count_shards
from transforms.kernels.records import compiling
from transforms.kernels.schedules.mixture import Amounts, Mixture, expect

if TYPE_CHECKING:
    from transforms.shuffling.streams import Streams

_DISK_BLOCK = 4096


@dataclass(frozen=True)
class Job(Planned):
    """A shuffle, planned: what ``build`` needs to know."""

    recipe: Recipe
    settings: Settings
    plan: Plan
    mixture: Mixture

    @property
    def compiled(self) -> bool:
        """Whether workers pass over records by compiled loops: of much, and where there is room."""
        room = self.workers.payload * self.workers.count
        return self.inputs.contents.bytes >= compiling.LARGE and room >= compiling.ROOM

    @property
    def shards(self) -> int:
        """How many shards there will be; estimated where they are cut by records."""
        if self.recipe.shard_records is not None:
            records = sum(self.expected_records)
            return max(1, math.ceil(records / self.recipe.shard_records))
        if self.recipe.num_shards is None and not self.mixture.is_whole:
            return count_shards(int(sum(self.expected_bytes)))
        return self.plan.shards or 1

    @property
    def shards_known(self) -> bool:
        """Whether ``shards`` is exact, as no count of records has a say in it."""
        by_size = self.mixture.is_whole or self.recipe.num_shards is not None
        return by_size and self.recipe.shard_records is None

    @property
    def amounts(self) -> Amounts:
        """How much the sources hold, about."""
        found = [self.inputs.contents.amounts.get(name) for name in self.mixture.sources]
        return Amounts(
            tuple(amount.records if amount else 0 for amount in found),
            tuple(amount.bytes if amount else 0 for amount in found),
            tuple(amount.tokens if amount else 0 for amount in found),
        )

    @property
    def expected_records(self) -> list[float]:
        """How many records of each source come out, about."""
        return expect(self.mixture, self.amounts)

    @property
    def expected_bytes(self) -> list[float]:
        """How many bytes of each source come out, about."""
        amounts = self.amounts
        return [
            count * size / max(have, 1)
            for count, have, size in zip(
                self.expected_records, amounts.records, amounts.bytes, strict=True
            )
        ]

    @property
    def expected_tokens(self) -> list[float]:
        """How many tokens of each source come out, about; none where they aren't counted."""
        amounts = self.amounts
        held = zip(self.expected_records, amounts.records, amounts.tokens, strict=True)
        return [count * size / max(have, 1) for count, have, size in held]

    @property
    def passes(self) -> list[int]:
        """How often each source is read, about: a large one once a pass."""
        amounts, room = self.amounts, self.plan.bucket_bytes // (2 * len(self.mixture.sources))
        return [
            1 if size <= room else max(1, math.ceil(count / max(have, 1)))
            for count, have, size in zip(
                self.expected_records, amounts.records, amounts.bytes, strict=True
            )
        ]

    @property
    def read_bytes(self) -> int:
        """How many bytes are read, about."""
        return sum(size * n for size, n in zip(self.amounts.bytes, self.passes, strict=True))

    @property
    def gives_back(self) -> bool:
        """Whether spill space is given back as soon as it can be; other runners may run a step again."""
        return self.settings.runner == "DirectRunner"

    @property
    def given_back(self) -> float:
        """Share of the spill files that goes while shards are written: a shard's when it is there.

        Blocks of the disk that hold the end of one shard's records and the beginning of another's
        stay. So do the spill files of mixtures and of shards of so many records, which share them.
        """
        shared = not self.mixture.is_whole or self.recipe.shard_records is not None
        if shared or not self.gives_back:
            return 0.0
        segment = min(self.plan.run_bytes, max(self.read_bytes, 1)) / self.plan.partitions
        return max(0.0, 1 - _DISK_BLOCK / segment)

    @property
    def spilled_bytes(self) -> int:
        """How many bytes lie in spill files at once, about.

        Where space is given back early each worker's partition is there twice, and all else of the
        first level has gone by the time that the second has it; elsewhere both levels stay.
        """
        streams = streams_of(self)
        sizes, passes = list(self.amounts.bytes), self.passes
        if streams.union:
            sizes, passes = [sum(sizes)], [1]
        once = [  # of a first pass what is thought to be needed
            size * (many - 1 + needed / buckets)
            for size, many, needed, buckets in zip(
                sizes, passes, streams.needed, streams.buckets, strict=True
            )
        ]
        cut = list(zip(sizes, once, streams.partitions, strict=True))
        if self.gives_back:
            twice = self.workers.count * max((size / n for size, _, n in cut if n > 1), default=0)
        else:
            twice = sum(held for _, held, n in cut if n > 1)
        return int(sum(once) + twice)


def streams_of(job: Job) -> Any:
    """Return how the sources are cut: all as one where nothing else is asked, or each of a mixture."""
    plan, amounts = job.plan, job.amounts
    if job.mixture.is_whole:
        from transforms.shuffling.streams import Streams

        return Streams.as_one(
            list(job.inputs.patterns),
            seed=job.recipe.seed,
            epoch=job.recipe.epoch,
            buckets=plan.buckets,
            bucket_bytes=plan.bucket_bytes,
            partitions=plan.first,
        )
    from transforms.mixing.interleave import plan_streams

    found = job.inputs.contents.amounts
    mixture = job.mixture
    by_bytes = mixture.weigh_by == "bytes" or mixture.max_bytes is not None
    by_size = by_bytes or mixture.measure == "tokens"
    streams = plan_streams(
        job.mixture,
        amounts=amounts,
        about=job.expected_bytes,
        size=plan.bucket_bytes,
        expected=job.expected_records,
        shards=job.shards,
        exact=all(
            a.exact_records and (not by_size or (by_bytes and a.exact_bytes))
            for a in found.values()
        ),
        token_column=job.recipe.token_column,
    )
    return in_partitions(
        streams, job, plan, sources=mixture.sources, sizes=amounts.bytes, passes=job.passes
    )


def in_partitions(
    streams: Streams,
    job: Planned,
    plan: Plan,
    *,
    sources: Sequence[str],
    sizes: Sequence[int],
    passes: Sequence[int],
) -> Streams:
    """Return streams of a mixture, cut into partitions first where buckets would be too many.

    Args:
        streams: of a mixture's sources, or of all as one.
        job: whose inputs and workers they are.
        plan: how its work is cut.
        sources, sizes, passes: the sources' names, bytes and passes, about.
    """
    found = job.inputs.contents.amounts
    files = [found[name].files if name in found else 0 for name in sources]
    spans = [many + size // plan.span_bytes for many, size in zip(files, sizes, strict=True)]
    if streams.union:
        sizes, passes, spans = (sum(sizes),), [1], [sum(spans)]
    return replace(
        streams,
        partitions=partition_streams(
            sizes=sizes,
            spans=spans,
            passes=passes,
            buckets=streams.buckets,
            needed=streams.needed,
            run_bytes=plan.run_bytes,
            workers=job.workers.count,
            payload=job.workers.payload,
            segment_bytes=plan.segment_bytes,
        ),
    )


def mixture_of(recipe: Recipe) -> Mixture:
    """Return what a recipe asks of its sources; those of weight zero are out of it already."""
    names = tuple(sorted(recipe.sources))

    def numbers(given: dict[str, Decimal] | None) -> tuple[Fraction, ...] | None:
        return None if given is None else tuple(Fraction(given.get(name, 1)) for name in names)

    return Mixture(
        sources=names,
        weights=numbers(recipe.weights),
        repeats=numbers(recipe.repeats),
        temperature=recipe.temperature,
        interleave=recipe.interleave,
        weigh_by=recipe.weigh_by,
        stop=recipe.stop,
        max_records=recipe.max_records,
        max_bytes=recipe.max_bytes,
        max_tokens=recipe.max_tokens,
        seed=recipe.seed,
        epoch=recipe.epoch,
    )
