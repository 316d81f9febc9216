"""Stratified counts through pipelines; what is refused; what parts by identity."""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import statistics
from tests.transforms.helpers import THREADS, collect
from transforms.datasets.read import ReadRecords
from transforms.formats.kept import JsonKind, Kept, schema_of
from transforms.formats.readers import Beside, ReadOptions
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import record_hashes
from transforms.kernels.splitting.plan import Part, SplitPlan
from transforms.kernels.splitting.quotas import quotas
from transforms.shuffling.spill_files import Spilling
from transforms.splitting.contents_of import HashContents, by_content, by_identity
from transforms.splitting.count_contents import CountContents
from transforms.splitting.find_parted import FindParted
from transforms.splitting.find_several import FindSeveral
from transforms.splitting.place_by_plan import PlaceByPlan
from transforms.splitting.stratify import PlaceStratified, Stratify

Record = tuple[str, Any]
"""Text and label."""
SHARED = os.environ.get("DOVETAIL_SHARED")


def write(path: Path, records: Sequence[Record]) -> Path:
    lines = (json.dumps({"text": text, "label": label}) for text, label in records)
    path.write_text("".join(line + "\n" for line in lines))
    return path


def reading(paths: Sequence[Path], kind: JsonKind | None = "text", *, span: int = 1 << 12) -> Any:
    schema = None if kind is None else schema_of({"label": kind})
    kept = Kept(names=("label",), schema=schema, kinds=None if kind is None else (kind,))
    return ReadRecords(
        sources={"a": [str(path) for path in paths]},
        options=ReadOptions(beside=Beside(fields=kept), chunk_bytes=1 << 16, rows=kind is None),
        span_bytes=span,
    )


def split(
    read: ReadRecords,
    plan: SplitPlan,
    folder: Path,
    *,
    by: HashContents = by_content,
    stratify: bool = True,
    **options: Any,
) -> tuple[list[tuple[str, bytes]], Any]:
    """Return (split, record) of every record, and what parted."""
    several = FindSeveral(
        spill=Spilling(folders=[str(folder / "spill")], run_bytes=1 << 14), buckets=4
    )
    way: type[PlaceByPlan] = PlaceStratified if stratify else PlaceByPlan
    placing = way(plan=plan, contents=by)

    def build(root: Any) -> Any:
        first, again, third, last = (root | f"Read{i}" >> read for i in range(4))
        if stratify:
            check = several if by is by_content else None
            told = (first.blocks, again.blocks) | Stratify(
                plan=plan, field="label", contents=by, several=check
            )
        else:
            told = again.blocks | CountContents(plan=plan, contents=by, enough=True)
        parted = third.blocks | FindParted(placing=placing, told=told, several=several)
        placed = last.blocks | beam.FlatMap(place, placing, beam.pvalue.AsSingleton(told))
        return (parted, placed) | beam.Flatten()

    found = collect(build, **options)
    records = [one for one in found if isinstance(one, tuple)]
    (parted,) = [one for one in found if not isinstance(one, tuple)]
    return sorted(records), parted


def place(element: Any, placing: PlaceByPlan, told: Any) -> list[tuple[str, bytes]]:
    return [
        (placing.names[part.split], record)
        for part in placing.place(*element, told)
        if part.block is not None
        for record in (
            map(repr, part.block.column("record").to_pylist())
            if blocks.is_rows(part.block)
            else blocks.records(part.block)
        )
    ]


def records_of(count: int, *, texts: int, labels: str = "aab") -> list[Record]:
    return [(f"text {i % texts}", labels[i % texts % len(labels)]) for i in range(count)]


def test_quotas_are_exact_by_identity_whatever_the_bundles(tmp_path: Path) -> None:
    """Texts come several times, and with several labels: by identity nobody minds."""
    records = [*records_of(2000, texts=301), ("text 1", "b"), ("text 2", "a")]
    plan = SplitPlan(parts=(Part("train", count=500), Part("more", count=77)), rest="test", seed=4)
    path = write(tmp_path / "a.jsonl", records)
    found, parted = split(reading([path]), plan, tmp_path, by=by_identity)
    have = Counter((name, json.loads(line)["label"]) for name, line in found)
    labels = Counter(label for _, label in records)
    want = quotas([labels["a"], labels["b"]], plan.counts).tolist()
    assert [[have[name, label] for label in "ab"] for name in ("train", "more")] == want
    assert len(found) == len(records)
    splits: dict[str, list[str]] = defaultdict(list)
    for name, line in found:
        splits[json.loads(line)["text"]].append(name)
    several = [names for names in splits.values() if len(set(names)) > 1]
    assert (parted.contents, parted.records) == (len(several), sum(map(len, several)))
    assert parted.contents > 200
    again, _ = split(reading([path], span=1 << 20), plan, tmp_path, by=by_identity, **THREADS)
    assert found == again


