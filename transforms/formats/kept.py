"""What is kept beside the text: columns of rows as they are, fields of JSON lines as typed columns.

Rows' columns keep their own types. A field of JSON lines has no type, so it has a kind that somebody
found by looking at lines, and a value of another kind makes its record a bad one: 1.0 isn't the
integer 1, so what is kept comes back as it was. What isn't of one kind (objects, arrays, kinds that
differ from line to line; integers beyond int64) is kept as JSON text, written anew: white space goes,
of a name that comes twice in an object the last counts, and numbers that aren't integers are float64.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from types import NoneType
from typing import Any, Literal

import orjson
import pyarrow as pa

from transforms.errors import DataError
from transforms.formats.schemas import one_column, require_schema
from transforms.kernels.records import json_text

JsonKind = Literal["integer", "number", "text", "boolean", "json"]
"""What the values of a field of JSON lines are; nulls and missing ones don't count."""

TYPES: dict[JsonKind, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "json": pa.string(),
}
EVERY = ("*",)
"""In the place of names: all columns but the text."""

_OF_TYPE: dict[type, JsonKind] = {int: "integer", float: "number", str: "text", bool: "boolean"}
_FITTING: dict[JsonKind, set[type]] = {
    "integer": {int, NoneType},
    "number": {int, float, NoneType},
    "text": {str, NoneType},
    "boolean": {bool, NoneType},
}
_WORDS: dict[JsonKind, str] = {
    "integer": "an integer",
    "number": "a number",
    "text": "a string",
    "boolean": "a boolean",
}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is kept beside the text of records.

    Attributes:
        names: of columns of rows or fields of JSON lines, in the order in which they are kept;
            ``EVERY`` for all of the rows'.
        schema: of their columns, which all files have to agree on; None where any will do.
        kinds: of JSON lines' fields, as many as names; None where files hold rows alone.
    """

    names: tuple[str, ...]
    schema: pa.Schema | None = None
    kinds: tuple[JsonKind, ...] | None = None

    def columns(self, schema: pa.Schema, *, text: str, name: str) -> pa.Schema:
        """Return the schema of what is kept of a file of rows.

        Args:
            schema: of the file.
            text: the column of text.
            name: of the file, for errors.

        Raises:
            DataError: it lacks a column, has several of one name, or types that don't go into those
                of the other files.
        """
        names: Sequence[str] = self.names
        if names == EVERY:
            names = [column for column in schema.names if column != text]
        if not names:
            raise DataError(f"{name}: expected columns beside {text}, to keep them, got none")
        found = pa.schema([one_column(schema, n, name=name, why="to keep it") for n in names])
        if self.schema is not None:
            require_schema(
                found, self.schema, name=name, what="the schema of the columns to be kept"
            )
        return found

    @property
    def fields(self) -> list[pa.Field]:
        """The columns of what is kept of JSON lines."""
        assert self.kinds is not None
        return list(self.schema or schema_of(dict(zip(self.names, self.kinds, strict=True))))

    @property
    def pick(self) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
        """What takes the kept values, in order, of a JSON object; None for those that it lacks."""
        names = self.names
        return lambda value: tuple([value.get(name) for name in names])

    def pick_all(
        self, values: Sequence[dict[str, Any]], lines: Sequence[bytes]
    ) -> list[tuple[Any, ...]]:
        """Pick of JSON objects, beside the lines that they are, with integers as they stand there."""
        picked = list(map(self.pick, values))
        for place, found in enumerate(picked):
            if any(map(_may_be_rounded, found)):
                picked[place] = self.pick(json_text.loads(lines[place]))
        return picked

    def to_columns(
        self, picked: Sequence[tuple[Any, ...]]
    ) -> tuple[pa.StructArray, dict[int, str]]:
        """Make columns of what was picked of r JSON objects.

        Returns:
            A struct of r, a child per name, null where a value is missing or bad; and the places of
            those with a value that isn't of its field's kind, with a reason that names the field.
        """
        assert self.kinds is not None
        fields = self.fields
        arrays: list[pa.Array] = []
        bad: dict[int, str] = {}
        for i, (field, kind) in enumerate(zip(fields, self.kinds, strict=True)):
            array, misfits = _to_array(list(map(itemgetter(i), picked)), kind, field.type)
            arrays.append(array)
            for place, reason in misfits.items():
                bad.setdefault(place, f"field {field.name!r}: {reason}")
        return pa.StructArray.from_arrays(arrays, fields=fields), bad


def _may_be_rounded(value: Any) -> bool:
    """Say whether orjson, which has 64 bits for an integer, may have made a float64 of one."""
    if type(value) is float:
        return abs(value) >= 1 << 63
    if type(value) is not dict and type(value) is not list:
        return False
    waiting = [value]  # no recursion: what orjson reads may be nested deeper than Python calls
    while waiting:
        inner = waiting.pop()
        for one in inner.values() if type(inner) is dict else inner:
            if type(one) is dict or type(one) is list:
                waiting.append(one)
            elif type(one) is float and abs(one) >= 1 << 63:
                return True
    return False


def schema_of(kinds: dict[str, JsonKind]) -> pa.Schema:
    """Return the schema of the columns that fields of JSON lines become."""
    return pa.schema([pa.field(name, TYPES[kind]) for name, kind in kinds.items()])


def _to_array(
    values: list[Any], kind: JsonKind, to: pa.DataType
) -> tuple[pa.Array, dict[int, str]]:
    if kind == "json":
        return _to_json(values, to)
    if set(map(type, values)) <= _FITTING[kind]:
        try:
            return pa.array(values, to), {}
        except (OverflowError, pa.ArrowInvalid):
            pass  # an integer that is too large: which one, is found below
    bad = {place: reason for place, value in enumerate(values) if (reason := _misfit(value, kind))}
    for place in bad:
        values[place] = None
    if kind == "number":  # Arrow refuses large integers even where a float64 holds them
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, to), bad


def _misfit(value: Any, kind: JsonKind) -> str | None:
    """Say why a value isn't of a kind, None where it is."""
    if type(value) not in _FITTING[kind]:
        return f"expected {_WORDS[kind]}, as other records have, got {json_text.type_of(value)}"
    if kind == "integer" and value is not None and not _is_int64(value):
        return f"expected an integer that int64 holds, as other records have, got {value}"
    if kind == "number" and type(value) is int and not _is_float64(value):
        return f"expected a number that float64 holds, got {value}"
    return None


