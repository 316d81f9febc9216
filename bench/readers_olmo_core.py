"""Read OLMo's files with OLMo-core; ``bench/readers_olmo.py`` runs this in an environment of its own.

Whatever OLMo-core imports beside numpy is stubbed: reading a row and finding documents are numpy's, and
a tensor is the array here. Nothing of Dovetail is imported.

    python readers_olmo_core.py CASE.json    prints what was read
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from stubs import Dataset, stub

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


_KNOWN: dict[str, dict[str, Any]] = {
    "torch": {"__version__": "2.9.0", "tensor": lambda array, **kwargs: array},
    "torch.utils.data": {"Dataset": Dataset},
}


def read(case: dict[str, Any]) -> dict[str, Any]:
    """Return a case's rows, masks and documents."""
    numpy_dataset = importlib.import_module("olmo_core.data.numpy_dataset")
    utils: Any = importlib.import_module("olmo_core.data.utils")
    utils.resource_path = lambda folder, name, **kwargs: Path(folder, name)  # it would fetch by URL
    names = vars(numpy_dataset) | {"TokenizerConfig": numpy_dataset.TokenizerConfig}
    config = eval(case["line"], names)
    dtype, dataset = config.get_dtype(), config.build()
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
    stub(_STUBBED, _KNOWN)
    print(json.dumps(read(json.loads(Path(sys.argv[1]).read_text()))))
