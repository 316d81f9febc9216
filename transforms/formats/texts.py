"""Texts: of JSON lines one field, of rows one column, other lines whole; written as JSON lines.

Other fields may be kept beside them (``kept``).

A block of texts holds UTF-8 bytes without terminators, whatever file they are from, so files of all
formats go on together. Identity stays that of the line or the row. Where texts are written as lines,
each is ``{"text":"…"}``: a text may hold any byte that would end a bare line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from transforms.formats import lines
from transforms.formats.kept import JsonKind, Kept
from transforms.formats.line_kinds import LineKind
from transforms.formats.readers import Found, Reader, ReadOptions, ReadTask
from transforms.formats.text_field import TextField
from transforms.kernels.records import blocks, json_text
from transforms.kernels.records.arrow_values import bytes_extents
from transforms.kernels.records.compiling import loops_for
from transforms.kernels.records.digest import Digest

EXTENSION = ".jsonl"
"""Of shards of texts that are lines."""

_PIECE = 1 << 20  # footprint of the texts that are made lines at a time
Places = npt.NDArray[np.intp]
_Sorted = tuple[Sequence[str | None], list[Any], dict[int, str]]
_SortOut = Callable[[list[bytes], str, Kept | None], _Sorted]
_STANDING: set[JsonKind] = {"integer", "text", "boolean"}
"""Kinds whose values can be told by how they stand in a line."""
_VALUES = 1 << 20  # kept of JSON lines at a time: nulls take memory, but no bytes of a line


class Taken(NamedTuple):
    """Texts of good JSON lines, what is kept of each, and by place the reasons of bad ones."""

    texts: pa.Array
    kept: pa.StructArray | None
    bad: dict[int, str]


def of_json(
    block: pa.RecordBatch, *, field: str, kept: Kept | None = None, source: int | None = None
) -> Found:
    """Take the text of JSON lines (``text_field``); lines that aren't objects, or lack it, are bad.

    So are those with a value to be kept that isn't of its field's kind.
    """
    taken = take_json(block, field=field, kept=kept)
    good, rest, reasons = Found.sort_out(block, taken.bad)
    return Found(_block(good, taken.texts, source, taken.kept), rest, reasons)


def take_json(block: pa.RecordBatch, *, field: str, kept: Kept | None = None) -> Taken:
    """As ``of_json``, of which it gives what was taken alone."""
    return _take(block, field, kept, _sort_out)


def take_if_any(block: pa.RecordBatch, *, field: str, kept: Kept | None = None) -> Taken:
    """Take the text of JSON lines that have it, null of others, which aren't bad for that.

    Of lines that are no objects nothing is kept: null.
    """
    return _take(block, field, kept, _if_any)


def _take(block: pa.RecordBatch, field: str, kept: Kept | None, sort_out: _SortOut) -> Taken:
    """Take what compiled loops can, then look at odd lines by ``sort_out``."""
    scanned = _scan(block, field, kept)
    if scanned is None:
        return _take_each(block, field, kept, sort_out)
    texts, others, odd = scanned
    if not len(odd):
        return Taken(texts, others, {})
    rest = _take_each(block.take(pa.array(odd)), field, kept, sort_out)
    is_good = np.ones(len(odd), bool)
    is_good[list(rest.bad)] = False
    order = np.arange(len(block))
    order[odd[is_good]] = len(block) + np.arange(len(rest.texts))
    fit = np.ones(len(block), bool)
    fit[odd[~is_good]] = False
    places = pa.array(order[fit])
    if others is not None:
        others = pa.concat_arrays([others, rest.kept]).take(places)
    bad = {int(odd[number]): reason for number, reason in rest.bad.items()}
    return Taken(pa.concat_arrays([texts, rest.texts]).take(places), others, bad)


def _take_each(block: pa.RecordBatch, field: str, kept: Kept | None, sort_out: _SortOut) -> Taken:
    lines = blocks.records(block)
    found, picked, bad = _all_good(lines, field, kept) or sort_out(lines, field, kept)
    return _kept_too(pa.array(found, pa.large_string()), picked, bad, kept, of=len(block))


def _if_any(lines: list[bytes], field: str, kept: Kept | None) -> _Sorted:
    """As ``_sort_out``, but only values that can't be kept make a line a bad one."""
    texts: list[str | None] = []
    picked: list[Any] = []
    bad = {}
    where = TextField.parse(field)
    for place, line in enumerate(lines):
        value, text, strict = None, None, True
        with contextlib.suppress(json_text.Unreadable, TypeError):
            value, strict = json_text.read(line)
            text = where.of_json(value)
        try:
            if kept is not None:
                fields = value if isinstance(value, dict) else {}
                picked += _pick(kept, fields, line, strict=strict and fields is value)
        except TypeError as error:
            bad[place] = str(error)
        else:
            texts.append(text)
    return texts, picked, bad