def _is_int64(value: int) -> bool:
    return -(1 << 63) <= value < 1 << 63


def _is_float64(value: int) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def _to_json(values: list[Any], to: pa.DataType) -> tuple[pa.Array, dict[int, str]]:
    written: list[bytes | None] = []
    bad = {}
    for place, value in enumerate(values):
        try:
            written.append(None if value is None else _to_text(value))
        except ValueError as error:
            written.append(None)
            bad[place] = f"expected what can be written as JSON again: {error}"
    return pa.array(written, to), bad


def _to_text(value: Any) -> bytes:
    """Write JSON; raise ValueError where it is nested too deeply."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        if "64-bit" not in str(error):
            raise ValueError(str(error)) from None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return text.encode()


def kinds_of(lines: Iterable[bytes]) -> dict[str, JsonKind | None]:
    """Find the fields of some JSON lines, and the kind of each; None where all are null.

    >>> kinds_of([b'{"id": 1, "x": null}', b'{"id": 2.5, "m": {}, "t": "a"}', b'{"t": 1}', b"no JSON"])
    {'id': 'number', 'x': None, 'm': 'json', 't': 'json'}
    """
    found: dict[str, JsonKind | None] = {}
    for line in lines:
        try:
            value, strict = json_text.read(line)
        except json_text.Unreadable:
            continue
        if strict and _may_be_rounded(value):
            value = json_text.loads(line)
        for name, inner in value.items() if isinstance(value, dict) else ():
            known = found.setdefault(name, None)
            if inner is not None:
                found[name] = common_kind(known, _kind(inner)) or "json"
    return found


def _kind(value: Any) -> JsonKind:
    if type(value) is int and not _is_int64(value):
        return "json"
    return _OF_TYPE.get(type(value), "json")


def common_kind(left: JsonKind | None, right: JsonKind | None) -> JsonKind | None:
    """Return the one kind that holds values of both without changing them, None where none does.

    None beside a kind doesn't count: integers go with numbers, and nothing else together.
    """
    if left is None or right is None or left == right:
        return left or right
    return "number" if {left, right} == {"integer", "number"} else None
