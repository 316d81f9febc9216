"""The code blocks of a page of Markdown, and the comments that say what to do with each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.pipelines.support import ROOT

LANGUAGES = {"sh", "python", "text", "yaml", "json", "toml", "jsonl", "csv", "dockerfile"}
RUN = {"sh", "python"}
MARKS = {"not run", "part of", "slow", "file", "output", "fails"}
WITHOUT_VALUE = {"output"}

_OPENS = re.compile(r"^\s*(```|~~~)")
_QUOTED = re.compile(r"^\s*>\s*(```|~~~| {4}\s*\S)")
_HOLDS_BLOCKS = re.compile(r"^\s*([-*+]|\d+\.|!!!|\?\?\?\+?|===) ")
_FENCE = re.compile(r"^(\s*)(```+|~~~+)\s*(\S*)\s*$")
_COMMENT = re.compile(r"^\s*<!--\s*(.*?)\s*-->\s*$")


@dataclass
class Block:
    """A code block.

    Attributes:
        language: after the fence; empty where there is none.
        text: what it holds, without its indent.
        line: of its first line of code, counted from 1.
        marks: what the comments above it say, by their first words.
    """

    language: str
    text: str
    line: int
    marks: dict[str, str] = field(default_factory=dict)


def pages() -> list[Path]:
    """Return README and the pages of docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    """Return a page's name for tests: how-to/mix, README."""
    below = page.relative_to(ROOT).with_suffix("")
    return str(below).removeprefix("docs/")


def lines_of(markdown: str) -> Iterator[tuple[int, str, bool]]:
    """Yield each line of a page: its number, the line, and whether it is in a code block or ends one."""
    opened = ""
    for number, line in enumerate(markdown.splitlines(), 1):
        yield number, line, bool(opened)
        if opened:
            opened = "" if line.strip() == opened else opened
        elif fence := _FENCE.match(line):
            opened = fence[2]


def unseen_code(markdown: str) -> Iterator[int]:
    """Yield the numbers of lines that begin code which ``blocks_of`` doesn't see.

    It is in a quote, has more than a language behind its fence, or is marked by an indent alone:
    by four blanks more than the text, the list's item or the admonition around it.
    """
    before: list[str] = [""]
    for number, line, fenced in lines_of(markdown):
        if fenced:
            before.append("")
            continue
        if _OPENS.match(line):
            if not _FENCE.match(line):
                yield number
        elif _QUOTED.match(line) or (_is_apart(before[-1]) and _is_indented(line, before)):
            yield number
        before.append(line)


def _is_apart(line: str) -> bool:
    return not line.strip() or line.startswith("#")


def _is_indented(line: str, before: list[str]) -> bool:
    """Return whether a line is further in than the text around it, and nothing there holds blocks."""
    if not line.strip() or (most := _indent(line) - 4) < 0:
        return False
    around = next((b for b in reversed(before) if b.strip() and _indent(b) <= most), "")
    return not _HOLDS_BLOCKS.match(around)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def blocks_of(markdown: str) -> Iterator[Block]:
    """Yield the blocks of a page."""
    lines = markdown.splitlines()
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            at += 1
            continue
        indent, ticks, language = fence.groups()
        end = at + 1
        while end < len(lines) and lines[end].strip() != ticks:
            end += 1
        text = "\n".join(line.removeprefix(indent) for line in lines[at + 1 : end]) + "\n"
        yield Block(language, text, at + 2, dict(_marks_above(lines, at)))
        at = end + 1


def _marks_above(lines: list[str], at: int) -> Iterator[tuple[str, str]]:
    while at > 0 and ((comment := _COMMENT.match(lines[at - 1])) or not lines[at - 1].strip()):
        at -= 1
        if comment:
            name, _, value = comment[1].partition(":")
            yield name.strip(), value.strip()


def runs(block: Block) -> bool:
    """Return whether a block is run."""
    return block.language in RUN and not {"not run", "part of", "file"} & set(block.marks)


def outputs_of_nothing(blocks: Iterable[Block]) -> Iterator[int]:
    """Yield the lines of outputs that don't follow a block that is run."""
    run = False
    for block in blocks:
        if "output" in block.marks and not run:
            yield block.line
        run = runs(block)


def wrong_with(block: Block) -> str | None:
    """Return what breaks the rules of CONTRIBUTING about a block, None where all is well."""
    if block.language not in LANGUAGES:
        allowed = ", ".join(sorted(LANGUAGES))
        return f"expected one of {allowed} behind the fence, got {block.language or 'nothing'}"
    for mark, value in block.marks.items():
        if mark not in MARKS:
            return f"<!-- {mark} -->: unknown; expected one of {', '.join(sorted(MARKS))}"
        if bool(value) == (mark in WITHOUT_VALUE):
            return f"<!-- {mark} -->: expected {'no text' if value else 'a reason or value'}"
    if "output" in block.marks and block.language != "text":
        return "<!-- output --> is for text blocks"
    if "not run" in block.marks and block.language not in ("sh", "python"):
        return "<!-- not run --> is for sh and python blocks: others aren't run anyway"
    if "part of" in block.marks and block.text not in (ROOT / block.marks["part of"]).read_text():
        return f"<!-- part of -->: expected lines of {block.marks['part of']}, as they are there"
    return None
