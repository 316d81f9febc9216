"""What ``--json`` says of a dataset and of a plan: the fields of docs/reference/json-output.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from pipelines.inputs.preflight import Inputs
from pipelines.inputs.survey import Amount
from pipelines.jobs.disk_room import Need
from pipelines.jobs.execute import Planned
from transforms.datasets.manifest import Manifest, MixtureEntry, TokensEntry
from transforms.datasets.prepared import PreparedManifest, SplitEntry, passes_of
from transforms.storage import layout


def dataset_json(manifest: BaseModel) -> dict[str, Any]:
    """Return what a dataset holds, as its manifest says, in short."""
    assert isinstance(manifest, Manifest | PreparedManifest)
    held = _prepared(manifest) if isinstance(manifest, PreparedManifest) else _records(manifest)
    return {
        **held,
        "seed": manifest.seed,
        "sources": [
            {
                "source": source.name,
                "records": source.digest.records,
                "bytes": source.digest.bytes,
                "bad_records": source.dropped.records if source.dropped else 0,
            }
            for source in manifest.sources
        ],
        "tokens": None if manifest.tokens is None else _tokens(manifest.tokens),
        "blank_lines": manifest.blank_lines,
        "byte_order_marks": manifest.byte_order_marks,
        "trailing_bytes": manifest.trailing_bytes,
    }


def inputs_json(inputs: Inputs) -> dict[str, Any]:
    """Return what of the input gives no records, or is there more than once."""
    return {
        "ignored_files": inputs.ignored,
        "repeated_files": inputs.repeated,
        "empty_files": inputs.empty,
    }


def plan_json(job: Planned, needs: Sequence[Need], text: str) -> dict[str, Any]:
    """Return what every command plans.

    Args:
        job: what was planned.
        needs: room for it.
        text: what a person reads of the plan.
    """
    contents, workers = job.inputs.contents, job.workers
    return {
        "files": len(job.inputs.files),
        "input_bytes": job.inputs.size,
        "sources": [
            {"source": name, **_amount(amount)} for name, amount in sorted(contents.amounts.items())
        ],
        "workers": {
            "count": workers.count,
            "processes": workers.processes,
            "memory_bytes_each": workers.payload,
        },
        "room": [
            {**asdict(need), "fits": None if need.free is None else need.free >= need.bytes}
            for need in needs
        ],
        "text": text.splitlines(),
    }


def _amount(amount: Amount) -> Mapping[str, Any]:
    return {
        "files": amount.files,
        "stored_bytes": amount.stored,
        "records": amount.records,
        "records_are_exact": amount.exact_records,
        "bytes": amount.bytes,
        "bytes_are_exact": amount.exact_bytes,
    }


def _records(manifest: Manifest) -> dict[str, Any]:
    splits, mixture = manifest.splits, manifest.mixture
    return {
        "records": manifest.records,
        "bytes": manifest.bytes,
        "shards": len(manifest.shards),
        "format": manifest.kind,
        "compression": manifest.compression,
        "digest": manifest.digest.hash,
        "epoch": manifest.epoch,
        "splits": None
        if splits is None
        else [
            {
                "split": split.name,
                "requested": split.asked,
                "records": split.records,
                "share_of_records": split.records / max(manifest.records, 1),
                "bytes": split.bytes,
                "shards": sum(layout.split_of(one.path) == split.name for one in manifest.shards),
                "distinct_records": split.read.records,
            }
            for split in splits
        ],
        "records_in_no_split": None if manifest.left_out is None else manifest.left_out.records,
        "records_in_several_splits": None if manifest.parted is None else manifest.parted.records,
        "mixture": None if mixture is None else [_mixed(part) for part in mixture],
        "like": manifest.like,
    }


def _mixed(part: MixtureEntry) -> Mapping[str, Any]:
    return {
        "source": part.source,
        "requested": part.asked,
        "share_of_records": part.share_of_records,
        "share_of_bytes": part.share_of_bytes,
        "share_of_tokens": part.share_of_tokens,
        "records": part.written.records,
        "bytes": part.written.bytes,
        "tokens": part.tokens,
        "full_passes": part.passes_finished,
        "partial_passes": part.passes_begun - part.passes_finished,
        "unused_records": part.unused.records,
    }


def _prepared(manifest: PreparedManifest) -> dict[str, Any]:
    numbers = [
        *("records", "documents", "empty", "tokens", "rows", "special", "filler", "cut"),
        *("dropped", "long", "padding", "truncation", "concatenation"),
    ]
    return {
        "rows": sum(split.rows for split in manifest.splits),
        "documents": sum(split.documents for split in manifest.splits),
        "document_tokens": sum(split.tokens for split in manifest.splits),
        "bytes": sum(file.bytes for shard in manifest.shards for file in shard.files),
        "files": sum(len(shard.files) for shard in manifest.shards),
        "shards": len(manifest.shards),
        "formats": [
            {
                "format": name,
                "files": sum(len(shard.files) for shard in own),
                "bytes": sum(file.bytes for shard in own for file in shard.files),
            }
            for name in manifest.formats
            for own in [[shard for shard in manifest.shards if shard.format == name]]
        ],
        "packing": manifest.packing,
        "row_length": manifest.length,
        "ids": manifest.ids,
        "special": {name: end.ids for name, end in manifest.special.items()},
        "epochs": manifest.epochs,
        "splits": [
            {
                "split": split.split,
                "epoch": split.epoch,
                "requested": split.asked,
                **{name: getattr(split, name) for name in numbers},
                "stages": [_stage(split, number) for number in range(len(split.stages))],
            }
            for split in manifest.splits
        ],
    }


def _stage(split: SplitEntry, number: int) -> Mapping[str, Any]:
    stage = split.stages[number]
    passes = [passes_of(split, number, source) for source in range(len(stage.sources))]
    return {
        "first_row": stage.first_row,
        "rows": stage.rows,
        "mixture": [
            {
                "source": source.source,
                "requested": source.asked,
                "share_of_tokens": source.share_of_tokens,
                "share_of_documents": source.share_of_documents,
                "tokens": source.tokens,
                "documents": source.documents,
                "full_passes": passed and passed.finished,
                "partial_passes": passed and passed.begun - passed.finished,
                "unused_records": passed and passed.unused,
            }
            for source, passed in zip(stage.sources, passes, strict=True)
        ],
    }


def _tokens(tokens: TokensEntry) -> Mapping[str, Any]:
    names = ("tokens", "bytes_per_token", "unknown", "unknown_of", "entropy_per_token", "decoded")
    return {
        "text_bytes": tokens.bytes,
        **{name: getattr(tokens, name) for name in names},
        "unknown_as_bytes": tokens.model.get("unknown_as") == "bytes",
        "sampling": tokens.law,
        "model": tokens.model.get("url"),
        "model_sha256": tokens.model.get("sha256"),
    }
