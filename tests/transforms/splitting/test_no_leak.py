"""No leak: of texts half of which are there twice and more, none stands on two sides.

The reviews are 35,123 records of 17,410 texts, with ids that are all different.
"""

from __future__ import annotations

import gzip
import json
import os
from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.transforms.helpers import THREADS, collect
from transforms.datasets.identity import FileId
from transforms.datasets.read import ReadRecords
from transforms.formats.readers import ReadOptions
from transforms.kernels.randomness import mix
from transforms.kernels.records import blocks
from transforms.kernels.records.contents import Hashes
from transforms.kernels.splitting.plan import Counted, Part, SplitPlan
from transforms.splitting.contents_of import HashContents, by_content
from transforms.splitting.count_contents import CountContents
from transforms.splitting.split_records import SplitRecords, _Split

PARTS = (
    Part("validation", share=Fraction(1, 20)),
    Part("test", count=1000),
    Part("heldout", share=Fraction(1, 100)),
)

Sides = dict[bytes, set[str]]


@pytest.fixture(scope="module")
def reviews() -> bytes:
    if "DOVETAIL_SHARED" not in os.environ:
        pytest.skip("DOVETAIL_SHARED isn't set")
    return Path(os.environ["DOVETAIL_SHARED"], "data", "reviews.jsonl").read_bytes()


def split(
    sources: dict[str, list[Path]],
    plan: SplitPlan,
    *,
    span_bytes: int = 1 << 20,
    contents: HashContents = by_content,
) -> tuple[Sides, dict[str, int], tuple[Counted, ...]]:
    """Return on which sides each text stands, the records of each split, and what was counted."""
    reader = ReadRecords(
        sources={name: [str(path) for path in paths] for name, paths in sources.items()},
        options=ReadOptions(text_field="text"),
        span_bytes=span_bytes,
    )

    def build(root: Any) -> Any:
        first = root | "ReadToCount" >> reader
        counted = first.blocks | CountContents(plan=plan, contents=contents)
        found = (root | "Read" >> reader).blocks | SplitRecords(
            plan=plan, contents=contents, counted=counted
        )
        kinds = [counted | beam.Map(lambda one: ("", one))]
        for name, (located, _) in found.items():
            texts = beam.Map(lambda one, name=name: (name, blocks.records(one[1])))
            kinds.append(located | name >> texts)
        return kinds | beam.Flatten()

    sides: Sides = defaultdict(set)
    records: dict[str, int] = defaultdict(int)
    counted: tuple[Counted, ...] = ()
    for name, found in collect(build, **THREADS):
        if not name:
            counted = found
            continue
        records[name] += len(found)
        for text in found:
            sides[text].add(name)
    return dict(sides), dict(records), counted


def side_of(sides: Sides) -> dict[bytes, str]:
    """Return the one side of each text."""
    assert max(map(len, sides.values())) == 1
    return {text: next(iter(names)) for text, names in sides.items()}


def write(path: Path, lines: Iterable[bytes]) -> Path:
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    return path


def write_rows(path: Path, lines: Iterable[bytes]) -> Path:
    texts = [json.loads(line)["text"] for line in lines]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=5000)
    return path


