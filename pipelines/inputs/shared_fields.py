"""Which field of text files of several formats have, so that it can be proposed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import orjson
import pyarrow.types as pt

from pipelines.inputs.one_file import Look
from transforms.datasets.source_files import SourceFile
from transforms.errors import DataError
from transforms.formats.reading import first_bytes
from transforms.storage import files as storage

_BEGINNING = 1 << 16  # of a file, in which its first line should be


def shared_field(looks: Mapping[SourceFile, Look]) -> str | None:
    """Return a field of text that the first record of every file of lines, and the schema of every
    file of rows, has; None where there is none.
    """
    shared: list[str] | None = None
    for file, look in looks.items():
        mine = _text_fields(file, look) if file.size else shared
        shared = mine if shared is None else [name for name in shared if name in (mine or ())]
        if shared == []:
            return None
    return None if not shared else "text" if "text" in shared else shared[0]


def _text_fields(file: SourceFile, look: Look) -> list[str]:
    if look.schema is not None:
        return [
            field.name
            for field in look.schema
            if pt.is_string(field.type) or pt.is_large_string(field.type)
        ]
    with storage.open_read(file.url) as opened, contextlib.suppress(DataError, ValueError):
        begin = first_bytes(opened, _BEGINNING, name=file.url, codec=look.format.codec)
        found = orjson.loads(begin.partition(b"\n")[0])
        if isinstance(found, dict):
            return [name for name, value in found.items() if isinstance(value, str)]
    return []
