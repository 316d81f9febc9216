"""Flat files: ids one after another, as nanoGPT reads them, or behind a header as llm.c does.

``.bin`` holds uint16 up to 65,536 ids, else uint32. The header is 256 int32, little-endian: a magic
number, a version, how many ids follow, zeros. Source: karpathy/llm.c, dev/data/data_common.py; read by
its llmc/dataloader.h (uint16) and train_llama3.py (uint32).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from transforms.errors import DataError, UsageError
from transforms.kernels.packing.filled import filled
from transforms.kernels.packing.rows import Kind, Rows
from transforms.trainers import raw
from transforms.trainers.about import about, quoted_pattern
from transforms.trainers.checks import Count, filler_of, require_filler, require_ids, require_needs
from transforms.trainers.contract import Dataset, Keeps, Needs, ShardFacts, Unit

SUFFIX = ".bin"
_HEADER = 256  # int32 of it
_KINDS = {2: (20240520, 1), 4: (20240801, 7)}  # magic number and version, by bytes of an id
_MOST = 2**31 - 1  # ids that the header can count
_PACKINGS: frozenset[Kind] = frozenset({"none", "concat", "best_fit", "pad"})


class Flat:
    """Ids one after another. See ``contract.Format``.

    Readers take windows of what stands there, so rows that packing leaves short are filled up, also the
    last one of ``concat``.
    """

    name = "flat"

    def unit(self, dataset: Dataset) -> Unit:
        return "rows"

    def suffixes(self, dataset: Dataset) -> tuple[str, ...]:
        return (SUFFIX,)

    def needs(self, dataset: Dataset) -> Needs:
        return Needs(
            packings=_PACKINGS,
            filler="none" if dataset.packing.kind == "none" else "pad or eos",
            because={
                "packings": "its readers take windows of one length",
                "filler": "its readers take windows of one length",
            },
        )

    def keeps(self, dataset: Dataset) -> Keeps:
        return Keeps(rows=dataset.packing.length is not None, pieces=False)

    def id_bytes(self, dataset: Dataset) -> int:
        return dataset.ids_type.itemsize

    def most_ids(self, dataset: Dataset) -> int | None:
        return _MOST if _has_header(dataset) else None

    def filler(self, dataset: Dataset) -> int | None:
        return filler_of(self.needs(dataset), dataset)

    def seen(self, rows: Rows, dataset: Dataset) -> Rows:
        filler = self.filler(dataset)
        shown = rows if filler is None else filled(rows, filler)
        return replace(shown, filler=np.zeros(len(rows), np.int64), sources=None, kept=None)

    def left_out(self, rows: Rows, dataset: Dataset) -> npt.NDArray[np.bool_]:
        return np.zeros(len(rows), np.bool_)

    def require(self, dataset: Dataset) -> None:
        header = dataset.options.get("header", "none")
        if header not in ("none", "llmc"):
            raise UsageError(f"--header: expected none or llmc, got {header}")
        require_needs(self.name, self.needs(dataset), dataset)
        require_filler(self.name, self.needs(dataset), dataset)  # the last row of concat too

    def open_writer(
        self, files: Mapping[str, BinaryIO], dataset: Dataset, shard: ShardFacts
    ) -> _Writer:
        return _Writer(self, files[SUFFIX], dataset, shard)

    def read(self, files: Mapping[str, BinaryIO], dataset: Dataset) -> Iterator[Rows]:
        count, length = self._begin(files[SUFFIX], dataset), dataset.packing.length
        at_a_time = raw.READ_IDS if length is None else max(raw.READ_IDS // length, 1) * length
        for ids in raw.read_ids(
            files[SUFFIX],
            count=count,
            dtype=dataset.ids_type,
            dataset=dataset,
            at_a_time=at_a_time,
        ):
            yield raw.as_rows(ids, length)

    def read_row(self, files: Mapping[str, BinaryIO], dataset: Dataset, row: int) -> Rows:
        """As of ``contract.Seeking``."""
        file, length, dtype = files[SUFFIX], dataset.packing.length, dataset.ids_type
        count = self._begin(file, dataset)
        if length is None or not 0 <= row * length < count:
            raise DataError(f"expected a row {row}, the file has only {count:,} ids")
        file.seek(row * length * dtype.itemsize, io.SEEK_CUR)
        size = min(length, count - row * length)
        [ids] = raw.read_ids(file, count=size, dtype=dtype, dataset=dataset, at_a_time=size)
        return raw.as_rows(ids, length)

    def _begin(self, file: BinaryIO, dataset: Dataset) -> int:
        """Go to the first id, and return how many there are."""
        dtype = dataset.ids_type
        size = raw.size_of(file)
        if _has_header(dataset):
            size -= _HEADER * 4
            count = _count_of(raw.read_exactly(file, _HEADER * 4), dtype.itemsize)
            if count * dtype.itemsize != size:
                raise DataError(
                    f"expected {count:,} ids of {dtype.itemsize} bytes, as its header says, got "
                    f"{size:,} bytes: the file is truncated or damaged; fetch or make it again"
                )
        elif size % dtype.itemsize:
            raise DataError(
                f"expected ids of {dtype.itemsize} bytes, got {size:,} bytes: the file is "
                "truncated; fetch or make it again"
            )
        return size // dtype.itemsize

    def about(self, dataset: Dataset) -> dict[str, Any]:
        header = _HEADER * 4 if _has_header(dataset) else 0
        return about(self, dataset, dtype=dataset.ids_type.name, header_bytes=header)

    def how_to_open(self, dataset: Dataset, folder: str, split: str = "train") -> str:
        offset = f", offset={_HEADER * 4}" if _has_header(dataset) else ""
        return (
            f'[numpy.memmap(path, "<u{self.id_bytes(dataset)}", "r"{offset}) '
            f"for path in sorted(glob.glob({quoted_pattern(folder, split, SUFFIX)}))]"
        )


class _Writer:
    """Writes one shard."""

    def __init__(self, form: Flat, file: BinaryIO, dataset: Dataset, shard: ShardFacts) -> None:
        self._form, self._file, self._dataset = form, file, dataset
        self._count = Count(shard)
        if _has_header(dataset):
            count = shard.ids + (0 if form.filler(dataset) is None else shard.filler)
            if count > _MOST:
                raise DataError(
                    f"expected at most {_MOST:,} ids a file, the most that its header can count, "
                    f"got {count:,}; pass a larger --num_shards or a smaller --shard_size"
                )
            head = np.zeros(_HEADER, "<i4")
            head[:3] = *_KINDS[dataset.ids_type.itemsize], count
            file.write(head.tobytes())

    def write(self, rows: Rows) -> None:
        require_ids(rows, self._dataset.ids_type, dataset=self._dataset, first=self._count.rows)
        shown = self._form.seen(rows, self._dataset)
        ids = shown.ids.astype(self._dataset.ids_type.newbyteorder("<"), copy=False)
        self._file.write(ids.data.cast("B") if len(ids) else b"")
        self._count.add(rows)

    def close(self) -> None:
        self._count.require_all()


def _has_header(dataset: Dataset) -> bool:
    return bool(dataset.options.get("header", "none") == "llmc")


def _count_of(header: bytes, id_bytes: int) -> int:
    """Return how many ids a header says follow.

    Raises:
        DataError: it isn't one, or of ids of another size.
    """
    words = np.frombuffer(header, "<i4") if len(header) == _HEADER * 4 else np.zeros(3, "<i4")
    if tuple(words[:2].tolist()) != _KINDS[id_bytes] or words[3:].any() or words[2] < 0:
        raise DataError(
            f"expected llm.c's header for ids of {id_bytes} bytes, which begins "
            f"{_KINDS[id_bytes]}, got {tuple(words[:2].tolist())}: the file is damaged, or was "
            "written without --header=llmc; make it again"
        )
    return int(words[2])
