"""Lists of token ids as the body of a Parquet data page, and back.

Levels say where a list begins, and which are empty or null; ids follow with their first bytes together,
then their second ones, and so on (BYTE_STREAM_SPLIT): ids are as good as random, but their high bytes
are few. Source: Encodings.md of the Parquet format, and its README on nested columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from transforms.kernels.arrays import I64, U8, U16, U32, cuts, offsets_of
from transforms.kernels.records.arrow_values import BOOLS, elements, validity
from transforms.kernels.records.compiling import loops_for

PAGE_IDS = 1 << 18
"""Of a page, of 1 MiB: what a core's cache holds, and what a page of most writers has."""

# definition levels, where both lists and ids may be null
_NULL_LIST, _EMPTY_LIST, _NULL_ID, _ID = 0, 1, 2, 3
_BYTES = 4  # of an id; narrower ones are widened, as Parquet has none


class Page(NamedTuple):
    """The body of a page, uint8[bytes], and how many levels it has: its ids, nulls and empty lists."""

    body: U8
    levels: int


def id_pages(pieces: Sequence[pa.Array]) -> Iterator[Page]:
    """Yield pages of PAGE_IDS ids, or of one list that is longer; the next one takes a body's memory.

    Args:
        pieces: lists of uint16 or uint32, both lists and ids may be null; where one piece ends and the
            next begins changes nothing.
    """
    memory = np.empty(0, np.uint8)
    ends = offsets_of(np.concatenate([_lengths(lists) for lists in pieces]))
    firsts = offsets_of([len(lists) for lists in pieces])
    for begin, end in cuts(ends, limit=PAGE_IDS, most=PAGE_IDS):
        low, high = np.searchsorted(firsts, (begin, end), side="right") - 1
        parts = [
            pieces[i][max(begin - first, 0) : end - first]
            for i, first in enumerate(firsts[low : high + 1].tolist(), low)
            if first < end
        ]
        ids, levels, count = _levels_of(parts[0] if len(parts) == 1 else pa.concat_arrays(parts))
        size = len(levels) + _BYTES * len(ids)
        if size > len(memory):  # fresh memory costs as much as what is written to it
            memory = np.empty(size + size // 8, np.uint8)
        body = memory[:size]
        body[: len(levels)] = np.frombuffer(levels, np.uint8)
        _split(ids, body[len(levels) :].reshape(_BYTES, len(ids)))
        yield Page(body, count)


def _lengths(lists: pa.Array) -> I64:
    """Return int64[n], how many ids each list has, null ones none."""
    lengths = np.diff(elements(lists)[1])
    valid = validity(lists)
    return lengths if valid is None else np.where(valid, lengths, 0)


def _levels_of(lists: pa.Array) -> tuple[U32, bytes, int]:
    """Return the ids of lists, their levels as they are encoded, and how many these are."""
    valid, lengths = validity(lists), _lengths(lists)
    ids = elements(lists)[0] if valid is None else lists.flatten()  # without what nulls hide
    begins = offsets_of(np.maximum(lengths, 1))
    count = int(begins[-1])
    repeated = np.ones(count, np.uint8)
    repeated[begins[:-1]] = 0
    defined = _definitions(ids, lengths, valid, begins)
    definitions = _run(_ID, count) if defined is None else _levels(defined, bits=2)
    known = ids.drop_null() if ids.null_count else ids
    values = known.to_numpy().astype(np.uint32, copy=False)
    return values, _levels(repeated, bits=1) + definitions, count


def _definitions(ids: pa.Array, lengths: I64, valid: BOOLS | None, begins: I64) -> U8 | None:
    """Return uint8[begins[-1]], the definition levels; None where each is that of an id."""
    if lengths.all() and not ids.null_count:
        return None
    found = np.full(int(begins[-1]), _ID, np.uint8)
    found[begins[:-1][lengths == 0]] = _EMPTY_LIST
    inside = validity(ids)
    if inside is not None:
        found[np.flatnonzero(found == _ID)[~inside]] = _NULL_ID
    if valid is not None:
        found[begins[:-1][~valid]] = _NULL_LIST
    return found


def _levels(values: U8, *, bits: int) -> bytes:
    """Encode levels in one bit-packed run, of groups of eight."""
    groups = -(-len(values) // 8)
    spread = (values[:, None] >> np.arange(bits, dtype=np.uint8)) & 1 if bits > 1 else values
    packed = np.packbits(spread.ravel(), bitorder="little").tobytes()
    return _sized(varint(groups << 1 | 1) + packed.ljust(groups * bits, b"\0"))


def _run(value: int, count: int) -> bytes:
    """Encode one level that is repeated."""
    return _sized(varint(count << 1) + bytes([value]))


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


def _split(ids: U32, out: U8) -> None:
    """Write the first bytes of ids, then their second ones, and so on."""
    loops = loops_for(ids.nbytes)
    if loops is not None:
        loops.split_ids(ids, out)
        return
    rest = np.empty_like(ids)
    out[0] = ids
    for k in range(1, _BYTES):
        np.right_shift(ids, np.uint32(8 * k), out=rest)
        out[k] = rest


class BodyError(ValueError):
    """A page's body isn't as ``id_pages`` writes it."""


def read_page(body: U8, levels: int) -> tuple[U32, I64] | None:
    """Take ``id_pages`` back: return the ids, uint32[k], and int64[r + 1], where each list begins.

    None where a list or an id is null.

    Args:
        body: uint8[bytes] of a page.
        levels: how many it has.

    Raises:
        BodyError: the body doesn't go with its levels.
    """
    repeated, at = _read_levels(body, 0, levels, bits=1)
    defined, at = _read_levels(body, at, levels, bits=2)
    begins = np.flatnonzero(repeated == 0)
    if not len(begins) or begins[0]:
        raise BodyError("its first list doesn't begin with it")
    are_ids = defined == _ID
    if are_ids.all():
        offsets = np.append(begins, levels)
    else:
        if not (are_ids | (defined == _EMPTY_LIST)).all():
            return None
        before = offsets_of(are_ids)
        offsets = before[np.append(begins, levels)]
    count = int(offsets[-1])
    if len(body) - at != _BYTES * count:
        raise BodyError(f"expected {_BYTES * count} bytes of ids, got {len(body) - at}")
    return _join(body[at:].reshape(_BYTES, count)), offsets


def _read_levels(body: U8, at: int, count: int, *, bits: int) -> tuple[U8, int]:
    """Return uint8[count], levels, and where what follows begins."""
    size = int.from_bytes(body[at : at + 4].tobytes(), "little")
    at, end = at + 4, at + 4 + size
    if end > len(body):
        raise BodyError(f"expected {size} bytes of levels at byte {at}, got {len(body) - at}")
    head, at = read_varint(body[:end], at)
    groups = -(-count // 8)
    if head == count << 1 and end - at == 1:
        return np.full(count, body[at], np.uint8), end
    if head != (groups << 1 | 1) or end - at != groups * bits:
        raise BodyError(f"expected {count} levels of {bits} bits at byte {at}")
    found = np.unpackbits(body[at:end], bitorder="little")
    if bits == 2:
        found = found[::2] | (found[1::2] << np.uint8(1))
    return found[:count], end


def read_varint(data: U8, at: int) -> tuple[int, int]:
    """Take ``varint`` back: return the number that begins at a byte, and where it ends.

    Raises:
        BodyError: it doesn't end.
    """
    value = 0
    for place, byte in enumerate(data[at : at + 10].tolist()):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise BodyError("a number doesn't end")


def _join(planes: U8) -> U32:
    """Take ``_split`` back: two bytes at a time, as higher ones are mostly zeros."""
    loops = loops_for(planes.nbytes)
    if loops is not None:
        joined: U32 = loops.join_ids(planes)
        return joined
    out = _pairs(planes[:2]).astype(np.uint32)
    if planes[2:].any():
        out |= _pairs(planes[2:]).astype(np.uint32) << np.uint32(16)
    return out


def _pairs(planes: U8) -> U16:
    out: U16 = planes[1].astype(np.uint16)
    out <<= 8
    out |= planes[0]
    return out


def varint(value: int) -> bytes:
    """Encode a number from 0 on: seven bits a byte, the lowest first.

    >>> varint(300).hex()
    'ac02'
    """
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
