"""Rows of Parquet and Arrow files as they go through a shuffle, and back to their own schema.

Rows travel as one struct array, a child per column. Its types are plain ones: dictionaries are
decoded, extension types travel as their storage, views as what they view. So blocks of rows can be
joined, taken and hashed whatever dictionaries their files had. Where rows are written, the schema
that they came with gives all of that back, metadata too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from transforms.errors import DataError
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.records.arrow_values import elements, plain_width, validity

_OLD_INTERVALS = (pa.lib.Type_INTERVAL_MONTHS, pa.lib.Type_INTERVAL_DAY_TIME)
_NAMED = 5  # columns that a message names before it counts the others

Path = tuple[tuple[int, str], ...]
"""Where a field is: place and name of its column, of the column's child, and so on."""


def carried_type(kind: pa.DataType, *, path: str = "?") -> pa.DataType:
    """Return the type in which values of a type travel, without metadata.

    >>> carried_type(pa.list_(pa.dictionary(pa.int8(), pa.string_view())))
    ListType(list<item: large_string>)

    Args:
        kind: of a column or of what is nested in it.
        path: the column's name, for the error.

    Raises:
        DataError: it is, or holds, a union, a run-end-encoded array, a dictionary of nested values, or
            an interval that Arrow's Python library has no values for.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return carried_type(kind.storage_type, path=path)
    if pt.is_dictionary(kind):
        value = carried_type(kind.value_type, path=path)
        if not pt.is_nested(value):
            return value
    elif pt.is_string_view(kind) or pt.is_binary_view(kind):
        return pa.large_string() if pt.is_string_view(kind) else pa.large_binary()
    elif pt.is_struct(kind):
        return pa.struct([_carried_field(field, f"{path}.{field.name}") for field in kind])
    elif pt.is_map(kind):
        key = carried_type(kind.key_type, path=f"{path}.key")
        item = _carried_field(kind.item_field, f"{path}.value").with_name("value")
        return pa.map_(key, item, kind.keys_sorted)
    elif is_list(kind):
        item = _carried_field(kind.value_field, f"{path}.item").with_name("item")
        if pt.is_fixed_size_list(kind):
            return pa.list_(item, kind.list_size)
        large = pt.is_large_list(kind) or pt.is_large_list_view(kind)
        return pa.large_list(item) if large else pa.list_(item)
    elif not (pt.is_union(kind) or pt.is_run_end_encoded(kind) or kind.id in _OLD_INTERVALS):
        return kind
    raise DataError(
        f"column {path}: expected a type that can be shuffled, got {kind}; unions, "
        "run-end-encoded columns, dictionaries of nested values, and intervals of months or days "
        "can't be shuffled; cast the column in the input"
    )


def is_list(kind: pa.DataType) -> bool:
    """Say whether values are lists, maps not counted."""
    return bool(
        pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind) or _is_view(kind)
    )


def _is_view(kind: pa.DataType) -> bool:
    return bool(pt.is_list_view(kind) or pt.is_large_list_view(kind))


def _carried_field(field: pa.Field, path: str) -> pa.Field:
    return pa.field(field.name, carried_type(field.type, path=path), field.nullable)


def carried_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema in carried types, without metadata: equal for files whose rows go together.

    Raises:
        DataError: as ``carried_type``.
    """
    return pa.schema([_carried_field(field, field.name) for field in schema])


def describe_difference(expected: pa.Schema, got: pa.Schema) -> str:
    """Say in one line how two unequal carried schemas differ, naming columns and their children."""
    want, have = dict(_fields(expected)), dict(_fields(got))
    missing = [path for path in want if path not in have]
    unexpected = [path for path in have if path not in want]
    both = [path for path in want if path in have]
    types = [f"{p} is {have[p]}, not {want[p]}" for p in both if have[p] != want[p]]
    parts = [f"lacks {some(missing)}"] if missing else []
    parts += [f"has {some(unexpected)} in addition"] if unexpected else []
    parts += [some(types)] if types else []
    if not parts and list(have) != list(want):
        parts = [f"has its columns in another order ({some(list(have))}, not {some(list(want))})"]
    return "; ".join(parts) or " ".join(f"has the schema {got}, not {expected}".split())


