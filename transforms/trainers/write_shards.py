"""Writing a split in a trainer's format: ranges of its rows, or documents, to files of shards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam

from transforms.datasets.prepared import FileOfShard, PreparedShard
from transforms.datasets.write import HashedFile
from transforms.errors import DataError, LosslessError
from transforms.kernels.planning.plan import SHARD_BYTES, count_shards
from transforms.packing.laid import LaidSplit
from transforms.storage import files as storage
from transforms.storage import layout
from transforms.trainers.contract import Dataset, Format, ShardFacts
from transforms.trainers.digest import RowsDigest
from transforms.trainers.formats import FORMATS
from transforms.workers.progress import Progress, Watched
from transforms.workers.round_robin import GroupRoundRobin
from transforms.workers.slots import Slot

_AT_FAULT = (
    "the library that encodes it, memory or the disk is at fault: check them, then run again"
)


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


@dataclass(frozen=True)
class WrittenShard:
    """What a shard came out as; ``hash`` is the conservation hash of ``Laid.hash``."""

    shard: PreparedShard
    hash: int


@dataclass(eq=False, kw_only=True)
class WriteSplits(beam.PTransform):  # type: ignore[misc]
    """Write splits in formats: splits, of type (name, LaidSplit) -> WrittenShard.

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

    def expand(self, splits: Any) -> Any:
        """List shards, hand them out, write."""
        found = beam.pvalue.AsDict(splits)
        return (
            splits
            | "ListShards" >> beam.FlatMap(self.list_shards).with_output_types(tuple[int, Shard])
            | "InTurn" >> GroupRoundRobin(Shard)
            | "Write" >> beam.ParDo(_WriteShard(self), found)
        )

    def list_shards(self, split: tuple[str, LaidSplit]) -> Iterator[tuple[int, Shard]]:
        """Yield (turn, shard), of all formats."""
        name, laid = split
        turn = 0
        for format_name in self.formats:
            form = FORMATS[format_name]
            edges = self.cut(form, laid)
            for number in range(len(edges) - 1):
                yield (
                    turn,
                    Shard(
                        split=name,
                        name=format_name,
                        number=number,
                        of=len(edges) - 1,
                        begin=edges[number],
                        end=edges[number + 1],
                        epoch=self.epoch,
                        format=format_name if self.levels else None,
                    ),
                )
                turn += 1

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


class _WriteShard(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: WriteSplits) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.storage_options)
        self._progress = Progress.open(self._config.progress)

    def process(
        self, element: tuple[int, Any], splits: Mapping[str, LaidSplit]
    ) -> Iterator[WrittenShard]:
        config = self._config
        for shard in element[1]:
            slot, doing = Slot(config.run_id, config.slots), self._progress.doing
            with doing("waiting for memory"):
                slot.take()
            with slot, doing(f"writing {shard.split} {shard.number} of {shard.of}, {shard.name}"):
                writing = ShardWriting(config, shard, splits[shard.split], self._progress)
                yield storage.retry(writing.write, config.output)


class ShardWriting:
    """Writes one shard, reads it back, and publishes it.

    Args:
        config: how.
        shard: which.
        laid: its split.
        progress: where to count.
    """

    def __init__(
        self, config: WriteSplits, shard: Shard, laid: LaidSplit, progress: Progress
    ) -> None:
        self._config, self._shard, self._progress = config, shard, progress
        self._laid = LaidSplit(laid.parts, keep_sources=laid.keep_sources)
        self._form, self._dataset = FORMATS[shard.name], config.dataset
        self._suffixes = self._form.suffixes(config.dataset)
        self._paths = {
            suffix: layout.shard_path(
                split=shard.split,
                number=shard.number,
                of=shard.of,
                extension=suffix,
                epoch=shard.epoch,
                form=shard.format,
            )
            for suffix in self._suffixes
        }
        self._digest = ""

    def write(self) -> WrittenShard:
        """Do all of it.

        Raises:
            DovetailError: it can't be written, or isn't what it has to be.
        """
        config, shard, dataset = self._config, self._shard, self._dataset
        main = self._suffixes[0]
        rows = self._form.unit(dataset) == "rows"
        facts = self._facts(rows)
        sinks: dict[str, HashedFile] = {}
        with contextlib.ExitStack() as stack:
            for suffix in self._suffixes:  # the main file appears last, when all is read back
                file = stack.enter_context(
                    layout.publish(
                        config.output,
                        self._paths[suffix],
                        run_id=config.run_id,
                        check=self._require_readable if suffix == main else None,
                    )
                )
                sinks[suffix] = HashedFile(file)
            writer = self._form.open_writer(sinks, dataset, facts)  # type: ignore[arg-type]
            digest, dropped_rows, dropped_ids = RowsDigest(self._form.keeps(dataset)), 0, 0
            read = self._laid.read_rows if rows else self._laid.read_documents
            for batch in read(shard.begin, shard.end):
                writer.write(batch)
                seen = self._form.seen(batch, dataset)
                digest.add(seen)
                dropped_rows += len(batch) - len(seen)
                dropped_ids += max(len(batch.ids) - len(seen.ids), 0)
                self._progress.add("write", bytes=batch.ids.nbytes, records=len(batch))
            writer.close()
            self._digest = digest.hexdigest()
        files = [
            FileOfShard(
                path=self._paths[s], bytes=sinks[s].tell(), sha256=sinks[s].hasher.hexdigest()
            )
            for s in self._suffixes
        ]
        return WrittenShard(
            PreparedShard(
                epoch=shard.epoch,
                format=shard.name,
                split=shard.split,
                number=shard.number,
                of=shard.of,
                files=files,
                rows=facts.rows,
                ids=facts.ids,
                filler=facts.filler,
                digest=self._digest,
                dropped_rows=dropped_rows,
                dropped_ids=dropped_ids,
            ),
            self._laid.hash,
        )

    def _facts(self, rows: bool) -> ShardFacts:
        begin, end = self._shard.begin, self._shard.end
        if rows:
            ids, filler = self._laid.facts(begin, end)
            return ShardFacts(rows=end - begin, ids=ids, filler=filler)
        ids = self._laid.places_before(end) - self._laid.places_before(begin)
        return ShardFacts(rows=self._laid.streams_between(begin, end), ids=ids)

    def _require_readable(self, url: str) -> None:
        """Raise LosslessError where the files, read again, aren't what was to be written.

        Args:
            url: of the main one, which may lie under another name yet.
        """
        config, digest = self._config, RowsDigest(self._form.keeps(self._dataset))
        what = self._paths[self._suffixes[0]]
        with self._progress.doing(f"reading {what} back"), contextlib.ExitStack() as stack:
            files = {}
            for suffix in self._suffixes:
                main = suffix == self._suffixes[0]
                where = url if main else storage.join(config.output, self._paths[suffix])
                files[suffix] = stack.enter_context(storage.open_read(where))
            try:
                for rows in self._form.read(files, self._dataset):  # type: ignore[arg-type]
                    digest.add(rows)
            except DataError as error:
                raise LosslessError(f"{error}, as soon as it was written; {_AT_FAULT}") from error
        if digest.hexdigest() != self._digest:
            raise LosslessError(
                f"{what}: read back as soon as it was written, its rows should have the digest "
                f"{self._digest}, but have {digest.hexdigest()}; {_AT_FAULT}"
            )
