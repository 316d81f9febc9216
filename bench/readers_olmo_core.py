"""Read OLMo's files with OLMo-core; ``bench/readers_olmo.py`` runs this in an environment of its own.

Whatever OLMo-core imports beside numpy is stubbed: reading a row and finding documents are numpy's, and
a tensor is the array here. Nothing of Dovetail is imported.

    python readers_olmo_core.py CASE.json    prints what was read
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

_STUBBED = [
    "beaker",
    "bettermap",
    "boto3",
    "botocore",
    "cached_path",
    "dataclass_extensions",
    "filelock",
    "google",
    "importlib_resources",
    "omegaconf",
    "requests",
    "rich",
    "safetensors",
    "torch",
    "tqdm",
    "transformers",
    "triton",
    "yaml",
]


class _Names(type):
    """Classes that have any attribute, and decorate by doing nothing."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _named(name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and callable(args[0]) and not isinstance(args[0], _Names):
            return args[0]
        return object.__new__(cls)

    def __getitem__(cls, item: Any) -> Any:
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    __ror__ = __or__


def _named(name: str) -> Any:
    return _Names(
        name,
        (),
        {
            "__getattr__": lambda self, more: _named(more),
            "__call__": lambda self, *args, **kwargs: (
                args[0] if args and callable(args[0]) else self
            ),
        },
    )


class _Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes modules of which everything can be imported."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.partition(".")[0] in _STUBBED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        module: Any = types.ModuleType(spec.name)
        module.__path__ = []

        def find(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return _named(name)

        module.__getattr__ = find
        if spec.name == "torch":
            module.__version__, module.tensor = "2.9.0", lambda array, **kwargs: array
        if spec.name == "torch.utils.data":
            module.Dataset = type("Dataset", (), {"__class_getitem__": lambda cls, item: cls})
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is run."""


def read(case: dict[str, Any]) -> dict[str, Any]:
    """Return a case's rows, masks and documents."""
    numpy_dataset = importlib.import_module("olmo_core.data.numpy_dataset")
    utils: Any = importlib.import_module("olmo_core.data.utils")
    utils.resource_path = lambda folder, name, **kwargs: Path(folder, name)  # it would fetch by URL
    asked = types.SimpleNamespace(
        dtype=None, tokenizer=types.SimpleNamespace(vocab_size=case["vocab_size"])
    )
    dtype = numpy_dataset.NumpyDatasetConfig.get_dtype(asked)
    dataset = numpy_dataset.NumpyFSLDataset(
        *case["paths"],
        sequence_length=case["sequence_length"],
        pad_token_id=case["pad"],
        eos_token_id=case["eos"],
        vocab_size=case["vocab_size"],
        dtype=dtype,
        label_mask_paths=case["masks"],
    )
    read = [dataset[i] for i in range(len(dataset))]
    found, tables = [], []
    for path in case["paths"]:
        known = {"eos_token_id": case["eos"], "dtype": dtype}
        found.append([*map(list, utils.iter_document_indices(path, **known))])
        told = utils.iter_document_indices(Path(path), use_array_if_local=False, dtype=dtype)
        tables.append([*map(list, told)])
    return {
        "dtype": np.dtype(dtype).name,
        "rows": [one["input_ids"].tolist() for one in read],
        "masks": [one["label_mask"].tolist() for one in read] if case["masks"] else None,
        "by_eos": [[[int(a), int(b)] for a, b in file] for file in found],
        "by_table": tables,
    }


if __name__ == "__main__":
    sys.meta_path.append(_Stubs())
    print(json.dumps(read(json.loads(Path(sys.argv[1]).read_text()))))
