"""Spill files of streams: the runs of several streams in one file, with a table of their pages."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from transforms.kernels.records import blocks, pages
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.pages import STREAM_TABLE
from transforms.shuffling.exchange import end_spill
from transforms.shuffling.references import spill_url
from transforms.storage import files as storage
from transforms.workers.progress import Progress

if TYPE_CHECKING:
    from transforms.shuffling.streams import SpillStreams


class StreamFiles:
    """Writes spill files, for one worker.

    Args:
        config: how, and where.
        first: whether they are those of the first of two levels.
    """

    def __init__(self, config: SpillStreams, *, first: bool = False) -> None:
        self._config = config
        self._parts = config.streams.partitions if first else config.streams.buckets
        self._folders = config.first_folders if first else config.folders
        self._turn = itertools.count(os.getpid())  # workers begin with different folders
        self._progress = Progress.open(config.progress)

    def write(self, runs: Mapping[int, pa.RecordBatch]) -> tuple[int, bytes]:
        """Write sorted runs of streams, cut into segments; return (0, where the table lies, packed)."""
        folder = self._folders[next(self._turn) % len(self._folders)]
        return 0, storage.retry(lambda: self._write(runs, folder), folder)

    def _write(self, runs: Mapping[int, pa.RecordBatch], folder: str) -> bytes:
        config = self._config
        sources = config.streams.digests
        url = spill_url(folder, uuid.uuid4().hex)  # no attempt meets another
        rows = []
        with self._progress.doing(f"writing {url}"), storage.open_write(url) as file:
            for stream, run in sorted(runs.items()):
                parts = self._parts[stream % config.streams.count]
                for _, block in pages.cut_run(run, parts=parts, page_bytes=config.page_bytes):
                    digests = blocks.digests(block, sources=sources)
                    page = pages.encode_page(
                        block, sources=sources, compression=config.compression, digests=digests
                    )
                    storage.write_all(file, page)
                    total = Digest.total(digests)
                    rows.append(pages.stream_row(block, page.size, stream=stream, digest=total))
            return end_spill(file, url, rows, kind=STREAM_TABLE)
