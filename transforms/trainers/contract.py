"""What every trainer's format is: what it needs of rows, how it writes files, how it reads them back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.kernels.packing.rows import Kind, Packing, Rows

Unit = Literal["rows", "documents"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What is true of all files of a dataset.

    Attributes:
        ids: how many ids there can be, added tokens included; the largest is one less.
        packing: how rows were made.
        bos, eos, pad: special ids, None where there is none.
        tokenizer: SHA-256 of the model, "" where it isn't known.
        recipe: SHA-256 of the recipe, as JSON with sorted keys.
        sources: names of the sources, by which ``Rows.sources`` count; () where they aren't kept.
        kept: schema of the columns kept beside the ids.
        options: of the format's own flags, such as ``{"layout": "megatron_bridge"}``.
    """

    ids: int
    packing: Packing = field(default_factory=Packing)
    bos: int | None = None
    eos: int | None = None
    pad: int | None = None
    tokenizer: str = ""
    recipe: str = ""
    sources: tuple[str, ...] = ()
    kept: pa.Schema | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ids_type(self) -> np.dtype[Any]:
        """The type of ``Rows.ids`` that are laid down and read back: uint16, or uint32."""
        return np.dtype(np.uint16 if self.ids <= 1 << 16 else np.uint32)


@dataclass(frozen=True, kw_only=True)
class ShardFacts:
    """What a shard will hold, known before it is written, in the format's unit.

    Attributes:
        rows: how many, or documents.
        ids: in all of them, special ones included, filler not.
        filler: how many ids fill them up, of ``Rows.filler``.
    """

    rows: int
    ids: int
    filler: int = 0


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a format needs of rows, by which formats are compared before work.

    Attributes:
        packings: kinds that it takes.
        end: every document ends in EOS.
        end_at_cuts: pieces that are cut end in it too.
        filler: which ids fill rows up in its files: ``none`` where rows are written without, ``pad``
            the pad token, which may not be EOS, ``pad or eos`` the pad token or else EOS, ``eos``.
        because: of each of the fields above that isn't free, why, as the docs and errors say it.
    """

    packings: frozenset[Kind]
    end: bool = False
    end_at_cuts: bool = False
    filler: Literal["none", "pad", "pad or eos", "eos"] = "none"
    because: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Keeps:
    """What a format keeps of rows beside their ids: where each begins, and the pieces' lengths."""

    rows: bool
    pieces: bool


class Writer(Protocol):
    """Writes one shard's files; memory doesn't grow with what was written."""

    def write(self, rows: Rows) -> None:
        """Write rows, or documents, each of which is a row of one piece then.

        Raises:
            DataError: ids that the files' type can't hold, or rows that the format can't.
        """

    def close(self) -> None:
        """Write what comes last. The files stay open: whoever opened them publishes them.

        Raises:
            DataError: what was written isn't what the shard was to hold.
        """


class Format(Protocol):
    """A trainer's format."""

    name: str
    """As ``--output_format`` has it."""

    def unit(self, dataset: Dataset) -> Unit:
        """Say what its files are made of: rows, or documents as they were before packing."""

    def suffixes(self, dataset: Dataset) -> tuple[str, ...]:
        """Say how the names of a shard's files end, such as ``(".bin", ".idx")``, the main one first."""

    def needs(self, dataset: Dataset) -> Needs:
        """Say what it needs of rows, as it is asked for by its flags (``Dataset.options``)."""

    def keeps(self, dataset: Dataset) -> Keeps:
        """Say what of rows is read back."""

    def id_bytes(self, dataset: Dataset) -> int:
        """Say how many bytes an id takes in the main file, before it is compressed."""

    def most_ids(self, dataset: Dataset) -> int | None:
        """Say how many ids a shard may hold, filler included; None for any number."""

    def filler(self, dataset: Dataset) -> int | None:
        """Say which id fills rows up in its files; None where rows are written without filler."""

    def seen(self, rows: Rows, dataset: Dataset) -> Rows:
        """Return rows as they are read back: with filler among the ids where it is written, and
        without rows that are left out. Of these digests are made.
        """

    def left_out(self, rows: Rows, dataset: Dataset) -> npt.NDArray[np.bool_]:
        """Return bool[rows], which rows stand in none of its files: they are counted."""

    def require(self, dataset: Dataset) -> None:
        """Raise UsageError where such a dataset can't be written in this format, before any work."""

    def open_writer(
        self, files: Mapping[str, BinaryIO], dataset: Dataset, shard: ShardFacts
    ) -> Writer:
        """Return what writes one shard.

        Args:
            files: open for writing from their beginning, by suffix; they need not seek.
            dataset: what is true of all shards.
            shard: what will be written. Some formats say it before the ids; each checks it when it
                is closed.
        """

    def read(self, files: Mapping[str, BinaryIO], dataset: Dataset) -> Iterator[Rows]:
        """Read a shard back, some rows at a time, exactly as they were written.

        What a format doesn't keep (lengths in flat files, say) comes back as one piece a row, or one
        row of all.

        Args:
            files: open for reading, seekable, by suffix.
            dataset: as it was written.

        Raises:
            DataError: the files aren't what the format says.
        """

    def about(self, dataset: Dataset) -> dict[str, Any]:
        """Return what the small JSON beside the data says: type, order, special ids, digests."""

    def how_to_open(self, dataset: Dataset, folder: str, split: str = "train") -> str:
        """Return the line of code that opens a split in its trainer; ``folder`` holds ``data``."""


@runtime_checkable
class Seeking(Protocol):
    """A format of which one row can be read without those before it."""

    def read_row(self, files: Mapping[str, BinaryIO], dataset: Dataset, row: int) -> Rows:
        """Read one row, as ``Format.read`` gives it, of a format that keeps where rows begin.

        Args:
            files, dataset: as of ``Format.read``.
            row: number in the shard.

        Raises:
            DataError: the files aren't what the format says, or hold no such row.
        """
