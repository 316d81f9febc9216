"""Documents laid down in files, cut into windows, packed, cut to rows: as the oracle has it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines import prepare_oracle as oracle
from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.rows import Packing, Rows
from transforms.packing import parts
from transforms.packing.document_files import DocumentFile, DocumentWriter
from transforms.packing.documents import Documents
from transforms.packing.laid import LaidSplit, PackedPart
from transforms.packing.pack_documents import (
    Begun,
    Budget,
    count_one,
    cut_part,
    end_split,
    packed_part,
)
from transforms.packing.parts import Part, PartKey

LABELS = (3, 1, "s", 0)
KEY = PartKey(seed=3, epoch=1, split="s", stage=0)
L = 8


def documents_of(lengths: list[int]) -> list[oracle.Document]:
    """Return documents whose ids are all different."""
    before = offsets_of(lengths)
    return [
        oracle.Document("s", 0, i * 7, "", tuple(range(int(a), int(b))))
        for i, (a, b) in enumerate(itertools.pairwise(before))
    ]


def lay(folder: Path, lengths: list[int], *, files: int, page_bytes: int) -> list[DocumentFile]:
    """Write document files."""
    found = []
    every, before = documents_of(lengths), offsets_of(lengths)
    for number in range(files):
        low, high = (len(lengths) * (number + i) // files for i in (0, 1))
        ids = np.arange(before[low], before[high], dtype=np.uint16)
        documents = Documents(
            ids,
            before[low : high + 1] - before[low],
            np.array([document.key for document in every[low:high]], np.uint64),
            np.zeros(high - low, np.uint16),
            np.zeros(high - low, np.uint32),
        )
        writer = DocumentWriter(str(folder), page_bytes=page_bytes)
        found.append(writer.write([documents] if high > low else []))
    return found


def part_of(files: list[DocumentFile], packing: Packing) -> PackedPart:
    documents = sum(file.documents for file in files)
    part = Part(files, documents=documents, packing=packing, key=KEY)
    return packed_part(part, [count_one(part, number) for number in range(part.windows)])


def as_rows(found: list[Rows]) -> list[oracle.Row]:
    """Return rows as the oracle has them."""
    return [
        oracle.Row(tuple(one.ids.tolist()), tuple(one.lengths.tolist()), int(one.filler[0]))
        for rows in found
        for one in (rows.slice(i, i + 1) for i in range(len(rows)))
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


@settings(max_examples=150, deadline=None)
@given(
    lengths=st.lists(st.sampled_from([0, 0, 1, 2, 3, 5, 7, 8, 9, 16, 17, 30]), max_size=40),
    kind=st.sampled_from(["none", "concat", "best_fit", "pad", "buckets"]),
    end=st.sampled_from([None, 60_001]),
    at_cuts=st.booleans(),
    long=st.sampled_from(["split", "truncate", "drop"]),
    window=st.sampled_from([8, 24, 120, 1 << 20]),
    files=st.integers(1, 3),
    page_bytes=st.sampled_from([8, 100]),
    share=st.integers(0, 10),
    shards=st.integers(1, 4),
)
def test_rows_documents_and_proof_are_those_of_the_oracle(
    folder: Path,
    lengths: list[int],
    kind: str,
    end: int | None,
    at_cuts: bool,
    long: str,
    window: int,
    files: int,
    page_bytes: int,
    share: int,
    shards: int,
) -> None:
    packing = Packing(
        kind=kind,  # type: ignore[arg-type]
        length=None if kind == "none" else L,
        end=end,
        end_at_cuts=at_cuts and end is not None and kind != "none",
        long="split" if kind in ("none", "concat") else long,  # type: ignore[arg-type]
        window=window,
    )
    documents = documents_of(lengths)
    wanted = oracle.pack(documents, packing, labels=LABELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_CONCAT", window)
        packed = part_of(lay(folder, lengths, files=files, page_bytes=page_bytes), packing)
        require(packed, documents, wanted, len(wanted), packing, shards)
        rows = len(wanted) * share // 10
        ended = end_split(Begun((packed,), (len(documents),)), Budget(multiple=max(rows, 1)))
        assert ended.rows == (len(wanted) // max(rows, 1) * max(rows, 1))
        require(cut_part(packed, rows), documents, wanted, rows, packing, shards)


def require(
    packed: PackedPart,
    documents: list[oracle.Document],
    wanted: list[oracle.Packed],
    rows: int,
    packing: Packing,
    shards: int,
) -> None:
    """Require these rows, documents, facts, counts, and the same hash from all shards together."""
    used = len(documents) if rows == len(wanted) else wanted[rows - 1].documents if rows else 0
    laid = LaidSplit([packed])
    assert laid.rows == rows
    assert laid.documents == used
    total, found = 0, []
    shards = min(shards, rows) or 1  # of a split without rows one accounts
    edges = [rows * i // shards for i in range(shards + 1)]
    for begin, end in itertools.pairwise(edges):
        one = LaidSplit([packed])
        mine = list(one.read_rows(begin, end))
        found += mine
        total += one.hash
        facts: Any = sum(len(rows.ids) for rows in mine), sum(int(r.filler.sum()) for r in mine)
        assert one.facts(begin, end) == facts
    ours = [one.row(packing) for one in wanted[:rows]]
    assert as_rows(found) == ours
    assert total % (1 << 64) == packed.part.index.hash(0, used)
    one = LaidSplit([packed])
    streams = [tuple(oracle.stream(d, packing)) for d in documents[:used]]
    if packing.kind != "none":
        streams = [s for s, d in zip(streams, documents[:used], strict=True) if d.ids]
    alone = as_rows(list(one.read_documents(0, used)))
    sequences = [row.ids for row in alone]
    assert all(row.lengths == (len(row.ids),) and row.filler == 0 for row in alone)
    assert sequences == [stream for stream in streams if stream]
    assert one.hash % (1 << 64) == packed.part.index.hash(0, used)
    assert one.places_before(used) == sum(map(len, streams))
    assert one.streams_between(0, used) == len(sequences)
    counts = packed.used
    assert counts.rows == rows
    assert counts.ids == sum(len(row.ids) for row in ours)
    assert counts.filler == sum(row.filler for row in ours)
    assert counts.tokens == counts.ids - counts.special
    if rows == len(wanted) and rows:
        assert (counts.documents, counts.empty) == (used, [d.ids for d in documents].count(()))
    assert packed.tokens == sum(len(d.ids) for d in documents[:used])
