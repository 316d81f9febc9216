"""Make zstd and Parquet files of JSON lines.

python bench/make_formats.py zstd|parquet CORPUS.jsonl FOLDER FILES [BYTES_OF_A_ROW_GROUP]
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq
from backports import zstd


def pieces(corpus: Path, size: int) -> Iterator[bytes]:
    """Yield a line file in pieces of about ``size`` bytes that end with a line."""
    with corpus.open("rb") as source:
        while piece := source.read(size):
            yield piece + source.readline()


def write_zstd(corpus: Path, folder: Path, files: int) -> None:
    """Write a line file as some zstd files."""
    folder.mkdir()
    for number, piece in enumerate(pieces(corpus, -(-corpus.stat().st_size // files))):
        with zstd.open(folder / f"part-{number:03}.jsonl.zst", "wb") as writer:
            writer.write(piece)


def write_parquet(corpus: Path, folder: Path, *, files: int, group: int) -> None:
    """Write JSON lines as some Parquet files with row groups of about ``group`` bytes of lines."""
    folder.mkdir()
    per_file = -(-corpus.stat().st_size // files)
    number, written, writer = 0, 0, None
    for piece in pieces(corpus, group):
        tables = [
            pyarrow.json.read_json(
                io.BytesIO(part), read_options=pyarrow.json.ReadOptions(block_size=32 << 20)
            )
            for part in _parts(piece)
        ]
        table = _unlike(pa.concat_tables(tables))
        if writer is None:
            writer = pq.ParquetWriter(
                folder / f"part-{number:03}.parquet", table.schema, compression="zstd"
            )
        writer.write_table(table, row_group_size=len(table))
        written += len(piece)
        if written >= per_file:
            writer.close()
            number, written, writer = number + 1, 0, None
    if writer is not None:
        writer.close()


def _unlike(table: pa.Table) -> pa.Table:
    """Put a record's number before its text: the corpus repeats some texts, which no real one does
    so often, and dictionaries would make of that what they can't elsewhere.
    """
    number = table["id"].cast(pa.string())
    text = pc.binary_join_element_wise(number, table["text"], " ")
    return table.set_column(table.schema.get_field_index("text"), "text", text)


def _parts(piece: bytes) -> Iterator[bytes]:
    source = io.BytesIO(piece)
    while part := source.read(64 << 20):
        yield part + source.readline()


def main() -> None:
    kind, corpus, folder, files, group = sys.argv[1:]
    if kind == "zstd":
        write_zstd(Path(corpus), Path(folder), int(files))
    else:
        write_parquet(Path(corpus), Path(folder), files=int(files), group=int(group))


if __name__ == "__main__":
    main()
