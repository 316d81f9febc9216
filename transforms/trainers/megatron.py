"""Megatron's indexed dataset: ``.bin`` holds ids one after another, ``.idx`` where sequences begin.

Its GPTDataset shuffles sequences, joins them and cuts every L ids, one id shared between neighbours. So
there are two ways to write: ``documents``, a sequence each, which Megatron packs itself; and ``rows`` of
L ids each, with which its cuts coincide in whichever order. Rows are filled up with EOD, whose loss
``--eod-mask-loss`` masks, the row's last one included: there the label would be another row's first id.
Source: NVIDIA/Megatron-LM, megatron/core/datasets/gpt_dataset.py and helpers.cpp (``build_sample_idx``);
``bench/readers.py`` runs them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from transforms.datasets.prepared import PreparedShard
from transforms.errors import DataError, UsageError
from transforms.kernels.arrays import cuts, offsets_of
from transforms.kernels.packing.filled import filled
from transforms.kernels.packing.rows import Kind, Rows
from transforms.trainers import raw
from transforms.trainers.about import about
from transforms.trainers.checks import KINDS, Count, filler_of, require_ids, require_needs
from transforms.trainers.contract import Dataset, Keeps, Needs, ShardFacts, Unit
from transforms.trainers.megatron_index import (
    EqualLengths,
    Index,
    Lengths,
    SpooledLengths,
    write_index,
)
from transforms.trainers.megatron_lists import lists, prefix_of, weights_of

IDS, INDEX = ".bin", ".idx"
_EQUAL: frozenset[Kind] = frozenset({"concat", "best_fit", "pad"})


class Megatron:
    """``.bin`` and ``.idx``. See ``contract.Format``.

    ``Dataset.options["megatron"]`` is ``documents`` or ``rows``; by default rows where packing
    makes them of one length. No sequence is empty: documents without any id are left out.
    """

    name = "megatron"
    shard_bytes = 10 << 30
    """By default: it opens thousands of small files much more slowly than a few large ones."""

    def unit(self, dataset: Dataset) -> Unit:
        asked: Unit | None = dataset.options.get("megatron")
        return asked or ("rows" if dataset.packing.kind in _EQUAL else "documents")

    def suffixes(self, dataset: Dataset) -> tuple[str, ...]:
        return (IDS, INDEX)

    def needs(self, dataset: Dataset) -> Needs:
        end = "it finds the ends of documents only by EOD"
        if self.unit(dataset) == "documents":
            return Needs(packings=frozenset(KINDS), end=True, because={"end": end})
        return Needs(
            packings=_EQUAL,
            end=True,
            filler="eos",
            because={
                "packings": "only rows of one length coincide with its cuts",
                "end": end,
                "filler": "its files hold no filler, and --eod-mask-loss masks the loss of EOD",
            },
        )

    def keeps(self, dataset: Dataset) -> Keeps:
        return Keeps(rows=True, pieces=False)

    def id_bytes(self, dataset: Dataset) -> int:
        return self.dtype(dataset).itemsize

    def dtype(self, dataset: Dataset) -> np.dtype[Any]:
        """Return the type of ids: uint16 up to 65,536, which all its readers take, else int32."""
        return np.dtype(np.uint16 if dataset.ids <= 1 << 16 else np.int32)

    def most_ids(self, dataset: Dataset) -> int | None:
        return None

    def filler(self, dataset: Dataset) -> int | None:
        return filler_of(self.needs(dataset), dataset)

    def seen(self, rows: Rows, dataset: Dataset) -> Rows:
        filler = self.filler(dataset)
        rows = _without_empty(rows) if filler is None else filled(rows, filler)
        return replace(rows, filler=np.zeros(len(rows), np.int64), sources=None, kept=None)

    def left_out(self, rows: Rows, dataset: Dataset) -> npt.NDArray[np.bool_]:
        empty: npt.NDArray[np.bool_] = np.diff(rows.offsets) == 0
        return empty if self.unit(dataset) == "documents" else np.zeros_like(empty)

    def require(self, dataset: Dataset) -> None:
        asked = dataset.options.get("megatron")
        if asked not in (None, "documents", "rows"):
            raise UsageError(f"--megatron: expected documents or rows, got {asked}")
        require_needs(self.name, self.needs(dataset), dataset)
        if dataset.ids > 1 << 31:
            raise UsageError(
                f"--output_format={self.name}: expected at most 2,147,483,648 ids, as it has no "
                f"type for more, got {dataset.ids:,}; pass a smaller --vocab_size"
            )

    def open_writer(
        self, files: Mapping[str, BinaryIO], dataset: Dataset, shard: ShardFacts
    ) -> _Writer:
        return _Writer(self, files, dataset, shard)

    def read(self, files: Mapping[str, BinaryIO], dataset: Dataset) -> Iterator[Rows]:
        dtype, file = self.dtype(dataset), files[IDS]
        index = Index(files[INDEX], dtype)
        size, first = raw.size_of(file), 0
        length = dataset.packing.length if self.unit(dataset) == "rows" else None
        for some in index.lengths():
            if length is not None and (some != length).any():
                raise DataError(
                    f"expected rows of {length} ids, got one of "
                    f"{int(some[np.argmax(some != length)])}: the .idx is damaged, or belongs to "
                    "another dataset; make it again"
                )
            offsets = offsets_of(some)
            for begin, end in cuts(offsets, limit=raw.READ_IDS):
                places = offsets[begin : end + 1] - offsets[begin]
                count = int(places[-1])
                (ids,) = raw.read_ids(
                    file, count=count, dtype=dtype, dataset=dataset, at_a_time=count
                )
                each = np.arange(end - begin + 1, dtype=np.int64)
                yield Rows(ids, places, some[begin:end], each, np.zeros(end - begin, np.int64))
                first += count
        if size != first * dtype.itemsize:
            raise DataError(
                f"expected {first * dtype.itemsize:,} bytes of ids, as the .idx says, got "
                f"{size:,}: the .bin is truncated or damaged; fetch or make it again"
            )

    def read_row(self, files: Mapping[str, BinaryIO], dataset: Dataset, row: int) -> Rows:
        """As of ``contract.Seeking``."""
        dtype, file = self.dtype(dataset), files[IDS]
        place, count = Index(files[INDEX], dtype).document(row)
        file.seek(place)
        [ids] = raw.read_ids(file, count=count, dtype=dtype, dataset=dataset, at_a_time=count)
        return raw.as_rows(ids, None)

    def about(self, dataset: Dataset) -> dict[str, Any]:
        return about(self, dataset, dtype=self.dtype(dataset).name)

    def beside(
        self, dataset: Dataset, shards: Sequence[PreparedShard], folder: str
    ) -> Iterator[tuple[str, str]]:
        """Yield (name, text) of the lists that lie beside the data: see ``megatron_lists``.

        Args:
            dataset: what is true of the shards.
            shards: to be named.
            folder: in which the lists lie, below the dataset's.
        """
        width = self.id_bytes(dataset)
        return lists([prefix_of(one, folder=folder, id_bytes=width) for one in shards])

    def how_to_open(self, dataset: Dataset, folder: str, split: str = "train") -> str:
        length = dataset.packing.length
        more = f" --seq-length={length} --eod-mask-loss" if self.unit(dataset) == "rows" else ""
        lists = "--per-split-data-args-path=weights.json"
        if split != "train":  # without one there is no list of all splits
            lists = f"--data-args-path={weights_of(split)}"
        cache = "--data-cache-path=/tmp/megatron-cache"  # else it writes among the data
        return f"cd {shlex.quote(folder)} && torchrun pretrain_gpt.py {lists} {cache}{more}"


class _Writer:
    """Writes one shard."""

    def __init__(
        self, form: Megatron, files: Mapping[str, BinaryIO], dataset: Dataset, shard: ShardFacts
    ) -> None:
        self._form, self._files, self._dataset = form, files, dataset
        self._count = Count(shard)
        self._rows = RowsOfIds(form, files[IDS], dataset)
        self._lengths = SpooledLengths() if form.unit(dataset) == "documents" else None

    def write(self, rows: Rows) -> None:
        shown = self._rows.write(rows, first=self._count.rows)
        self._count.add(rows)
        if self._lengths is not None:
            self._lengths.add(np.diff(shown.offsets))

    def close(self) -> None:
        self._count.require_all()
        lengths: Lengths
        if self._lengths is None:
            assert self._dataset.packing.length is not None  # require() sees to it
            lengths = EqualLengths(self._count.rows, self._dataset.packing.length)
        else:
            lengths = self._lengths
        write_index(self._files[INDEX], lengths, self._form.dtype(self._dataset))
        if self._lengths is not None:
            self._lengths.close()


class RowsOfIds:
    """Writes ids into a ``.bin``, or into a part of one."""

    def __init__(self, form: Megatron, file: Any, dataset: Dataset) -> None:
        self._form, self._file, self._dataset = form, file, dataset
        self._dtype = form.dtype(dataset)
        self._length = dataset.packing.length if form.unit(dataset) == "rows" else None

    def write(self, rows: Rows, *, first: int) -> Rows:
        """Write rows; return them as they are read back.

        Args:
            rows: or documents.
            first: number of the first in its shard, for errors.

        Raises:
            DataError: an id that the type doesn't hold, or a row of another length.
        """
        require_ids(rows, self._dtype, dataset=self._dataset, first=first)
        shown = self._form.seen(rows, self._dataset)
        sizes = np.diff(shown.offsets)
        if self._length is not None and (sizes != self._length).any():
            at = int(np.argmax(sizes != self._length))
            raise DataError(
                f"row {first + at} of the shard: expected {self._length} ids with filler, got "
                f"{int(sizes[at])}: a bug in Dovetail; report it with the recipe"
            )
        ids = shown.ids.astype(self._dtype.newbyteorder("<"), copy=False)
        if len(ids):
            self._file.write(ids.data.cast("B"))
        return shown


def _without_empty(rows: Rows) -> Rows:
    """Return the documents that have ids, special ones counted, each a row of one piece."""
    sizes = np.diff(rows.offsets)
    lengths = sizes[sizes > 0]
    each = np.arange(len(lengths) + 1, dtype=np.int64)
    return Rows(rows.ids, offsets_of(lengths), lengths, each, rows.filler[sizes > 0])
