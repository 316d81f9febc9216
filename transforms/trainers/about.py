"""The small JSON beside a format's data: what a trainer's configuration has to know."""

from __future__ import annotations

import glob
import json
from typing import Any, Protocol

from transforms.kernels.randomness import ORDER_VERSION
from transforms.trainers.contract import Dataset, Unit


class _Form(Protocol):
    """What is asked of a format here."""

    name: str

    def unit(self, dataset: Dataset) -> Unit: ...
    def filler(self, dataset: Dataset) -> int | None: ...


def quoted_pattern(folder: str, split: str, suffix: str) -> str:
    r"""Return the pattern of a split's files as Python has it, whatever the folder is called.

    >>> print(quoted_pattern('my "[1]"', "train", ".bin"))
    "my \"[[]1]\"/data/train-*.bin"
    """
    return json.dumps(f"{glob.escape(folder)}/data/{split}-*{suffix}", ensure_ascii=False)


def about(form: _Form, dataset: Dataset, *, dtype: str, **more: Any) -> dict[str, Any]:
    """Return what is true of every format's data.

    Args:
        form: the format.
        dataset: what is true of its files.
        dtype: of ids in the files, as numpy calls it.
        more: what is the format's own.
    """
    packing, unit = dataset.packing, form.unit(dataset)
    return {
        "format": form.name,
        "order_version": ORDER_VERSION,
        "unit": unit,
        "packing": packing.kind if unit == "rows" else "none",
        "sequence_length": packing.length if unit == "rows" else None,
        "dtype": dtype,
        "byte_order": "little",
        "vocab_size": dataset.ids,
        "eos": dataset.eos,
        "bos": dataset.bos,
        "pad": dataset.pad,
        "filler": form.filler(dataset),
        "document_begin": packing.begin,
        "document_end": packing.end,
        "eos_at_cuts": packing.end_at_cuts,
        "sources": list(dataset.sources),
        "tokenizer_sha256": dataset.tokenizer or None,
        "recipe_sha256": dataset.recipe or None,
        **more,
    }
