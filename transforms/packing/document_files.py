"""Document files: documents of ids in their final order, on the way from the mixture to the packing.

A file has pages of documents (``spill_pages``), one after another, and behind them a table of the
pages. Beside it lies a file of all lengths, uint32 each, so that packing can be planned without
the ids.
"""

from __future__ import annotations

import functools
import uuid
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import LosslessError, RunError
from transforms.kernels.arrays import I64, cuts, offsets_of
from transforms.kernels.records.digest import Digest
from transforms.packing.documents import Documents, block_of, documents_in
from transforms.shuffling.file_ranges import TEMPORARY_AT_FAULT, FileRange
from transforms.shuffling.packed import require
from transforms.shuffling.spill_pages import decode_page, encode_page
from transforms.storage import files as storage

TABLE = np.dtype(
    [
        *((name, "<u4") for name in ("length", "documents", "empty", "lengths")),
        *((name, "<u8") for name in ("ids", "hash")),
    ]
)
"""A row a page: its bytes, documents, empty ones among them, the CRC-32 of their lengths, bare ids, and
their conservation hash.
"""

_LENGTHS = ".lengths"
_MOST_LENGTHS = 1 << 20  # that are read at a time


def _pages(table: npt.NDArray[np.void], low: int, high: int) -> tuple[I64, int, int]:
    """Return the first document of each page, and which pages [first, last) hold some documents."""
    firsts = offsets_of(table["documents"])
    first = int(np.searchsorted(firsts, low, side="right")) - 1
    return firsts, first, int(np.searchsorted(firsts, high, side="left"))


class DocumentFile(NamedTuple):
    """Where a document file lies, and what is in it."""

    url: str
    table: FileRange
    documents: int
    empty: int
    ids: int


class DocumentWriter:
    """Writes one document file.

    Args:
        folder: URL of the folder of temporary files.
        page_bytes: of ids, about, that a page has at most.
    """

    def __init__(self, folder: str, *, page_bytes: int = 1 << 20) -> None:
        self.url = storage.join(folder, f"{uuid.uuid4().hex}.documents")  # no attempt meets another
        self._page_bytes = page_bytes
        self._rows: list[tuple[int, ...]] = []

    def write(self, found: Sequence[Any] | Iterator[Documents]) -> DocumentFile:
        """Write documents, of which the caller yields some at a time."""
        self._rows.clear()
        with (
            storage.open_write(self.url) as file,
            storage.open_write(self.url + _LENGTHS) as lengths,
        ):
            for documents in found:
                for begin, end in cuts(
                    documents.offsets * documents.ids.itemsize, limit=self._page_bytes
                ):
                    self._write_page(file, lengths, documents.slice(begin, end))
            table = np.array(self._rows, TABLE)
            begin = int(table["length"].sum(dtype=np.int64))
            where = FileRange.write(file, self.url, begin, table.tobytes())
        totals = (int(table[name].sum(dtype=np.int64)) for name in ("documents", "empty", "ids"))
        return DocumentFile(self.url, where, *totals)

    def _write_page(self, file: Any, lengths: Any, documents: Documents) -> None:
        block = block_of(documents)
        page = encode_page(block, sources=1, digests=[Digest()])
        size = sum(storage.write_all(file, part) for part in page)
        own = np.diff(documents.offsets).astype("<u4")
        storage.write_all(lengths, own.tobytes())
        count, empty, check = len(documents), int((own == 0).sum()), zlib.crc32(own.tobytes())
        self._rows.append((size, count, empty, check, len(documents.ids), documents.hash))


