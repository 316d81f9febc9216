"""Values for models: from flags, or from a file with flags over it; errors name which.

A check raises ``Misfit`` with paths of fields and knows nothing of where values came from; what the
user sees is made here: ``--weights=web=-1: …`` or ``mix.yaml: weights.web: … (line 7)``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from transforms.errors import UsageError

Path = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

_PREFIX = re.compile(r"Value error, |\w+ should (be|have) ")  # of pydantic's messages

_NUMBERS = {
    "greater_than_equal": ("ge", "{:,} or more"),
    "greater_than": ("gt", "more than {:,}"),
    "less_than_equal": ("le", "at most {:,}"),
    "less_than": ("lt", "less than {:,}"),
}
_KINDS = {
    "int_": "a whole number",
    "float_": "a number",
    "string_type": "text",
    "bool_": "true or false",
}
"""Beginnings of pydantic's types of errors, and what was expected there."""

FLAGS = {"sources": "input", "as_json": "json"}
"""Flags whose name isn't their field's."""

SHORT = {"sources": "-i", "output": "-o", "quiet": "-q", "debug": "-v"}
"""Short forms of flags, by field."""

FORMER = {"direct_num_workers": "workers"}
"""Names that fields had, and the fields: still taken as flags, in recipe files and as keywords."""


def flag_of(name: str) -> str:
    """Return the flag of a field."""
    return f"--{FLAGS.get(name, name)}"


@dataclass(frozen=True)
class Origin:
    """Where values came from.

    Attributes:
        file: the recipe's URL; empty where all came from flags.
        fields: those whose values are the file's, no flag having been given.
        lines: by path, counted from 1; of some paths only.
        root: the path of the recipe inside the file.
        model: where the file is a manifest of tokens, what it says of the model; else empty.
    """

    file: str = ""
    fields: frozenset[str] = frozenset()
    lines: Mapping[Path, int] = field(default_factory=dict)
    root: Path = ()
    model: Mapping[str, Any] = field(default_factory=dict)

    def has(self, path: Path) -> bool:
        """Return whether a value is the file's."""
        return bool(path) and path[0] in self.fields

    def known(self, path: Path) -> Path:
        """Return the longest beginning of a path that stands in the file as it is."""
        path = self.root + path
        while path and path not in self.lines:
            path = path[:-1]
        return path

    def error(self, text: str, *places: tuple[Path, Any]) -> UsageError:
        """Make the error of fields that don't fit; each place a path and the value to show."""
        labels: list[str] = []
        line = ""
        for path, shown in places:
            if self.has(path):
                known = self.known(path)
                first = not any(label.startswith(f"{self.file}: ") for label in labels)
                labels.append(
                    (f"{self.file}: " if first else "") + dotted(known or self.root + path)
                )
                if first and known:
                    line = f" (line {self.lines[known]})"
            else:
                labels.append(flag_of(str(path[0])) + ("" if shown is None else f"={shown}"))
        return UsageError(f"{' and '.join(labels)}: {text}{line}")


class Misfit(UsageError):
    """Values that don't fit, alone or together; ``validate`` says it as the user gave them.

    Args:
        text: what was expected and what came.
        places: for each value its path, and what to show of it beside its flag (None: nothing).
    """

    def __init__(self, text: str, *places: tuple[Path, Any]) -> None:
        super().__init__(str(Origin().error(text, *places)))
        self.text, self.places = text, places


def dotted(path: Path) -> str:
    """Write a path as people do.

    >>> dotted(("sources", "web", 1))
    'sources.web[1]'
    """
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


def validate(model: type[M], values: dict[str, Any], origin: Origin | None = None) -> M:
    """Make a model of values.

    Raises:
        UsageError: names the flag, or the file and the path in it, the value, what was expected.
    """
    origin = origin or Origin()
    try:
        return model.model_validate(values)
    except Misfit as misfit:
        raise origin.error(misfit.text, *misfit.places) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    path: Path = first["loc"]
    name = str(path[0])
    if first["type"] == "missing":
        where = f", or {name} in {origin.file}" if origin.file else ""
        raise UsageError(f"{flag_of(name)} is missing{where}; see --help")
    if first["type"] == "extra_forbidden":  # inside of a field; fields themselves are known here
        where = "" if origin.has(path) else f"{dotted(path[1:])}: "
        raise origin.error(f"{where}unknown field", (path, values.get(name)))
    message = _expected(first["type"], first.get("ctx", {})) or _PREFIX.sub("", first["msg"])
    if first["type"].endswith("too_short") and first["input"] == "":  # else it speaks of items
        message = "a value that isn't empty"
    expected = message if message.startswith("expected") else f"expected {message}"
    inner = [part for part in path[1:] if part != "[key]"]
    if origin.has(path):
        value = first["input"]  # text in quotes, so that '1' is told from 1
        expected += f", got {repr(value) if isinstance(value, str) else value}"
    elif inner:
        where = dotted(tuple(part for part in inner if isinstance(part, str)))
        expected = f"{where}{': ' if where else ''}{expected}, got {first['input']}"
    raise origin.error(expected, (path, values.get(name)))


def _expected(kind: str, limits: Mapping[str, Any]) -> str:
    """Say what was expected where pydantic's own words are hard to read; else nothing."""
    if kind in _NUMBERS:
        sign, words = _NUMBERS[kind]
        return words.format(limits[sign])
    return next((words for start, words in _KINDS.items() if kind.startswith(start)), "")
