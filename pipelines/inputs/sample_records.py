"""Some records of each source, read before work, for estimates and to see what they are like."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import pyarrow as pa

from pipelines.inputs.counted_column import holds_ids
from pipelines.inputs.preflight import Inputs
from pipelines.recipes.recipe import Recipe
from transforms.datasets.listing import list_source
from transforms.datasets.source_files import SourceFile
from transforms.errors import DataError, DovetailError
from transforms.formats.detection import detect
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import open_rows, open_span
from transforms.storage import files as storage

_FILES = 4  # of a source that are looked into
_PLACES = 4  # of a large file of lines
_BYTES = 1 << 15  # that are read there, about
_RECORDS = 512  # of a block that are taken, at most


def sample_records(inputs: Inputs, reading: Recipe) -> dict[str, list[pa.RecordBatch]]:
    """Return blocks of some records by source, as ReadRecords would give them.

    Records that are bad, and files that can't be read, are left for the work to find.
    """
    chosen: dict[str, list[SourceFile]] = {name: [] for name in inputs.patterns}
    for file in inputs.files.every(max(1, len(inputs.files) // 4096)):
        if file.size:
            chosen[file.source].append(file)
    found: dict[str, list[pa.RecordBatch]] = {}
    for name, files in chosen.items():
        found[name] = []
        for file in files[:: -(-len(files) // _FILES) or 1]:
            with contextlib.suppress(DovetailError):
                found[name] += _read(file, inputs, reading)
    return found


def _read(file: SourceFile, inputs: Inputs, reading: Recipe) -> Iterator[pa.RecordBatch]:
    contents = inputs.contents
    options = ReadOptions(
        line_format=contents.line_format,
        format=reading.format,
        rows=contents.schema is not None,
        text_field=reading.text_field,
        chunk_bytes=_BYTES,
    )
    with storage.open_read(file.url) as opened:
        told = file.format or detect(opened, name=file.url, size=file.size, said=reading.format)
        places = 1
        if told.kind == "lines" and told.codec is None and file.size > _PLACES * 4 * _BYTES:
            places = _PLACES
        for place in range(places):
            start = file.size * place // places
            stop = file.size if places == 1 else start + _BYTES
            task = ReadTask(name=file.url, size=file.size, start=start, stop=stop, options=options)
            for one in open_span(opened, task, told=file.format):
                if len(one.block):
                    yield one.block.slice(0, _RECORDS)
                    break


def ids_column_in(recipe: Recipe, column: str) -> bool:
    """Return whether the first file that holds anything has rows with a column of lists of integers."""
    for name in sorted(recipe.sources):
        for file in list_source(name, recipe.sources[name], extensions=recipe.extension or ()):
            if not file.size:
                continue
            with storage.open_read(file.url) as opened:
                told = file.format or detect(
                    opened, name=file.url, size=file.size, said=recipe.format
                )
                if not told.is_rows:
                    return False
                task = ReadTask(name=file.url, size=file.size, stop=file.size)
                try:
                    schema = open_rows(opened, task, told).schema
                except DataError:  # said when all inputs are looked at
                    return False
            return holds_ids(schema, column)
    return False


def rows_of(samples: Mapping[str, list[pa.RecordBatch]], column: str) -> dict[str, list[pa.Array]]:
    """Return the lists of ids of sampled rows, by source."""
    return {
        name: [block.column("record").field(column) for block in found]
        for name, found in samples.items()
    }
