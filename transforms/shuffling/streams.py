"""Streams: the records of one source in one pass, cut into buckets by ranges of their keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transforms.datasets.identity import REREAD, Origin


@dataclass(frozen=True, kw_only=True)
class Streams:
    """How sources are cut into streams, and streams into buckets.

    A stream's number is pass * sources + source; where all sources are shuffled as one there is one
    stream of all of them, 0.

    Attributes:
        sources: their names, sorted.
        union: whether all are shuffled as one.
        seed, epoch: of the dataset.
        buckets: how many equal ranges of keys each source's streams are cut into.
        limits: footprint that one bucket of each source may have in memory.
        batch_bytes: footprint of light buckets, of several sources, that are gathered as a batch.
        needed: how many buckets of each source's first pass are thought to be, and spilled before that
            is known; empty for all.
        sure: of each source, below which key the first pass is among these, whatever the memory: by
            what is expected alone; 2**64 for all, and empty for all of all.
        partitions: into how many equal ranges of keys each source's streams are cut first, where
            they take two levels; 1 for those that take one, and empty where all do.
        measure: a column of rows, a list, whose length is what a record counts beside records: its
            tokens. None for bytes.
    """

    sources: tuple[str, ...]
    union: bool
    seed: int
    epoch: int
    buckets: tuple[int, ...]
    limits: tuple[int, ...]
    batch_bytes: int = 0
    needed: tuple[int, ...] = ()
    sure: tuple[int, ...] = ()
    partitions: tuple[int, ...] = ()
    measure: str | None = None

    @classmethod
    def as_one(
        cls,
        sources: Sequence[str],
        *,
        seed: int,
        epoch: int = 0,
        buckets: int = 1,
        bucket_bytes: int = 64 << 20,
        partitions: int = 1,
    ) -> Streams:
        """Return the one stream of all records of some sources, to be shuffled as one.

        Args:
            sources: their names, in any order.
            seed, epoch: of the shuffle, any integers.
            buckets: how many equal ranges of keys the stream is cut into, at least 1. A worker holds one
                of them in memory.
            bucket_bytes: footprint that a bucket may have there.
            partitions: into how many ranges the stream is cut first, for very large inputs; 1 for none.
        """
        return cls(
            sources=tuple(sorted(sources)),
            union=True,
            seed=seed,
            epoch=epoch,
            buckets=(buckets,),
            limits=(bucket_bytes,),
            needed=(buckets,),
            partitions=(partitions,),
        )

    @property
    def count(self) -> int:
        """How many streams a pass has."""
        return 1 if self.union else len(self.sources)

    @property
    def digests(self) -> int:
        """How many sources the records of one stream are of."""
        return len(self.sources) if self.union else 1

    @property
    def tallied(self) -> bool:
        """Whether records are counted by buckets: not all are spilled, or digests don't count enough."""
        return self.measure is not None or self.first_needed != self.buckets

    @property
    def first_needed(self) -> tuple[int, ...]:
        """How many buckets of each source's first pass are thought to be needed."""
        return self.needed or self.buckets

    @property
    def levels(self) -> int:
        """How many levels the exchange takes, of any stream."""
        return 2 if any(parts > 1 for parts in self.partitions) else 1

    def level(self, stream: int) -> int:
        """Return how many levels a stream takes."""
        return 2 if self.partitions and self.partitions[stream % self.count] > 1 else 1

    def name_part(self, part: tuple[int, int]) -> str:
        """Return what a partition (stream, number) is called where something is wrong with it."""
        number, source = divmod(part[0], self.count)
        return f"source {self.name(source)}, pass {number}, partition {part[1]}"

    def wanted(self, file: Origin) -> tuple[int, int]:
        """Return which buckets of a file's pass are to be spilled: [first, second)."""
        source = self.number(file) % self.count
        needed = self.first_needed[source]
        if file.pass_number == REREAD:
            return needed, file.buckets
        return 0, self.buckets[source] if file.pass_number else needed

    def name(self, source: int) -> str:
        """Return what a source's streams are called where something is wrong with them."""
        return ", ".join(self.sources) if self.union else self.sources[source]

    def number(self, file: Origin) -> int:
        """Return the stream that a file's records belong to in a pass."""
        if self.union:
            return 0
        number = max(file.pass_number, 0)  # read again it is still the first
        return number * self.count + self.sources.index(file.source)
