"""Texts: of JSON lines one field, of rows one column, other lines whole; written as JSON lines.

Other fields may be kept beside them (``kept``).

A block of texts holds UTF-8 bytes without terminators, whatever file they are from, so files of all
formats go on together. Identity stays that of the line or the row. Where texts are written as lines,
each is ``{"text":"…"}``: a text may hold any byte that would end a bare line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from transforms.formats import lines, scanned
from transforms.formats.kept import Kept
from transforms.formats.line_kinds import LineKind
from transforms.formats.readers import Found, Reader, ReadOptions, ReadTask
from transforms.formats.scanned import Taken
from transforms.formats.text_field import TextField
from transforms.kernels.records import blocks, json_text
from transforms.kernels.records.arrow_values import bytes_extents
from transforms.kernels.records.digest import Digest

EXTENSION = ".jsonl"
"""Of shards of texts that are lines."""

_PIECE = 1 << 20  # footprint of the texts that are made lines at a time
_Sorted = tuple[Sequence[str | None], list[Any], dict[int, str]]
_LineByLine = Callable[[list[bytes], str, Kept | None], _Sorted]
_VALUES = 1 << 20  # kept of JSON lines at a time: nulls take memory, but no bytes of a line


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


def _take(block: pa.RecordBatch, field: str, kept: Kept | None, each: _LineByLine) -> Taken:
    def closer(lines: list[bytes]) -> Taken:
        found, picked, bad = _all_good(lines, field, kept) or each(lines, field, kept)
        return _kept_too(pa.array(found, pa.large_string()), picked, bad, kept, of=len(lines))

    taken = scanned.take(block, field=field, kept=kept, closer=closer)
    return closer(blocks.records(block)) if taken is None else taken


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
    """Take the texts of a block of lines of a kind, or of rows (None), bad ones as they stand there."""
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
