"""The column of ids by which a mixture counts tokens: whether the input has one."""

from __future__ import annotations

import pyarrow as pa

from transforms.errors import InputError, nearest
from transforms.kernels.records.rows import is_list


def holds_ids(schema: pa.Schema, column: str) -> bool:
    """Return whether rows have a column of lists of integers."""
    if column not in schema.names:
        return False
    kind = schema.field(column).type
    return is_list(kind) and pa.types.is_integer(kind.value_type)


def require_ids(schema: pa.Schema | None, column: str | None, *, name: str) -> None:
    """Raise where tokens are to be counted of a file that has none, before any work.

    Args:
        schema: of its rows; None of lines.
        column: the lists whose lengths are counted; None where nothing is.
        name: of the file.

    Raises:
        InputError: it has no such column, or not of lists of integers.
    """
    if column is None or (schema is not None and holds_ids(schema, column)):
        return
    expected = (
        f"{name}: expected rows with a column {column} of lists of ids, to count their tokens"
    )
    if schema is None:
        raise InputError(
            f"{expected}, got lines; tokenize them first, or use dovetail prepare, which "
            "tokenizes texts and mixes them by tokens"
        )
    if column in schema.names:
        raise InputError(
            f"{expected}, got {schema.field(column).type}; name the column with --token_column"
        )
    names = ", ".join(schema.names[:8])
    raise InputError(
        f"{expected}, got columns {names}; name the column with "
        f"--token_column{nearest(column, schema.names)}"
    )
