r"""Where the text of a record is: a field, one inside of objects or structs, or several by a template.

``--text_field`` names it. ``text`` is the field of that name. ``data.text`` is the field of that very
name, and where there is none, the field ``text`` of the object or struct ``data``. With braces it is a
template: ``{title}\n\n{body}`` is what stands in the fields, with what stands between them. In it
``\n``, ``\t``, ``\r`` and ``\\`` are a newline, a tab, a carriage return and a backslash, and doubled
braces are braces. Every field has to be there and to hold text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from transforms.errors import DataError
from transforms.formats.tables import as_text, take_text, text_column
from transforms.kernels import checks, json_text

LACKS = "it has"
"""In the reason of a record that lacks the field: what it has instead follows."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\\(.)|[^{}\\]+", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


@dataclass(frozen=True)
class TextPlace:
    """Where the text is.

    Attributes:
        spec: as it was given.
        parts: what stands there, in order: text as it is, and names of fields.
        names: of the fields, those parts that are names.
    """

    spec: str
    parts: tuple[tuple[str, bool], ...]

    @classmethod
    def parse(cls, spec: str) -> TextPlace:
        r"""Read what was given; raise ValueError where it is no template.

        >>> TextPlace.parse(r"{a}\n{{x}}").parts
        (('a', True), ('\n{x}', False))
        """
        if not any(brace in spec for brace in "{}"):
            return cls(spec, ((spec, True),))
        parts: list[tuple[str, bool]] = []
        at = 0
        while at < len(spec):
            token = _TOKEN.match(spec, at)
            if token is None or token[1] == "":
                what = (
                    "a name between braces"
                    if token
                    else "braces in pairs (double those that are text)"
                )
                raise ValueError(f"expected {what} in a template, got {spec[at : at + 20]!r}")
            at = token.end()
            if token[1] is not None:
                parts.append((token[1], True))
                continue
            text = token[0][0] if token[0] in ("{{", "}}") else token[0]
            if token[2] is not None:
                if token[2] not in _ESCAPES:
                    raise ValueError(rf"expected \n, \t, \r or \\ in a template, got {token[0]}")
                text = _ESCAPES[token[2]]
            if parts and not parts[-1][1]:
                text = parts.pop()[0] + text
            parts.append((text, False))
        if not any(is_name for _, is_name in parts):
            raise ValueError("expected a field in braces in a template, such as {text}")
        return cls(spec, tuple(parts))

    @property
    def names(self) -> list[str]:
        """The fields, in order."""
        return [part for part, is_name in self.parts if is_name]

    @property
    def is_plain(self) -> bool:
        """Whether it is one field that can't be but at the top."""
        return self.parts == ((self.spec, True),) and "." not in self.spec

    def of_json(self, value: Any) -> str:
        """Return the text of a JSON object; raise TypeError where it has none."""
        return "".join([_string_of(value, part) if named else part for part, named in self.parts])


@lru_cache(maxsize=16)
def place_of(spec: str) -> TextPlace:
    """Return ``TextPlace.parse`` of what was checked."""
    return TextPlace.parse(spec)


def _string_of(value: Any, name: str) -> str:
    if not isinstance(value, dict):
        raise TypeError(
            f"expected an object with a string {name!r}, got {json_text.type_of(value)}"
        )
    text = value.get(name)
    if name not in value:
        text = value
        path = name.split(".")
        for depth, step in enumerate(path):
            if not isinstance(text, dict) or step not in text:
                inside = f" in {'.'.join(path[:depth])!r}" if depth else ""
                names = ", ".join(list(text)[:8])[:200] if isinstance(text, dict) else ""
                what = names or ("no fields" if isinstance(text, dict) else json_text.type_of(text))
                raise TypeError(f"expected a string in field {name!r}, {LACKS} {what}{inside}")
            text = text[step]
    if not isinstance(text, str):
        raise TypeError(f"expected a string in field {name!r}, got {json_text.type_of(text)}")
    if not text.isascii() and (reason := json_text.unkeepable(text)):
        raise TypeError(f"expected text in field {name!r}: {reason}")
    return text


class TextColumns:
    """Where in a file's rows the text is.

    Args:
        schema: of the file.
        spec: the column's name, a path into structs, or a template.
        name: of the file, for errors.

    Attributes:
        field: of the text, which is called as ``spec`` is.

    Raises:
        DataError: there is no such column, or it isn't text.
    """

    def __init__(self, schema: pa.Schema, spec: str, *, name: str) -> None:
        place = place_of(spec)
        self._paths: list[tuple[str, ...]] | None = None
        self._place = place
        if place.is_plain or (place.names == [spec] and spec in schema.names):
            self.field: pa.Field = text_column(schema, spec, name=name).field(0)
            self._read = [spec]
            return
        self._paths = [_path_of(schema, part, file=name) for part in place.names]
        self._read = list(dict.fromkeys(map(".".join, self._paths)))
        self.field = pa.field(spec, pa.large_string())

    def to_read(self, kept: Sequence[str]) -> list[str]:
        """Return the columns, and paths into them, to be read for the text and for what is kept."""
        return list(dict.fromkeys([*self._read, *kept]))

    def take(self, batch: pa.RecordBatch, kept: Sequence[str]) -> pa.RecordBatch:
        """Return the text, as the first column, and the columns that are kept.

        Args:
            batch: as a file gave it; nothing in it is trusted.
            kept: names of columns.

        Raises:
            pa.ArrowInvalid: its buffers don't fit together.
        """
        if self._paths is None:
            return take_text(batch, [self.field.name, *kept])
        roots = list(dict.fromkeys(path[0] for path in self._paths))
        checks.bad_rows(batch.select(roots))  # raises; what isn't UTF-8 is found again in the text
        paths = iter(self._paths)
        parts = [
            _column(batch, next(paths)) if named else pa.scalar(part, pa.large_string())
            for part, named in self._place.parts
        ]
        text = parts[0]
        if len(parts) > 1:
            nothing = pa.scalar("", pa.large_string())
            text = pc.binary_join_element_wise(*parts, nothing, null_handling="emit_null")
        columns = [text, *(batch.column(name) for name in kept)]
        fields = [self.field, *(batch.schema.field(name) for name in kept)]
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _path_of(schema: pa.Schema, name: str, *, file: str) -> tuple[str, ...]:
    """Return the steps to a column of text."""
    root, *steps = (name,) if name in schema.names else name.split(".")
    if not steps or root not in schema.names:
        text_column(schema, name, name=file)
        return (name,)
    found = schema.field(root)
    for depth, step in enumerate(steps, 1):
        fields = list(found.type) if pt.is_struct(found.type) else []
        inside = [field for field in fields if field.name == step]
        if len(inside) != 1:
            there = [field.name for field in fields]
            near = difflib.get_close_matches(step, there, n=1)
            what = ", ".join(there[:8]) or f"no fields, being {found.type}"
            raise DataError(
                f"{file}: expected a column {name}, to take its text: "
                f"{'.'.join([root, *steps[: depth - 1]])} has {what}"
                + (f"; did you mean {near[0]}?" if near else "")
            )
        found = inside[0]
    text_column(pa.schema([found.with_name(name)]), name, name=file)
    return (root, *steps)


def _column(batch: pa.RecordBatch, path: tuple[str, ...]) -> pa.Array:
    """Return a column of text, null where a struct around it is."""
    array = batch.column(path[0])
    for step in path[1:]:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        array = pc.struct_field(array, [step])
    array = as_text(array)
    if pt.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.large_string())
