"""Writing a split in a trainer's format: ranges of its rows, or documents, to files of shards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from transforms.datasets.prepared import FileOfShard
from transforms.datasets.write import HashedFile
from transforms.errors import DataError, LosslessError
from transforms.packing.laid import LaidSplit
from transforms.storage import files as storage
from transforms.storage import layout
from transforms.trainers.digest import RowsDigest
from transforms.trainers.formats import FORMATS
from transforms.trainers.row_groups import few_at_once
from transforms.trainers.shards import AT_FAULT, Shard, ShardsToWrite, WrittenShard
from transforms.trainers.write_parts import WriteInParts
from transforms.workers.progress import Progress
from transforms.workers.round_robin import GroupRoundRobin
from transforms.workers.slots import Slot


@dataclass(eq=False, kw_only=True)
class WriteSplits(ShardsToWrite, beam.PTransform):  # type: ignore[misc]
    """Write splits in formats: splits, of type (name, LaidSplit) -> WrittenShard."""

    def expand(self, splits: Any) -> Any:
        """List shards, hand them out, write."""
        found = beam.pvalue.AsDict(splits)
        whole = (
            splits
            | "ListShards" >> beam.FlatMap(self._list_whole).with_output_types(tuple[int, Shard])
            | "InTurn" >> GroupRoundRobin(Shard)
            | "Write" >> beam.ParDo(_WriteShard(self), found)
        )
        in_parts = splits | "InParts" >> WriteInParts(self)
        return (whole, in_parts) | "Written" >> beam.Flatten()

    def _list_whole(self, split: tuple[str, LaidSplit]) -> Iterator[tuple[int, Shard]]:
        """Yield (turn, shard) of those that have one writer."""
        for turn, shard in enumerate(self.list_shards(split)):
            if not self.stretches(shard, split[1]):
                yield turn, shard


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
        self._paths = {suffix: shard.path(suffix) for suffix in self._suffixes}
        self._digest = ""

    def write(self) -> WrittenShard:
        """Do all of it.

        Raises:
            DovetailError: it can't be written, or isn't what it has to be.
        """
        config, shard, dataset = self._config, self._shard, self._dataset
        self._laid.hash = 0  # of an attempt before this one
        main = self._suffixes[0]
        rows = self._form.unit(dataset) == "rows"
        facts = config.facts(shard, self._laid)
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
            # of a split without rows the first shard alone accounts for its documents
            first = shard.begin < shard.end or shard.number == 0
            for batch in few_at_once(read(shard.begin, shard.end) if first else ()):
                writer.write(batch)
                digest.add(self._form.seen(batch, dataset))
                left_out = self._form.left_out(batch, dataset)
                dropped_rows += int(left_out.sum())
                dropped_ids += int(np.diff(batch.offsets)[left_out].sum())
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
            shard.entry(
                facts,
                files,
                digest=self._digest,
                dropped_rows=dropped_rows,
                dropped_ids=dropped_ids,
            ),
            self._laid.hash,
        )

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
                raise LosslessError(f"{error}, as soon as it was written; {AT_FAULT}") from error
        if digest.hexdigest() != self._digest:
            raise LosslessError(
                f"{what}: read back as soon as it was written, its rows should have the digest "
                f"{self._digest}, but have {digest.hexdigest()}; {AT_FAULT}"
            )
