"""OLMo-core's files: ``.npy`` of ids without numpy's header, ``.csv.gz`` of documents beside it.

Ids are of the smallest unsigned type that holds the largest: so OLMo-core guesses it, uint8 for bytes.
Lines of the table are start, end (exclusive), id, src and loc: the number of the piece from 0, nothing,
and the number of its row from 1; OLMo-core reads the first two. ``.mask`` holds a byte for each id, 0
for filler, as its ``label_mask_paths`` take it.

On a local disk OLMo-core looks for EOS and not at the table (``iter_document_indices``), and drops what
stands behind a file's last whole row (``NumpyFSLDataset``). So each piece ends in EOS, also one that was
cut, EOS stands nowhere else, and all rows have L ids, filled up with a pad token that isn't EOS. Without
one a short row of ``concat``, the last of a split or of a stage, isn't written, and is counted; one that
lacks a single id, as no cut piece had room, gets an EOS.

Source: allenai/OLMo-core, src/olmo_core/data/utils.py and numpy_dataset.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from transforms.errors import DataError
from transforms.formats.codecs import BUILT_IN
from transforms.formats.members import Encoder
from transforms.kernels.packing.filled import filled
from transforms.kernels.packing.rows import Kind, Rows
from transforms.trainers import raw
from transforms.trainers.about import about, quoted_pattern
from transforms.trainers.checks import Count, filler_of, require_ids, require_needs
from transforms.trainers.contract import Dataset, Keeps, Needs, ShardFacts, Unit
from transforms.trainers.olmo_table import Table, require_ends, require_mask, rows_of, table_lines
from transforms.trainers.row_groups import join

IDS, TABLE, MASK = ".npy", ".csv.gz", ".mask"
_GZIP = BUILT_IN["gzip"]
_PACKINGS: frozenset[Kind] = frozenset({"concat", "best_fit", "pad"})


class Olmo:
    """Rows of exactly L ids, whose pieces end in EOS. See ``contract.Format``."""

    name = "olmo"

    def unit(self, dataset: Dataset) -> Unit:
        return "rows"

    def suffixes(self, dataset: Dataset) -> tuple[str, ...]:
        return (IDS, TABLE) if self.filler(dataset) is None else (IDS, TABLE, MASK)

    def needs(self, dataset: Dataset) -> Needs:
        eos = "OLMo-core finds documents by EOS, even if their table lies beside the ids"
        return Needs(
            packings=_PACKINGS,
            end=True,
            end_at_cuts=True,
            filler="pad",
            because={
                "packings": "OLMo-core reads rows of one length and drops the rest of a file",
                "end": eos,
                "end_at_cuts": eos,
                "filler": eos,
            },
        )

    def keeps(self, dataset: Dataset) -> Keeps:
        return Keeps(rows=True, pieces=True)

    def id_bytes(self, dataset: Dataset) -> int:
        return _dtype(dataset).itemsize

    def most_ids(self, dataset: Dataset) -> int | None:
        return None

    def filler(self, dataset: Dataset) -> int | None:
        return filler_of(self.needs(dataset), dataset)

    def seen(self, rows: Rows, dataset: Dataset) -> Rows:
        filler = self.filler(dataset)
        shown = _without_short(rows, dataset) if filler is None else filled(rows, filler)
        return replace(shown, filler=np.zeros(len(shown), np.int64), sources=None, kept=None)

    def left_out(self, rows: Rows, dataset: Dataset) -> npt.NDArray[np.bool_]:
        return rows.filler > (1 if self.filler(dataset) is None else rows.filler)

    def require(self, dataset: Dataset) -> None:
        require_needs(self.name, self.needs(dataset), dataset)

    def open_writer(
        self, files: Mapping[str, BinaryIO], dataset: Dataset, shard: ShardFacts
    ) -> _Writer:
        return _Writer(self, files, dataset, shard)

    def read(self, files: Mapping[str, BinaryIO], dataset: Dataset) -> Iterator[Rows]:
        dtype, length = _dtype(dataset), _length(dataset)
        size = raw.size_of(files[IDS])
        if size % (dtype.itemsize * length):
            raise DataError(
                f"expected rows of {length} ids of {dtype.itemsize} bytes, got {size:,} bytes: "
                "the file is truncated; fetch or make it again"
            )
        mask = files.get(MASK)
        if mask is not None and raw.size_of(mask) != size // dtype.itemsize:
            raise DataError(
                f"{MASK}: expected {size // dtype.itemsize:,} bytes, one for each id, got "
                "another number; fetch or make the file again"
            )
        table, at = Table(files[TABLE]), 0
        for ids in raw.read_ids(
            files[IDS],
            count=size // dtype.itemsize,
            dtype=dtype,
            dataset=dataset,
            at_a_time=max(raw.READ_IDS // length, 1) * length,
        ):
            begins, ends = table.until(at + len(ids))
            rows = rows_of(ids, begins - at, ends - at, length, first=at // length)
            require_ends(rows, ends - at - 1, dataset, first=at // length)
            if mask is not None:
                require_mask(raw.read_exactly(mask, len(ids)), rows, begins - at, at=at)
            yield rows
            at += len(ids)
        table.require_end(at)

    def about(self, dataset: Dataset) -> dict[str, Any]:
        return about(
            self,
            dataset,
            dtype=_dtype(dataset).name,
            short_rows="dropped" if self.filler(dataset) is None else "filled",
        )

    def how_to_open(self, dataset: Dataset, folder: str, split: str = "train") -> str:
        ids, masked = quoted_pattern(folder, split, IDS), ""
        if MASK in self.suffixes(dataset):
            masked = f"label_mask_paths=[{quoted_pattern(folder, split, MASK)}], "
        return (
            f"NumpyFSLDatasetConfig(paths=[{ids}], {masked}expand_glob=True, "
            f"sequence_length={dataset.packing.length}, tokenizer=TokenizerConfig("
            f"vocab_size={dataset.ids}, eos_token_id={dataset.eos}, pad_token_id="
            f"{dataset.eos if dataset.pad is None else dataset.pad}))"
        )


class _Writer:
    """Writes one shard."""

    def __init__(
        self, form: Olmo, files: Mapping[str, BinaryIO], dataset: Dataset, shard: ShardFacts
    ) -> None:
        self._form, self._dataset, self._count = form, dataset, Count(shard)
        self._dtype, self._length = _dtype(dataset).newbyteorder("<"), _length(dataset)
        self._ids, self._mask = files[IDS], files.get(MASK)
        self._table = Encoder(files[TABLE], _GZIP.new_compressor(_GZIP.level))
        self._rows = self._pieces = 0  # written

    def write(self, rows: Rows) -> None:
        first = self._count.rows
        require_ids(rows, self._dtype, dataset=self._dataset, first=first)
        self._require_lengths(rows, first)
        require_ends(rows, np.cumsum(rows.lengths) - 1, self._dataset, first=first)
        self._count.add(rows)
        shown = self._form.seen(rows, self._dataset)
        ids = shown.ids.astype(self._dtype, copy=False)
        self._ids.write(ids.data.cast("B") if len(ids) else b"")
        self._write_table(shown)
        if self._mask is not None:
            ones = replace(rows, ids=np.ones(len(rows.ids), np.uint8))
            self._mask.write(filled(ones, 0).ids.tobytes())

    def _require_lengths(self, rows: Rows, first: int) -> None:
        lengths = np.diff(rows.offsets) + rows.filler
        if (lengths != self._length).any():
            row = int(np.argmax(lengths != self._length))
            raise DataError(
                f"row {first + row} of the shard: expected {self._length} ids with filler, got "
                f"{int(lengths[row])}: a bug in Dovetail; report it with the recipe"
            )

    def _write_table(self, rows: Rows) -> None:
        lines = table_lines(rows, self._length, row=self._rows, piece=self._pieces)
        self._table.write(lines)
        self._rows += len(rows)
        self._pieces += len(rows.lengths)

    def close(self) -> None:
        self._count.require_all()
        self._table.close()


def _dtype(dataset: Dataset) -> np.dtype[Any]:
    """Return the smallest type that holds all ids, as OLMo-core guesses it."""
    return np.dtype(np.uint8) if dataset.ids <= 1 << 8 else dataset.ids_type


def _without_short(rows: Rows, dataset: Dataset) -> Rows:
    """Return rows of L ids: those that lack one end in an EOS more, those that lack more are left out.

    A row of ``concat`` lacks one id where a document can't begin, as its first id and the EOS at the
    cut have no room. That EOS is a piece of its own, a document without ids.
    """
    if not rows.filler.any():
        return rows
    one = rows.filler == 1
    longer = replace(
        filled(replace(rows, filler=one.astype(np.int64)), dataset.eos or 0),
        lengths=np.insert(rows.lengths, rows.piece_offsets[1:][one], 1),
        piece_offsets=rows.piece_offsets + np.append(0, np.cumsum(one)),
        filler=np.where(one, 0, rows.filler),
    )
    edges = [-1, *np.flatnonzero(longer.filler).tolist(), len(rows)]
    return join([longer.slice(begin + 1, end) for begin, end in pairwise(edges)])


def _length(dataset: Dataset) -> int:
    length = dataset.packing.length
    if length is None:
        raise ValueError("rows of any length aren't OLMo's: ``require`` was to say so")
    return length
