"""What a record's content is, and two hashes of it, by which it is split.

Content is the text: of a block of texts all of the record, of rows a column ``text``. Where there is
none, it is the whole line or row; of rows of ids, the ids. The hashes are functions of the content
alone, whatever file, format or type it comes in: of the text's bytes, without a line's end; of ids, of
each as 32 bits. Fields that are kept beside a text may take its place (``groups``): then it is their
values that decide, each by its text: ``7`` is the integer and the text alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from transforms.errors import DataError
from transforms.kernels.arrays import U64
from transforms.kernels.randomness import mix
from transforms.kernels.records import blocks, rows
from transforms.kernels.records.arrow_values import (
    bytes_extents,
    elements,
    is_bytes,
    plain_bytes,
    validity,
)
from transforms.kernels.records.digest import record_hashes
from transforms.kernels.records.row_hashes import row_hashes

TEXT = "text"
"""The column of a row that is its content, where it has one."""

OWN_TEXT = ""
"""The first child of what is kept beside whole records: their text, large_string, null where a record
has none of its own."""

Hashes = tuple[U64, U64]


def content_hashes(
    block: pa.RecordBatch, *, groups: Sequence[str] = (), ids: str | None = None
) -> Hashes:
    """Hash the contents of a block's records.

    Args:
        block: of texts, lines or rows; or of whole records with their texts beside them (``OWN_TEXT``),
            which then are the content, of those that have one.
        groups: fields whose values take the content's place: kept beside the texts, or columns of the
            rows.
        ids: the column of ids of the rows, which are the content where no column is ``TEXT``.

    Returns:
        Two uint64[n].

    Raises:
        DataError: a value is null, or of a type that can't be compared between formats.
    """
    if groups:
        return _joined([_field_hashes(field_of(block, name), name) for name in groups])
    texts = text_beside(block)
    if texts is not None:
        return _beside_hashes(block, texts, ids=ids)
    if not blocks.is_rows(block):
        hash0, hash1, _ = blocks.hashes(block)
        return hash0, hash1
    record = block.column("record")
    at = record.type.get_field_index(TEXT)
    if at >= 0 and may_be_text(record.type.field(at).type):
        return _field_hashes(record.field(at), TEXT)
    if ids is not None:
        return ids_hashes(record.field(ids), name=ids)
    return row_hashes(record)


def may_be_text(kind: pa.DataType) -> bool:
    """Say whether a column ``TEXT`` of a type is a text: bytes of a fixed size aren't."""
    return is_bytes(kind) and not pt.is_fixed_size_binary(kind)


def text_beside(block: pa.RecordBatch) -> pa.Array | None:
    """Return the texts beside a block's records, large_string, null where one has none; None for none.

    A record that has no text of its own is its own content: a line its bytes, a row all of it.
    """
    kept = blocks.kept_of(block)
    at = -1 if kept is None else kept.type.get_field_index(OWN_TEXT)
    return None if kept is None or at < 0 else kept.field(at)


def _beside_hashes(block: pa.RecordBatch, texts: pa.Array, *, ids: str | None) -> Hashes:
    """Hash texts that lie beside records, and those records that have none."""
    valid = validity(texts)
    if valid is None:
        return record_hashes(*bytes_extents(texts))
    hash0, hash1, _ = blocks.hashes(block)
    if ids is not None:
        hash0, hash1 = ids_hashes(block.column("record").field(ids), name=ids)
    if not valid.any():
        return hash0, hash1
    of_text = record_hashes(*bytes_extents(texts))
    return np.where(valid, of_text[0], hash0), np.where(valid, of_text[1], hash1)


def without_values(
    block: pa.RecordBatch, *, groups: Sequence[str], label: str | None = None
) -> dict[int, str]:
    """Say which records have no value in fields that they are to be split by, by place, and why.

    ``label`` is the field of ``--stratify``, which all have to have, too. With ``functools.partial`` a
    Validator of ``transforms.formats.readers``.
    """
    bad: dict[int, str] = {}
    for name in groups:
        valid = validity(field_of(block, name))
        if valid is not None:
            reason = f"expected a value in field {name!r}, to split by it, got none or null"
            bad |= {place: reason for place in np.flatnonzero(~valid).tolist() if place not in bad}
    valid = None if label is None else validity(field_of(block, label))
    if valid is not None:
        reason = (
            f"unlabelled records under --stratify={label}: expected a value in field {label!r} of each, "
            "got none or null"
        )
        bad |= {place: reason for place in np.flatnonzero(~valid).tolist() if place not in bad}
    return bad


def can_group(kind: pa.DataType) -> bool:
    """Say whether values of a type can be told apart by their text, whatever format they come in."""
    return bool(pt.is_boolean(kind) or pt.is_integer(kind) or is_bytes(kind))


def ids_hashes(lists: pa.Array, *, name: str) -> Hashes:
    """Hash lists of ids, equal for equal ids whatever their type.

    Args:
        lists: lists of integers.
        name: of their column, for errors.

    Raises:
        DataError: a list or an id is null, or no id at all.
    """
    _require_values(lists, name)
    inner, offsets = elements(lists)
    _require_values(inner, name)
    if not pt.is_integer(inner.type):
        raise DataError(f"column {name}: expected lists of ids, got {lists.type}")
    try:
        words = inner.cast(pa.uint32())
    except pa.ArrowInvalid:
        raise DataError(
            f"column {name}: expected ids of 0 to 2**32 - 1, got another number"
        ) from None
    return record_hashes(plain_bytes(words), 4 * offsets)


def field_of(block: pa.RecordBatch, name: str, *, why: str = "to split by it") -> pa.Array:
    """Return a field that is kept beside texts, or a column of rows.

    Raises:
        DataError: there is no such field; says ``why`` it is needed, and which there are.
    """
    places = [blocks.kept_of(block), block.column("record") if blocks.is_rows(block) else None]
    there = [found for found in places if found is not None]
    for found in there:
        if found.type.get_field_index(name) >= 0:
            return found.field(name)
    have = [field.name for found in there for field in found.type]
    raise DataError(
        f"field {name}: expected records that have it, {why}; they have {rows.some(have) or 'no fields'}"
    )


def _field_hashes(values: pa.Array, name: str) -> Hashes:
    """Hash values by their text."""
    _require_values(values, name)
    return value_hashes(values, name=name)


def value_hashes(values: pa.Array, *, name: str) -> Hashes:
    """Hash values by their text, two uint64[n]: of a null the hashes of anything.

    Args:
        values: text, integers or booleans.
        name: of their field, for errors.

    Raises:
        DataError: they are something else.
    """
    if not can_group(values.type):
        raise DataError(
            f"field {name}: expected text, integers or booleans, to tell records apart by it, "
            f"got {values.type}"
        )
    if not is_bytes(values.type):
        values = values.cast(pa.large_string())
    return record_hashes(*bytes_extents(values))


def _joined(hashes: list[Hashes]) -> Hashes:
    """Return hashes of tuples by those of their values; of one value its own."""
    (hash0, hash1), *more = hashes
    for other0, other1 in more:
        hash0, hash1 = mix(mix(hash0) + other0), mix(mix(hash1) + other1)
    return hash0, hash1


def _require_values(values: pa.Array, name: str) -> None:
    valid = validity(values)
    if valid is not None:
        place = int(np.flatnonzero(~valid)[0])
        raise DataError(
            f"field {name}: expected a value in every record, to split by it; record {place} of "
            "a block has none; leave such records out, or add one"
        )
