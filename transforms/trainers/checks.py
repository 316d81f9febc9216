"""What all writers check of rows, and all formats of a dataset."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import numpy.typing as npt

from transforms.errors import DataError, UsageError
from transforms.kernels.packing.rows import Kind, Rows
from transforms.trainers.contract import Dataset, Needs, ShardFacts

KINDS: tuple[Kind, ...] = ("none", "concat", "best_fit", "pad", "buckets")


def require_ids(rows: Rows, dtype: npt.DTypeLike, *, dataset: Dataset, first: int) -> None:
    """Raise a DataError where an id isn't one of the dataset's, or a file's type doesn't hold it.

    Args:
        rows: a batch.
        dtype: of the file: an unsigned type, or a signed one that holds all ids.
        dataset: how many ids there can be.
        first: number of the batch's first row in its shard.
    """
    ids, kind = rows.ids, np.dtype(dtype)
    below = min(dataset.ids, int(np.iinfo(kind).max) + 1)
    if not len(ids) or int(ids.max()) < below:
        return
    place = int(np.argmax(ids >= below))
    row = int(np.searchsorted(rows.offsets, place, side="right")) - 1
    what = f"below {below}" + ("" if below == dataset.ids else f", as {kind.name} holds")
    raise DataError(
        f"row {first + row} of the shard: expected ids {what}, got {int(ids[place])} at place "
        f"{place - int(rows.offsets[row])}; pass the tokenizer that made the source, or a larger "
        "--vocab_size"
    )


class Count:
    """Counts what a writer was given, and holds it against what the shard was to have."""

    def __init__(self, shard: ShardFacts) -> None:
        self._shard = shard
        self.rows = self.ids = self.filler = 0

    def add(self, rows: Rows) -> None:
        """Count a batch, as it is laid down."""
        self.rows += len(rows)
        self.ids += len(rows.ids)
        self.filler += int(rows.filler.sum())

    def require_all(self) -> None:
        """Raise a DataError where something else was written than the shard was to have."""
        came, asked = (self.rows, self.ids, self.filler), self._shard
        if came != (asked.rows, asked.ids, asked.filler):
            raise DataError(
                f"expected a shard of {asked.rows:,} rows, {asked.ids:,} ids and "
                f"{asked.filler:,} of filler, got {came[0]:,}, {came[1]:,} and {came[2]:,}: a "
                "bug in Dovetail; report it with the recipe"
            )


def require_needs(name: str, needs: Needs, dataset: Dataset) -> None:
    """Raise a UsageError where a dataset isn't what a format needs, by the flag's name.

    Args:
        name: of the format.
        needs: its needs.
        dataset: what is asked for.
    """
    packing, flag = dataset.packing, f"--output_format={name}"

    def refuse(field: str, what: str) -> UsageError:
        because = needs.because.get(field)
        return UsageError(f"{flag} {what}" + (f": {because}" if because else ""))

    if packing.kind not in needs.packings:
        length = ", and --sequence_length" if packing.length is None else ""
        kinds = one_of(needs.packings)
        raise refuse("packings", f"needs --packing={kinds}{length}, got {packing.kind}")
    if needs.end and dataset.eos is None:
        raise refuse("end", "needs an EOS, and the tokenizer has none; pass --eos_token")
    if needs.end and packing.end != dataset.eos:
        raise refuse("end", f"needs --document_end=eos, got {packing.end}")
    if needs.end_at_cuts and may_cut(dataset) and not packing.end_at_cuts:
        raise refuse("end_at_cuts", "needs --eos_at_cuts")
    if may_fill(dataset):
        require_filler(name, needs, dataset)
    for label, one in (("EOS", dataset.eos), ("BOS", dataset.bos), ("pad", dataset.pad)):
        if one is not None and not 0 <= one < dataset.ids:
            raise UsageError(
                f"{flag}: expected an id below {dataset.ids}, the number of ids, for {label}, got "
                f"{one}; pass a --vocab_size that counts added tokens"
            )


def one_of(packings: Container[Kind]) -> str:
    """Write kinds of packing, of which one is needed.

    >>> one_of({"pad"}), one_of({"concat", "pad", "best_fit"})
    ('pad', 'concat, best_fit or pad')
    """
    *first, last = [kind for kind in KINDS if kind in packings]
    return f"{', '.join(first)} or {last}" if first else last


def require_filler(name: str, needs: Needs, dataset: Dataset) -> None:
    """Raise a UsageError where rows are to be filled up and there is nothing to do it with."""
    if needs.filler == "none" or filler_of(needs, dataset) is not None:
        return
    because = needs.because.get("filler", "its files hold no lengths")
    others = {"pad": " that isn't EOS", "pad or eos": ", or an EOS", "eos": ""}[needs.filler]
    what = "an EOS" if needs.filler == "eos" else f"a pad token{others}"
    flag = "--eos_token" if needs.filler == "eos" else "--pad_token"
    raise UsageError(
        f"--output_format={name} with --packing={dataset.packing.kind} needs {what} as filler of "
        f"rows: {because}; pass {flag}"
    )


def filler_of(needs: Needs, dataset: Dataset) -> int | None:
    """Return the id that fills rows up, None where rows are written without or there is none."""
    if needs.filler == "none":
        return None
    if needs.filler == "eos":
        return dataset.eos
    if needs.filler == "pad":
        return None if dataset.pad == dataset.eos else dataset.pad
    return dataset.eos if dataset.pad is None else dataset.pad


def may_fill(dataset: Dataset) -> bool:
    """Return whether other rows than the last of a split or a stage may be filled up."""
    return dataset.packing.kind in ("best_fit", "pad", "buckets")


def may_cut(dataset: Dataset) -> bool:
    """Return whether a document may be cut."""
    kind, long = dataset.packing.kind, dataset.packing.long
    return kind == "concat" or (kind != "none" and long in ("split", "truncate"))
