"""Texts: of JSON lines one field, of rows one column, other lines whole; written as JSON lines.

Other fields may be kept beside them (``kept``).

A block of texts holds UTF-8 bytes without terminators, whatever file they are from, so files of all
formats go on together. Identity stays that of the line or the row. Where texts are written as lines,
each is ``{"text":"…"}``: a text may hold any byte that would end a bare line.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

import numpy as np
import orjson
import pyarrow as pa

from transforms import storage
from transforms.formats import lines
from transforms.formats.codecs import Codec, Decoder, strip_suffix
from transforms.formats.found import Found, Judge
from transforms.formats.found import Reader as Inner
from transforms.formats.kept import Kept
from transforms.formats.lines import LineFormat
from transforms.formats.text_places import place_of
from transforms.kernels import blocks, json_text
from transforms.kernels.digest import Digest
from transforms.kernels.values import bytes_extents

Form = Literal["json", "plain"]
"""What lines are."""

JSON_NAMES = (".jsonl", ".ndjson", ".json")
"""Files so named are JSON lines; others where their first line is a JSON object."""

EXTENSION = ".jsonl"
"""Of shards of texts that are lines."""

_GLANCE, _LONG = 1 << 16, 1 << 20  # of a file's beginning: what is read first, and at most
_PIECE = 1 << 20  # footprint of the texts that are made lines at a time
_VALUES = (
    1 << 20
)  # that are kept of JSON lines at a time: nulls take memory, but no bytes of a line


def named_json(name: str) -> bool:
    """Say whether a file is named as JSON lines are.

    >>> named_json("a/b.JSONL.gz"), named_json("b.txt")
    (True, False)
    """
    return os.path.splitext(strip_suffix(name))[1].lower() in JSON_NAMES


def form_of(
    file: io.RawIOBase | BinaryIO, *, name: str, codec: Codec | None, line_format: LineFormat
) -> Form:
    """Say what a file's lines are: by its name, else by its first line; leaves it at its beginning.

    A first line of more than a mebibyte counts as an object where it begins as one.

    Raises:
        DataError: its beginning can't be decompressed.
    """
    if named_json(name):
        return "json"
    file.seek(0)
    stream = file if codec is None else Decoder(file, codec, name)
    line, whole = _first_line(stream, line_format)
    file.seek(0)
    return "json" if line.startswith(b"{") and (not whole or _is_json(line)) else "plain"


def _first_line(stream: Any, line_format: LineFormat) -> tuple[bytes, bool]:
    """Return the first line that isn't blank, and whether that is all of it.

    Of a line that is no object by its first bytes no more is read.
    """
    begins, header = b"", len(line_format.header)
    for size in (_GLANCE, _LONG):
        more = bytearray(header + size - len(begins))
        begins += more[: storage.read_into(stream, memoryview(more))]
        mark = lines.mark_size(begins, line_format.separator)
        line, end, _ = begins[mark + header :].lstrip().partition(bytes([line_format.separator]))
        whole = bool(end) or len(begins) < header + size
        if whole or not line.startswith(b"{"):
            break
    return line, whole


def _is_json(line: bytes) -> bool:
    try:
        json_text.read(line)
    except json_text.Unreadable:
        return False
    return True


def of_json(
    block: pa.RecordBatch, *, field: str, kept: Kept | None = None, source: int | None = None
) -> Found:
    """Take the text of JSON lines (``text_places``); lines that aren't objects, or lack it, are bad.

    So are those with a value to be kept that isn't of its field's kind.
    """
    lines = blocks.records(block)
    texts, picked, bad = _all_good(lines, field, kept) or _sort_out(lines, field, kept)
    found = pa.array(texts, pa.large_string())
    others = None
    if kept is not None:
        others, misfits = kept.to_columns(picked)
        if misfits:
            fit = np.ones(len(texts), bool)
            fit[list(misfits)] = False
            found, others = found.filter(pa.array(fit)), others.filter(pa.array(fit))
            places = [place for place in range(len(block)) if place not in bad]
            bad |= {places[number]: reason for number, reason in misfits.items()}
    good, rest, reasons = Found.sort_out(block, bad)
    return Found(_block(good, found, source, others), rest, reasons)


_Sorted = tuple[list[str], list[Any], dict[int, str]]


def _all_good(lines: list[bytes], field: str, kept: Kept | None) -> _Sorted | None:
    """Return texts and what is kept where no line is bad, which costs half of looking at each."""
    place = place_of(field)
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
    where = place_of(field)
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


def of_lines(block: pa.RecordBatch, *, source: int | None = None) -> Found:
    """Take lines of UTF-8 whole."""
    return Found(_block(block, blocks.bare(block), source))


def of_rows(block: pa.RecordBatch, *, field: str, source: int | None = None) -> Found:
    """Take rows of one column of text, and those that are kept behind it; null texts are bad."""
    missing = np.flatnonzero(block.column("record").field(0).is_null())
    reason = f"column {field}: expected text, got null"
    good, bad, reasons = Found.sort_out(block, dict.fromkeys(missing.tolist(), reason))
    record = good.column("record")
    fields = list(record.type)
    others = [record.field(i) for i in range(1, len(fields))]
    kept = pa.StructArray.from_arrays(others, fields=fields[1:]) if others else None
    return Found(_block(good, record.field(0), source, kept), bad, reasons)


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
    return found if kept is None else blocks.with_kept(found, kept)


class Reader:
    """Reads a span's texts through the reader of its lines or rows.

    Args:
        inner: of JSON lines, of lines that are UTF-8, or of rows of the one column, with those that
            are kept behind it.
        field: of JSON lines; the column's name.
        form: of lines; None for rows.
        source: index for a ``source`` column.
        kept: what is kept of JSON lines.
        judge: says which texts are bad all the same.
    """

    def __init__(
        self,
        inner: Inner,
        *,
        field: str,
        form: Form | None,
        source: int | None = None,
        kept: Kept | None = None,
        judge: Judge | None = None,
    ) -> None:
        self._inner = inner
        self._kept, self._judge = kept, judge
        self._bytes = 0  # of the lines read: digests are of the texts
        self._field, self._form, self._source = field, form, source

    def __iter__(self) -> Iterator[Found]:
        """Yield what is found, what is bad as it stands in the file; errors as of the inner reader."""
        for block, bad, reasons in self._inner:
            if bad is not None:
                self._bytes += _bytes_of(bad)
                yield Found(next(self._take(block.slice(0, 0))).block, bad, reasons)
            self._bytes += _bytes_of(block)
            yield from self._take(block)

    def _take(self, block: pa.RecordBatch) -> Iterator[Found]:
        if self._form == "plain":
            yield of_lines(block, source=self._source).judged(self._judge, block)
        elif self._form is None:
            found = of_rows(block, field=self._field, source=self._source)
            yield found.judged(self._judge, block)
        else:
            kept = self._kept
            most = max(len(block) if kept is None else _VALUES // len(kept.names), 1)
            for begin in range(0, max(len(block), 1), most):
                piece = block.slice(begin, most)
                found = of_json(piece, field=self._field, kept=kept, source=self._source)
                yield found.judged(self._judge, piece)

    @property
    def whole(self) -> int | None:
        """As of the inner reader."""
        return self._inner.whole

    @property
    def blank(self) -> int:
        """As of the inner reader."""
        return self._inner.blank

    @property
    def marks(self) -> int:
        """As of the inner reader."""
        return self._inner.marks

    @property
    def trailing(self) -> int:
        """As of the inner reader."""
        return self._inner.trailing

    @property
    def consumed(self) -> int:
        """As of the inner reader."""
        return self._inner.consumed

    def covered(self, digest: Digest) -> int:
        """Return how much of ``whole`` the lines or rows are that as many texts are from."""
        return self._inner.covered(Digest(records=digest.records, bytes=self._bytes))


def _bytes_of(block: pa.RecordBatch) -> int:
    return blocks.payload_bytes(block) - len(block) * len(blocks.terminator(block))


class Writer:
    """Writes texts as JSON lines through a writer of lines."""

    def __init__(self, inner: lines.Writer) -> None:
        self._inner = inner

    def write(self, block: pa.RecordBatch) -> None:
        """Write a block; what was written is found when it is read back."""
        for piece in blocks.slices(block, limit=_PIECE):
            self._inner.write_bytes(b"".join(map(_line_of, _strings(piece))))

    def close(self) -> None:
        """Write the end."""
        self._inner.close()


def _strings(block: pa.RecordBatch) -> list[str]:
    texts: list[str] = blocks.bare(block).view(pa.large_string()).to_pylist()
    return texts


def _line_of(text: str) -> bytes:
    return orjson.dumps({"text": text}, option=orjson.OPT_APPEND_NEWLINE)
