"""Whether the first line of a file of CSV names its columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

_DELIMITERS = ",\t;|"
_NAME = re.compile(r"[^\W\d][\w .-]{0,39}").fullmatch


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
