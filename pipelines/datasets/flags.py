"""The command line of what reads a dataset again: its folder, and flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from pipelines.recipes.flag_errors import validate
from pipelines.recipes.flag_parser import make_parser, refuse_rest
from pipelines.recipes.help import COMMANDS
from pipelines.recipes.store_options import refuse_secrets
from transforms.errors import UsageError

F = TypeVar("F", bound=BaseModel)


def parse(
    kind: type[F],
    argv: Sequence[str],
    given: Mapping[str, Any],
    *,
    command: str,
    examples: str,
    notes: str,
    common: Sequence[str],
) -> tuple[str, F]:
    """Return the dataset's folder, and flags.

    Args:
        kind: the flags that there are.
        argv: the folder, and flags.
        given: values that count as flags.
        command: its name.
        examples, notes, common: of its help, as of ``make_parser``.

    Raises:
        UsageError: with the message that a person would see.
    """
    parser = make_parser(
        kind,
        prog=f"dovetail {command} DIR",
        about=COMMANDS[command],
        examples=examples,
        common=common,
        notes=notes,
        docs="docs/how-to/inspect.md",
    )
    parser.add_argument("folder", metavar="DIR")
    args, rest = parser.parse_known_args(list(argv))
    refuse_rest(parser, rest)
    flags = {name: value for name, value in vars(args).items() if name in kind.model_fields}
    found = validate(kind, {**flags, **given})
    folder: str = args.folder
    if not folder:
        raise UsageError("DIR: expected the folder of a dataset, got an empty one")
    refuse_secrets(folder, flag="DIR")
    return folder, found
