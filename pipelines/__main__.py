"""``dovetail NAME …``, ``python -m pipelines NAME …``: the commands."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

from pipelines.recipes.help import COMMANDS
from pipelines.runners.uncollected import uncollected

EXAMPLES = """\
  dovetail shuffle -i examples/data/poems.jsonl -o out/shuffled --seed=7
  dovetail shuffle -i poems=examples/data/poems.jsonl \\
    -i novel=examples/data/botchan.txt --text_field=text \\
    --weights=poems=0.7,novel=0.3 -o out/mix
  dovetail show out/mix
  dovetail verify out/mix
"""
_HELP = ("-h", "--help", "--help-all", "help")


def _usage() -> str:
    return "\n".join(
        [
            "dovetail: shuffle, mix, split and tokenize training data, exactly.",
            "",
            EXAMPLES,
            *(f"  {name:9} {text}" for name, text in COMMANDS.items()),
            "",
            "dovetail COMMAND --help shows examples and the most used flags; docs: README.md",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command by name; without one, list them."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in _HELP and given[1:] and given[1] in COMMANDS:
        given = [given[1], "--help-all" if given[0] == "--help-all" else "--help"]
    if not given or given[0] in _HELP:
        print(_usage())
        return 0
    if given[0] in ("--version", "version"):
        from transforms.version import VERSION

        print(f"dovetail {VERSION}")
        return 0
    if given[0] not in COMMANDS:
        near = difflib.get_close_matches(given[0], COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(COMMANDS)}"
        return _refuse(f"{given[0]}: unknown command; {hint}", given)
    try:
        with uncollected(), _told_if_ended(given):
            module = importlib.import_module(f"pipelines.{given[0]}")
        code: int = module.main(given[1:])
    except KeyboardInterrupt:  # before the command could take care of it
        print("stopped", file=sys.stderr)
        return 130
    return code


@contextlib.contextmanager
def _told_if_ended(given: Sequence[str]) -> Iterator[None]:
    """Say so if SIGTERM ends the process meanwhile, as a command does once it is imported.

    The process ends inside the handler: there is nothing to clear yet, and what is being imported might
    swallow an exception.
    """

    def end(number: int, frame: FrameType | None) -> NoReturn:
        code = 128 + number
        print("stopped", file=sys.stderr, flush=True)
        if "--json" in given:
            import json

            error = {"type": "Stopped", "message": "stopped by SIGTERM", "exit_code": code}
            print(json.dumps({"error": error}), flush=True)
        os._exit(code)

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _refuse(message: str, given: Sequence[str]) -> int:
    """Say an error as every command does, with ``--json`` too; return its exit code."""
    from pipelines.recipes.cli import run_main  # late: each command imports it by itself
    from transforms.errors import UsageError

    def run(argv: Sequence[str]) -> NoReturn:
        raise UsageError(message)

    return run_main(run, [word for word in given if word == "--json"])


def command() -> NoReturn:
    """Be the ``dovetail`` command."""
    code = main()
    from pipelines.recipes.cli import leave

    leave(code)


if __name__ == "__main__":
    command()
