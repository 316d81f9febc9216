"""``dovetail NAME …``, ``python -m pipelines NAME …``: the commands."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from pipelines.runners.uncollected import uncollected

COMMANDS = {
    "shuffle": "shuffle files of records exactly, in bounded memory",
    "tokenize": "tokenize files of text, sampled or not",
    "prepare": "split, mix, tokenize and pack text for a trainer, in one run",
    "split": "split files into train, validation and test, by content or like a test set",
    "verify": "read a dataset again and check it against its manifest",
    "show": "look at a dataset: its manifest in short, and rows of it, decoded",
}


def _usage() -> str:
    lines = [f"  {name:10} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: dovetail COMMAND [flags]",
            "",
            "commands:",
            *lines,
            "",
            "dovetail COMMAND --help says the rest.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command by name; without one, list them."""
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if given[0] == "--version":
        from transforms.version import VERSION

        print(f"dovetail {VERSION}")
        return 0
    if given[0] not in COMMANDS:
        near = difflib.get_close_matches(given[0], COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(COMMANDS)}"
        print(f"error: {given[0]}: unknown command; {hint}", file=sys.stderr)
        return 2
    try:
        with uncollected():
            module = importlib.import_module(f"pipelines.{given[0]}")
        code: int = module.main(given[1:])
    except KeyboardInterrupt:  # before the command could take care of it
        print("stopped", file=sys.stderr)
        return 130
    return code


def command() -> NoReturn:
    """Be the ``dovetail`` command."""
    code = main()
    from pipelines.recipes.cli import leave

    leave(code)


if __name__ == "__main__":
    command()
