"""Small pieces of Markdown for the generated pages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

_ROLE = re.compile(r"``([^`]+)``")
_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Note|Example|Examples):$")
_NAMED = re.compile(r"^([\w, *]+):\s+(.*)$")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells may hold anything, on one line each."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines) + "\n"


def cell(text: str) -> str:
    """Return a text as a table's cell."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def plain(text: str) -> str:
    """Return a text so that Markdown takes nothing in it for its own, but code between backticks."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part if i % 2 else re.sub(r"([\\*_<\[\]#])", r"\\\1", part) for i, part in enumerate(parts)
    )


def code(text: str) -> str:
    """Return a text as inline code, whatever backticks it holds."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def anchored(text: str, name: str) -> str:
    """Return inline code that links can name."""
    return f"{code(text)}{{ #{name} }}"


def docstring(owner: Any) -> str:
    """Return the docstring of an object, or one that is given, from Google's style to Markdown."""
    text = owner if isinstance(owner, str) else inspect.getdoc(owner) or ""
    out: list[str] = []
    literal = in_section = False
    for line in text.splitlines():
        stripped = line.strip()
        if literal and (line.startswith(("    ", "  ")) or not stripped):
            out.append(f"    {line[2:]}".rstrip())
            continue
        literal = False
        if _SECTION.match(line):
            in_section = True
            out += ["", f"**{line.rstrip(':').replace('Args', 'Arguments')}**", ""]
        elif stripped.startswith(">>> ") or stripped.startswith("... "):
            begins = out and out[-1].strip() and not out[-1].startswith("    ")
            out += ([""] if begins else []) + [f"    {stripped.partition('  # doctest')[0]}"]
        elif line.startswith("    ") and in_section and (named := _NAMED.match(stripped)):
            if not line.startswith("     "):
                names = ", ".join(code(name.strip()) for name in named[1].split(","))
                out.append(f"- {names}: {named[2]}")
            else:
                out.append(f"  {stripped}")
        elif line.endswith("::"):
            literal = True
            out += [line[:-1] if stripped != "::" else "", ""]
        else:
            if stripped and not line.startswith(" "):
                in_section = False
            out.append(f"  {stripped}" if in_section and stripped else stripped)
    out = [
        line if line.startswith("    ") or line.startswith("**") else _starless(line)
        for line in out
    ]
    return _ROLE.sub(r"`\1`", "\n".join(out)).strip()


def _starless(line: str) -> str:
    """Return a line of prose whose stars are stars."""
    parts = re.split(r"(`[^`]+`)", line)
    return "".join(part if i % 2 else part.replace("*", r"\*") for i, part in enumerate(parts))