def _fields(fields: pa.Schema | pa.DataType, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and type of every field, with structs' children in the place of their types."""
    for field in fields:
        here = path + field.name
        inside = pt.is_struct(field.type)
        yield here, ("struct" if inside else str(field.type)) + " not null" * (not field.nullable)
        if inside:
            yield from _fields(field.type, here + ".")


def some(names: Sequence[str]) -> str:
    """Name the first of some columns or files, and count the others."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def to_rows(batch: pa.RecordBatch, schema: pa.Schema | None = None) -> pa.StructArray:
    """Return a batch's rows in carried types, one child per column.

    Decoding a dictionary repeats its values: rows may be far larger than the batch.

    Args:
        batch: of a file.
        schema: whose carried types are wanted: the batch's own, or as ``unify.unify`` gives it.

    Raises:
        DataError: no columns, so that rows can't be counted; or as ``carried_type``.
    """
    if not batch.num_columns:
        raise DataError("expected rows with at least one column, got a table without columns")
    fields = list(carried_schema(batch.schema if schema is None else schema))
    places = _places(batch.schema.names, [field.name for field in fields])
    columns = [
        pa.nulls(len(batch), field.type) if at is None else _decode(batch.column(at), field.type)
        for at, field in zip(places, fields, strict=True)
    ]
    return pa.StructArray.from_arrays(columns, fields=fields)


def _places(have: Sequence[str], want: Sequence[str]) -> list[int | None]:
    """Return where the columns or children that are wanted stand; None for one that isn't there."""
    if list(have) == list(want):
        return list(range(len(want)))
    places = {name: place for place, name in enumerate(have)}
    return [places.get(name) for name in want]


def _decode(array: pa.Array, to: pa.DataType) -> pa.Array:
    kind = array.type
    if kind.equals(to, check_metadata=True):
        return array
    if isinstance(array, pa.ExtensionArray):
        return _decode(array.storage, to)
    if pt.is_dictionary(kind):
        return _decode(array.dictionary, to).take(array.indices)
    if pt.is_null(kind):
        return pa.nulls(len(array), to)
    if not pt.is_nested(kind):
        return array.cast(to)
    if pt.is_struct(kind):
        places = _places(kind.names, to.names)
        children = [_decode(array.field(p), f.type) for p, f in zip(places, to, strict=True)]
        return _nest(to, len(array), [_bitmap(array)], children)
    if _is_view(kind):
        sizes = array.sizes.to_numpy() * array.is_valid().to_numpy(zero_copy_only=False)
        offsets = offsets_of(sizes)
        inner = array.flatten()
    else:
        inner, offsets = elements(array)
    entries = to.field(0).type
    if pt.is_map(to):  # whatever its entries' fields are called
        pairs = [_decode(inner.field(i), entries[i].type) for i in range(2)]
        decoded = _nest(entries, len(inner), [_bitmap(inner)], pairs)
    else:
        decoded = _decode(inner, entries)
    return _lists(array, to, inner=decoded, offsets=offsets)


def _lists(array: pa.Array, to: pa.DataType, *, inner: pa.Array, offsets: I64) -> pa.Array:
    """Make lists or maps of type ``to`` from elements, with the validity of ``array``."""
    if pt.is_map(to):  # Arrow ends the process if a key is null, or if it hasn't counted them yet
        keys, items = inner.flatten()
        if keys.null_count:
            raise DataError("expected keys in every map, got a null in the dictionary of its keys")
        inner = _nest(inner.type, len(inner), [None], [keys, items])
    buffers = [_bitmap(array)]
    if not pt.is_fixed_size_list(to):
        wide = pt.is_large_list(to) or pt.is_large_list_view(to)
        places = offsets.astype(np.int64 if wide else np.int32)
        if _is_view(to):
            buffers += [pa.py_buffer(places[:-1]), pa.py_buffer(np.diff(places))]
        else:
            buffers += [pa.py_buffer(places)]
    return _nest(to, len(array), buffers, [inner])


def _nest(
    kind: pa.DataType, count: int, buffers: list[pa.Buffer | None], children: list[pa.Array]
) -> pa.Array:
    return pa.Array.from_buffers(kind, count, buffers, children=children)


def _bitmap(array: pa.Array) -> pa.Buffer | None:
    """Return the validity of an array as Arrow's bitmap, from its first bit on."""
    valid = validity(array)
    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))


