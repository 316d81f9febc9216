"""Counted splits through pipelines: read once to count, once to split."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest

from tests.transforms.helpers import THREADS, collect
from tests.transforms.kernels.splitting import split_oracle
from tests.transforms.splitting.test_split_records import TEXTS, write_json, write_parquet
from transforms.datasets.read import ReadRecords
from transforms.datasets.reports import SpanReport, SpanReports
from transforms.datasets.source_files import SourceFile
from transforms.errors import LosslessError
from transforms.formats.readers import ReadOptions
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.splitting.first_contents import LOOKED_AT
from transforms.kernels.splitting.plan import Counted, Part, SplitPlan
from transforms.splitting.count_contents import CountContents, require_counted, shortfalls
from transforms.splitting.split_records import SplitRecords

PLAN = SplitPlan(
    parts=(
        Part("test", count=100),
        Part("validation", share=Fraction(1, 10)),
        Part("more", count=33),
    )
)


def split_twice(sources: dict[str, list[Path]], plan: SplitPlan) -> list[tuple[str, Any]]:
    """Count, split; (split, text) of each record, and ("counted", what was counted)."""
    reader = ReadRecords(
        sources={name: [str(path) for path in paths] for name, paths in sources.items()},
        options=ReadOptions(text_field="text", chunk_bytes=1 << 12),
        span_bytes=1 << 14,
    )

    def build(root: Any) -> Any:
        first = root | "ReadToCount" >> reader
        counted = first.blocks | CountContents(plan=plan)
        read = root | "Read" >> reader
        split = read.blocks | SplitRecords(plan=plan, counted=counted)
        kinds = [counted | beam.Map(lambda found: ("counted", found))]
        for name, (located, _) in split.items():
            texts = beam.FlatMap(
                lambda one, name=name: [(name, text) for text in blocks.records(one[1])]
            )
            kinds.append(located | name >> texts)
        return kinds | beam.Flatten()

    return collect(build, **THREADS)


def test_counted_splits_come_to_what_was_counted(tmp_path: Path) -> None:
    sources = {
        "a": [write_json(tmp_path / f"a{i}.jsonl", TEXTS[i * 20 :]) for i in range(4)],
        "b": [write_parquet(tmp_path / "b.parquet", TEXTS)],
    }
    found = split_twice(sources, PLAN)
    (counted,) = [one for name, one in found if name == "counted"]
    contents = [text for name, text in found if name != "counted"]
    want = split_oracle.split_all(PLAN, contents, slack=LOOKED_AT)
    have = {text: name for name, text in found if name != "counted"}
    assert have == dict(want)
    records = Counter(name for name, _ in found)
    assert [records["test"], records["more"]] == [one.records for one in counted]
    assert sum(records.values()) - 1 == sum(len(TEXTS) - i * 20 for i in range(4)) + len(TEXTS)
    assert 80 < records["test"] <= 100


def test_nothing_is_taken_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    found = split_twice({"a": [tmp_path / "a.jsonl"]}, PLAN)
    ((_, counted),) = found
    assert shortfalls(PLAN, counted) == [
        "split test has 0 of 100 records: there are no more",
        "split more has 0 of 33 records: there are no more",
    ]


def test_why_records_are_missing_is_said() -> None:
    none = (None, np.zeros(0, np.uint64))
    full = Counted(*none, records=100, contents=1, asked=100, exhausted=False)
    less = Counted(*none, records=31, contents=1, asked=33, exhausted=False)
    assert shortfalls(PLAN, [full, less]) == [
        "split more has 31 of 33 records: equal contents stay together, and no more fit"
    ]


def test_a_split_without_the_records_counted_for_it_is_named() -> None:
    plan = SplitPlan(parts=(Part("test", count=9),))
    none = (None, np.zeros(0, np.uint64))
    counted = [Counted(*none, records=5, contents=1, asked=9, exhausted=False)]
    file = SourceFile("web", name="", url="", size=0, version="")

    def reports(records: int, number: int = 0) -> SpanReports:
        return SpanReports.of([SpanReport(file, Digest(records=records), pass_number=number)])

    require_counted(plan, counted, {"test": [reports(2), reports(3), reports(5, 1)]})
    with pytest.raises(
        LosslessError, match="split test: 5 records were counted for it, and 4 were"
    ):
        require_counted(plan, counted, {"test": [reports(4)]})