def test_by_content_groups_stay_whole_and_counts_are_bounds(tmp_path: Path) -> None:
    records = records_of(2000, texts=301)
    plan = SplitPlan(parts=(Part("train", count=500), Part("more", count=77)), rest="test")
    files = [write(tmp_path / f"{i}.jsonl", records[i::3]) for i in range(3)]
    found, parted = split(reading(files), plan, tmp_path, **THREADS)
    splits = {(json.loads(line)["text"], name) for name, line in found}
    assert len(splits) == 301
    assert (parted.contents, parted.records) == (0, 0)
    have = Counter((name, json.loads(line)["label"]) for name, line in found)
    labels = Counter(label for _, label in records)
    want = quotas([labels["a"], labels["b"]], plan.counts).tolist()
    for name, mine in zip(("train", "more"), want, strict=True):
        for label, asked in zip("ab", mine, strict=True):
            assert asked - 7 < have[name, label] <= asked
    turned = [write(tmp_path / f"turned{i}.jsonl", records[i::2][::-1]) for i in range(2)]
    assert found == split(reading(turned, span=1 << 20), plan, tmp_path)[0]


def test_shares_are_taken_out_before_labels_are_counted(tmp_path: Path) -> None:
    records = [(f"text {i}", "ab"[i % 2]) for i in range(1000)]
    plan = SplitPlan(parts=(Part("test", share=Fraction(1, 2)), Part("some", count=100)))
    found, _ = split(reading([write(tmp_path / "a.jsonl", records)]), plan, tmp_path)
    have = Counter((name, json.loads(line)["label"]) for name, line in found)
    left = [len(records) // 2 - have["test", label] for label in "ab"]
    assert [have["some", label] for label in "ab"] == quotas(left, [100])[0].tolist()


def test_a_content_that_a_share_takes_may_have_several_labels(tmp_path: Path) -> None:
    records = [(f"text {i}", "a") for i in range(40)] + [("text 3", "b")]
    path = write(tmp_path / "a.jsonl", records)
    mixed = record_hashes(np.frombuffer(b"text 3", np.uint8), np.array([0, 6]))
    shared = 0
    for seed in range(8):
        parts = (Part("test", share=Fraction(1, 2)), Part("some", count=1))
        plan = SplitPlan(parts=parts, seed=seed)
        if plan.shares_of(*mixed)[0] == plan.no_share:
            with pytest.raises(Exception, match="1 of them have several"):
                split(reading([path]), plan, tmp_path)
        else:
            found, _ = split(reading([path]), plan, tmp_path)
            assert sum(b'text 3"' in line for name, line in found if name == "test") == 2
            shared += 1
    assert 0 < shared < 8


def test_labels_of_rows_are_a_column(tmp_path: Path) -> None:
    table = pa.table({"label": [i % 3 for i in range(900)], "text": [f"t{i}" for i in range(900)]})
    pq.write_table(table, tmp_path / "a.parquet")
    plan = SplitPlan(parts=(Part("train", count=300),), rest="test")
    read = reading([tmp_path / "a.parquet"], None)
    found, _ = split(read, plan, tmp_path)
    assert Counter(name for name, _ in found) == {"train": 300, "test": 600}
    for label in range(3):
        assert sum(name == "train" and f"'label': {label}" in row for name, row in found) == 100


def test_contents_with_several_labels_are_refused(tmp_path: Path) -> None:
    records = records_of(300, texts=100)
    mixed = [*records, ("text 7", "z"), ("text 8", "z"), ("text 8", "y"), ("text 9", "z")]
    path = write(tmp_path / "a.jsonl", mixed)
    plan = SplitPlan(parts=(Part("train", count=10),), rest="test")
    with pytest.raises(Exception, match="one label for equal texts") as caught:
        split(reading([path]), plan, tmp_path, **THREADS)
    says = str(caught.value)
    assert "3 of them have several: 'text " in says
    number = int(says.partition("'text ")[2].partition("'")[0])
    line = json.dumps({"text": f"text {number}", "label": "aab"[number % 3]})
    first = path.read_text().index(line)
    assert f"is {'aab'[number % 3]!r} at a.jsonl, byte {first} and" in says
    second = path.read_text().index(json.dumps({"text": f"text {number}", "label": "z"}))
    assert f"and 'z' at a.jsonl, byte {second}; fix the labels, or pass --by=identity" in says


@pytest.mark.parametrize("stratify", [False, True])
@pytest.mark.parametrize("by", [by_content, by_identity])
def test_more_than_is_there_is_refused(tmp_path: Path, by: HashContents, stratify: bool) -> None:
    path = write(tmp_path / "a.jsonl", records_of(100, texts=30))
    plan = SplitPlan(parts=(Part("train", count=101),), rest="test")
    with pytest.raises(
        Exception, match="--counts=train=101: expected at least 101 records, the input has 100"
    ):
        split(reading([path]), plan, tmp_path, by=by, stratify=stratify)


def test_records_without_a_label_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [("one", "a"), ("two", None)])
    plan = SplitPlan(parts=(Part("train", count=1),), rest="test")
    with pytest.raises(Exception, match=r"a\.jsonl, byte 30: expected a label in field 'label'"):
        split(reading([path]), plan, tmp_path)


