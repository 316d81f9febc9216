"""Schemas of files of rows: whether they go together, what they lack, and errors of Arrow's, named."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import pyarrow as pa

from transforms.errors import DataError, nearest
from transforms.kernels.records.common_schema import unify
from transforms.kernels.records.rows import carried_schema, describe_difference

TEXT = pa.schema([pa.field("text", pa.large_string())])
"""The schema of lines that are written as rows."""

LINE = pa.schema([pa.field("line", pa.large_string())])
"""The schema of lines of JSON that are written as rows: they are no text, but hold one."""

FAULTS = (
    pa.ArrowException,
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    LookupError,
    ArithmeticError,
    TypeError,
)
"""Damaged bytes make Arrow raise nearly anything."""

_MENDS = {
    "ecrypt": "it is encrypted: decrypt it first, because Dovetail takes no keys",
    "Nested data conversions not implemented for chunked": (
        "a few rows have more than 2 GiB of values in lists, structs or maps: write shorter values "
        "or a column that isn't nested"
    ),
    "Map keys must be annotated": (
        "Arrow reads only maps whose keys are required: write the file with required keys or as a "
        "list of structs"
    ),
    "does not represent a whole number of days": (
        "date64 holds only whole days: cast the column to timestamp[ms]"
    ),
}
_UNREAD = "Arrow can't read this: write the file without it, or in types that Arrow can read"


def first_line(error: BaseException) -> str:
    """Return what an error of Arrow's says, without where in Arrow it came up."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def mend(error: BaseException) -> str:
    """Say what to do about a file that Arrow can't read."""
    text = str(error)
    found = next((advice for words, advice in _MENDS.items() if words in text), None)
    if found is None and isinstance(error, pa.ArrowNotImplementedError):
        found = _UNREAD
    return found or "fetch or make the file again"


@contextlib.contextmanager
def faults_named(where: Callable[[], str]) -> Iterator[None]:
    """Raise a DataError that says where it was, and what to do, in the place of Arrow's errors."""
    try:
        yield
    except FAULTS as error:
        raise DataError(f"{where()}: {first_line(error)}; {mend(error)}") from error


def require_schema(
    got: pa.Schema,
    expected: pa.Schema,
    *,
    name: str,
    other: str = "the other files",
    what: str = "its schema",
) -> None:
    """Raise DataError, naming files and columns, where rows don't go into the schema of the others."""
    try:
        both = unify([expected, got])
    except DataError as error:
        raise _unlike(error, name=name, other=other, what=what) from None
    want = carried_schema(expected)
    if carried_schema(both) != want:  # it wasn't looked at when the schema was chosen
        raise DataError(
            f"{name}: {what} holds more than that of {other}: "
            f"{describe_difference(want, carried_schema(got))}; convert the file, or process "
            "such files in a separate run"
        )


def unify_files(schemas: Mapping[str, pa.Schema], *, what: str = "its schema") -> pa.Schema:
    """Return the schema that holds the rows of all files, at least one.

    Raises:
        DataError: they differ in more than form. Names the first file that does, and columns.
    """
    first = next(iter(schemas))
    unified = schemas[first]
    forms: dict[pa.Schema, str] = {}  # far fewer than files
    for name, schema in schemas.items():
        forms.setdefault(schema.remove_metadata(), name)
    for schema, name in forms.items():
        try:
            unified = unify([unified, schema])
        except DataError as error:
            raise _unlike(error, name=name, other=first, what=what) from None
    return unified


def _unlike(error: DataError, *, name: str, other: str, what: str) -> DataError:
    return DataError(
        f"{name}: {what} doesn't match that of {other}: {error}; convert the file to the same "
        "schema, or leave it out"
    )


def check_schema(schema: pa.Schema, *, name: str) -> None:
    """Raise DataError, naming the file, where rows of a schema can't be carried.

    Raises:
        ValueError: a column's name isn't UTF-8, which is damage.
    """
    try:
        carried_schema(schema)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def one_column(schema: pa.Schema, column: str, *, name: str, why: str) -> pa.Field:
    """Return the field of a file's one column of a name; ``why`` is it wanted, for the error.

    Raises:
        DataError: the file has none or several of that name; names the nearest.
    """
    count = len(schema.get_all_field_indices(column))
    if count != 1:
        there = nearest(column, schema.names)
        some = ", ".join(schema.names[:8]) or "no columns"
        what = f"got {some}{there}" if not count else f"{count} columns have this name"
        raise DataError(f"{name}: expected a column {column}, {why}: {what}")
    return schema.field(column)
