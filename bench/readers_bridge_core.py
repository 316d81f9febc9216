"""Read packed Parquet with Megatron-Bridge; ``bench/readers_bridge.py`` runs this.

Its ``data/packing/parquet.py`` and ``gpt_sft.py`` are run from a checkout; torch and the rest are
stubbed, and tensors are numpy's arrays. Nothing of Dovetail is imported.

    python readers_bridge_core.py CASE.json    prints what a batch of all rows is made of
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from stubs import stub


class Tensor(np.ndarray):
    """What of torch's tensors collating uses."""

    def max(self, dim: int, keepdim: bool) -> Any:  # type: ignore[override]
        return np.asarray(self).max(axis=dim, keepdims=keepdim), None


class Base:
    """What of GPTSFTDataset the packed ones use."""

    def __init__(self, file_path: str, tokenizer: Any, **kwargs: Any) -> None:
        self.file_path, self.tokenizer, self.virtual_tokens = file_path, tokenizer, 0
        self.max_num_samples = None
        vars(self).update(kwargs)
        self._load_dataset()  # type: ignore[attr-defined]
        self._build_samples_mapping()  # type: ignore[attr-defined]

    def _collate_item(self, item: Any, max_length: int, pad_id: int) -> Any:
        return [[*map(int, one), *[pad_id] * (max_length - len(one))] for one in item]

    def _ceil_to_nearest(self, n: int, m: int) -> int:
        return (n + m - 1) // m * m


_KNOWN: dict[str, dict[str, Any]] = {
    "megatron.core.msc_utils": {
        "MultiStorageClientFeature": types.SimpleNamespace(is_enabled=lambda: False)
    },
    "megatron.bridge.data.datasets.gpt_sft": {"GPTSFTDataset": Base},
    "torch": {
        "LongTensor": np.array,
        "BoolTensor": np.array,
        "IntTensor": lambda values: np.array(values, np.int32).view(Tensor),
    },
}


def load(folder: Path, name: str) -> Any:
    """Run one module of Megatron-Bridge's ``data.packing``."""
    full = f"megatron.bridge.data.packing.{name}"
    spec = importlib.util.spec_from_file_location(full, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return module


def read(case: dict[str, Any]) -> dict[str, Any]:
    """Return what a batch of all rows is made of."""
    folder = Path(case["source"]) / "src/megatron/bridge/data/packing"
    load(folder, "paths")
    load(folder, "gpt_sft")
    parquet = load(folder, "parquet")
    opened = partial(
        parquet.GPTSFTPackedParquetDataset, pad_to_max_length=True, answer_only_loss=True
    )
    tokenizer = types.SimpleNamespace(eos_id=case["eos"])
    names = {"GPTSFTPackedParquetDataset": opened, "tokenizer": tokenizer}
    dataset = eval(case["line"], names)
    rows = [dataset[i] for i in range(len(dataset))]
    for i, row in enumerate(rows):
        starts = row["seq_boundaries"][:-1]
        dataset.validate_row(i, row["input_ids"], row["loss_mask"], starts)
    batch = dataset.collate_fn(rows)
    names = ("tokens", "labels", "loss_mask", "position_ids", "cu_seqlens_q")
    return {name: np.asarray(batch[name]).tolist() for name in names}


if __name__ == "__main__":
    stub(["datasets", "megatron", "torch"], _KNOWN)
    print(json.dumps(read(json.loads(Path(sys.argv[1]).read_text()))))
