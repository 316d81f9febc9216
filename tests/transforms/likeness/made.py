"""A model that wasn't fitted, and files to score by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from transforms.datasets.read import ReadRecords
from transforms.formats.readers import Beside, ReadOptions
from transforms.kernels.likeness.folds import FOLDS
from transforms.kernels.likeness.spec import FeatureSpec, Ngrams
from transforms.likeness.model import FoldModel, LikeModel, Packed, Sizes

_NOTHING = Sizes(input=0, test=0, input_contents=0, test_contents=0)


def make_model(*, scale: float = 1.0) -> LikeModel:
    """Make a model of single characters, with other weights in each fold."""
    spec = FeatureSpec(characters=Ngrams(shortest=1, longest=1, buckets=64), words=None)
    folds = [
        FoldModel(
            weights=Packed.of(scale * np.sin(np.arange(64.0) + fold)),
            a=1.0,
            b=0.1 * fold,
            low=0.001,
            high=0.99,
            regularization=1e-4,
            epochs=1,
            loss=0.5,
            losses={},
            fitted_on=_NOTHING,
            held_out=_NOTHING,
        )
        for fold in range(FOLDS)
    ]
    return LikeModel(features=spec, seed=5, folds=folds, versions={}, processor="none")


def make_texts(count: int) -> list[str]:
    """Make texts, many of which come twice or more."""
    return [f"{'abcdefgh'[i % 8] * (i % 5)} {i * i % (count // 2)}" for i in range(count)]


def write_json(folder: Path, texts: list[str], *, files: int = 3) -> dict[str, list[str]]:
    """Write JSON lines, each source a file; return the sources."""
    folder.mkdir(parents=True)
    each = -(-len(texts) // files)
    found = {}
    for i in range(files):
        path = folder / f"{i}.jsonl"
        lines = [json.dumps({"text": text, "n": i}) for text in texts[i * each : (i + 1) * each]]
        path.write_text("".join(f"{line}\n" for line in lines))
        found[f"source{i}"] = [str(path)]
    return found


def reading(sources: dict[str, list[str]], **more: Any) -> ReadRecords:
    """Return how whole JSON lines are read, their texts beside them."""
    options = ReadOptions(chunk_bytes=1 << 12, format="jsonl", beside=Beside())
    return ReadRecords(sources=sources, options=options, **more)
