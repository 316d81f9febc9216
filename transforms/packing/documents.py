"""Documents of ids in their final order: what is laid down in files, and read again to fill rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.kernels.arrays import I64, U64, offsets_of
from transforms.kernels.packing.conservation import hash_documents
from transforms.kernels.records import blocks
from transforms.kernels.records.arrow_values import row_sizes
from transforms.kernels.records.row_hashes import row_hashes


@dataclass(frozen=True, eq=False)
class Documents:
    """Documents in order.

    Attributes:
        ids: uint16[k] or uint32[k], bare, of all documents one after another.
        offsets: int64[n + 1], where each one's begin.
        keys: uint64[n], of their records in their passes.
        sources: uint16[n], indices of their sources.
        passes: uint32[n].
        kept: their kept columns, None where none are kept.
    """

    ids: npt.NDArray[Any]
    offsets: I64
    keys: U64
    sources: npt.NDArray[np.uint16]
    passes: npt.NDArray[np.uint32]
    kept: pa.StructArray | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def slice(self, begin: int, end: int) -> Documents:
        """Return documents [begin, end)."""
        first, last = int(self.offsets[begin]), int(self.offsets[end])
        return Documents(
            self.ids[first:last],
            self.offsets[begin : end + 1] - first,
            self.keys[begin:end],
            self.sources[begin:end],
            self.passes[begin:end],
            None if self.kept is None else self.kept.slice(begin, end - begin),
        )

    def head(self, ids: int) -> Documents:
        """Return the one document of these, with its first ids alone."""
        return replace(self, ids=self.ids[:ids], offsets=np.array([0, ids], np.int64))

    @property
    def hash(self) -> int:
        """Their conservation hash."""
        return hash_documents(self.ids, self.offsets, self.keys)


def join(parts: Iterator[Documents]) -> Documents:
    """Return documents that come in several parts, one at least, as one."""
    found = list(parts)
    if len(found) == 1:
        return found[0]
    kept = [part.kept for part in found if part.kept is not None]
    return Documents(
        np.concatenate([part.ids for part in found]),
        offsets_of(np.concatenate([np.diff(part.offsets) for part in found])),
        np.concatenate([part.keys for part in found]),
        np.concatenate([part.sources for part in found]),
        np.concatenate([part.passes for part in found]),
        pa.concat_arrays(kept) if kept else None,
    )


def documents_in(block: pa.RecordBatch, passes: npt.NDArray[np.uint32] | None) -> Documents:
    """Return the documents of a block of rows of ids: a column of ids, then kept ones.

    Args:
        block: keyed, with a source column where there are several.
        passes: of each record; None for the column of that name.
    """
    record = block.column("record")
    lists = record.field(0)
    offsets = lists.offsets.to_numpy().astype(np.int64)
    ids = lists.values.to_numpy()[int(offsets[0]) : int(offsets[-1])]
    kind = record.type
    kept = None
    if kind.num_fields > 1:
        fields = [kind.field(i) for i in range(1, kind.num_fields)]
        columns = [record.field(i) for i in range(1, kind.num_fields)]
        kept = pa.StructArray.from_arrays(columns, fields=fields)
    names = block.schema.names
    sources = np.zeros(len(block), np.uint16)
    return Documents(
        ids,
        offsets - offsets[0],
        blocks.column(block, "key"),
        blocks.column(block, "source") if "source" in names else sources,
        blocks.column(block, "pass") if passes is None else passes,
        kept,
    )


def digests_of(documents: Documents) -> tuple[U64, U64, I64]:
    """Return both hashes and the size of each document's record, as ``blocks.hashes`` does."""
    record = block_of(documents).column("record")
    return *row_hashes(record), row_sizes(record)


def block_of(documents: Documents) -> pa.RecordBatch:
    """Return documents as a block of rows: key, source, pass, and the record, ids and what is kept."""
    lists = pa.ListArray.from_arrays(
        pa.array(documents.offsets.astype(np.int32)), pa.array(documents.ids)
    )
    columns, fields = [lists], [pa.field("ids", lists.type)]
    if documents.kept is not None:
        fields += documents.kept.type
        columns += [documents.kept.field(i) for i in range(documents.kept.type.num_fields)]
    return pa.RecordBatch.from_arrays(
        [
            pa.array(documents.keys),
            pa.array(documents.sources),
            pa.array(documents.passes),
            pa.StructArray.from_arrays(columns, fields=fields),
        ],
        names=["key", "source", "pass", "record"],
    )