@pytest.mark.skipif(SHARED is None, reason="needs DOVETAIL_SHARED")
def test_of_the_reviews_a_thousand_are_exact_and_47_texts_have_both_labels(tmp_path: Path) -> None:
    path = Path(SHARED or "") / "data" / "reviews.jsonl"
    lines = path.read_bytes().splitlines()
    plan = SplitPlan(parts=(Part("train", count=1000),), rest="test")
    read = reading([path], "integer", span=4 << 20)
    found, parted = split(read, plan, tmp_path, by=by_identity)
    have = Counter((name, json.loads(line)["label"]) for name, line in found)
    labels = Counter(json.loads(line)["label"] for line in lines)
    assert [have["train", label] for label in (0, 1)] == quotas([labels[0], labels[1]], [1000])[
        0
    ].tolist()
    assert sum(have.values()) == len(lines) == 35_123
    splits: dict[str, list[str]] = defaultdict(list)
    for name, line in found:
        splits[json.loads(line)["text"]].append(name)
    several = [names for names in splits.values() if len(set(names)) > 1]
    assert (parted.contents, parted.records) == (len(several), sum(map(len, several)))
    with pytest.raises(Exception, match="47 of them have several"):
        split(reading([path], "integer", span=4 << 20), plan, tmp_path)


def test_by_identity_a_subset_is_uniform() -> None:
    """3 of 6 records of one text, over seeds: each of the 20 equally often; so by file and by place."""
    from transforms.datasets.identity import FileId, FileIds
    from transforms.kernels.splitting.first_contents import FirstContents

    positions = np.array([0, 10, 20, 30, 40, 50], np.uint64)
    block = blocks.from_records([b"same"] * 6, positions, line_end=b"\n")
    several = blocks.from_records([b"same"] * 6, np.zeros(6, np.uint64), line_end=b"\n")
    names = tuple(f"{i}.txt" for i in range(6))
    cases = ((FileId("a", "x.txt"), block), (FileIds("a", names, (1,) * 6), several))
    threes = list(itertools.combinations(range(6), 3))
    for origin, one in cases:
        hashes = by_identity(origin, one)
        found: Counter[tuple[int, ...]] = Counter()
        for seed in range(3000):
            plan = SplitPlan(parts=(Part("test", count=3),), seed=seed)
            first = FirstContents(plan)
            first.add(*hashes)
            numbers = plan.split(*hashes, first.chosen())
            found[tuple(np.flatnonzero(numbers).tolist())] += 1
        assert set(found) <= set(threes)
        counts = np.array([found[three] for three in threes])
        p = statistics.uniform_p(counts)
        statistics.require_chance(p, cases=len(cases), what=f"3 of 6 of {type(origin).__name__}")
        counts[0] += 100  # the control
        assert statistics.uniform_p(counts) < statistics.ALPHA
