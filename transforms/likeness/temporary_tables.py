"""Tables in temporary files: what is too much to travel through a runner."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa

from transforms.datasets.compact import unpack
from transforms.errors import RunError
from transforms.shuffling.file_ranges import TEMPORARY_AT_FAULT, FileRange, write_references


def write_tables(folder: str, tables: Callable[[], Iterable[pa.RecordBatch]]) -> list[FileRange]:
    """Write tables one after another into a new file of a folder; return where each lies.

    Args:
        folder: URL of the folder of temporary files.
        tables: makes them; called once more where the storage failed and it is tried again.
    """
    return write_references(folder, lambda: map(_encoded, tables()))


def read_table(where: FileRange) -> pa.RecordBatch:
    """Read a table that ``write_tables`` wrote.

    Raises:
        RunError: it can't be read, or isn't what was written.
    """
    try:
        found = unpack(bytes(where.read_checked()))
        found.validate(full=True)
    except (pa.ArrowInvalid, StopIteration) as error:
        raise RunError(
            f"{where.url}: the data at byte {where.offset} isn't what Dovetail wrote there: "
            f"{error}; {TEMPORARY_AT_FAULT}"
        ) from error
    return found


def _encoded(table: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_batch(table)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded
