"""Read Megatron's files with megatron-core; ``bench.readers`` runs this in an environment of its own.

Of torch it needs a tensor that numpy can be, so torch is stubbed: reading is numpy's and C++'s, and what
GPTDataset does with a sample's ids (shifting them, and where the loss is masked) is indexing.
``megatron.core`` itself, which imports kernels, is never run: its ``datasets`` alone are. Nothing of
Dovetail is imported here.

    python readers_megatron.py FOLDER    of cases: data/, expected.npz, case.json and the lists in each
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np


class Tensor(np.ndarray):
    """What of torch's tensors GPTDataset uses."""

    device = "cpu"

    def long(self) -> Tensor:
        return self.astype(np.int64).view(Tensor)

    def contiguous(self) -> Tensor:
        return np.ascontiguousarray(self).view(Tensor)

    def clone(self) -> Tensor:
        return self.copy().view(Tensor)

    def numel(self) -> int:
        return int(self.size)


def stub_torch() -> None:
    """Put a torch of numpy where megatron-core looks for one."""
    torch: Any = types.ModuleType("torch")
    torch.Tensor, torch.float, torch.long, torch.int32 = Tensor, np.float32, np.int64, np.int32
    torch.from_numpy = lambda array: array.view(Tensor)
    torch.ones = lambda n, dtype, device: np.ones(n, dtype).view(Tensor)
    torch.arange = lambda n, dtype, device: np.arange(n, dtype=dtype).view(Tensor)
    torch.zeros_like = lambda one: np.zeros_like(one).view(Tensor)
    torch.roll = lambda one, shifts, dims: np.roll(one, shifts, dims).view(Tensor)
    torch.distributed = types.ModuleType("torch.distributed")
    torch.distributed.is_initialized = lambda: False
    torch.distributed.get_rank = lambda: 0
    torch.cuda = types.ModuleType("torch.cuda")
    torch.utils = types.ModuleType("torch.utils")
    torch.utils.data = types.ModuleType("torch.utils.data")
    torch.utils.data.Dataset = type("Dataset", (), {})
    for name in ("", ".utils", ".utils.data", ".distributed", ".cuda"):
        module = torch
        for part in name.split(".")[1:]:
            module = getattr(module, part)
        sys.modules["torch" + name] = module


def stub_core() -> None:
    """Let ``megatron.core.datasets`` be imported without running ``megatron.core``."""
    import megatron  # a namespace: nothing is run

    roots = (Path(place) / "core" for place in megatron.__path__)
    root = next(place for place in roots if place.is_dir())
    core: Any = types.ModuleType("megatron.core")
    core.__path__ = [str(root)]
    utils: Any = types.ModuleType("megatron.core.utils")
    utils.log_single_rank = lambda *args, **kwargs: None
    tokenizers: Any = types.ModuleType("megatron.core.tokenizers")
    tokenizers.MegatronTokenizerBase = object
    safe_globals: Any = types.ModuleType("megatron.core.safe_globals")  # of newer ones
    safe_globals.safe_numpy_load = np.load
    sys.modules |= {
        "megatron.core.safe_globals": safe_globals,
        "megatron.core": core,
        "megatron.core.utils": utils,
        "megatron.core.tokenizers": tokenizers,
    }
    core.utils, core.tokenizers = utils, tokenizers


class Tokenizer:
    """What GPTDataset asks of one."""

    pad = -1

    def __init__(self, vocab_size: int, eod: int) -> None:
        self.vocab_size, self.eod = vocab_size, eod
        self.unique_identifiers = {"class": "Tokenizer", "vocab_size": vocab_size}


def check_indexed(case: dict[str, Any], expected: list[np.ndarray]) -> str:
    """Every field and every sequence, by the plain reader, without mmap, and by the fast one."""
    module = importlib.import_module("megatron.core.datasets.indexed_dataset")
    counts = json.loads(Path("sequences.json").read_text())
    code = 8 if case["ids"] <= 65_536 else 4
    seen = 0
    for prefix in case["prefixes"]:
        variants: list[dict[str, Any]] = [{}, {"mmap": False}]
        # what newer readers take instead of the index's own head
        if "sequences_per_dataset" in module.IndexedDataset.__init__.__annotations__:
            fast = {"sequences_per_dataset": tuple(counts[prefix]), "dtype_code": code}
            variants.append({"fast_cache_load": True, **fast})
        here = 0
        for variant in variants:
            data = module.IndexedDataset(prefix, **variant)
            assert module.DType.code_from_dtype(data.index.dtype) == code, data.index.dtype
            assert len(data) == counts[prefix][0], (len(data), counts)
            assert len(data.document_indices) == counts[prefix][1]
            assert np.array_equal(data.document_indices, np.arange(len(data) + 1))
            here = len(data)
            for at in range(here):
                assert np.array_equal(data[at], expected[seen + at]), f"{prefix}: sequence {at}"
            lengths = [len(one) for one in expected[seen : seen + here]]
            assert data.sequence_lengths.tolist() == lengths
        seen += here
    assert seen == len(expected)
    return f"{seen} sequences by {len(variants)} readers"


