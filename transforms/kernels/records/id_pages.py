"""Lists of token ids as the body of a Parquet data page.

Levels say where a list begins, and which are empty or null; ids follow with their first bytes together,
then their second ones, and so on (BYTE_STREAM_SPLIT): ids are as good as random, but their high bytes
are few. Source: Encodings.md of the Parquet format, and its README on nested columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from transforms.kernels.arrays import I64, U8, U32, cuts, offsets_of
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
