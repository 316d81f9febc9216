"""Blocks: Arrow record batches of records, the only payload between transforms.

Columns of a block, in this order, those in parentheses where they are needed:

    position: uint64       where the record begins in its file; replaced by
    key: uint64            what a block is sorted by, once the run's seed is known
    (source: uint16)       index of the record's source, where several are shuffled as one
    (cost: uint32)         of a row: the memory that it takes
    (hash0, hash1: uint64) digests of what was read, dropped before a run is spilled
    (size: int64)          of a row: its logical bytes; goes with the hashes
    record                 the record: large_binary for a line, a struct of its columns for a row
    (kept: struct)         of a text: what is kept beside it; goes into the row that is made of it

A line's record column holds each line *with* its terminator, which the field's metadata names, so
that neither reading nor writing copies the payload to strip or add one byte. The terminator is no
part of the record: digests leave it out, and ``records`` strips it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import LosslessError
from transforms.kernels.arrays import I64, U8, U16, U64, cuts, offsets_of
from transforms.kernels.randomness import KeyPair, record_keys
from transforms.kernels.records import arrow_values, ranges
from transforms.kernels.records.arrow_values import list_lengths, row_costs, row_sizes
from transforms.kernels.records.digest import Digest, record_hashes
from transforms.kernels.records.row_hashes import row_hashes

TERMINATOR = b"dovetail.terminator"
ROW_COST = 64
"""Bytes that a record costs beside its payload: offset, key, sort index, hashes and their copies."""


def record_field(terminator: bytes) -> pa.Field:
    """Return the field of the record column; ``terminator`` is one byte, or none."""
    return pa.field("record", pa.large_binary(), metadata={TERMINATOR: terminator})


def terminator(block: pa.RecordBatch) -> bytes:
    """Return what ends each value of the record column, b"" for nothing."""
    found: bytes = (block.schema.field("record").metadata or {}).get(TERMINATOR, b"")
    return found


def from_buffer(
    values: U8,
    *,
    offsets: I64,
    positions: U64,
    line_end: bytes,
    source: int | None = None,
    hashed: bool = True,
) -> pa.RecordBatch:
    """Make a block of lines that lie one after another in a buffer.

    They are copied where they are a part of it only: a block holds what its footprint counts, not a
    buffer that it was read into. Where they fill it they stay, since a copy takes time.

    Args:
        values: uint8[size]; must not change afterwards.
        offsets: int64[n + 1], where each line begins, and the end of the last one's terminator.
        positions: uint64[n], the records' places in their file.
        line_end: the terminator that each line carries, one byte or none.
        source: index of the source, for a ``source`` column.
        hashed: put in the records' hashes, which take as long as reading.
    """
    count = len(positions)
    begin, end = int(offsets[0]), int(offsets[-1])
    if arrow_values.is_part(end - begin, arrow_values.behind(values)):
        values, offsets = values[begin:end].copy(), offsets - begin
    record = lines_of(values, offsets)
    columns: dict[str, pa.Array] = {"position": pa.array(positions)}
    if source is not None:
        columns["source"] = pa.array(np.full(count, source, np.uint16))
    if hashed:
        hash0, hash1 = record_hashes(values, offsets, line_end)
        columns |= {"hash0": pa.array(hash0), "hash1": pa.array(hash1)}
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    schema = pa.schema([*fields, record_field(line_end)])
    return pa.RecordBatch.from_arrays([*columns.values(), record], schema=schema)


def lines_of(values: U8, offsets: I64) -> pa.Array:
    """Return records that lie one after another in a buffer as large_binary, without copying."""
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def from_rows(
    record: pa.StructArray, *, positions: U64, source: int | None = None
) -> pa.RecordBatch:
    """Make a block of rows, as ``to_rows`` gives them; arguments as in ``from_buffer``."""
    columns: dict[str, pa.Array] = {"position": pa.array(positions)}
    if source is not None:
        columns["source"] = pa.array(np.full(len(record), source, np.uint16))
    columns["cost"] = pa.array(row_costs(record).astype(np.uint32))
    hash0, hash1 = row_hashes(record)
    columns |= {"hash0": pa.array(hash0), "hash1": pa.array(hash1)}
    columns |= {"size": pa.array(row_sizes(record)), "record": record}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def is_rows(block: pa.RecordBatch) -> bool:
    """Return whether a block's records are rows, not lines."""
    return bool(pa.types.is_struct(block.schema.field("record").type))


