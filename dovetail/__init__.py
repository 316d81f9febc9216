"""Exact shuffles, mixtures and tokens of language-model training data, on Apache Beam.

The commands, with keywords named like their flags, which return the dataset's manifest::

    import dovetail

    manifest = dovetail.shuffle(input="corpus/*.jsonl", output="shuffled", seed=7)
    dovetail.tokenize(input="shuffled", output="tokens", tokenizer="model.json")
    dovetail.prepare(input="corpus", output="ready", tokenizer="model.json", sequence_length=4096)
    dovetail.split(input="corpus", output="split", fractions={"train": 0.98, "validation": 0.02})
    dovetail.verify("ready")
    dovetail.show("ready", row=12)

``shuffle``, ``tokenize``, ``prepare``, ``split``, ``verify``, ``show``
    the commands; what goes wrong is a ``DovetailError``, of which there is a tree
``Recipe``, ``TokenizeRecipe``, ``PrepareRecipe``, ``SplitRecipe``, ``Manifest``, ``PreparedManifest``
    what determines a dataset, and what was written
``Tokenizer``, ``Sampling``
    texts to ids and back, without Beam
``ReadRecords``, ``BlocksFromRecords``, ``PartitionIntoBuckets``, ``ShuffleWithinBuckets``,
``InterleaveSources``, ``TokenizeRecords``, ``ReadValues``, ``AttachColumn``, ``WindowTokens``,
``MapIntoShards``, ``WriteShards``, ``WriteManifest``
    Beam's PTransforms for pipelines of your own: docs/how-to/library.md. What they are told of:
    ``Streams``, ``Spilling``, ``Mixture``, ``Amounts``, ``plan_streams``, ``BlockTokenizer``

Each name is imported when it is first asked for, so that ``import dovetail`` takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dovetail import _packages  # noqa: F401  # first: finds the other two
from transforms.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from dovetail.commands import prepare as prepare
    from dovetail.commands import show as show
    from dovetail.commands import shuffle as shuffle
    from dovetail.commands import split as split
    from dovetail.commands import tokenize as tokenize
    from dovetail.commands import verify as verify
    from pipelines.recipes.prepare_recipe import PrepareRecipe as PrepareRecipe
    from pipelines.recipes.recipe import Recipe as Recipe
    from pipelines.recipes.split_recipe import SplitRecipe as SplitRecipe
    from pipelines.recipes.tokenize_recipe import TokenizeRecipe as TokenizeRecipe
    from transforms.datasets.attach_column import AttachColumn as AttachColumn
    from transforms.datasets.manifest import Manifest as Manifest
    from transforms.datasets.map_shards import MapIntoShards as MapIntoShards
    from transforms.datasets.prepared import PreparedManifest as PreparedManifest
    from transforms.datasets.read import ReadRecords as ReadRecords
    from transforms.datasets.read_values import ReadValues as ReadValues
    from transforms.datasets.records import BlocksFromRecords as BlocksFromRecords
    from transforms.datasets.write import WriteShards as WriteShards
    from transforms.datasets.write_manifest import WriteManifest as WriteManifest
    from transforms.errors import DataError as DataError
    from transforms.errors import DovetailError as DovetailError
    from transforms.errors import InputError as InputError
    from transforms.errors import LosslessError as LosslessError
    from transforms.errors import RunError as RunError
    from transforms.errors import StoreError as StoreError
    from transforms.errors import UsageError as UsageError
    from transforms.errors import WorkerError as WorkerError
    from transforms.kernels.schedules.mixture import Amounts as Amounts
    from transforms.kernels.schedules.mixture import Mixture as Mixture
    from transforms.mixing.interleave import InterleaveSources as InterleaveSources
    from transforms.mixing.interleave import plan_streams as plan_streams
    from transforms.packing.window_tokens import WindowTokens as WindowTokens
    from transforms.shuffling.partition import PartitionIntoBuckets as PartitionIntoBuckets
    from transforms.shuffling.shuffle import ShuffleWithinBuckets as ShuffleWithinBuckets
    from transforms.shuffling.spill_files import Spilling as Spilling
    from transforms.shuffling.streams import Streams as Streams
    from transforms.tokenization.sampling import Sampling as Sampling
    from transforms.tokenization.tokenize import BlockTokenizer as BlockTokenizer
    from transforms.tokenization.tokenize import TokenizeRecords as TokenizeRecords
    from transforms.tokenization.tokenizer import Tokenizer as Tokenizer
else:
    _LATER = {  # by module, as above
        "dovetail.commands": ["prepare", "show", "shuffle", "split", "tokenize", "verify"],
        "pipelines.recipes.prepare_recipe": ["PrepareRecipe"],
        "pipelines.recipes.recipe": ["Recipe"],
        "pipelines.recipes.split_recipe": ["SplitRecipe"],
        "pipelines.recipes.tokenize_recipe": ["TokenizeRecipe"],
        "transforms.datasets.attach_column": ["AttachColumn"],
        "transforms.datasets.manifest": ["Manifest"],
        "transforms.datasets.map_shards": ["MapIntoShards"],
        "transforms.datasets.prepared": ["PreparedManifest"],
        "transforms.datasets.read": ["ReadRecords"],
        "transforms.datasets.read_values": ["ReadValues"],
        "transforms.datasets.records": ["BlocksFromRecords"],
        "transforms.datasets.write": ["WriteShards"],
        "transforms.datasets.write_manifest": ["WriteManifest"],
        "transforms.errors": [
            *("DovetailError", "UsageError", "InputError"),
            *("RunError", "DataError", "LosslessError", "StoreError", "WorkerError"),
        ],
        "transforms.kernels.schedules.mixture": ["Amounts", "Mixture"],
        "transforms.mixing.interleave": ["InterleaveSources", "plan_streams"],
        "transforms.packing.window_tokens": ["WindowTokens"],
        "transforms.shuffling.partition": ["PartitionIntoBuckets"],
        "transforms.shuffling.shuffle": ["ShuffleWithinBuckets"],
        "transforms.shuffling.spill_files": ["Spilling"],
        "transforms.shuffling.streams": ["Streams"],
        "transforms.tokenization.sampling": ["Sampling"],
        "transforms.tokenization.tokenize": ["BlockTokenizer", "TokenizeRecords"],
        "transforms.tokenization.tokenizer": ["Tokenizer"],
    }
    _MODULES = {name: module for module, names in _LATER.items() for name in names}

    __all__ = list(_MODULES)

    def __getattr__(name: str) -> Any:
        """Import a name when it is first asked for."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        found = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
        return found

    def __dir__() -> list[str]:
        return [*__all__, "__version__"]
