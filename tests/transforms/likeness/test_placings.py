"""What is drawn goes to validation so often, its other copies nowhere; weights go with their records."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.transforms.likeness.made import make_model, make_texts
from transforms.datasets.identity import FileId, FileIds, Origin
from transforms.kernels.likeness.folds import folds_of
from transforms.kernels.likeness.weights import counted, weigh
from transforms.kernels.records import blocks
from transforms.kernels.records.contents import content_hashes
from transforms.kernels.records.digest import Digest
from transforms.kernels.splitting.plan import Part, SplitPlan
from transforms.likeness import place_drawn
from transforms.likeness.drawn import Drawn
from transforms.likeness.place_drawn import PlaceDrawn
from transforms.likeness.place_weighted import PlaceWeighted, Weighed
from transforms.likeness.score_records import pack_counts, weigh_counts, write_model
from transforms.shuffling.spill_files import Spilling
from transforms.splitting.contents_of import by_identity
from transforms.splitting.place_by_plan import PlaceByPlan
from transforms.splitting.placing import LEFT_OUT

TEXTS = make_texts(60)
ORIGINS: list[Origin] = [
    FileId("default", "a.jsonl"),
    FileIds("default", ("a.jsonl", "b.jsonl", "c.jsonl"), (20, 0, 40)),
]


def make_block(texts: list[str]) -> pa.RecordBatch:
    lines = [json.dumps({"text": text, "n": i}).encode() for i, text in enumerate(texts)]
    block = blocks.from_records(lines, np.arange(len(lines), dtype=np.uint64), line_end=b"\n")
    beside = pa.StructArray.from_arrays([pa.array(texts, pa.large_string())], names=[""])
    return block.append_column("kept", beside)


def drawn_of(origin: Origin, block: pa.RecordBatch, times: Any) -> Drawn:
    some = np.flatnonzero(times)
    ids, contents = by_identity(origin, block), content_hashes(block)
    return Drawn.of(
        (ids[0][some], ids[1][some]), times[some], (contents[0][some], contents[1][some])
    )


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("origin", ORIGINS, ids=["file", "files"])
def test_records_are_written_as_often_as_they_were_drawn(
    tmp_path: Path, origin: Origin, in_order: bool
) -> None:
    block = make_block(TEXTS)
    times = np.array([i % 4 if i % 7 == 0 else 0 for i in range(60)], np.int64)
    told = drawn_of(origin, block, times).write(str(tmp_path))
    parts = list(PlaceDrawn(in_order=in_order).place(origin, block, told))
    assert Digest.total(part.was for part in parts) == Digest.total(
        blocks.digests(block, sources=1)
    )
    drawn = {TEXTS[i] for i in np.flatnonzero(times).tolist()}
    found: dict[int, list[dict[str, Any]]] = {0: [], 1: []}
    for part in parts:
        if part.block is None:
            assert part.split == LEFT_OUT
            assert part.was.records == sum(
                text in drawn and not n for text, n in zip(TEXTS, times, strict=True)
            )
            continue
        assert part.block.schema.names == ["position", "hash0", "hash1", "record"]
        blocks.require_digests(
            blocks.without_hashes(part.block), blocks.digests(part.block, sources=1), what="part"
        )
        if isinstance(part.origin, FileIds):
            assert sum(part.origin.rows) == len(part.block)
        found[part.split] += map(json.loads, blocks.records(part.block))
    assert [one["n"] for one in found[0]] == [i for i in range(60) if TEXTS[i] not in drawn]
    assert {one["drawn"] for one in found[0]} == {0}
    assert Counter(one["n"] for one in found[1]) == Counter(
        np.repeat(np.arange(60), times).tolist()
    )
    assert all(one["drawn"] == times[one["n"]] for one in found[1])
    passes = [part.origin.pass_number for part in parts if part.split == 1]
    assert passes == ([0] if in_order else [0, 1, 2])
    if in_order:
        assert [one["n"] for one in found[1]] == np.repeat(np.arange(60), times).tolist()


def test_copies_of_a_file_of_several_stay_with_their_file(tmp_path: Path) -> None:
    origin, block = ORIGINS[1], make_block(TEXTS)
    times = np.arange(60, dtype=np.int64) % 3
    told = drawn_of(origin, block, times).write(str(tmp_path))
    parts = {part.split: part for part in PlaceDrawn().place(origin, block, told)}
    assert parts[1].origin.rows == (int(times[:20].sum()), 0, int(times[20:].sum()))  # type: ignore[union-attr]


@pytest.mark.parametrize("rows", [False, True], ids=["lines", "rows"])
def test_many_copies_come_in_blocks_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: bool
) -> None:
    monkeypatch.setattr(place_drawn, "_COPIES_BYTES", 2000)
    origin, block = ORIGINS[1], make_rows(TEXTS) if rows else make_block(TEXTS)
    times = np.where(np.arange(60) % 3, np.arange(60), 0).astype(np.int64)
    told = drawn_of(origin, block, times).write(str(tmp_path))
    parts = [part for part in PlaceDrawn().place(origin, block, told) if part.split == 1]
    assert len(parts) > 10
    positions, names = [], []
    for part in parts:
        assert part.block is not None
        assert blocks.payload_bytes(part.block) <= 2000
        positions += blocks.column(part.block, "position").tolist()
        names += [part.origin.name_of(place) for place in range(len(part.block))]
    assert positions == np.repeat(np.arange(60), times).tolist()
    assert names == ["a.jsonl" if place < 20 else "c.jsonl" for place in positions]
    assert Digest.total(part.was for part in parts).records == np.count_nonzero(times)


def make_rows(texts: list[str]) -> pa.RecordBatch:
    columns = [pa.array(texts), pa.array(range(len(texts)))]
    record = pa.StructArray.from_arrays(columns, names=["text", "n"])
    return blocks.from_rows(record, positions=np.arange(len(texts), dtype=np.uint64))


def test_weights_are_attached_to_the_records_they_are_of(tmp_path: Path) -> None:
    model, block = make_model(), make_block(TEXTS)
    scores = model.score(TEXTS, {}, folds_of(*content_hashes(block), model.seed))
    weighing = weigh(*counted(scores), max_weight=Fraction(2))
    spill = Spilling(folders=[str(tmp_path)])
    reference = weigh_counts(pack_counts(counted(scores)), max_weight=Fraction(2), spill=spill)
    plan = SplitPlan(parts=(Part("validation", share=Fraction(1, 3)),))
    placing = PlaceWeighted(inner=PlaceByPlan(plan=plan), column="w")
    told = Weighed(None, write_model(model, str(tmp_path)), reference)
    seen = {}
    for part in placing.place(ORIGINS[0], block, told):
        assert part.block is not None
        assert part.block.schema.names == ["position", "hash0", "hash1", "record"]
        for one in map(json.loads, blocks.records(part.block)):
            seen[one["n"]] = one["w"]
    assert [seen[i] for i in range(60)] == weighing.weights_of(scores).tolist()
    assert abs(np.mean(list(seen.values())) - 1) < 1e-6


def test_rows_get_columns(tmp_path: Path) -> None:
    block = make_rows(TEXTS)
    times = np.arange(60, dtype=np.int64) % 2
    told = drawn_of(ORIGINS[0], block, times).write(str(tmp_path))
    for part in PlaceDrawn(column="often").place(ORIGINS[0], block, told):
        if part.block is not None:
            assert part.block.column("record").type.names == ["text", "n", "often"]
