"""Command lines of flags, made from the recipe's models."""

from __future__ import annotations

import argparse
import difflib
import itertools
import re
import sys
from collections.abc import Sequence
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipelines.recipes.flag_errors import FORMER, SHORT, flag_of
from pipelines.recipes.help import Flag, Help
from pipelines.recipes.values import join_patterns
from pipelines.recipes.wording import write_size
from transforms.errors import UsageError
from transforms.version import VERSION

_SAID = (
    (re.compile(r"^argument (\S+): "), r"\1: "),
    (re.compile(r"ignored explicit argument "), "expected no value, got "),
    (re.compile(r"expected (one|at least one) argument$"), r"expected \1 value, got none"),
    (re.compile(r"^the following arguments are required: (.*)"), r"\1 is missing"),
)


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        """Raise what went wrong, in words of ours where argparse's are hard to read."""
        for theirs, ours in _SAID:
            message = theirs.sub(ours, message)
        raise UsageError(f"{message}; see --help")


class CommandParser(Parser):
    """The parser of a command: it takes dashes for the underscores of flags, and prints our help."""

    def __init__(self, help_: Help) -> None:
        super().__init__(
            prog=help_.prog,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
        )
        self.help = help_
        self.add_argument("--help-all", "--help_all", action=_HelpAll, nargs=0)
        self.add_argument("--version", action="version", version=f"dovetail {VERSION}")

    def format_help(self) -> str:
        """Return what most need."""
        return self.help.brief()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse what is given, dashes or underscores.

        Raises:
            UsageError: a value that doesn't fit, or a second one of a flag that takes one; a long flag
                behind a single dash, which would else be a short one with the rest of the word as its
                value.
        """
        words = [*(sys.argv[1:] if args is None else args)]
        end = words.index("--") if "--" in words else len(words)
        words[:end] = [self._as_ours(word) for word in words[:end]]
        return super().parse_known_args(words, namespace)

    def _as_ours(self, word: str) -> str:
        name, is_, value = word.partition("=")
        ours = self._option_string_actions
        if name in ours or not name.startswith("-"):
            return word
        plain = f"--{name.lstrip('-').replace('-', '_')}"
        if name.startswith("--"):
            return f"{plain}{is_}{value}" if plain in ours else word
        short = ours.get(name[:2])
        if short is not None and short.nargs != 0:  # what follows is its value: -oout, -iweb=x
            near = [plain] if plain in ours else []
        else:
            near = difflib.get_close_matches(plain, ours, n=1, cutoff=_NEAR)
        if near:
            raise UsageError(f"{word}: unknown flag; did you mean {near[0]}?")
        return word


class _HelpAll(argparse.Action):
    """Prints all flags, and exits."""

    def __call__(self, parser: Any, *_: Any) -> NoReturn:
        sys.stdout.write(parser.help.full())
        raise SystemExit(0)


class _Once(argparse.Action):
    """Keeps a flag's only value."""

    def __call__(self, parser: Any, namespace: Any, value: Any, option_string: Any = None) -> None:
        """Keep it; raise UsageError where there is one."""
        if hasattr(namespace, self.dest):
            former = getattr(namespace, self.dest)
            raise UsageError(
                f"{flag_of(self.dest)}: expected one value, got {former} and {value}; give the flag once"
            )
        setattr(namespace, self.dest, value)


_NEAR = 0.8  # how alike a word behind one dash is to a flag's name that is meant by it, up to 1
_SEVERAL = ("sources", "like")
_REPEATABLE = (*_SEVERAL, "temp_location", "extension")


