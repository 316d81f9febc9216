"""Arrow IPC files and streams: rows, read batch by batch, fully validated.

The format has no checksums: a flipped bit in a value goes unnoticed. A stream has to end in its end
marker, which the specification lets writers leave out: without it a truncated stream looks whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from transforms.errors import DataError
from transforms.formats.arrow_messages import bodies_of_batches, body_of_next_batch, first_batch
from transforms.formats.found import Found
from transforms.formats.kept import Kept, text_and_kept, wanted
from transforms.formats.tables import (
    FAULTS,
    Recut,
    check_schema,
    first_line,
    mend,
    read_rows,
    require_schema,
    to_blocks,
)
from transforms.formats.text_places import TextColumns
from transforms.kernels import checks
from transforms.kernels.digest import Digest
from transforms.kernels.rows import Dictionaries
from transforms.kernels.values import row_sizes

_BATCH_BYTES, _BATCH_ROWS = 4 << 20, 1 << 16  # of a record batch that we write
_CONTINUES, _END = b"\xff\xff\xff\xff", b"\0\0\0\0"  # before version 0.15, the latter alone


class Reader:
    """Reads a file or a stream, all of it in the span that begins it, nothing in others.

    Args:
        file: binary, with ``read``, ``seek`` and ``tell``.
        name: what errors call it.
        size: in bytes.
        start: of the span, in bytes.
        stream: a stream, not a file.
        schema: that it has to have.
        column: of text, the one to be read; None for all.
        kept: the columns that are read beside that of text, behind it.
        chunk_bytes: about how large a block may get.
        record_limit: the most bytes that a row may take.
        batch_limit: the most bytes that a record batch may have, which is held whole.
        source: index for a ``source`` column.

    Attributes:
        whole: how many rows it has, known at the end of the span that begins it.
    """

    def __init__(
        self,
        file: Any,
        *,
        name: str,
        size: int,
        start: int = 0,
        stream: bool,
        schema: pa.Schema | None = None,
        column: str | None = None,
        kept: Kept | None = None,
        chunk_bytes: int = 2 << 20,
        record_limit: int = 256 << 20,
        batch_limit: int = 256 << 20,
        source: int | None = None,
    ) -> None:
        self._file, self._name, self._size, self._stream = file, name, size, stream
        self._chunk_bytes, self._record_limit, self._source = chunk_bytes, record_limit, source
        self._batch_limit = batch_limit
        self.blank = self.marks = self.trailing = 0  # of lines alone
        self.whole: int | None = None
        self._mine = start == 0
        self._text: TextColumns | None = None
        self._kept: list[str] = []
        if not self._mine:  # nor is its footer read, which lists every batch, in each of its spans
            return
        file.seek(0)
        self._end = _CONTINUES + _END if file.read(4) == _CONTINUES else _END
        file.seek(0)
        try:
            self._arrow = self._open()
            self.schema: pa.Schema = self._arrow.schema
            if column is not None:
                self._text = TextColumns(self.schema, column, name=name)
                self.schema = text_and_kept(self.schema, column, kept, name=name)
                self._kept = list(self.schema.names[1:])
            check_schema(self.schema, name=name)
        except FAULTS as error:
            raise self._broken("its schema", error) from error
        self._wanted = wanted(self.schema, kept)
        if schema is not None:
            require_schema(self.schema, schema, name=name)
            self._wanted = schema

    def _open(self) -> Any:
        return pa.ipc.open_stream(self._file) if self._stream else pa.ipc.open_file(self._file)

    def sample(self) -> tuple[float | None, float]:
        """Return the mean logical bytes of the first batch's rows, None without any, and the ratio
        of all its bytes to those that it takes in the file.
        """
        body = first_batch(self._file, stream=self._stream, name=self._name).body
        self._file.seek(0)
        self._arrow = self._open()
        batch = next(self._batches(), None)
        if batch is None or not len(batch):
            return None, 1.0
        try:
            if self._text is not None:
                batch = self._text.take(batch, self._kept)
            checks.bad_rows(batch)
            sizes = row_sizes(read_rows(batch, name=self._name))
        except FAULTS as error:
            raise self._broken("record batch 0", error) from error
        return float(sizes.mean()), float(sizes.sum()) / body if body else 1.0

    @property
    def consumed(self) -> int:
        """How many bytes were read so far."""
        at: int = self._file.tell()
        return at

    def covered(self, digest: Digest) -> int:
        """Return how much of ``whole`` the records with this digest are."""
        return digest.records

    def __iter__(self) -> Iterator[Found]:
        """Yield what is found.

        Raises:
            DataError: a batch can't be read or isn't valid, the end is missing, a row or a batch is
                too large.
        """
        rows = 0
        for number, batch in enumerate(self._batches() if self._mine else ()):
            # not nbytes, which follows offsets that nobody has looked at yet
            self._require_small(number, batch.get_total_buffer_size())
            try:
                yield from to_blocks(
                    batch if self._text is None else self._text.take(batch, self._kept),
                    first=rows,
                    chunk_bytes=self._chunk_bytes,
                    record_limit=self._record_limit,
                    name=self._name,
                    source=self._source,
                    schema=self._wanted,
                )
            except FAULTS as error:
                raise self._broken(f"record batch {number}", error) from error
            rows += len(batch)
        self.whole = rows if self._mine else None

    def _require_small(self, number: int, size: int) -> None:
        if size > self._batch_limit:
            raise DataError(
                f"{self._name}: record batch {number} has {size} bytes, and the memory "
                f"given allows {self._batch_limit}; write it with smaller batches, or give more "
                "--memory or fewer --workers"
            )

    def _batches(self) -> Iterator[pa.RecordBatch]:
        bodies = {} if self._stream else dict(enumerate(bodies_of_batches(self._file, self._size)))
        number = at = 0
        while True:
            at = self._file.tell()
            body = body_of_next_batch(self._file) if self._stream else bodies.get(number, 0)
            if body <= self._size:  # else it is damaged
                self._require_small(number, body)  # before it is read
            try:
                if self._stream:
                    batch = self._arrow.read_next_batch()
                elif number < self._arrow.num_record_batches:
                    batch = self._arrow.get_batch(number)
                else:
                    return
            except StopIteration:
                break
            except FAULTS as error:
                raise self._broken(f"record batch {number}", error) from error
            yield batch
            number += 1
        end = self._file.tell()
        self._file.seek(at)
        if end != self._size or self._file.read(len(self._end) + 1) != self._end:
            raise DataError(
                f"{self._name}: expected an end-of-stream marker at its end, at byte {self._size}; the "
                f"stream ends at byte {end}: it is truncated, or something follows; write it again"
            )

    def _broken(self, what: str, error: BaseException) -> DataError:
        return DataError(
            f"{self._name}: expected Arrow IPC, {what} can't be read (about byte {self._file.tell()}): "
            f"{first_line(error)}; {mend(error)}"
        )


class Writer:
    """Writes rows to a file or a stream: record batches of 4 MiB of logical bytes or 2**16 rows.

    Args:
        sink: a binary file.
        schema: of the file.
        compression: one of COMPRESSIONS.
        stream: write a stream, not a file.

    Attributes:
        recut: cuts rows into the batches to be written.
    """

    def __init__(self, sink: Any, schema: pa.Schema, *, compression: str, stream: bool) -> None:
        self.recut = Recut(
            schema,
            batch_bytes=_BATCH_BYTES,
            batch_rows=_BATCH_ROWS,
            dictionaries=Dictionaries(),  # the file format knows additions to one alone
        )
        options = pa.ipc.IpcWriteOptions(
            compression=None if compression == "none" else compression,
            emit_dictionary_deltas=True,
            use_threads=False,
        )
        new = pa.ipc.new_stream if stream else pa.ipc.new_file
        self._writer = new(sink, schema, options=options)

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write a batch that ``recut`` gave."""
        self._writer.write_batch(batch)

    def close(self) -> None:
        """Write the end."""
        self._writer.close()
