"""What a file of lines holds, by its name and its beginning: CSV, JSON lines, JSON that isn't lines."""

from __future__ import annotations

import io
import re
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np

from transforms.errors import InputError
from transforms.formats import compressed
from transforms.formats.codecs import Codec, strip_suffix
from transforms.formats.detection import CANONICAL, extension_of
from transforms.formats.line_format import LineFormat, mark_size
from transforms.kernels.records import json_text, json_values
from transforms.storage import files as storage

LineKind = Literal["json", "plain"]
"""What lines are."""

JsonLayout = Literal["lines", "array", "values"]
"""How a ``.json`` file holds its records: as lines, as an array's elements, as values over lines."""

_GLANCE, _LONG = 1 << 16, 1 << 20  # of a file's beginning: what is read first, and at most
_SPACE = b" \t\r\n"
_LF = LineFormat()


def named_csv(name: str) -> bool:
    """Say whether a file is named as CSV is."""
    return extension_of(name) in (".csv", ".tsv")


def named_json(name: str) -> bool:
    """Say whether a file is named as JSON lines are; others are where their first line is an object.

    >>> named_json("a/b.JSONL.gz"), named_json("b.txt")
    (True, False)
    """
    return CANONICAL.get(extension_of(name)) == ".jsonl"


def may_be_csv(name: str, line_format: LineFormat) -> bool:
    """Say whether a line of a file that ends inside quotes is a torn row."""
    return not line_format.quoted and (named_csv(name) or line_format.header_lines > 0)


def line_kind_of(
    file: io.RawIOBase | BinaryIO, *, name: str, codec: Codec | None, line_format: LineFormat
) -> LineKind:
    """Say what a file's lines are: by its name, else by its first line; leaves it at its beginning.

    A first line of more than a mebibyte counts as an object where it begins as one.

    Raises:
        DataError: its beginning can't be decompressed.
    """
    if named_json(name):
        return "json"
    begins = _beginning(file, name=name, codec=codec, line_format=line_format, space=None)
    if not begins.line.startswith(b"{"):
        return "plain"
    whole = begins.newline or begins.ended
    return "json" if not whole or _is_json(begins.line) else "plain"


def json_layout_of(
    file: io.RawIOBase | BinaryIO, *, name: str, codec: Codec | None, line_format: LineFormat
) -> JsonLayout:
    """Say how a file holds records, by its name and its beginning; leaves it at its beginning.

    Named ``.json``, it is an array where it begins with a bracket, unless its first line is an array
    that ends there and other lines follow; values where the first line is the beginning of an object
    that goes on in the next. All others are lines, and those with a header or another separator.

    Raises:
        DataError: its beginning can't be decompressed.
    """
    if not strip_suffix(name).lower().endswith(".json"):
        return "lines"
    if line_format.separator != ord("\n") or line_format.header_lines or line_format.quoted:
        return "lines"
    return _layout_by(_beginning(file, name=name, codec=codec))


def refuse_other_json(file: io.RawIOBase | BinaryIO, *, name: str, codec: Codec | None) -> None:
    """Raise InputError where a file that would be read as lines begins as JSON over several lines.

    Looked at are files named as JSON lines, or without an extension.
    """
    if extension_of(name) not in ("", ".jsonl", ".ndjson"):
        return
    begins = _beginning(file, name=name, codec=codec)
    if not (begins.newline or begins.ended):
        return
    if not re.match(rb'\[\s*\{\s*"|\{\s*"|\{\s*\n\s*"', begins.text):
        return
    layout = _layout_by(begins)
    if layout != "lines":
        what = (
            "an array of JSON objects" if layout == "array" else "a JSON object over several lines"
        )
        raise InputError(
            f"{name}: expected lines, got {what}; rename the file to end in .json so that each "
            "object is a record, or pass --format=lines to read lines as they are"
        )


class _Beginning(NamedTuple):
    """A file's beginning.

    Attributes:
        text: from the first line on that isn't blank.
        line: that line, as far as it was read.
        newline: whether its end was.
        ended: whether the text is all of the file.
    """

    text: bytes
    line: bytes
    newline: bool
    ended: bool


def _beginning(
    file: io.RawIOBase | BinaryIO,
    *,
    name: str,
    codec: Codec | None,
    line_format: LineFormat = _LF,
    space: bytes | None = _SPACE,
) -> _Beginning:
    """Look at a file's beginning: at more of it where its first line is long, and may be JSON.

    Leaves it at its beginning. What is of ``space`` makes no line; None for all of ASCII's.
    """
    file.seek(0)
    stream: Any = file if codec is None else compressed.reader(file, codec, name)
    begins, header = b"", len(line_format.header)
    for size in (_GLANCE, _LONG):
        more = bytearray(header + size - len(begins))
        begins += more[: storage.read_into(stream, memoryview(more))]
        text = begins[mark_size(begins, line_format.separator) + header :].lstrip(space)
        line, newline, _ = text.partition(bytes([line_format.separator]))
        ended = len(begins) < header + size
        if newline or ended or not text.startswith((b"{", b"[")):
            break
    file.seek(0)
    return _Beginning(text, line, bool(newline), ended)


def _layout_by(begins: _Beginning) -> JsonLayout:
    text, line, newline, ended = begins
    if text.startswith(b"["):
        alone = ended and not text[len(line) :].strip(_SPACE)
        return "array" if alone or not newline or not _is_json(line) else "lines"
    if text.startswith(b"{") and newline and not _is_json(line):
        return "values" if json_values.goes_on(np.frombuffer(line, np.uint8)) else "lines"
    return "lines"


def _is_json(line: bytes) -> bool:
    try:
        json_text.read(line)
    except json_text.Unreadable:
        return False
    return True