def dataset(case: dict[str, Any], prefix: str, samples: int | None, **more: Any) -> Any:
    """Return Megatron's dataset for training, over one prefix."""
    gpt = importlib.import_module("megatron.core.datasets.gpt_dataset")
    split = importlib.import_module("megatron.core.datasets.utils").Split
    tokenizer = Tokenizer(case["ids"], case["eod"])
    config = gpt.GPTDatasetConfig(
        random_seed=more.pop("seed", 1),
        sequence_length=case["length"],
        blend=([prefix], None),
        split="1",
        tokenizer=tokenizer,
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=True,
        create_attention_mask=False,
        path_to_cache=tempfile.mkdtemp(),  # by default it lies among the data
        **more,
    )
    low = gpt.GPTDataset.build_low_level_dataset(prefix, config)
    indices = np.arange(gpt.GPTDataset.numel_low_level_dataset(low), dtype=np.int32)
    return gpt.GPTDataset(low, prefix, indices, samples, split.train, config)


def check_rows(case: dict[str, Any], expected: list[np.ndarray]) -> str:
    """Samples are rows as they were, each once an epoch but one, in several seeds and epochs."""
    first, said = 0, []
    counts = json.loads(Path("sequences.json").read_text())
    for prefix in case["prefixes"]:
        rows = expected[first : first + counts[prefix][0]]
        first += len(rows)
        for seed, epochs in ((1, 1), (2, 1), (3, 3)):
            samples = None if epochs == 1 else epochs * len(rows) - 1
            train = dataset(case, prefix, samples, seed=seed)
            assert len(train) == epochs * len(rows) - 1, (len(train), len(rows))
            found = np.zeros(len(rows), np.int64)
            by_row = {row.tobytes(): at for at, row in enumerate(rows)}
            assert len(by_row) == len(rows)  # so that each can be told from all others
            for at in range(len(train)):
                sample = train[at]
                tokens = np.asarray(sample["tokens"]).astype(rows[0].dtype)
                row = by_row[tokens.tobytes()]  # KeyError: no row of ours
                found[row] += 1
                labels = np.asarray(sample["labels"])
                assert np.array_equal(labels[:-1], tokens[1:])
                masked = np.asarray(sample["loss_mask"]) == 0
                assert np.array_equal(masked, tokens == case["eod"])
            assert found.max() <= epochs
            assert found.sum() == epochs * len(rows) - 1
            assert (found < epochs).sum() <= 1
        whole = dataset(case, prefix, None, add_extra_token_to_sequence=False)
        assert len(whole) == len(rows)
        tokens = [np.asarray(whole[at]["tokens"]) for at in range(len(rows))]
        assert {one.astype(rows[0].dtype).tobytes() for one in tokens} == set(by_row)
        said.append(f"{len(rows) - 1} of {len(rows)} rows an epoch")
    return ", ".join(said)


def check_lists(case: dict[str, Any]) -> str:
    """The lists are what Megatron's own functions take them for."""
    utils = importlib.import_module("megatron.core.datasets.utils")
    blend = utils.get_blend_from_list(Path("weights-train.txt").read_text().split())
    assert blend == (case["prefixes"], [float(one) for one in case["weights"]]), blend
    splits = json.loads(Path("weights.json").read_text())
    assert utils.get_blend_from_list(splits["train"]) == blend
    assert utils.get_blend_from_list(splits["valid"]) is None
    return f"{len(case['prefixes'])} prefixes"


def main() -> None:
    """Check every case."""
    stub_torch()
    stub_core()
    root = Path(sys.argv[1])
    for folder in sorted(root.iterdir()):
        os.chdir(folder)  # the lists' paths begin there
        case = json.loads(Path("case.json").read_text())
        with np.load("expected.npz") as arrays:
            flat, ends = arrays["ids"], np.cumsum(arrays["lengths"])
        expected = np.split(flat, ends[:-1])
        said = [check_indexed(case, expected), check_lists(case)]
        if case["unit"] == "rows":
            said.append("GPTDataset: " + check_rows(case, expected))
        print(f"{folder.name}: {'; '.join(said)}", flush=True)


if __name__ == "__main__":
    main()