def make_parser(
    *models: type[BaseModel],
    prog: str,
    about: str,
    examples: str = "",
    groups: Sequence[str] = (),
    common: Sequence[str] = (),
    notes: str = "",
    docs: str = "",
) -> CommandParser:
    """Make a parser with a flag for each field of the models, and its help.

    Args:
        models: that have the fields.
        groups: that come first in the help, in this order; within each, the common flags do.
        prog, about, examples, common, notes, docs: as of ``Help``.
    """
    fields = {name: field for model in models for name, field in model.model_fields.items()}
    fields = {name: field for name, field in fields.items() if not _in_files_only(field)}
    shown = {name: as_flag(name, field) for name, field in fields.items() if not field.deprecated}
    order = [*groups, *dict.fromkeys(flag.group for flag in shown.values())]
    shown = dict(
        sorted(shown.items(), key=lambda kv: (order.index(kv[1].group), kv[0] not in common))
    )
    parser = CommandParser(Help(prog, about, examples, shown, common, notes, docs))
    for name, field in fields.items():
        former = [f"--{old}" for old, new in FORMER.items() if new == name]
        names = [*filter(None, [SHORT.get(name)]), flag_of(name), *former]
        if field.annotation is bool:
            parser.add_argument(*names, dest=name, action="store_true")
        else:
            parser.add_argument(
                *names,
                dest=name,
                action="append" if name in _REPEATABLE else _Once,
                nargs="+" if name in _SEVERAL else None,
            )
    return parser


def _in_files_only(field: FieldInfo) -> bool:
    extra: Any = field.json_schema_extra
    return "in_files_only" in extra


def as_flag(name: str, field: FieldInfo) -> Flag:
    """Return a field as the help shows it."""
    extra: Any = field.json_schema_extra
    takes = None if field.annotation is bool else extra["metavar"] or _metavar(field.annotation)
    default = ""
    if not (field.default is None or field.default is False or field.is_required()):
        default = str(field.default)
        if extra["metavar"] == "SIZE":
            default = write_size(field.default)
        elif isinstance(field.default, list):
            default = ",".join(field.default)
        default = default if default.isprintable() else repr(default)[1:-1]
    names = ", ".join(filter(None, [SHORT.get(name), flag_of(name)]))
    return Flag(
        names, takes or "", field.description or "", extra["brief"], default, extra["group"]
    )


def _metavar(annotation: Any) -> str | None:
    """Return what stands for a flag's value in its help, by its type; None where that doesn't say."""
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    inner = (_metavar(part) for part in get_args(annotation))
    return {int: "N", str: "NAME"}.get(annotation) or next(filter(None, inner), None)


def parse(parser: CommandParser, argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Parse our flags; return their values, and what isn't ours as it is.

    Raises:
        UsageError: a value that doesn't fit, or a second one of a flag that takes one.
    """
    known, rest = parser.parse_known_args(list(argv))
    _refuse_second_value(parser, argv)
    if "sources" in known:
        known.sources = join_patterns(known.sources)
    if "like" in known:
        known.like = list(itertools.chain(*known.like))
    return vars(known), rest


def refuse_rest(parser: CommandParser, rest: Sequence[str]) -> None:
    """Raise UsageError where a command of one DIR was given something that isn't a flag of it."""
    if not rest:
        return
    name = rest[0].partition("=")[0]
    if not name.startswith("-"):
        raise UsageError(f"{name}: expected one DIR, got another one; see --help")
    near = difflib.get_close_matches(name, parser._option_string_actions, n=1, cutoff=_NEAR)
    raise UsageError(
        f"{rest[0]}: unknown flag; {f'did you mean {near[0]}?' if near else 'see --help-all'}"
    )


def _refuse_second_value(parser: CommandParser, argv: Sequence[str]) -> None:
    """Raise UsageError where a word stands behind a flag of ours that has its value, or takes none."""
    flag, action, values = "", None, list[str]()
    for word in argv:
        if word == "--":
            return
        if word.startswith("-") and word != "-":
            flag, is_, value = word.partition("=")
            action = parser._option_string_actions.get(parser._as_ours(flag))
            values = [value] if is_ else []
            continue
        values.append(word)
        if action is None or action.nargs == "+":
            continue
        if action.nargs == 0:
            raise UsageError(f"{flag}: expected no value, got {word}")
        if len(values) > 1:
            hint = "leave out spaces, or quote the value"
            takes = parser.help.flags.get(action.dest)
            if takes is not None and "NAME=" in takes.metavar and "=" not in values[0]:
                hint = f"did you mean {flag}={'='.join(values)}?"
            raise UsageError(f"{flag}: expected one value, got {' and '.join(values)}; {hint}")
