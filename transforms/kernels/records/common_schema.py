"""Schemas of files that differ in form alone: the one schema that holds the rows of all of them.

What differs in form: whether nulls are allowed, the order of columns and of structs' children, the
width of integers and floats, how strings, bytes and lists lie in memory, a column without any value
(of type null), and the index that pandas writes as a column. Rows of each file go into the unified
schema without loss (``rows.to_rows``). What differs in more than form is left to be refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from transforms.errors import DataError
from transforms.kernels.records.rows import (
    carried_schema,
    carried_type,
    describe_difference,
    is_list,
    some,
)

INDEX = "__index_level_"
"""What the names of columns begin with that pandas makes of an index: files may lack them."""

_TEXTS = pa.large_string(), pa.string(), pa.string_view()
_BINARIES = pa.large_binary(), pa.binary(), pa.binary_view()


def unify(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the schema that holds the rows of all; where all are alike, it is the first.

    Columns stand as in the first, and their metadata are the first's. The types in which rows travel
    don't depend on the order of the schemas.

    >>> narrow = pa.schema({"a": pa.int32(), "b": pa.null()})
    >>> unify([narrow, pa.schema({"b": pa.string(), "a": pa.int64()})])
    a: int64
    b: string

    Raises:
        DataError: they differ in more than form. Names columns.
    """
    out = schemas[0]
    for schema in schemas[1:]:
        if not out.equals(schema) and carried_schema(out) != carried_schema(schema):
            out = _both(out, schema)
    return out


def _both(left: pa.Schema, right: pa.Schema) -> pa.Schema:
    if any(len({*schema.names}) < len(schema.names) for schema in (left, right)):
        raise DataError(describe_difference(carried_schema(left), carried_schema(right)))
    fields, apart = [], []
    for name in dict.fromkeys([*left.names, *right.names]):
        if name in left.names and name in right.names:
            field = _field(left.field(name), right.field(name))
        else:
            there = (left if name in left.names else right).field(name)
            field = there.with_nullable(True) if name.startswith(INDEX) else None
        fields.append(field)
        apart += [name] if field is None else []
    if apart:
        want, have = (
            pa.schema([schema.field(name) for name in apart if name in schema.names])
            for schema in (left, right)
        )
        raise DataError(describe_difference(carried_schema(want), carried_schema(have)))
    return pa.schema(fields, left.metadata)


def _field(left: pa.Field, right: pa.Field) -> pa.Field | None:
    """Return the field that holds the values of both, None where there is none."""
    kind = common_type(left.type, right.type)
    if kind is None:
        return None
    field = right if pt.is_null(left.type) and not pt.is_null(right.type) else left
    nulls = left.nullable or right.nullable or pt.is_null(left.type) or pt.is_null(right.type)
    return field.with_type(kind).with_nullable(nulls)


def common_type(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """Return the type that holds the values of both types without loss, None where there is none.

    >>> common_type(pa.uint32(), pa.int8())
    DataType(int64)
    """
    if pt.is_null(left) or carried_type(left) == carried_type(right):
        return right if pt.is_null(left) else left
    if pt.is_null(right):
        return left
    if isinstance(left, pa.BaseExtensionType) or isinstance(right, pa.BaseExtensionType):
        return None
    if pt.is_dictionary(left):
        values = right.value_type if pt.is_dictionary(right) else right
        value = common_type(left.value_type, values)
        return value and pa.dictionary(left.index_type, value, left.ordered)
    if pt.is_dictionary(right):
        return common_type(left, right.value_type)
    return _common_nested(left, right) if pt.is_nested(left) else _common_plain(left, right)


def _common_plain(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if pt.is_floating(left) and pt.is_floating(right):
        return max(left, right, key=lambda kind: kind.bit_width)
    if pt.is_integer(left) and pt.is_integer(right):
        both = np.promote_types(str(left), str(right))
        return pa.from_numpy_dtype(both) if both.kind in "iu" else None  # a float isn't exact
    for kinds in (_TEXTS, _BINARIES):
        if left in kinds and right in kinds:
            return kinds[0]
    return None


def _common_nested(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if pt.is_struct(left):
        return _common_struct(left, right) if pt.is_struct(right) else None
    if pt.is_map(left):
        if not pt.is_map(right) or left.keys_sorted != right.keys_sorted:
            return None
        key = common_type(left.key_type, right.key_type)
        item = _field(left.item_field, right.item_field)
        return pa.map_(key, item, left.keys_sorted) if key is not None and item else None
    if not is_list(left) or not is_list(right):
        return None
    item = _field(left.value_field, right.value_field)
    if item is None:
        return None
    if pt.is_fixed_size_list(left) or pt.is_fixed_size_list(right):
        if not (pt.is_fixed_size_list(left) and pt.is_fixed_size_list(right)):
            return None
        return pa.list_(item, left.list_size) if left.list_size == right.list_size else None
    short = _is_short(left) and _is_short(right)
    return pa.list_(item) if short else pa.large_list(item)


def _is_short(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_list_view(kind))


def _common_struct(left: pa.StructType, right: pa.StructType) -> pa.DataType | None:
    there, others = left.names, right.names
    if sorted(there) != sorted(others) or len(set(there)) < len(there):
        return None
    fields = [_field(left.field(name), right.field(name)) for name in there]
    return pa.struct(fields) if all(field is not None for field in fields) else None


def describe(schemas: Mapping[str, pa.Schema], unified: pa.Schema) -> list[str]:
    """Say what differed in files whose rows go into one schema, in a line for each kind of thing.

    Args:
        schemas: by file.
        unified: what ``unify`` made of them.
    """
    forms: dict[pa.Schema, list[str]] = defaultdict(list)  # far fewer than files
    for file, schema in schemas.items():
        forms[schema.remove_metadata()].append(file)
    names = unified.names
    if all(form.equals(unified) for form in forms) or len({*names}) < len(names):
        return []  # columns of one name go together with their like alone
    carried = [({f.name: f for f in carried_schema(form)}, files) for form, files in forms.items()]
    lines = []
    for name, field in zip(names, carried_schema(unified), strict=True):
        kinds = dict.fromkeys(_word(fields[name]) for fields, _ in carried if name in fields)
        if len(kinds) > 1:
            lines.append(
                f"column {name}: {' and '.join(kinds)} in the files, read as {_word(field)}"
            )
        lack = [file for fields, files in carried if name not in fields for file in files]
        if lack:
            lines.append(f"column {name}: null for the rows of {some(lack)}, which lack it")
    moved = [
        file
        for fields, files in carried
        if [name for name in names if name in fields] != list(fields)
        for file in files
    ]
    if moved:
        lines.append(f"columns in another order in {some(moved)}: read as {some(names)}")
    return lines


def _word(field: pa.Field) -> str:
    return f"{field.type}{'' if field.nullable else ' not null'}"
