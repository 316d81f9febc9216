"""What is laid aside: records of the smaller splits of a unit, in order, until they make shards.

A file has pages (``spill_pages``) of several splits, in the order in which they were filled, and behind
them a table of the pages.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.datasets.write import Ordered
from transforms.errors import RunError
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.records import blocks
from transforms.shuffling.file_ranges import TEMPORARY_AT_FAULT, FileRange
from transforms.shuffling.packed import require
from transforms.shuffling.spill_pages import decode_page, encode_page
from transforms.storage import files as storage

TABLE = np.dtype([("split", "<u4"), ("length", "<u4"), ("records", "<u8"), ("payload", "<u8")])
"""A row a page: the number of its split, its bytes, its records, and the memory that these take."""

PAGE_BYTES, WAITING_BYTES = 1 << 20, 8 << 20
"""Footprint at which a page is written, and which all splits' records together may have that wait."""


class AsideWriter:
    """Writes one file of what is laid aside.

    Args:
        folder: URL of the folder of temporary files.
        sources: how many sources the records are of.
    """

    def __init__(self, folder: str, *, sources: int) -> None:
        self.url = storage.join(folder, f"{uuid.uuid4().hex}.aside")  # no attempt meets another
        self._sources = sources
        self._opening = storage.open_write(self.url)
        self._file: Any = None
        self._waiting: dict[int, list[pa.RecordBatch]] = {}
        self._size: dict[int, int] = {}
        self._rows: list[tuple[int, ...]] = []

    def __enter__(self) -> AsideWriter:
        self._file = self._opening.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        self._opening.__exit__(*failure)

    def add(self, split: int, block: pa.RecordBatch) -> None:
        """Lay records of a split aside, behind those that are there."""
        block = blocks.with_hashes(block) if "hash0" not in block.schema.names else block
        waiting = self._waiting.setdefault(split, [])
        if waiting and not waiting[0].schema.equals(block.schema, check_metadata=True):
            self._write(split)
        waiting.append(block)
        self._size[split] = self._size.get(split, 0) + blocks.block_footprint(block)
        if self._size[split] >= PAGE_BYTES:
            self._write(split)
        elif sum(self._size.values()) >= WAITING_BYTES:  # of very many splits
            self._write(max(self._size, key=self._size.__getitem__))

    def _write(self, split: int) -> None:
        self._size[split] = 0
        for block in blocks.slices(blocks.join(self._waiting[split]), limit=1 << 30):
            page = encode_page(block, sources=self._sources)
            length = sum(storage.write_all(self._file, part) for part in page)
            self._rows.append((split, length, len(block), blocks.payload_bytes(block)))

    def close(self) -> FileRange:
        """Write what waits, and the table; return where that lies."""
        for split, waiting in self._waiting.items():
            if waiting:
                self._write(split)
        table = np.array(self._rows, TABLE)
        begin = int(table["length"].sum(dtype=np.int64))
        return FileRange.write(self._file, self.url, begin, table.tobytes())

    def sizes(self, splits: int) -> list[int]:
        """Return how many bytes were laid aside of each split, when it is closed."""
        found = np.zeros(splits, np.int64)
        for split, _, _, payload in self._rows:
            found[split] += payload
        return [int(size) for size in found]


def read_aside(where: FileRange, split: int) -> Iterator[Ordered]:
    """Yield the records of a split in order, with the digests that they had when they were laid aside.

    Args:
        where: a file's table, as of ``AsideWriter.close``.
        split: its number.

    Raises:
        RunError: the file can't be read, or is damaged.
    """
    table = where.parse(_table_of)
    begins: I64 = offsets_of(table["length"])
    if int(begins[-1]) != where.offset:
        raise RunError(
            f"{where.url}: expected its pages to end where its table begins; {TEMPORARY_AT_FAULT}"
        )
    for place in np.flatnonzero(table["split"] == split).tolist():
        page = FileRange(where.url, int(begins[place]), int(table["length"][place]))
        try:
            found = decode_page(page.read())
        except pa.ArrowInvalid as error:
            raise RunError(
                f"{where.url}: damaged at byte {page.offset}: {error}; {TEMPORARY_AT_FAULT}"
            ) from error
        yield Ordered(found.block, found.digests)


def _table_of(data: memoryview) -> npt.NDArray[np.void]:
    require(len(data) % TABLE.itemsize == 0, f"{len(data)} bytes, which aren't whole rows")
    return np.frombuffer(data, TABLE)
