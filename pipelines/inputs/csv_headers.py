"""A warning where headers of CSV files would be shuffled among the records."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from itertools import islice

from pipelines.recipes.as_given import as_given
from pipelines.recipes.recipe import Recipe
from transforms.datasets.source_files import SourceFile
from transforms.errors import DovetailError
from transforms.formats.codecs import codec_of_name
from transforms.formats.line_format import mark_size
from transforms.formats.line_kinds import named_csv
from transforms.formats.reading import first_bytes
from transforms.storage import files as storage

_LOOKED_THROUGH, _BYTES, _ROWS = 1000, 1 << 14, 20
_SHOWN = 60  # characters of a line
_DELIMITERS = ",\t;|"
_NAME = re.compile(r"[^\W\d][\w .-]{0,39}").fullmatch


def header_warning(files: Iterable[SourceFile], recipe: Recipe) -> str | None:
    """Return a warning where first lines of CSV files plausibly are headers, but are read as records.

    The first two files that are called CSV and hold something are looked at. They begin with a header
    if they begin alike, or if the first's first line names columns by the lines below it.
    """
    if recipe.header_lines or recipe.format == "lines":
        return None
    found = (
        f for f in islice(files, _LOOKED_THROUGH) if f.size and not f.told and named_csv(f.url)
    )
    chosen = list(islice(found, 2))
    if not chosen:
        return None
    try:
        (first, *rows), *others = (_first_lines(file, recipe.separator) for file in chosen)
    except (OSError, DovetailError):  # whoever reads them says so
        return None
    alike = bool(first.strip()) and any(first == other[0] and other[1:] for other in others)
    if not (rows and (alike or looks_like_header(first, rows))):
        return None
    shown = repr(first if len(first) <= _SHOWN else first[:_SHOWN] + "…")
    said = (
        f"the first line of {chosen[0].url}, {shown}, is read as a record; if it is a "
        "header, pass --header_lines=1"
    )
    return as_given(said, (pattern for patterns in recipe.sources.values() for pattern in patterns))


def _first_lines(file: SourceFile, separator: str) -> list[str]:
    """Return some of a file's first lines, the first one whole or cut."""
    codec = codec_of_name(file.url)
    with storage.open_read(file.url) as opened:
        head = first_bytes(opened, _BYTES, name=file.url, codec=codec)
    text = head[mark_size(head, ord(separator)) :].decode("utf-8", "replace")
    lines = [line.removesuffix("\r") for line in text.split(separator)]
    if len(head) == _BYTES:  # the last is cut
        lines = lines[:-1] or lines
    return lines[:1] + [line for line in lines[1 : _ROWS + 1] if line]


def looks_like_header(first: str, rows: Sequence[str]) -> bool:
    """Say whether a line is plausibly a header, by some of the lines below it.

    It is where it has several fields, all of them distinct names, the lines below have as many, and in
    one column none of those holds anything like a name, but numbers, say, or long texts.

    Args:
        first: the first line.
        rows: lines below it, whole.

    >>> looks_like_header("id,text", ["1,one", "2,two"])
    True
    >>> looks_like_header("one,two", ["three,four"])
    False
    """
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        names, *found = csv.reader([first, *rows], delimiter=delimiter)
    except csv.Error:  # a field of more than 128 KiB, say
        return False
    named = len(names) > 1 and len({*names}) == len(names) and all(map(_NAME, names))
    found = [row for row in found if row]
    if not named or not found or any(len(row) != len(names) for row in found):
        return False
    return any(not any(map(_NAME, column)) for column in zip(*found, strict=True))