def _kept_too(
    found: pa.Array, picked: list[Any], bad: dict[int, str], kept: Kept | None, *, of: int
) -> Taken:
    """Make columns of what was picked of good lines; those with values that don't fit are bad ones."""
    if kept is None:
        return Taken(found, None, bad)
    others, misfits = kept.to_columns(picked)
    if misfits:
        fit = np.ones(len(found), bool)
        fit[list(misfits)] = False
        found, others = found.filter(pa.array(fit)), others.filter(pa.array(fit))
        places = [place for place in range(of) if place not in bad]
        bad = bad | {places[number]: reason for number, reason in misfits.items()}
    return Taken(found, others, bad)


def _scan(
    block: pa.RecordBatch, field: str, kept: Kept | None
) -> tuple[pa.Array, pa.StructArray | None, Places] | None:
    """Return the texts of JSON lines, what is kept, and the places of lines to be looked at one by one.

    None where numba isn't worth its time, or the text isn't a field at the top, or something kept isn't
    of a kind that stands in a line as it is.
    """
    if not TextField.parse(field).is_plain or loops_for(blocks.payload_bytes(block)) is None:
        return None
    texts, odd = _scan_field(block, field)
    if kept is None:
        return texts, None, odd
    if kept.kinds is None or not set(kept.kinds) <= _STANDING:
        return None
    places, columns = [odd], []
    for name, kind in zip(kept.names, kept.kinds, strict=True):
        found, odd = _scan_field(block, name, scalars=kind != "text")
        column = _column(found, kind, odd)
        if column is None:
            return None
        places.append(odd)
        columns.append(column)
    fields = kept.fields
    if [column.type for column in columns] != [one.type for one in fields]:
        return None
    return (
        texts,
        pa.StructArray.from_arrays(columns, fields=fields),
        np.unique(np.concatenate(places)),
    )


def _scan_field(
    block: pa.RecordBatch, field: str, *, scalars: bool = False
) -> tuple[pa.Array, Places]:
    """Return a field's texts, or its scalars as they stand in the lines, and the places of odd lines."""
    from transforms.kernels.records import json_loops  # numba takes long to import

    name = field.encode(errors="surrogatepass")  # halves of pairs, of a terminal's, are in no line
    values, offsets, odd = json_loops.take_texts(
        *blocks.extents(block), end=len(blocks.terminator(block)), field=name, scalars=scalars
    )
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.large_string(), len(block), buffers), odd


def _column(found: pa.Array, kind: JsonKind, odd: Places) -> pa.Array | None:
    """Make a column of what stands in lines, anything for odd ones; None where one isn't of its kind."""
    if kind == "text":
        return found.cast(pa.string())
    fit = np.ones(len(found), bool)
    fit[odd] = False
    if kind == "boolean":
        is_true, is_false = (pc.equal(found, word).to_numpy(False) for word in ("true", "false"))
        return pa.array(is_true) if (is_true | is_false)[fit].all() else None
    try:
        return pc.if_else(pa.array(fit), found, "0").cast(pa.int64())
    except pa.ArrowInvalid:  # it has a point, or doesn't fit
        return None


def _all_good(lines: list[bytes], field: str, kept: Kept | None) -> _Sorted | None:
    """Return texts and what is kept where no line is bad, which costs half of looking at each."""
    place = TextField.parse(field)
    try:
        values = [orjson.loads(line) for line in lines]
        if place.is_plain:
            texts = [value[field] for value in values]
        else:
            texts = [place.of_json(value) for value in values]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return None
    if {*map(type, values)} != {dict} or {*map(type, texts)} != {str}:
        return None
    return texts, [] if kept is None else kept.pick_all(values, lines), {}


def _sort_out(lines: list[bytes], field: str, kept: Kept | None) -> _Sorted:
    """Return texts and what is kept of good lines, and of bad ones the reasons."""
    texts, picked, bad = [], [], {}
    where = TextField.parse(field)
    for place, line in enumerate(lines):
        try:
            value, strict = json_text.read(line)
            text = where.of_json(value)
            mine = [] if kept is None else _pick(kept, value, line, strict=strict)
        except json_text.Unreadable as error:
            bad[place] = f"expected JSON with a string {field!r}, it isn't JSON: {error}"
        except TypeError as error:
            bad[place] = str(error)
        else:
            texts.append(text)
            picked += mine
    return texts, picked, bad


def _pick(kept: Kept, value: Any, line: bytes, *, strict: bool) -> list[tuple[Any, ...]]:
    """Return what is kept of a JSON object; raise TypeError where it can't be."""
    if strict:
        return kept.pick_all([value], [line])
    found = kept.pick(value)
    for name, one in zip(kept.names, found, strict=True):
        if reason := json_text.unkeepable(one):
            raise TypeError(f"field {name!r}: expected what can be kept as it is: {reason}")
    return [found]