class DocumentIndex:
    """The document files of one sequence, in order: any range of documents can be read.

    Args:
        files: in order.
        special: ids that packing puts around each document.
        skip_empty: whether empty documents have no stream, special ids included.

    Attributes:
        documents, empty, ids: how many in all.
        places: of all streams one after another.
    """

    def __init__(self, files: Sequence[DocumentFile], *, special: int, skip_empty: bool) -> None:
        self._files = [file for file in files if file.documents]
        self._special, self._skip_empty = special, skip_empty
        self._first = offsets_of([file.documents for file in self._files])
        self._place = offsets_of([self._stream(f.documents, f.empty, f.ids) for f in self._files])
        self.documents, self.places = int(self._first[-1]), int(self._place[-1])
        self.empty = sum(file.empty for file in self._files)
        self.ids = sum(file.ids for file in self._files)
        self._table = functools.lru_cache(maxsize=64)(self._read_table)

    def _stream(self, documents: Any, empty: Any, ids: Any) -> Any:
        counted = documents - empty if self._skip_empty else documents
        return ids + counted * self._special

    def streams(self, lengths: I64) -> I64:
        """Return int64[n], how many places each document's stream has, of its bare length."""
        found = lengths + self._special
        return np.where(lengths == 0, 0, found) if self._skip_empty else found

    def _read_table(self, number: int) -> npt.NDArray[np.void]:
        def parse(data: memoryview) -> npt.NDArray[np.void]:
            require(len(data) % TABLE.itemsize == 0, "a table that doesn't end with a whole row")
            return np.frombuffer(data, TABLE)

        return self._files[number].table.parse(parse)

    def first_from(self, place: int) -> tuple[int, int]:
        """Return the first document whose stream begins at a place or after it, and where it does.

        Where there is none: the number of documents, and the number of places.
        """
        if place <= 0:
            return 0, 0
        if place >= self.places:
            return self.documents, self.places
        document, begin = self.holding(place)
        if begin == place:
            return document, begin
        length = int(self.streams(self.lengths(document, document + 1))[0])
        return document + 1, begin + length

    def holding(self, place: int) -> tuple[int, int]:
        """Return the document in whose stream a place lies, and where that begins.

        Of documents without a stream none is meant.
        """
        number = int(np.searchsorted(self._place, place, side="right")) - 1
        table = self._table(number)
        firsts = self._first[number] + offsets_of(table["documents"])
        places = self._place[number] + offsets_of(
            self._stream(
                table["documents"].astype(np.int64),
                table["empty"].astype(np.int64),
                table["ids"].astype(np.int64),
            )
        )
        page = int(np.searchsorted(places, place, side="right")) - 1
        begin, end = int(firsts[page]), int(firsts[page + 1])
        at = int(places[page]) + offsets_of(self.streams(self.lengths(begin, end)))
        inside = int(np.searchsorted(at, place, side="right")) - 1
        return begin + inside, int(at[inside])

    def place_of(self, document: int) -> int:
        """Return where a document's stream begins."""
        if document >= self.documents:
            return self.places
        empty, ids = self._sums_before(document)
        return int(self._stream(document, empty, ids))

    def tokens_before(self, document: int) -> int:
        """Return how many bare ids the documents before one have."""
        return self._sums_before(document)[1]

    def empty_before(self, document: int) -> int:
        """Return how many of the documents before one have no ids."""
        return self._sums_before(document)[0]

    def _sums_before(self, document: int) -> tuple[int, int]:
        """Return how many empty documents there are before one, and how many bare ids."""
        if document >= self.documents:
            return self.empty, self.ids
        number = int(np.searchsorted(self._first, document, side="right")) - 1
        table = self._table(number)
        firsts = self._first[number] + offsets_of(table["documents"])
        page = int(np.searchsorted(firsts, document, side="right")) - 1
        lengths = self.lengths(int(firsts[page]), document)
        empty = sum(file.empty for file in self._files[:number])
        ids = sum(file.ids for file in self._files[:number])
        empty += int(table["empty"][:page].sum(dtype=np.int64)) + int((lengths == 0).sum())
        ids += int(table["ids"][:page].sum(dtype=np.int64)) + int(lengths.sum())
        return empty, ids

    def lengths(self, begin: int, end: int) -> I64:
        """Return int64[end - begin], the bare lengths of documents [begin, end).

        Raises:
            LosslessError: they aren't what was laid down.
        """
        parts = [np.zeros(0, np.int64)]
        for number, low, high in self._inside(begin, end):
            table = self._table(number)
            firsts, first, last = _pages(table, low, high)
            url, at = self._files[number].url + _LENGTHS, int(firsts[first])
            data = FileRange(url, 4 * at, 4 * (int(firsts[last]) - at)).read()
            for page in range(first, last):
                mine = data[4 * (int(firsts[page]) - at) : 4 * (int(firsts[page + 1]) - at)]
                if zlib.crc32(mine) != table["lengths"][page]:
                    raise LosslessError(
                        f"{url}: the lengths of page {page} aren't those written; check memory "
                        "and disk, then run again"
                    )
            parts.append(np.frombuffer(data, "<u4")[low - at : high - at].astype(np.int64))
        return np.concatenate(parts)

    def walk_lengths(self, begin: int, end: int) -> Iterator[I64]:
        """Yield the bare lengths of documents [begin, end), some at a time."""
        for at in range(begin, end, _MOST_LENGTHS):
            yield self.lengths(at, min(at + _MOST_LENGTHS, end))

    def _inside(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield each file that has some of documents [begin, end), and which of its own they are."""
        number = int(np.searchsorted(self._first, begin, side="right")) - 1
        while begin < end:
            first, beyond = int(self._first[number]), int(self._first[number + 1])
            stop = min(end, beyond)
            yield number, begin - first, stop - first
            begin, number = stop, number + 1

    def read(self, begin: int, end: int) -> Iterator[Documents]:
        """Yield documents [begin, end), a page's at a time.

        Raises:
            RunError: a page is damaged.
            LosslessError: it isn't what was laid down.
        """
        for number, low, high in self._inside(begin, end):
            table = self._table(number)
            firsts, first, last = _pages(table, low, high)
            offsets = offsets_of(table["length"])
            url = self._files[number].url
            with storage.open_read(url) as file:
                for page in range(first, last):
                    size = int(table["length"][page])
                    data = FileRange(url, int(offsets[page]), size).read(file)
                    found = self._decode(data, url, page)
                    if len(found) != table["documents"][page] or found.hash != table["hash"][page]:
                        raise LosslessError(
                            f"{url}: page {page} isn't the one written; check memory and disk, "
                            "then run again"
                        )
                    at = int(firsts[page])
                    yield found.slice(max(low - at, 0), min(high - at, len(found)))

    @staticmethod
    def _decode(data: memoryview, url: str, page: int) -> Documents:
        try:
            return documents_in(decode_page(data).block, None)
        except pa.ArrowInvalid as error:
            raise RunError(
                f"{url}: page {page} of documents is damaged: {error}; {TEMPORARY_AT_FAULT}"
            ) from error

    def hash(self, begin: int, end: int) -> int:
        """Return the conservation hash of documents [begin, end), mod 2**64."""
        total = 0
        for number, low, high in self._inside(begin, end):
            table = self._table(number)
            firsts = offsets_of(table["documents"])
            first = int(np.searchsorted(firsts, low, side="left"))
            last = int(np.searchsorted(firsts, high, side="right")) - 1
            base = int(self._first[number])
            if first <= last:
                total += int(table["hash"][first:last].sum(dtype=np.uint64))
                edges = [(low, int(firsts[first])), (int(firsts[last]), high)]
            else:
                edges = [(low, high)]
            for a, b in edges:
                if a < b:
                    total += sum(found.hash for found in self.read(base + a, base + b))
        return total % (1 << 64)
