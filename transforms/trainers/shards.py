"""The shards of a split: which rows or documents each holds, in each format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from transforms.datasets.prepared import FileOfShard, PreparedShard
from transforms.kernels.planning.plan import SHARD_BYTES, count_shards
from transforms.packing.laid import LaidSplit
from transforms.storage import layout, parts
from transforms.trainers.contract import Dataset, Format, ShardFacts
from transforms.trainers.formats import FORMATS
from transforms.trainers.megatron import Megatron
from transforms.workers.progress import Watched

AT_FAULT = "its codec library, the memory or the disk is faulty; check them, then run again"
PART_BYTES = 64 << 20
"""Of a part of a file that many workers write, about; a file of less than two has one writer."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A shard to be written: rows, or documents, [begin, end) of a split.

    Attributes:
        epoch, format: levels of its folder; None for no such level.
        name: of its format.
    """

    split: str
    name: str
    number: int
    of: int
    begin: int
    end: int
    epoch: int | None = None
    format: str | None = None

    def path(self, suffix: str) -> str:
        """Return the path of a file of it, below the dataset's folder."""
        return layout.shard_path(
            split=self.split,
            number=self.number,
            of=self.of,
            extension=suffix,
            epoch=self.epoch,
            form=self.format,
        )

    def entry(
        self,
        facts: ShardFacts,
        files: list[FileOfShard],
        *,
        digest: str,
        dropped_rows: int,
        dropped_ids: int,
    ) -> PreparedShard:
        """Return what the manifest says of it; arguments as of PreparedShard."""
        return PreparedShard(
            epoch=self.epoch,
            format=self.name,
            split=self.split,
            number=self.number,
            of=self.of,
            files=files,
            rows=facts.rows,
            ids=facts.ids,
            filler=facts.filler,
            digest=digest,
            dropped_rows=dropped_rows,
            dropped_ids=dropped_ids,
        )


class Stretch(NamedTuple):
    """A part of a shard: rows, or documents, [begin, end), and where its bytes lie in the main file."""

    begin: int
    end: int
    offset: int
    size: int


@dataclass(frozen=True)
class WrittenShard:
    """What a shard came out as; ``hash`` is the conservation hash of ``Laid.hash``."""

    shard: PreparedShard
    hash: int


@dataclass(eq=False, kw_only=True)
class ShardsToWrite:
    """How splits become shards.

    Attributes:
        output: URL of the dataset's folder.
        formats: names, as of ``transforms.trainers.formats``.
        dataset: what is true of all files.
        epoch: level of the folders, None for none.
        levels: whether formats have folders of their own.
        num_shards, shard_bytes: one of them, or neither: by the format's default.
        run_id, slots: whose marker has to stand in the output, and whose budget of memory this is.
        storage_options, progress: as of WriteShards.
    """

    output: str
    formats: tuple[str, ...]
    dataset: Dataset
    epoch: int | None = None
    levels: bool = False
    num_shards: int | None = None
    shard_bytes: int | None = None
    run_id: str = ""
    slots: int = 1
    storage_options: dict[str, Any] | None = None
    progress: Watched = field(default=None)

    def list_shards(self, split: tuple[str, LaidSplit]) -> Iterator[Shard]:
        """Yield the shards of a split, of all formats."""
        name, laid = split
        for format_name in self.formats:
            edges = self.cut(FORMATS[format_name], laid)
            for number in range(len(edges) - 1):
                yield Shard(
                    split=name,
                    name=format_name,
                    number=number,
                    of=len(edges) - 1,
                    begin=edges[number],
                    end=edges[number + 1],
                    epoch=self.epoch,
                    format=format_name if self.levels else None,
                )

    def cut(self, form: Format, laid: LaidSplit) -> list[int]:
        """Return where each shard begins, and the last one ends."""
        rows = form.unit(self.dataset) == "rows"
        count = laid.rows if rows else laid.documents
        ids, filler = laid.facts(0, count) if rows else (laid.places_before(count), 0)
        written = ids + (filler if form.filler(self.dataset) is not None else 0)
        size = written * form.id_bytes(self.dataset)
        if self.num_shards is not None:
            of = self.num_shards
        elif self.shard_bytes is not None:
            of = max(1, -(-size // self.shard_bytes))
        else:
            default = getattr(form, "shard_bytes", SHARD_BYTES)
            of = count_shards(size) if default == SHARD_BYTES else max(1, -(-size // default))
        most = form.most_ids(self.dataset)
        if most is not None and self.num_shards is None:
            of = max(of, -(-2 * written // most) if written > most else 1)
        return [number * count // of for number in range(of + 1)]

    def facts(self, shard: Shard, laid: LaidSplit) -> ShardFacts:
        """Return what a shard holds."""
        begin, end = shard.begin, shard.end
        if FORMATS[shard.name].unit(self.dataset) == "rows":
            ids, filler = laid.facts(begin, end)
            return ShardFacts(rows=end - begin, ids=ids, filler=filler)
        ids = laid.places_before(end) - laid.places_before(begin)
        return ShardFacts(rows=laid.streams_between(begin, end), ids=ids)

    def stretches(self, shard: Shard, laid: LaidSplit) -> list[Stretch]:
        """Return the parts that a shard is written in by many workers; none where it has one writer.

        That takes a main file of ids and nothing else, larger than two parts, and an output that takes
        files in parts.
        """
        form = FORMATS[shard.name]
        if shard.name != Megatron.name or not parts.takes_parts(self.output):
            return []
        if form.unit(self.dataset) == "rows":
            width = (self.dataset.packing.length or 0) * form.id_bytes(self.dataset)

            def offset_of(at: int) -> int:
                return (at - shard.begin) * width
        else:
            first, width = laid.places_before(shard.begin), form.id_bytes(self.dataset)

            def offset_of(at: int) -> int:
                return (laid.places_before(at) - first) * width

        size, count = offset_of(shard.end), shard.end - shard.begin
        of = size // PART_BYTES
        if of < 2:
            return []
        found, begin, offset = list[Stretch](), shard.begin, 0
        for number in range(1, of + 1):
            end = shard.begin + number * count // of
            after = offset_of(end)
            last = number == of
            # documents are of any length: what would be too small for a part joins the next one
            if last or (after - offset >= parts.LEAST and size - after >= parts.LEAST):
                found.append(Stretch(begin, end, offset, after - offset))
                begin, offset = end, after
        return found
