"""Counted splits through pipelines: read once to count, once to split."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import apache_beam as beam

from tests.transforms.helpers import THREADS, collect
from tests.transforms.kernels.splitting import split_oracle
from tests.transforms.splitting.test_split_records import TEXTS, write_json, write_parquet
from transforms.datasets.read import ReadRecords
from transforms.formats.readers import ReadOptions
from transforms.kernels.records import blocks
from transforms.kernels.splitting.first_contents import LOOKED_AT
from transforms.kernels.splitting.plan import Part, SplitPlan
from transforms.splitting.count_contents import CountContents
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
    assert [(one.records, one.contents, one.lasts) for one in counted] == [(0, 0, (None,))] * 2
