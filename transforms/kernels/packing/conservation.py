"""Conservation: sums of hashes prove that documents' ids are those in rows, cut off, and dropped.

Every id of a document is hashed with its place among the document's own ids and with the document's
key, and the hashes are summed mod 2**64:

    hash = sum over places p of mix(mix(key ^ C) ^ (p << 32 | id))

So the hash of a document is the sum of those of its pieces, wherever it is cut, and that of a window
is the sum over its rows and what stands in none. Ids that change places or documents change it, as
``mix`` isn't linear, and so do pieces that are lost or come twice. Special ids aren't hashed: it is
known by their places which they have to be, and they are compared with that. It finds accidents, as
the digest of records does, and is no cryptographic hash.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from transforms.errors import LosslessError
from transforms.kernels.arrays import I64, U64, read_only
from transforms.kernels.compiled import inlined, kernel
from transforms.kernels.packing.rows import Packing, Pieces, Rows
from transforms.kernels.randomness import M1, M2, mix

_MASK64 = 2**64 - 1
_C = np.uint64(0xA24BAED4963EE407)
_27, _32, _33 = (np.uint64(n) for n in (27, 32, 33))
_ONE = np.uint64(1 << 32)


class Keyed(Protocol):
    """Documents: ids uint16[k] or uint32[k] without special ones, offsets int64[n + 1] of each one's,
    keys uint64[n].
    """

    @property
    def ids(self) -> npt.NDArray[Any]: ...

    @property
    def offsets(self) -> I64: ...

    @property
    def keys(self) -> U64: ...


def document_hashes(ids: npt.NDArray[Any], offsets: I64, keys: U64) -> U64:
    """Return uint64[n], the hash of each document.

    Args:
        ids: uint16[k] or uint32[k], without special ones.
        offsets: int64[n + 1], where each document's begin.
        keys: uint64[n], of the documents.
    """
    offsets = np.asarray(offsets, np.int64)
    return _hash(ids, offsets[:-1], np.diff(offsets), np.zeros(len(keys), np.int64), keys)


def hash_documents(ids: npt.NDArray[Any], offsets: I64, keys: U64) -> int:
    """Return the sum of ``document_hashes``, mod 2**64; arguments as there."""
    return total(document_hashes(ids, offsets, keys))


def rest_of(documents: Keyed, pieces: Pieces, packing: Packing) -> int:
    """Return the hash of the ids that are to stand in no row of a window, mod 2**64.

    Which these are doesn't follow from the pieces, or one that is missing would not be missed: they are
    what ``packing.long`` truncates and drops. Only where the places of ``concat`` begin and end is taken
    from the first piece and the last.

    Args:
        documents: of a window.
        pieces: of all its rows.
        packing: how it was packed.
    """
    lengths = np.diff(documents.offsets)
    low, high = np.zeros(len(lengths), np.int64), lengths.copy()  # what stands in rows
    if packing.kind == "concat":
        place, count = bare_ranges(pieces, lengths, packing)
        if not len(place):
            high[:] = 0
        else:
            first, last = int(pieces.document[0]), int(pieces.document[-1])
            high[:first] = high[last + 1 :] = 0
            low[first], high[last] = place[0], place[-1] + count[-1]
    elif packing.long in {"truncate", "drop"}:
        kept = packing.most - packing.end_at_cuts - (packing.begin is not None)
        long = lengths + packing.special > packing.most
        high[long] = 0 if packing.long == "drop" else np.minimum(lengths[long], kept)
    before = _hash(documents.ids, documents.offsets[:-1], low, np.zeros_like(low), documents.keys)
    behind = _hash(
        documents.ids, documents.offsets[:-1] + high, lengths - high, high, documents.keys
    )
    return (total(before) + total(behind)) & _MASK64


def row_hashes(rows: Rows, pieces: Pieces, lengths: I64, keys: U64, packing: Packing) -> U64:
    """Return uint64[m], the hash of each piece, from rows as they are to be written.

    Args:
        rows: of ids.
        pieces: of these rows, no others.
        lengths: int64[n], ids of the window's documents, without special ones.
        keys: uint64[n], of the documents.
        packing: how they were packed.

    Raises:
        LosslessError: the rows don't have the pieces' lengths, or special ids aren't what and where
            they must be.
    """
    ids = pieces.ids
    ends = np.cumsum(ids)
    if (
        not np.array_equal(rows.lengths, ids)
        or not np.array_equal(rows.piece_offsets, pieces.row_offsets)
        or not np.array_equal(rows.offsets[1:], np.append(0, ends)[pieces.row_offsets[1:]])
        or rows.offsets[0] != 0
        or len(rows.ids) != rows.offsets[-1]
    ):
        raise LosslessError(
            "expected rows as long as their pieces together, got others: a bug in Dovetail; "
            "report it with the recipe"
        )
    begins = ends - ids
    place, count = bare_ranges(pieces, lengths, packing)
    before = _has_begin(pieces, packing).astype(np.int64)
    behind = ids - before - count  # ends, of the document or at a cut
    _require(rows.ids[begins[before > 0]], packing.begin, "begin")
    _require(rows.ids[ends[behind > 0] - 1], packing.end, "end")
    return _hash(rows.ids, begins + before, count, place, keys[pieces.document])


def bare_ranges(pieces: Pieces, lengths: I64, packing: Packing) -> tuple[I64, I64]:
    """Return int64[m] twice: where among its document's own ids each piece begins, and how many it has.

    Args:
        pieces: of a window.
        lengths: int64[n], ids of the window's documents, without special ones.
        packing: how they were packed.
    """
    before = int(packing.begin is not None)
    of = lengths[pieces.document]
    low = np.clip(pieces.begin - before, 0, of)
    high = np.clip(pieces.begin + pieces.length - before, low, of)
    return low, high - low


def total(hashes: U64) -> int:
    """Return the sum of hashes, mod 2**64."""
    return int(hashes.sum(dtype=np.uint64))


def _has_begin(pieces: Pieces, packing: Packing) -> npt.NDArray[np.bool_]:
    if packing.begin is None:
        return np.zeros(len(pieces.begin), np.bool_)
    found: npt.NDArray[np.bool_] = (pieces.begin == 0) & (pieces.length > 0)
    return found


def _require(found: npt.NDArray[Any], expected: int | None, what: str) -> None:
    if len(found) and (expected is None or (found != expected).any()):
        wrong = found[0] if expected is None else found[found != expected][0]
        raise LosslessError(
            f"expected the id {expected} that {what}s documents, got {wrong}: a bug in Dovetail; "
            "report it with the recipe"
        )


def _hash(ids: npt.NDArray[Any], begins: I64, counts: I64, places: I64, keys: U64) -> U64:
    """Hash stretches of ids, each with its first place in its document and with the document's key."""
    if len(counts) and not (begins.min() >= 0 and (begins + counts).max() <= len(ids)):
        raise ValueError(f"expected stretches within {len(ids)} ids, got others")
    out = np.empty(len(counts), np.uint64)
    mixed = mix(np.asarray(keys, np.uint64) ^ _C)
    _hash_stretches(
        read_only(ids), *(read_only(a) for a in (begins, counts, places)), read_only(mixed), out
    )
    return out


@inlined
def _mix(value: Any) -> Any:
    """Return ``randomness.mix`` of one uint64."""
    value = (value ^ (value >> _27)) * M1
    value = (value ^ (value >> _33)) * M2
    return value ^ (value >> _27)


@kernel
def _hash_stretches(ids: Any, begins: Any, counts: Any, places: Any, keys: Any, out: Any) -> None:
    for i in range(len(begins)):
        found, key, begin = np.uint64(0), keys[i], begins[i]
        place = np.uint64(places[i]) << _32
        for k in range(counts[i]):
            found += _mix(key ^ (place | np.uint64(ids[begin + k])))
            place += _ONE
        out[i] = found
