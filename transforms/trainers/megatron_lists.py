"""The lists that lie beside Megatron's data: what to read, with which weight, and how much it holds.

Paths in them begin at the folder in which they lie, so a dataset stays whole where it is moved, and is
the same wherever it is written: training starts there. Source: NVIDIA/Megatron-LM,
megatron/training/utils/common_utils.py (``get_blend_and_blend_per_split``),
megatron/core/datasets/utils.py (``get_blend_from_list``), tools/build_sequences_per_dataset.py.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transforms.datasets.prepared import PreparedShard
from transforms.trainers.megatron_index import counts_of

_SPLITS = {"train": "train", "validation": "valid", "valid": "valid", "test": "test"}
"""What Megatron calls splits; it knows no others."""


@dataclass(frozen=True)
class Prefix:
    """A shard as Megatron names it.

    Attributes:
        split: it belongs to.
        path: without the files' endings, from where the lists lie.
        ids: how many it has, its weight.
        sequences: how many.
        boundaries: of documents, one more than there are.
    """

    split: str
    path: str
    ids: int
    sequences: int
    boundaries: int


def prefix_of(shard: PreparedShard, *, folder: str, id_bytes: int) -> Prefix:
    """Return a shard as a prefix.

    Args:
        shard: with its ``.bin`` and ``.idx``.
        folder: in which the lists lie, below the dataset's, "" for that one.
        id_bytes: of an id in the ``.bin``.
    """
    ids, index = shard.files
    path = posixpath.relpath(ids.path, folder or ".").removesuffix(".bin")
    counts = counts_of(index.bytes, documents=shard.rows - shard.dropped_rows)
    return Prefix(shard.split, path, ids.bytes // id_bytes, counts.sequences, counts.boundaries)


def weights_of(split: str) -> str:
    """Return the name of the list of a split's weights and prefixes."""
    return f"weights-{split}.txt"


def lists(prefixes: Sequence[Prefix]) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the lists.

    ``sequences.json`` for ``--per-dataset-sequences-path``, whose second number counts boundaries, as
    the index does; ``weights-SPLIT.txt`` for ``--data-args-path``; ``weights.json`` for
    ``--per-split-data-args-path``, where there is a train: without one Megatron makes data up. Prefixes
    without ids are left out of the last two: it can't open an empty file.
    """
    counts = {one.path: [one.sequences, one.boundaries] for one in prefixes}
    yield "sequences.json", json.dumps(counts, indent=1) + "\n"
    blends: dict[str, list[str]] = {}
    for one in prefixes:
        if one.ids:
            blends.setdefault(one.split, []).extend((str(one.ids), one.path))
    for split, blend in blends.items():
        lines = (f"{weight} {path}\n" for weight, path in zip(blend[::2], blend[1::2], strict=True))
        yield weights_of(split), "".join(lines)
    if "train" in blends:
        found: dict[str, list[str]] = {}
        for name, theirs in _SPLITS.items():  # of two that it calls alike it gets the first
            if name in blends:
                found.setdefault(theirs, blends[name])
        every = {name: found.get(name) for name in ("train", "valid", "test")}
        yield "weights.json", json.dumps(every, indent=1) + "\n"
