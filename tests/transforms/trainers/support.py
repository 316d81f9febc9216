"""Rows as packing makes them, for the formats' tests: naive, and of ids that no tokenizer gave."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa

from transforms.errors import UsageError
from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.rows import Kind, Packing, Rows
from transforms.trainers.contract import Dataset, Format, ShardFacts
from transforms.trainers.digest import RowsDigest

KINDS: tuple[Kind, ...] = ("none", "concat", "best_fit", "pad", "buckets")
LENGTH = 16
EOS, PAD, BOS = 3, 2, 1


def dataset_of(kind: Kind = "concat", *, ids: int = 1000, **more: Any) -> Dataset:
    """Return a dataset whose documents end in EOS, also where they are cut."""
    length = None if kind == "none" else LENGTH
    packing = Packing(kind=kind, length=length, end=EOS, end_at_cuts=length is not None)
    return Dataset(**{"ids": ids, "packing": packing, "eos": EOS, "pad": PAD, "bos": BOS} | more)


def accepts(form: Format, dataset: Dataset) -> bool:
    """Return whether a format takes a dataset."""
    try:
        form.require(dataset)
    except UsageError:
        return False
    return True


def rows_for(form: Format, dataset: Dataset, *, count: int = 200, seed: int = 0) -> Rows:
    """Return rows, or documents, as the format is made of them."""
    if form.unit(dataset) == "documents":
        return make_rows(replace(dataset, packing=Packing(end=EOS)), count=count, seed=seed)
    return make_rows(dataset, count=count, seed=seed)


def make_rows(dataset: Dataset, *, count: int, seed: int = 0) -> Rows:
    """Return rows whose pieces end in EOS, the largest and the smallest id among the others."""
    draw = np.random.default_rng(seed)
    kind, length = dataset.packing.kind, dataset.packing.length
    pieces: list[list[int]] = []  # lengths, by row
    filler = []
    for row in range(count):
        if length is None:
            pieces.append([int(draw.integers(1, 40))])
            filler.append(0)
            continue
        last = row in (count // 2, count - 1)  # of a stage, of the split
        full = kind == "concat" and not last
        total = length if full else int(draw.integers(1, length + 1))
        cuts = sorted({0, total, *draw.integers(1, total + 1, 2).tolist()})
        single = kind in ("pad", "buckets")
        pieces.append([total] if single else np.diff(cuts).tolist())
        size = 1 << (total - 1).bit_length() if kind == "buckets" else length
        filler.append(size - total)
    lengths = np.array([one for row in pieces for one in row], np.int64)
    ids = draw.integers(4, dataset.ids, int(lengths.sum())).astype(dataset.ids_type)
    ids[::7], ids[3::7] = dataset.ids - 1, 0
    ids[np.cumsum(lengths) - 1] = EOS
    piece_offsets = offsets_of([len(row) for row in pieces])
    offsets = offsets_of(lengths)[piece_offsets]
    rows = Rows(ids, offsets, lengths, piece_offsets, np.array(filler, np.int64))
    if dataset.sources:
        named = draw.integers(0, len(dataset.sources), count).astype(np.uint16)
        rows = replace(rows, sources=named)
    if dataset.kept is not None:
        rows = replace(rows, kept=_kept(dataset.kept, count))
    return rows


def _kept(schema: pa.Schema, count: int) -> pa.StructArray:
    """Return columns of strings or numbers with nulls among them."""
    columns = [
        pa.array(
            [
                None if i % 5 == 0 else i if pa.types.is_integer(field.type) else f"é{i}"
                for i in range(count)
            ],
            field.type,
        )
        for field in schema
    ]
    return pa.StructArray.from_arrays(columns, fields=list(schema))


def facts_of(rows: Rows) -> ShardFacts:
    """Return what is said of a shard before it is written."""
    return ShardFacts(rows=len(rows), ids=len(rows.ids), filler=int(rows.filler.sum()))


class Sink(io.RawIOBase):
    """What can be written from its beginning alone, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.data += view
        return len(view)

    def tell(self) -> int:
        return len(self.data)


def write(
    form: Format, dataset: Dataset, batches: Sequence[Rows], facts: ShardFacts | None = None
) -> dict[str, bytes]:
    """Write a shard; return its files by suffix."""
    if facts is None:
        each = [facts_of(rows) for rows in batches]
        facts = ShardFacts(
            rows=sum(one.rows for one in each),
            ids=sum(one.ids for one in each),
            filler=sum(one.filler for one in each),
        )
    sinks = {suffix: Sink() for suffix in form.suffixes(dataset)}
    writer = form.open_writer(cast("dict[str, BinaryIO]", sinks), dataset, facts)
    for rows in batches:
        writer.write(rows)
    writer.close()
    return {suffix: bytes(sink.data) for suffix, sink in sinks.items()}


def read(form: Format, dataset: Dataset, files: dict[str, bytes]) -> list[Rows]:
    """Read a shard back."""
    return list(form.read({suffix: io.BytesIO(data) for suffix, data in files.items()}, dataset))


def digest_of(form: Format, dataset: Dataset, batches: Sequence[Rows]) -> str:
    """Return the digest of rows that were read."""
    digest = RowsDigest(form.keeps(dataset))
    for rows in batches:
        digest.add(rows)
    return digest.hexdigest()


def batches_of(rows: Rows, *sizes: int) -> list[Rows]:
    """Cut rows into batches of some sizes, over and over."""
    out, begin, turn = [], 0, 0
    while begin < len(rows):
        end = min(begin + sizes[turn % len(sizes)], len(rows))
        out.append(rows.slice(begin, end))
        begin, turn = end, turn + 1
    return out
