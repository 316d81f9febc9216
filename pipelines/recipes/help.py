"""What ``--help`` and ``--help-all`` print, made from the recipe's fields: 80 columns of text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

COMMANDS = {
    "shuffle": "shuffle or mix files of records, exactly and in bounded memory",
    "tokenize": "turn text into token ids, or ids back into text",
    "prepare": "split, mix, tokenize and pack text for a trainer, in one run",
    "split": "split records into train, validation and test sets",
    "verify": "read a dataset again and check it against its manifest",
    "show": "print a summary of a dataset, and rows of it, decoded",
}
"""The commands, and what each does."""

WIDTH = 80
_INDENT = 24  # of the texts of --help-all
_LONG = 16  # characters of what stands for a value, at most, in --help
SWITCHES = "-q, -v"
"""The two switches that every command with both shows in one line of ``--help``."""


@dataclass(frozen=True)
class Flag:
    """A flag as the help shows it.

    Attributes:
        names: its spellings, short ones first: ``-i, --input``.
        metavar: what stands for its value; empty where it takes none.
        text: what it does, in full.
        brief: the same in a few words, for ``--help``.
        default: as one would write it; empty where there is none to be shown.
        group: the heading that it stands under in ``--help-all``.
    """

    names: str
    metavar: str
    text: str
    brief: str
    default: str
    group: str

    @property
    def head(self) -> str:
        """How it is given: its names, and what stands for its value."""
        return f"{self.names} {self.metavar}".rstrip()

    @property
    def brief_head(self) -> str:
        """The same, where a long list of values would leave no room for a text beside it."""
        metavar = "NAME" if "|" in self.metavar and len(self.metavar) > _LONG else self.metavar
        return f"{self.names} {metavar}".rstrip()

    def says(self, text: str) -> str:
        """Return a text about it, with its default, unless the text says it."""
        return (
            f"{text} (default {self.default})" if self.default and "default" not in text else text
        )


@dataclass(frozen=True)
class Help:
    """The help of a command.

    Attributes:
        prog: ``dovetail shuffle``.
        about: one line that says what the command does.
        examples: commands, one or more lines each.
        flags: by field, in their groups' order.
        common: the fields of the flags that ``--help`` shows, in this order.
        notes: what else there is to say, in ``--help-all``.
        docs: the page that says more.
    """

    prog: str
    about: str
    examples: str
    flags: Mapping[str, Flag]
    common: Sequence[str] = ()
    notes: str = ""
    docs: str = "docs/index.md"

    def brief(self) -> str:
        """Return what most need, in some 25 lines."""
        shown = [self.flags[name] for name in self.common]
        rows = [(flag.brief_head, flag.says(flag.brief)) for flag in shown]
        if {"quiet", "debug"} <= self.flags.keys():
            rows.append((SWITCHES, "say less (--quiet), say more (--debug)"))
        column = max(len(head) for head, _ in rows)
        lines = [f"  {head:{column}}  {text}".rstrip() for head, text in rows]
        last = f"--help-all shows all {len(self.flags)} flags; docs: {self.docs}"
        return "\n".join([*self._top(), *lines, "", last, ""])

    def full(self) -> str:
        """Return all flags in their groups, with all there is to say of each."""
        lines = self._top()
        for group in dict.fromkeys(flag.group for flag in self.flags.values()):
            lines.append(f"{group}:")
            for flag in self.flags.values():
                if flag.group == group:
                    lines += _entry(flag.head, flag.says(flag.text))
            lines.append("")
        paragraphs = [*filter(None, self.notes.strip().split("\n\n")), f"Docs: {self.docs}"]
        lines += [textwrap.fill(" ".join(p.split()), WIDTH) for p in paragraphs]
        return "\n".join([*lines, ""])

    def _top(self) -> list[str]:
        about = textwrap.wrap(f"{self.prog}: {self.about}", WIDTH)
        return [*about, "", *textwrap.indent(self.examples.strip("\n"), "  ").splitlines(), ""]


def _entry(head: str, text: str) -> list[str]:
    """Return a flag's lines: its text beside its head where that is short, else below."""
    told = textwrap.wrap(text, WIDTH - _INDENT, break_on_hyphens=False, break_long_words=False)
    if len(head) + 4 <= _INDENT:
        first, *rest = told
        return [f"  {head:{_INDENT - 2}}{first}", *(" " * _INDENT + line for line in rest)]
    return [f"  {head}", *(" " * _INDENT + line for line in told)]
