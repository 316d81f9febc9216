"""Whether a page shows what a command prints: numbers, times and sizes may be other ones."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CLOCK = re.compile(r"^\d\d:\d\d:\d\d ")  # before what a run says; no page shows it
_NUMBER = re.compile(r"[-+]?\d[\d,._]*(?:e[-+]?\d+)?")
_HEX = re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b")
_UNIT = re.compile(r"# ?(?:[kKMGT]?i?B|ms|µs|s|min|h)\b")
_BAR = re.compile(r"[─━═]+")


def normalized(line: str) -> str:
    """Return a line with a mark for each number, with its unit, and single blanks."""
    line = _NUMBER.sub("#", _HEX.sub("#", _CLOCK.sub("", line)))
    return " ".join(_BAR.sub("─", _UNIT.sub("#", line)).split())


def missing(shown: str, printed: str) -> str | None:
    """Return the first line of a page's output that wasn't printed behind those above it."""
    lines: Iterator[str] = map(normalized, printed.splitlines())
    for line in shown.splitlines():
        wanted = normalized(line)
        if wanted and wanted not in ("...", "…") and wanted not in lines:  # which goes on in them
            return line
    return None
