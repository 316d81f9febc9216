"""What a discriminator sees of records: their texts, and the columns that are read beside them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from transforms.kernels.records import blocks

TEXT = ""
"""The name of the text among what is seen."""
LONGEST = 64 << 10
"""Bytes of a text that a fit looks at: of longer ones their beginning. They are scored whole."""


def seen(block: pa.RecordBatch) -> pa.StructArray:
    """Return what is seen of a block's records: their text, named TEXT, and columns by their names.

    A line that has no text of its own is its own text.
    """
    kept = blocks.kept_of(block)
    if blocks.is_rows(block):
        return kept if kept is not None else block.column("record")
    columns = {} if kept is None else {field.name: kept.field(field.name) for field in kept.type}
    texts = columns.get(TEXT)
    if texts is None or texts.null_count:
        lines = _as_text(blocks.bare(block))
        columns[TEXT] = lines if texts is None else pc.coalesce(texts.cast(lines.type), lines)
    return pa.StructArray.from_arrays(list(columns.values()), names=list(columns))


def parted(rows: pa.StructArray) -> tuple[pa.Array | None, dict[str, pa.Array]]:
    """Part what is seen into texts, None where there are none, and columns by their names."""
    columns = {field.name: rows.field(i) for i, field in enumerate(rows.type)}
    return columns.pop(TEXT, None), columns


def cut_long(rows: pa.StructArray) -> pa.StructArray:
    """Cut texts to their first LONGEST bytes, at the end of a character."""
    at = rows.type.get_field_index(TEXT)
    if at < 0:
        return rows
    texts = rows.field(at)
    long = pc.greater(pc.binary_length(texts), LONGEST)
    if not pc.any(long).as_py():
        return rows
    cut = [text if text is None else _head(text) for text in texts.filter(long).to_pylist()]
    texts = pc.replace_with_mask(texts, pc.fill_null(long, False), pa.array(cut, texts.type))
    columns = [texts if i == at else rows.field(i) for i in range(rows.type.num_fields)]
    return pa.StructArray.from_arrays(columns, fields=list(rows.type))


def _head(text: str) -> str:
    return text.encode()[:LONGEST].decode(errors="ignore")


def _as_text(lines: pa.Array) -> pa.Array:
    try:
        return lines.cast(pa.large_string())
    except pa.ArrowInvalid:  # bytes that aren't UTF-8 are seen as what stands for them
        values = [line.decode(errors="replace") for line in lines.to_pylist()]
        return pa.array(values, pa.large_string())
