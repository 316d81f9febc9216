"""Small prepared datasets, written by the formats' writers, with manifests made up around them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.pipelines.support import write_tree
from tests.transforms.trainers.support import BOS, EOS, PAD, dataset_of, facts_of, rows_for, write
from transforms.datasets.manifest import (
    DigestEntry,
    EndEntry,
    FileEntry,
    SourceEntry,
    TokensEntry,
    now,
)
from transforms.datasets.prepared import (
    FileOfShard,
    PassEntry,
    PreparedManifest,
    PreparedShard,
    SourceOfSplit,
    SplitEntry,
    StageEntry,
    recipe_sha256,
)
from transforms.kernels.packing.rows import Kind, Rows
from transforms.storage import layout
from transforms.trainers.beside import files_beside
from transforms.trainers.contract import Dataset
from transforms.trainers.digest import RowsDigest
from transforms.trainers.formats import FORMATS


def write_prepared(
    folder: Path,
    *,
    formats: Sequence[str] = ("flat",),
    epochs: Sequence[int] = (0,),
    kind: Kind = "concat",
    options: Mapping[str, Any] | None = None,
    shards: int = 2,
    count: int = 20,
    rows: Rows | None = None,
    ids: int = 1000,
    model: dict[str, Any] | None = None,
    tokens: TokensEntry | None = None,
    validation: bool = True,
) -> PreparedManifest:
    """Write a dataset of a split ``train`` of each epoch and a split ``validation`` of all.

    Args:
        folder: where to.
        formats: written from the same rows, or documents.
        count: rows of train; validation has five, in one shard.
        shards: of train.
        rows: what both splits hold, in place of what is drawn.
        model, tokens: what the manifest says of the tokenizer.
        validation: whether there is that split, too.
    """
    asked = dict(options or {})
    recipe = {"seed": 0, "epoch": epochs[0], "epochs": len(epochs), "packing": kind, **asked}
    sha = recipe_sha256(recipe)
    datasets = {
        name: dataset_of(kind, ids=ids, options=asked, recipe=sha, tokenizer="0" * 64)
        for name in formats
    }
    splits, written = [], []
    of_splits = [("train", e if len(epochs) > 1 else None, count, shards) for e in epochs]
    for number, (split, epoch, size, parts) in enumerate(
        [*of_splits, *[("validation", None, 5, 1)][: int(validation)]],
    ):
        entry = None
        for name, dataset in datasets.items():
            made = rows or rows_for(FORMATS[name], dataset, count=size, seed=number)
            level = {
                "epoch": epoch,
                "form": name if len(formats) > 1 else None,
            }
            cuts = np.linspace(0, len(made), parts + 1).astype(int).tolist()
            for shard, (begin, end) in enumerate(zip(cuts, cuts[1:], strict=False)):
                some = made.slice(begin, end)
                written.append(
                    _write_shard(folder, name, dataset, some, split, epoch, shard, parts, level)
                )
            if FORMATS[name].unit(dataset) == "rows" or entry is None:
                entry = _split(split, epoch, made)
        assert entry is not None
        splits.append(entry)
    for shard in written:
        form, dataset = FORMATS[shard.format], datasets[shard.format]
        where = layout.levels(epoch=shard.epoch, form=form.name if len(formats) > 1 else None)
        found = files_beside(form, dataset, written, epoch=shard.epoch, folder=where)
        write_tree(folder, {path: text.encode() for path, text in found})
    read = splits[0].records + sum(split.records for split in splits if split.split != "train")
    manifest = PreparedManifest(
        run_id="0123456789ab",
        started=now(),
        ended=now(),
        seed=0,
        epochs=list(epochs),
        recipe=recipe,
        ids=ids,
        length=datasets[formats[0]].packing.length,
        packing=kind,
        special={
            name: EndEntry(ids=[one], tokens=[f"<{name}>"], found="made up")
            for name, one in (("eos", EOS), ("bos", BOS), ("pad", PAD))
        },
        model=model,
        tokens=tokens,
        formats={name: FORMATS[name].about(dataset) for name, dataset in datasets.items()},
        splits=splits,
        shards=written,
        sources=[
            SourceEntry(name="books", digest=_digest(read), files=[_file(read)]),
            SourceEntry(name="web", digest=_digest(0), files=[]),
        ],
        quarantine=[],
        versions={"dovetail": "0"},
    )
    (folder / layout.MANIFEST).write_text(manifest.model_dump_json(exclude_none=False))
    return manifest


def _digest(records: int) -> DigestEntry:
    return DigestEntry(records=records, bytes=0, hash="0" * 32)


def _file(records: int) -> FileEntry:
    return FileEntry(name="a.txt", size=9, records=records, digest=_digest(records))


def _write_shard(
    folder: Path,
    name: str,
    dataset: Dataset,
    rows: Rows,
    split: str,
    epoch: int | None,
    number: int,
    of: int,
    level: Mapping[str, Any],
) -> PreparedShard:
    form = FORMATS[name]
    files = write(form, dataset, [rows])
    entries = []
    for suffix, data in files.items():
        path = layout.shard_path(split=split, number=number, of=of, extension=suffix, **level)
        write_tree(folder, {path: data})
        sha = hashlib.sha256(data).hexdigest()
        entries.append(FileOfShard(path=path, bytes=len(data), sha256=sha))
    digest, seen = RowsDigest(form.keeps(dataset)), form.seen(rows, dataset)
    digest.add(seen)
    facts = facts_of(rows)
    return PreparedShard(
        epoch=epoch,
        format=name,
        split=split,
        number=number,
        of=of,
        files=entries,
        rows=facts.rows,
        ids=facts.ids,
        filler=facts.filler,
        digest=digest.hexdigest(),
        dropped_rows=len(rows) - len(seen),
        dropped_ids=max(len(rows.ids) - len(seen.ids), 0),
    )


def _split(name: str, epoch: int | None, rows: Rows) -> SplitEntry:
    documents, special, filler = len(rows.lengths), len(rows.lengths), int(rows.filler.sum())
    tokens = len(rows.ids) - special
    parts = {"books": documents // 3, "web": documents - documents // 3}
    token_parts = {"books": tokens // 4, "web": tokens - tokens // 4}
    sources = [
        SourceOfSplit(
            source=source,
            asked=0.25 if source == "books" else 0.75,
            share_of_documents=part / max(documents, 1),
            share_of_tokens=token_parts[source] / max(tokens, 1),
            documents=part,
            tokens=token_parts[source],
            tokenized_documents=part,
            tokenized_tokens=token_parts[source],
            passes_begun=1,
            passes=[
                PassEntry(number=0, documents=part, tokens=token_parts[source], digest="0" * 32)
            ],
        )
        for source, part in parts.items()
    ]
    stage = StageEntry(
        first_row=0, rows=len(rows), documents=documents, tokens=tokens, sources=sources
    )
    return SplitEntry(
        split=name,
        epoch=epoch,
        asked=None if name == "train" else "5",
        records=100 if name == "train" else 5,
        documents=documents,
        tokens=tokens,
        empty=0,
        rows=len(rows),
        special=special,
        filler=filler,
        cut=0,
        dropped=0,
        long=0,
        padding=filler / max(filler + len(rows.ids), 1),
        truncation=0.0,
        concatenation=documents / max(len(rows), 1),
        stages=[stage],
    )
