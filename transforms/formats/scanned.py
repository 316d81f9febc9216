"""The text of JSON lines, and fields beside it, taken by compiled loops; odd lines are left over.

What is taken is what a parser finds (``transforms.kernels.records.json_loops``), in a fraction of its
time. Fields can be taken so that are text, integers or booleans in every line; whatever else a line has
in their place makes it an odd one, which somebody has to look at by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.formats.kept import TYPES, JsonKind, Kept
from transforms.formats.text_field import TextField
from transforms.kernels.arrays import I64, U8, offsets_of
from transforms.kernels.records import blocks
from transforms.kernels.records.compiling import loops_for

Places = npt.NDArray[np.intp]
_DIGITS = 18  # of an integer that int64 surely holds, its sign counted
_KINDS: tuple[JsonKind, ...] = ("text", "integer", "boolean")


class Taken(NamedTuple):
    """Texts of good JSON lines, what is kept of each, and by place the reasons of bad ones."""

    texts: pa.Array
    kept: pa.StructArray | None
    bad: dict[int, str]


LookCloser = Callable[[list[bytes]], Taken]
"""Takes texts of lines one by one."""


def take(
    block: pa.RecordBatch, *, field: str, kept: Kept | None, closer: LookCloser
) -> Taken | None:
    """Take texts of JSON lines, and what is kept of them, those of odd lines by a closer look.

    None where compiled loops aren't worth their time, the text isn't a field at the top, or a field is
    to be kept of a kind that they don't take.
    """
    plain = TextField.parse(field).is_plain
    if not plain or not _can_take(kept) or loops_for(blocks.payload_bytes(block)) is None:
        return None
    texts, odd = _scan(block, field, "text")
    columns, fields = [], []
    if kept is not None:
        assert kept.kinds is not None
        fields = list(kept.types)
        for kind, to in zip(kept.kinds, fields, strict=True):
            found, more = _scan(block, to.name, kind)
            columns.append(found.cast(to.type))
            odd = np.union1d(odd, more)
    others = pa.StructArray.from_arrays(columns, fields=fields) if columns else None
    if not len(odd):
        return Taken(texts, others, {})
    looked = closer(blocks.records(block.take(pa.array(odd))))
    return _together(Taken(texts, others, {}), looked, odd)


def _together(taken: Taken, looked: Taken, odd: Places) -> Taken:
    """Put what was found of odd lines in their places, but for those that are bad."""
    good = np.ones(len(odd), bool)
    good[list(looked.bad)] = False
    order = np.arange(len(taken.texts))
    order[odd[good]] = len(order) + np.arange(len(looked.texts))
    places = pa.array(np.delete(order, odd[~good]))
    texts = pa.concat_arrays([taken.texts, looked.texts]).take(places)
    others = None
    if taken.kept is not None:
        others = pa.concat_arrays([taken.kept, looked.kept]).take(places)
    return Taken(texts, others, {int(odd[at]): reason for at, reason in looked.bad.items()})


def _can_take(kept: Kept | None) -> bool:
    if kept is None:
        return True
    if kept.kinds is None:
        return False
    each = zip(kept.kinds, kept.types, strict=True)
    return all(
        kind in _KINDS and field.type in (TYPES[kind], *_WIDER[kind]) for kind, field in each
    )


_WIDER: dict[JsonKind, tuple[pa.DataType, ...]] = {
    "text": (pa.large_string(),),
    "integer": (),
    "boolean": (),
}


def _scan(block: pa.RecordBatch, name: str, kind: JsonKind) -> tuple[pa.Array, Places]:
    """Return a field's values, and the places of odd lines, rising, of which they say nothing."""
    from transforms.kernels.records import json_loops  # numba takes long to import

    end = len(blocks.terminator(block))
    field = name.encode(errors="surrogatepass")  # halves of pairs, of a terminal's, are in no line
    values, offsets, odd = json_loops.take_texts(
        *blocks.extents(block), end=end, field=field, scalars=kind != "text"
    )
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values)]
    written = pa.Array.from_buffers(pa.large_string(), len(block), buffers)
    if kind == "text":
        return written, odd
    fit = _are_integers(values, offsets) if kind == "integer" else _are_booleans(values, offsets)
    if not fit.all():
        written = pc.if_else(pa.array(fit), written, pa.scalar(None, pa.large_string()))
    return written.cast(TYPES[kind]), np.flatnonzero(~fit)


def _are_integers(values: U8, offsets: I64) -> npt.NDArray[np.bool_]:
    """Say which JSON scalars are integers that int64 surely holds; those of odd lines are empty."""
    others = offsets_of((values > ord("9")) | (values == ord(".")) | (values == ord("+")))
    lengths = np.diff(offsets)
    fit: npt.NDArray[np.bool_] = (np.diff(others[offsets]) == 0) & (lengths > 0)
    return fit & (lengths <= _DIGITS)


def _are_booleans(values: U8, offsets: I64) -> npt.NDArray[np.bool_]:
    first = np.append(values, np.uint8(0))[offsets[:-1]]
    lengths = np.diff(offsets)
    true, false = (first == ord("t")) & (lengths == 4), (first == ord("f")) & (lengths == 5)
    found: npt.NDArray[np.bool_] = true | false
    return found
