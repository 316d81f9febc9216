"""Whether a page shows what a command prints: numbers, times and sizes may differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile

_CLOCK = re.compile(r"^\d\d:\d\d:\d\d ")  # before what a run says; no page shows it
_NUMBER = re.compile(r"([-+]?)\d[\d,._]*(?:e[-+]?\d+)?")
_HEX = re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b")
_UNIT = re.compile(r"# ?(?:[kKMGT]?i?B|ms|µs|s|min|h)\b")
_BAR = re.compile(r"[─━═]+")


def normalized(line: str) -> str:
    """Return a line with a mark for each number, with its unit, and single blanks."""
    line = _NUMBER.sub(r"\1#", _HEX.sub("#", _CLOCK.sub("", line)))
    return " ".join(_BAR.sub("─", _UNIT.sub("#", line)).split())


def missing(shown: str, printed: str) -> str | None:
    """Return the first line of a page's output that wasn't printed where the page shows it.

    Lines between two `...` must have been printed one after the other, blank lines aside. Other
    lines may stand before the first of them, and after the last.
    """
    lines = [line for line in map(normalized, printed.splitlines()) if line]
    at = 0
    for run in _runs(shown):
        wanted = [normalized(line) for line in run]
        same = [_common(wanted, lines[start:]) for start in range(at, len(lines))]
        if len(wanted) not in same:
            return run[max(same, default=0)]
        at += same.index(len(wanted)) + len(wanted)
    return None


def _runs(shown: str) -> Iterator[list[str]]:
    """Yield the lines between `...`."""
    for left_out, run in groupby(
        filter(str.strip, shown.splitlines()), key=lambda line: line.strip() in ("...", "…")
    ):
        if not left_out:
            yield [*run]


def _common(wanted: Sequence[str], lines: Sequence[str]) -> int:
    """Return how many lines two lists have in common at their starts."""
    pairs = zip(wanted, lines, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