def from_records(
    records: Sequence[bytes], positions: U64, *, line_end: bytes, source: int | None = None
) -> pa.RecordBatch:
    """Make a block of somebody's own records; arguments as in ``from_buffer``."""
    offsets = offsets_of([len(record) + len(line_end) for record in records])
    data = b"".join(part for record in records for part in (record, line_end))
    return from_buffer(
        np.frombuffer(data, np.uint8),
        offsets=offsets,
        positions=positions,
        line_end=line_end,
        source=source,
    )


def with_keys(block: pa.RecordBatch, pair: KeyPair) -> pa.RecordBatch:
    """Replace ``position`` by ``key``."""
    keys = record_keys(pair, column(block, "position"))
    at = block.schema.get_field_index("position")
    return block.set_column(at, "key", pa.array(keys))


def column(block: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
    """Return a numeric column as an array, without copying."""
    out: npt.NDArray[Any] = block.column(name).to_numpy(zero_copy_only=True)
    return out


def extents(block: pa.RecordBatch) -> tuple[U8, I64]:
    """Return the record column's buffer and int64[n + 1] offsets into it, without copying."""
    array = block.column("record")
    _, offsets, values = array.buffers()
    first = array.offset
    where = np.frombuffer(offsets, np.int64)[first : first + len(array) + 1]
    data = np.frombuffer(values, np.uint8) if values is not None else np.zeros(0, np.uint8)
    return data, where


def payload(block: pa.RecordBatch) -> memoryview:
    """Return the bytes of all records, terminators included, one after another."""
    values, offsets = extents(block)
    return values[offsets[0] : offsets[-1]].data if len(block) else memoryview(b"")


def records(block: pa.RecordBatch) -> list[bytes]:
    """Return the records as Python bytes, without terminators."""
    cut = len(terminator(block))
    return [value[: len(value) - cut] for value in block.column("record").to_pylist()]


def bare(block: pa.RecordBatch) -> pa.Array:
    """Return a block of lines' records without terminators, as large_binary."""
    cut = len(terminator(block))
    record = block.column("record")
    return pc.binary_slice(record, 0, -cut) if cut else record  # Arrow fails where it ends nowhere


def footprint(records: int, payload_bytes: int) -> int:
    """Return the bytes of memory that so many records with so much payload take."""
    return payload_bytes + records * ROW_COST


def payload_bytes(block: pa.RecordBatch) -> int:
    """Return the memory that the records themselves take."""
    if is_rows(block):
        return int(column(block, "cost").sum(dtype=np.int64))
    _, offsets = extents(block)
    return int(offsets[-1] - offsets[0]) if len(block) else 0


def payload_offsets(block: pa.RecordBatch) -> I64:
    """Return int64[n + 1], where in the payload each record begins; the first anywhere."""
    return offsets_of(column(block, "cost")) if is_rows(block) else extents(block)[1]


def block_footprint(block: pa.RecordBatch) -> int:
    """Return the ``footprint`` of a block, with what is kept beside its records."""
    kept = kept_of(block)
    beside = 0 if kept is None else int(kept.nbytes)
    return footprint(len(block), payload_bytes(block)) + beside


def slices(block: pa.RecordBatch, *, limit: int) -> Iterator[pa.RecordBatch]:
    """Cut a block into slices with a footprint of at most ``limit``, one record at least each."""
    if not len(block):
        return
    if block_footprint(block) <= limit:  # nearly always
        yield block
        return
    costs = payload_offsets(block) + np.arange(len(block) + 1, dtype=np.int64) * ROW_COST
    for begin, end in cuts(costs, limit=limit):
        yield block.slice(begin, end - begin)


def join(blocks: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Concatenate blocks of one schema and empty the list, so that its blocks can be freed."""
    joined = blocks[0] if len(blocks) == 1 else pa.concat_batches(blocks)
    blocks.clear()
    return joined


def digests(block: pa.RecordBatch, *, sources: int) -> list[Digest]:
    """Return a digest per source of a block's records.

    Takes the hash columns where the block has them, else hashes the record column anew.
    """
    if not len(block):
        return [Digest()] * sources
    hash0, hash1, size = hashes(block)
    return digests_by_source(block, hash0, hash1, size, sources=sources)


def hashes(block: pa.RecordBatch) -> tuple[U64, U64, I64]:
    """Return both hashes and the size (int64, logical bytes) of each record."""
    known = "hash0" in block.schema.names
    if is_rows(block):
        if known:
            return column(block, "hash0"), column(block, "hash1"), column(block, "size")
        record = block.column("record")
        return *row_hashes(record), row_sizes(record)
    values, offsets = extents(block)
    size = np.diff(offsets) - len(terminator(block))
    if known:
        return column(block, "hash0"), column(block, "hash1"), size
    return *record_hashes(values, offsets, terminator(block)), size


def measures(block: pa.RecordBatch, column_name: str | None) -> I64:
    """Return int64[n]: how much each record counts where not records are counted.

    Args:
        block: any.
        column_name: of rows, a column of lists, whose lengths are taken (a null's is 0): tokens. None
            for logical bytes.

    Raises:
        KeyError: the rows have no such column.
    """
    if column_name is None:
        if is_rows(block):
            known = "size" in block.schema.names
            return column(block, "size") if known else row_sizes(block.column("record"))
        return np.diff(extents(block)[1]) - len(terminator(block))
    return list_lengths(block.column("record").field(column_name))


def cut_to_buckets(
    block: pa.RecordBatch, low: int, high: int, *, of: int, measure: str | None = None
) -> tuple[pa.RecordBatch, tuple[I64, I64, Digest]]:
    """Keep a keyed block's records of some buckets, and count all of them.

    Args:
        block: in any order.
        low, high: the buckets to keep, from the first to before the second.
        of: how many buckets there are.
        measure: as of ``measures``.

    Returns:
        What is kept; then int64[of], int64[of], records and measure of each bucket, and the digest of
        the records of the buckets from ``high`` on.
    """
    bucket = ranges.parts_of(column(block, "key"), of)
    hash0, hash1, size = hashes(block)
    held = np.zeros(of, np.int64)
    np.add.at(held, bucket, size if measure is None else measures(block, measure))
    beyond = bucket >= high
    digest = Digest.of_hashes(hash0[beyond], hash1[beyond], size[beyond])
    inside = ~beyond & (bucket >= low)
    kept = block if inside.all() else block.filter(pa.array(inside))
    return kept, (np.bincount(bucket, minlength=of), held, digest)


def digests_by_source(
    block: pa.RecordBatch, hash0: U64, hash1: U64, lengths: I64, *, sources: int
) -> list[Digest]:
    """Return a digest per source of hashes that are known, by the block's source column.

    Args:
        block: of n records; its source column is looked at where there are several sources.
        hash0, hash1: uint64[n], of the records.
        lengths: int64[n], their logical bytes.
        sources: how many there are.
    """
    if sources == 1:
        return [Digest.of_hashes(hash0, hash1, lengths)]
    of = column(block, "source")
    order = np.argsort(of, kind="stable")
    edges = np.searchsorted(of[order], np.arange(sources + 1))
    return digests_between(edges, hash0[order], hash1[order], lengths[order])


def digests_between(
    edges: npt.NDArray[np.intp], hash0: U64, hash1: U64, lengths: I64
) -> list[Digest]:
    """Sum hashes of the records of each stretch between edges, [m + 1], rising."""
    sums = [_sums(values, edges) for values in (lengths, hash0, hash1)]
    return [Digest(*found) for found in zip(np.diff(edges).tolist(), *sums, strict=True)]


def _sums(values: npt.NDArray[Any], edges: npt.NDArray[np.intp]) -> list[int]:
    """Return the sum of each stretch between edges; of uint64 mod 2**64."""
    until = np.concatenate([np.zeros(1, values.dtype), np.cumsum(values)])
    out: list[int] = (until[edges[1:]] - until[edges[:-1]]).tolist()
    return out


def add_digests(left: Iterable[Digest], right: Iterable[Digest]) -> list[Digest]:
    """Add two lists of digests, source by source."""
    return [a + b for a, b in zip(left, right, strict=True)]


_DIGESTED = ("hash0", "hash1", "size")


def without_hashes(block: pa.RecordBatch) -> pa.RecordBatch:
    """Drop the hash columns, and the sizes that go with them."""
    return block.select([n for n in block.schema.names if n not in _DIGESTED])


def without_source(block: pa.RecordBatch) -> pa.RecordBatch:
    """Drop the source column, where there is one."""
    at = block.schema.get_field_index("source")
    return block if at < 0 else block.remove_column(at)


def with_source(block: pa.RecordBatch, sources: U16) -> pa.RecordBatch:
    """Put a source column, uint16[n], where it stands in a block."""
    return block.add_column(1, "source", pa.array(sources))


def with_hashes(block: pa.RecordBatch) -> pa.RecordBatch:
    """Put hash columns, computed anew, before the record column."""
    computed = hashes(block)[: 3 if is_rows(block) else 2]
    at = block.schema.get_field_index("record")
    for i, (name, values) in enumerate(zip(_DIGESTED, computed, strict=False)):
        block = block.add_column(at + i, name, pa.array(values))
    return block


def kept_of(block: pa.RecordBatch) -> pa.StructArray | None:
    """Return what is kept beside a block's texts, None where nothing is."""
    at = block.schema.get_field_index("kept")
    return None if at < 0 else block.column(at)


def without_kept(block: pa.RecordBatch, names: Sequence[str] | None = None) -> pa.RecordBatch:
    """Drop what is kept beside a block's records: the fields of these names, None for all."""
    kept = kept_of(block)
    if kept is None or (names is not None and not names):
        return block
    at = block.schema.get_field_index("kept")
    fields = [field for field in kept.type if names is not None and field.name not in names]
    if not fields:
        return block.remove_column(at)
    arrays = [kept.field(field.name) for field in fields]
    return block.set_column(at, "kept", pa.StructArray.from_arrays(arrays, fields=fields))


def require_digests(block: pa.RecordBatch, expected: list[Digest], *, what: str) -> None:
    """Raise LosslessError where a block's digests are not those expected, one per source.

    ``what`` says in the error which records they are.
    """
    compare_digests(digests(block, sources=len(expected)), expected, what=what)


def compare_digests(found: list[Digest], expected: list[Digest], *, what: str) -> None:
    """Raise LosslessError, naming the source by its index, where digests differ.

    Args:
        found, expected: one digest per source, of as many sources.
        what: the records that they are of, for the error.
    """
    for source, (have, want) in enumerate(zip(found, expected, strict=True)):
        if have != want:
            raise LosslessError(
                f"{what}: source {source} should have {want.records:,} records of {want.bytes:,} "
                f"bytes with digest {want.to_json()['hash']}, but has {have.records:,} of "
                f"{have.bytes:,} with {have.to_json()['hash']}: records were lost or changed; "
                "check memory and disk, then run again"
            )
