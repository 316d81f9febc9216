"""Where bad records are kept: a Parquet file per span that has any, beside the shards."""

from __future__ import annotations

import hashlib
import tempfile
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from transforms.datasets.reports import Quarantine
from transforms.datasets.source_files import SourceFile
from transforms.errors import DataError
from transforms.kernels.records import blocks
from transforms.storage import files as storage
from transforms.storage import layout


class QuarantineFile:
    """A file with columns source, file, position, reason and record; made with its first record.

    Text is kept as bytes, since it may be what is bad. A context: what was kept is published where it
    ends well. Until then it lies in a local temporary file, as it may be as large as the input, so
    that publishing can be tried again.

    Args:
        output, run_id: of the dataset.
        file, start: the span's.
        scratch: folder for the temporary file; None for the system's.

    Attributes:
        report: what was published, None where nothing was bad; set at the end.
    """

    def __init__(
        self, output: str, run_id: str, *, file: SourceFile, start: int, scratch: str | None = None
    ) -> None:
        self._output, self._run_id, self._file = output, run_id, file
        self._path = layout.quarantine_path(source=file.source, name=file.name, start=start)
        self._scratch = scratch
        self._records = 0
        self._spool: IO[bytes] | None = None
        self._writer: pq.ParquetWriter | None = None
        self.report: Quarantine | None = None

    def add(self, bad: pa.RecordBatch, reasons: tuple[str, ...]) -> None:
        """Keep bad records.

        Raises:
            DataError: Parquet can't hold them.
        """
        record = bad.column("record")
        table = pa.table(
            {
                "source": pa.repeat(self._file.source, len(bad)),
                "file": pa.repeat(self._file.url, len(bad)),
                "position": bad.column("position"),
                "reason": pa.array(reasons, pa.string()),
                "record": record.cast(_as_bytes(record.type))
                if blocks.is_rows(bad)
                else blocks.bare(bad),
            }
        )
        try:
            if self._writer is None:
                self._spool = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115  # closed at the end
                self._writer = pq.ParquetWriter(
                    self._spool, table.schema, compression="zstd", write_page_checksum=True
                )
            with storage.disk_full_is_ours(self._scratch or tempfile.gettempdir()):
                self._writer.write_table(table)
        except pa.ArrowNotImplementedError as error:
            raise DataError(
                f"{self._file.url}: its bad rows can't be written to the quarantine as Parquet: "
                f"{error}; fix them, or pass --on_bad_record=skip"
            ) from error
        self._records += len(bad)

    def __enter__(self) -> QuarantineFile:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._spool is None:
            return
        with self._spool as spool:
            if error is None and self._writer is not None:
                self._writer.close()
                url = storage.join(self._output, self._path)
                self.report = storage.retry(lambda: self._publish(spool), url)

    def _publish(self, spool: IO[bytes]) -> Quarantine:
        hasher = hashlib.sha256()
        spool.seek(0)
        with layout.publish(self._output, self._path, run_id=self._run_id) as file:
            while piece := spool.read(1 << 20):
                hasher.update(piece)
                storage.write_all(file, piece)
            size = spool.tell()
        return Quarantine(self._path, self._records, bytes=size, sha256=hasher.hexdigest())


def _as_bytes(kind: pa.DataType) -> Any:
    """Return a type with bytes in the place of text."""
    if pt.is_string(kind):
        return pa.binary()
    if pt.is_large_string(kind):
        return pa.large_binary()
    if pt.is_struct(kind):
        return pa.struct([field.with_type(_as_bytes(field.type)) for field in kind])
    if pt.is_map(kind):
        return pa.map_(_as_bytes(kind.key_type), _as_bytes(kind.item_type))
    if pt.is_fixed_size_list(kind):
        return pa.list_(_as_bytes(kind.value_type), kind.list_size)
    if pt.is_list(kind):
        return pa.list_(_as_bytes(kind.value_type))
    if pt.is_large_list(kind):
        return pa.large_list(_as_bytes(kind.value_type))
    return kind