def restore(
    rows: pa.StructArray, schema: pa.Schema, dictionaries: Dictionaries | None = None
) -> pa.RecordBatch:
    """Take ``to_rows`` back: give rows the types and the metadata of their schema.

    Args:
        rows: in the carried types of ``schema``.
        schema: that of the file to write.
        dictionaries: of the batches that went before into the same file; None if each batch may
            have its own.

    Raises:
        DataError: a dictionary has more values than its indices can count.
    """
    seen = Dictionaries() if dictionaries is None else dictionaries
    columns = [
        _encode(rows.field(i), field.type, path=((i, field.name),), dictionaries=seen)
        for i, field in enumerate(schema)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _encode(
    array: pa.Array, to: pa.DataType, *, path: Path, dictionaries: Dictionaries
) -> pa.Array:
    def child(array: pa.Array, i: int) -> pa.Array:
        field = to.field(i)
        at = (*path, (i, field.name))
        return _encode(array, field.type, path=at, dictionaries=dictionaries)

    if array.type.equals(to, check_metadata=True):
        return array
    if isinstance(to, pa.BaseExtensionType):
        storage = _encode(array, to.storage_type, path=path, dictionaries=dictionaries)
        return to.wrap_array(storage)
    if pt.is_dictionary(to):
        indices, values = dictionaries.encode(array, to.index_type, path=path)
        values = _encode(values, to.value_type, path=path, dictionaries=dictionaries)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=to.ordered)
    if not pt.is_nested(to):
        return array.cast(to)
    if pt.is_struct(to):
        children = [child(array.field(i), i) for i in range(to.num_fields)]
        return _nest(to, len(array), [_bitmap(array)], children)
    inner, offsets = elements(array)
    return _lists(array, to, inner=child(inner, 0), offsets=offsets)


class Dictionaries:
    """The dictionaries of one file that is being written, which only ever grow.

    Arrow's file format lets a later batch add to a dictionary and never replace it. Values stand in
    the order in which they first appear.
    """

    def __init__(self) -> None:
        self._values: dict[Path, pa.Array] = {}

    def encode(
        self, array: pa.Array, index_type: pa.DataType, *, path: Path
    ) -> tuple[pa.Array, pa.Array]:
        """Return indices, null for null, into the values seen so far, and these values.

        Args:
            array: in a carried type that isn't nested.
            index_type: any integer.
            path: of the field whose dictionary this is.

        Raises:
            DataError: ``index_type`` can't count the values.
        """
        bits = _comparable(array)
        batch = bits.dictionary_encode()
        known = self._values.get(path)
        known = batch.dictionary if known is None else _extended(known, batch.dictionary)
        if not len(known):  # the writer takes what follows an empty dictionary for another one
            known = _zero(bits.type)
        self._values[path] = known
        limit = 1 << (index_type.bit_width - pt.is_signed_integer(index_type))
        if len(known) > limit:
            raise DataError(
                f"column {'.'.join((name for _, name in path))}: expected at most {limit} "
                "different values in the dictionary of one output file, as its indices are "
                f"{index_type}, got {len(known)}; pass a larger --num_shards, or use wider "
                "indices in the inputs"
            )
        places = pc.index_in(batch.dictionary, value_set=known).take(batch.indices)
        return places.cast(index_type), known.view(array.type)


def _extended(known: pa.Array, values: pa.Array) -> pa.Array:
    new = values.filter(pc.is_null(pc.index_in(values, value_set=known)))
    return pa.concat_arrays([known, new]) if len(new) else known


def _comparable(array: pa.Array) -> pa.Array:
    """Return values as a type that Arrow can look up, bit by bit: -0.0 is not 0.0."""
    width = plain_width(array.type)
    if not width or pt.is_boolean(array.type):
        return array
    bits = {1: pa.uint8(), 2: pa.uint16(), 4: pa.uint32(), 8: pa.uint64()}
    return array.view(bits.get(width, pa.binary(width)))


def _zero(kind: pa.DataType) -> pa.Array:
    """Return one ``_comparable`` value: zeros, or no bytes."""
    zeros = pa.py_buffer(bytes(kind.byte_width if pt.is_fixed_size_binary(kind) else 16))
    return pa.Array.from_buffers(kind, 1, [None] + [zeros] * (kind.num_buffers - 1))