def of_rows(block: pa.RecordBatch, *, field: str, source: int | None = None) -> Found:
    """Take rows of one column of text, and those that are kept behind it; null texts are bad."""
    missing = np.flatnonzero(block.column("record").field(0).is_null())
    reason = missing_text(field)
    good, bad, reasons = Found.sort_out(block, dict.fromkeys(missing.tolist(), reason))
    record = good.column("record")
    fields = list(record.type)
    others = [record.field(i) for i in range(1, len(fields))]
    kept = pa.StructArray.from_arrays(others, fields=fields[1:]) if others else None
    return Found(_block(good, record.field(0), source, kept), bad, reasons)


def missing_text(column: str) -> str:
    """Return the reason of a row whose text is null."""
    return f"column {column}: expected text, got null"


def _block(
    block: pa.RecordBatch,
    texts: pa.Array,
    source: int | None,
    kept: pa.StructArray | None = None,
) -> pa.RecordBatch:
    """Make a block of texts in the places of a block's records."""
    values, offsets = bytes_extents(texts)
    positions = blocks.column(block, "position")
    found = blocks.from_buffer(
        values, offsets=offsets, positions=positions, line_end=b"", source=source
    )
    return found if kept is None else found.append_column("kept", kept)


def texts_of(
    block: pa.RecordBatch, kind: LineKind | None, options: ReadOptions, *, source: int | None
) -> Iterator[Found]:
    """Yield the texts of a block of lines or rows; bad records are as they stand in the block.

    Args:
        block: lines, or rows whose first column is the text.
        kind: of the lines; None for rows.
        options: which field is the text, what is kept beside it, and how texts are validated.
        source: index for a ``source`` column; None for none.
    """
    field, kept = options.text_field or "", options.kept
    if kind == "plain":
        found = Found(_block(block, blocks.bare(block), source))
        yield found.validated(options.validate, block)
    elif kind is None:
        yield of_rows(block, field=field, source=source).validated(options.validate, block)
    else:
        for piece in pieces(block, kept):
            found = of_json(piece, field=field, kept=kept, source=source)
            yield found.validated(options.validate, piece)


def pieces(block: pa.RecordBatch, kept: Kept | None) -> Iterator[pa.RecordBatch]:
    """Cut a block of JSON lines into pieces of which so much is kept at a time; one at least."""
    most = max(len(block) if kept is None else _VALUES // len(kept.names), 1)
    for begin in range(0, max(len(block), 1), most):
        yield block.slice(begin, most)


class TextReader:
    """Reads a span's texts through the reader of its lines or rows; all else is the inner reader's.

    Args:
        inner: of JSON lines, of lines that are UTF-8, or of rows of the one column, with those that
            are kept behind it.
        kind: of lines; None for rows.
        task: the span, and how to read it.
    """

    def __init__(self, inner: Reader, kind: LineKind | None, task: ReadTask) -> None:
        self._inner, self._kind, self._task = inner, kind, task
        self._bytes = 0  # of the lines read: digests are of the texts

    def __iter__(self) -> Iterator[Found]:
        """Yield what is found, what is bad as it stands in the file; errors as of the inner reader."""
        for block, bad, reasons in self._inner:
            if bad is not None:
                self._bytes += _bytes_of(bad)
                yield Found(next(self._take(block.slice(0, 0))).block, bad, reasons)
            self._bytes += _bytes_of(block)
            yield from self._take(block)

    def _take(self, block: pa.RecordBatch) -> Iterator[Found]:
        return texts_of(block, self._kind, self._task.options, source=self._task.source)

    def covered(self, digest: Digest) -> int:
        """Return how much of ``whole`` the lines or rows are that as many texts are from."""
        return self._inner.covered(Digest(records=digest.records, bytes=self._bytes))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _bytes_of(block: pa.RecordBatch) -> int:
    return blocks.payload_bytes(block) - len(block) * len(blocks.terminator(block))


class Writer:
    """Writes texts as JSON lines through a writer of lines."""

    def __init__(self, inner: lines.Writer) -> None:
        self._inner = inner

    def write(self, block: pa.RecordBatch) -> None:
        """Write a block; what was written is found when it is read back."""
        for piece in blocks.slices(block, limit=_PIECE):
            texts = blocks.bare(piece).view(pa.large_string()).to_pylist()
            made = (orjson.dumps({"text": t}, option=orjson.OPT_APPEND_NEWLINE) for t in texts)
            self._inner.write_bytes(b"".join(made))

    def close(self) -> None:
        """Write the end."""
        self._inner.close()
