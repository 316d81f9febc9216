"""Writing large shards by many workers: each lays its part down where it belongs in the file.

A shard's parts are rows, or documents, one after another; where each begins in the file follows from
counts. When all are written, one step per shard writes the index, reads the file back, a part at a time,
and compares what a reader sees with what was laid down; then it appears. The same reading gives the
file's SHA-256, which can't be made of its parts': so each byte is read once, by one worker a file.
"""

from __future__ import annotations

import contextlib
import copy
import uuid
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np

from transforms.packing.laid import LaidSplit
from transforms.storage import files as storage
from transforms.storage import layout, parts
from transforms.trainers.complete_shard import Part, WrittenPart, complete_shard
from transforms.trainers.contract import Dataset
from transforms.trainers.digest import RowsDigest
from transforms.trainers.megatron import IDS, Megatron, RowsOfIds
from transforms.trainers.row_groups import few_at_once
from transforms.trainers.shards import ShardsToWrite, WrittenShard
from transforms.workers.progress import Progress
from transforms.workers.round_robin import GroupRoundRobin
from transforms.workers.slots import Slot


class WriteInParts(beam.PTransform):  # type: ignore[misc]
    """Write the shards that many workers write: (name, LaidSplit) -> WrittenShard.

    Args:
        config: how splits become shards; ``ShardsToWrite.stretches`` says which go in parts.
    """

    def __init__(self, config: ShardsToWrite) -> None:
        self._config = config

    def expand(self, splits: Any) -> Any:
        """Begin the files, hand parts out, write them, complete the files."""
        found = beam.pvalue.AsDict(splits)
        numbered = tuple[int, Part]
        return (
            splits
            | "BeginFiles" >> beam.ParDo(_BeginFiles(self._config)).with_output_types(numbered)
            | "InTurn" >> GroupRoundRobin(Part)
            | "WritePart" >> beam.ParDo(_WritePart(self._config), found)
            | "ByFile" >> beam.GroupBy(_url_of)
            | "Complete" >> beam.ParDo(_Complete(self._config))
        )


def _url_of(written: WrittenPart) -> str:
    return written.part.file.url


class _Step(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: ShardsToWrite) -> None:
        # not the PTransform that it may be, which belongs to a pipeline
        names = ShardsToWrite.__dataclass_fields__
        self._config = ShardsToWrite(**{name: getattr(config, name) for name in names})

    def setup(self) -> None:
        storage.configure(self._config.storage_options)
        self._progress = Progress.open(self._config.progress)


class _BeginFiles(_Step):
    def process(self, split: tuple[str, LaidSplit]) -> Iterator[tuple[int, Part]]:
        config, turn = self._config, 0
        for shard in config.list_shards(split):
            found = config.stretches(shard, split[1])
            if not found:
                continue
            size = found[-1].offset + found[-1].size
            file = parts.begin(config.output, shard.path(IDS), size=size, run_id=config.run_id)
            facts, first = config.facts(shard, split[1]), 1
            for number, stretch in enumerate(found):
                yield (
                    turn,
                    Part(
                        shard=shard,
                        facts=facts,
                        file=file,
                        number=number,
                        of=len(found),
                        stretch=stretch,
                        first=first,
                    ),
                )
                turn, first = turn + 1, first + parts.numbers(stretch.size, of=size)


class _WritePart(_Step):
    def process(
        self, element: tuple[int, Iterable[Part]], splits: Mapping[str, LaidSplit]
    ) -> Iterator[WrittenPart]:
        config, doing = self._config, self._progress.doing
        for part in element[1]:
            slot = Slot(config.run_id, config.slots)
            with doing("waiting for memory"):
                slot.take()
            with slot, doing(f"writing {part.file.path}, part {part.number} of {part.of}"):
                laid = splits[part.shard.split]
                write = partial(write_part, part, laid, config.dataset, self._progress)
                yield storage.retry(write, part.file.url)


def write_part(part: Part, laid: LaidSplit, dataset: Dataset, progress: Progress) -> WrittenPart:
    """Write one part; done twice it writes the same bytes to the same place.

    Args:
        part: which.
        laid: its split.
        dataset: what is true of all files.
        progress: where to count.

    Raises:
        DovetailError: it can't be written, or isn't of the size that the counts gave.
    """
    form, stretch = Megatron(), part.stretch
    laid = copy.copy(laid)
    laid.hash = 0
    digest, rows, dropped_rows, dropped_ids = RowsDigest(form.keeps(dataset)), 0, 0, 0
    documents = form.unit(dataset) == "documents"
    read = laid.read_documents if documents else laid.read_rows
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(
            parts.PartWriter(part.file, offset=stretch.offset, size=stretch.size, first=part.first)
        )
        writer, lengths, url = RowsOfIds(form, file, dataset), None, ""
        if documents:
            folder = storage.join(part.file.output, layout.TEMPORARY + part.file.run_id)
            url = storage.join(folder, f"{uuid.uuid4().hex}.lengths")
            storage.make_folder(folder)
            lengths = stack.enter_context(storage.open_write(url))
        for batch in few_at_once(read(stretch.begin, stretch.end)):
            seen = writer.write(batch, first=stretch.begin - part.shard.begin + rows)
            digest.add(seen)
            if lengths is not None:
                storage.write_all(lengths, np.diff(seen.offsets))
            rows += len(seen)
            dropped_rows += len(batch) - len(seen)
            dropped_ids += max(len(batch.ids) - len(seen.ids), 0)
            progress.add("write", bytes=batch.ids.nbytes, records=len(batch))
        sent = file.close()
    return WrittenPart(
        part=part,
        sent=sent,
        rows=rows,
        dropped_rows=dropped_rows,
        dropped_ids=dropped_ids,
        digest=digest.hexdigest(),
        lengths=url,
        hash=laid.hash,
    )


class _Complete(_Step):
    def process(self, element: tuple[str, Iterable[WrittenPart]]) -> Iterator[WrittenShard]:
        config, doing = self._config, self._progress.doing
        slot = Slot(config.run_id, config.slots)
        with doing("waiting for memory"):
            slot.take()
        written = sorted(element[1], key=lambda one: one.part.number)
        with slot, doing(f"reading {written[0].part.file.path} back"):
            yield storage.retry(partial(complete_shard, written, config.dataset), element[0])
