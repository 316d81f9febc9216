"""Which tokenizers made the rows of ids that are read: their datasets say it, and it is handed on."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from transforms.datasets.dataset_inputs import manifest_beside
from transforms.datasets.manifest import TokenizerEntry
from transforms.datasets.prepared_inputs import is_prepared
from transforms.datasets.source_files import Files

_LAW = ("law", "alpha", "nbest_size", "dropout", "proportion")


def tokenizers_of(files: Files, schema: pa.Schema | None) -> list[TokenizerEntry]:
    """Return what the manifests beside rows of ids say of the tokenizers that made them.

    Args:
        files: the input.
        schema: of its rows; None where it holds no rows.
    """
    columns = {field.name for field in schema or () if _holds_ids(field.type)}
    if not columns:
        return []
    shards: dict[tuple[str, str], set[str]] = defaultdict(set)
    for file in files:
        folder, _, name = file.url.rpartition("/")
        shards[file.source, folder].add(name)
    sources: dict[str, set[str]] = defaultdict(set)
    for (source, folder), names in shards.items():
        for made in _made_by(folder, names):
            if made["column"] in columns:
                sources[json.dumps(made, sort_keys=True)].add(source)
    return [
        TokenizerEntry(sources=sorted(names), **json.loads(made))
        for made, names in sorted(sources.items())
    ]


def warnings(entries: Sequence[TokenizerEntry]) -> list[str]:
    """Return what is likely not to be meant: ids of different tokenizers in one dataset."""
    if len({entry.model["sha256"] for entry in entries}) < 2:
        return []
    return [
        "the inputs' ids were made by different tokenizers, so one id stands for different tokens: "
        + "; ".join(describe(entries))
    ]


def describe(entries: Sequence[TokenizerEntry]) -> list[str]:
    """Return a line for each tokenizer."""
    return [
        f"{entry.column} of {', '.join(entry.sources)}: made by {entry.model['url']}, "
        f"{entry.model['kind']} (SHA-256 {entry.model['sha256'][:12]}…)"
        for entry in entries
    ]


def _holds_ids(kind: pa.DataType) -> bool:
    return hasattr(kind, "value_type") and pa.types.is_integer(kind.value_type)


def _made_by(folder: str, names: set[str]) -> Iterator[dict[str, Any]]:
    """Yield what the manifest of a folder of shards says, without sources, where it lists these."""
    found = manifest_beside(folder)
    if found is None:
        return
    try:
        if is_prepared(found):
            yield from _prepared_by(found, names)
            return
        if not names <= {shard["path"].rpartition("/")[2] for shard in found["shards"]}:
            return
        tokens = found.get("tokens")
        if tokens is not None and not tokens["decoded"]:
            column = found["recipe"].get("token_column", "input_ids")
            law = {name: tokens.get(name) for name in _LAW}
            yield _checked({"sources": [], "column": column, "model": tokens["model"], **law})
        for made in found.get("tokenizers") or ():
            yield _checked(made)
    except (ValueError, LookupError, TypeError, AttributeError):
        return  # not as we write them: the files are read as they lie there


def _prepared_by(found: dict[str, Any], names: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the same of a prepared dataset, by its own model or that of the rows it was made of."""
    files = {
        file["path"].rpartition("/")[2] for shard in found["shards"] for file in shard["files"]
    }
    if names <= files and found["model"] is not None:
        tokens = found.get("tokens") or {"law": "off"}
        law = {name: tokens.get(name) for name in _LAW}
        yield _checked({"sources": [], "column": "input_ids", "model": found["model"], **law})


def _checked(made: Any) -> dict[str, Any]:
    """Return an entry without its sources, whoever wrote it; raise ValueError where it is none."""
    entry = TokenizerEntry.model_validate(made)
    if missing := {"url", "kind", "sha256"} - entry.model.keys():
        raise ValueError(f"expected a model's {', '.join(sorted(missing))}")
    return entry.model_dump(exclude={"sources"})