@pytest.fixture(scope="module")
def once(reviews: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[bytes, str]:
    path = write(tmp_path_factory.mktemp("once") / "reviews.jsonl", reviews.splitlines())
    sides, records, (counted,) = split({"default": [path]}, SplitPlan(parts=PARTS))
    assert sum(records.values()) == 35_123
    assert len(sides) == 17_410
    assert counted.records == records["test"] == 1000
    assert 0.04 < records["validation"] / 35_123 < 0.06
    return side_of(sides)


def test_no_text_stands_on_two_sides_wherever_it_comes_from(
    reviews: bytes, once: dict[bytes, str], tmp_path: Path
) -> None:
    """A second copy by another name, cut and compressed ones, rows: shares are the same."""
    lines = reviews.splitlines()
    sources = {
        "copy": [write(tmp_path / "other-name.jsonl", lines)],
        "zipped": [write(tmp_path / f"{i}.jsonl.gz", lines[::-1][i::3]) for i in range(3)],
        "rows": [write_rows(tmp_path / "rows.parquet", lines)],
    }
    sides, records, (counted,) = split(sources, SplitPlan(parts=PARTS), span_bytes=1 << 18)
    assert sum(records.values()) == 3 * 35_123
    assert counted.records == records["test"] <= 1000
    for text, side in side_of(sides).items():
        if side != once[text]:
            assert {side, once[text]} == {"test", "train"}


def test_the_same_records_otherwise_cut_are_split_the_same(
    reviews: bytes, once: dict[bytes, str], tmp_path: Path
) -> None:
    lines = reviews.splitlines()[::-1]
    sources = {
        "a": [write(tmp_path / f"{i}.jsonl", lines[i::7]) for i in range(4)],
        "z": [write_rows(tmp_path / f"{i}.parquet", lines[i::7]) for i in range(4, 7)],
    }
    sides, _, _ = split(sources, SplitPlan(parts=PARTS), span_bytes=1 << 17)
    assert side_of(sides) == once


def by_place(origin: Any, block: pa.RecordBatch) -> Hashes:
    """Hash where records stand, as a split does that isn't by content."""
    places = mix(blocks.column(block, "position"))
    return places, mix(places)


def test_by_its_place_a_text_stands_on_two_sides(reviews: bytes, tmp_path: Path) -> None:
    """The control; and a subset of exact size, for which duplicates may part."""
    path = write(tmp_path / "reviews.jsonl", reviews.splitlines())
    sides, records, (counted,) = split(
        {"default": [path]}, SplitPlan(parts=PARTS), contents=by_place
    )
    assert sum(1 for names in sides.values() if len(names) > 1) > 1000
    assert counted.records == counted.contents == records["test"] == 1000


def test_data_that_is_added_moves_no_record_between_shares(
    reviews: bytes, once: dict[bytes, str], tmp_path: Path
) -> None:
    lines = reviews.splitlines()
    more = [json.dumps({"text": f"another review {i}"}).encode() for i in range(3500)]
    path = write(tmp_path / "reviews.jsonl", [*more[:2000], *lines, *lines[:500], *more[2000:]])
    sides, _, (counted,) = split({"default": [path]}, SplitPlan(parts=PARTS))
    after = side_of(sides)
    moved = [(side, after[text]) for text, side in once.items() if after[text] != side]
    assert set(moved) <= {("test", "train"), ("train", "test")}
    assert 0 < len(moved) < 300
    assert counted.records <= 1000


def test_another_seed_is_another_split(once: dict[bytes, str], tmp_path: Path) -> None:
    lines = [json.dumps({"text": text.decode()}).encode() for text in once]
    path = write(tmp_path / "texts.jsonl", lines)
    for seed in (1, -1, 2**64):
        sides, _, _ = split({"default": [path]}, SplitPlan(parts=PARTS, seed=seed))
        other = side_of(sides)
        mine = {text for text, side in once.items() if side == "validation"}
        both = sum(1 for text in mine if other[text] == "validation")
        assert both < len(mine) / 5  # a twentieth by chance


def test_source_file_and_pass_have_no_part_in_it() -> None:
    plan = SplitPlan(parts=PARTS[:1])
    records = [b"%d" % i for i in range(500)]
    block = blocks.from_records(records, np.arange(500, dtype=np.uint64), line_end=b"\n")
    found = []
    for origin in (FileId("a", "x"), FileId("b", "y", 5), FileId("b", "y", -1, 3)):
        dofn = _Split(SplitRecords(plan=plan))
        dofn.start_bundle()
        parts = {one.tag: blocks.records(one.value[1]) for one in dofn.process((origin, block))}
        assert set(parts) == {"blocks_train", "blocks_validation"}
        found.append(parts)
        reports = [one for end in dofn.finish_bundle() for one in end.value.value]
        assert {(one.file.source, one.pass_number) for one in reports} == {
            (origin.source, origin.pass_number)
        }
        assert sum(one.digest.records for one in reports) == 500
    assert found[0] == found[1] == found[2]
