"""Arrow IPC files and streams: rows, read batch by batch, fully validated.

The format has no checksums: a flipped bit in a value goes unnoticed. A stream has to end in its end
marker, which the specification lets writers leave out: without it a truncated stream looks whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa

from transforms.errors import DataError
from transforms.formats.arrow_messages import bodies_of_batches, body_of_next_batch, first_batch
from transforms.formats.readers import Found, ReadTask
from transforms.formats.schemas import check_schema, faults_named
from transforms.formats.tables import RowReader, RowsLook, RowWriter, read_rows
from transforms.kernels.records import find_bad
from transforms.kernels.records.arrow_values import list_lengths, row_sizes
from transforms.kernels.records.rows import Dictionaries

_BATCH_BYTES, _BATCH_ROWS = 4 << 20, 1 << 16  # of a record batch that we write
_CONTINUES, _END = b"\xff\xff\xff\xff", b"\0\0\0\0"  # before version 0.15, the latter alone


class Reader(RowReader):
    """Reads a file or a stream, all of it in the span that begins it, nothing in others.

    Args:
        file: binary, with ``read``, ``seek`` and ``tell``.
        task: the span, and how to read it. Its record limit is that of a batch, which is held whole.
        stream: a stream, not a file.

    Attributes:
        whole: how many rows it has, known at the end of the span that begins it.
    """

    def __init__(self, file: Any, task: ReadTask, *, stream: bool) -> None:
        super().__init__(task, record_limit=task.options.record_limit)
        self._file, self._size, self._stream = file, task.size, stream
        self.whole: int | None = None
        if task.start > 0:  # nor is its footer read, which lists every batch, in each of its spans
            return
        file.seek(0)
        self._end = _CONTINUES + _END if file.read(4) == _CONTINUES else _END
        file.seek(0)
        with self._reading("its schema"):
            self._arrow = self._open()
            self._choose_columns(self._arrow.schema)
            check_schema(self.schema, name=self._name)

    def _open(self) -> Any:
        return pa.ipc.open_stream(self._file) if self._stream else pa.ipc.open_file(self._file)

    def _reading(self, what: str) -> AbstractContextManager[None]:
        """Raise a DataError that names what can't be read in the place of Arrow's errors."""
        return faults_named(
            lambda: (
                f"{self._name}: expected Arrow IPC, {what} can't be read (about byte "
                f"{self._file.tell()})"
            )
        )

    def look(self, *, sample: bool, lists: str | None = None) -> RowsLook:
        """Say what the file looks like, by its first batch where a sample is wanted.

        Args:
            sample: look at some rows.
            lists: a column whose lists' lengths are wanted.

        Raises:
            DataError: it can't be read.
        """
        if not sample:  # a batch has to be read whole to learn how it is compressed
            return RowsLook(None)
        compression, body = first_batch(self._file, stream=self._stream, name=self._name)
        self._file.seek(0)
        self._arrow = self._open()
        batch = next(self._batches(), None)
        if batch is None or not len(batch):
            return RowsLook(compression)
        with self._reading("record batch 0"):
            batch = self._columns.take(batch)
            find_bad.bad_rows(batch)
            rows = read_rows(batch, name=self._name)
            sizes = row_sizes(rows)
            tokens = float(list_lengths(rows.field(lists)).mean()) if lists is not None else None
        expansion = float(sizes.sum()) / body if body else 1.0
        return RowsLook(
            compression,
            record_bytes=float(sizes.mean()),
            record_tokens=tokens,
            expansion=expansion,
        )

    @property
    def consumed(self) -> int:
        """How many bytes were read so far."""
        at: int = self._file.tell()
        return at

    def __iter__(self) -> Iterator[Found]:
        """Yield what is found.

        Raises:
            DataError: a batch can't be read or isn't valid, the end is missing, a row or a batch is
                too large.
        """
        if self._task.start > 0:
            return
        rows = 0
        for number, batch in enumerate(self._batches()):
            # not nbytes, which follows offsets that nobody has looked at yet
            self._require_small(number, batch.get_total_buffer_size())
            with self._reading(f"record batch {number}"):
                yield from self._to_blocks(self._columns.take(batch), first=rows)
            rows += len(batch)
        self.whole = rows

    def _require_small(self, number: int, size: int) -> None:
        if size > self._record_limit:
            raise DataError(
                f"{self._name}: record batch {number} has {size:,} bytes, and --memory allows "
                f"{self._record_limit:,}; write the file with smaller batches, or pass more "
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
            with self._reading(f"record batch {number}"):
                if self._stream:
                    batch = next(self._arrow, None)
                    if batch is None:
                        break
                elif number < self._arrow.num_record_batches:
                    batch = self._arrow.get_batch(number)
                else:
                    return
            yield batch
            number += 1
        end = self._file.tell()
        self._file.seek(at)
        if end != self._size or self._file.read(len(self._end) + 1) != self._end:
            raise DataError(
                f"{self._name}: expected an end-of-stream marker at the end of the file, byte "
                f"{self._size}; the stream ends at byte {end}: it is truncated, or other data "
                "follows; write it again"
            )


class Writer(RowWriter):
    """Writes rows to a file or a stream: record batches of 4 MiB of logical bytes or 2**16 rows.

    Args:
        sink: a binary file.
        schema: of the file.
        compression: one of COMPRESSIONS.
        stream: write a stream, not a file.
    """

    def __init__(self, sink: Any, schema: pa.Schema, *, compression: str, stream: bool) -> None:
        options = pa.ipc.IpcWriteOptions(
            compression=None if compression == "none" else compression,
            emit_dictionary_deltas=True,
            use_threads=False,
        )
        new = pa.ipc.new_stream if stream else pa.ipc.new_file
        super().__init__(
            new(sink, schema, options=options),
            schema,
            batch_bytes=_BATCH_BYTES,
            batch_rows=_BATCH_ROWS,
            dictionaries=Dictionaries(),  # the file format knows additions to one alone
        )
