"""SplitRecords on files of all formats: what falls where, what is reported, what is proved."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.transforms.helpers import THREADS, collect
from tests.transforms.kernels.splitting import split_oracle
from transforms.datasets.identity import FileId, FileIds, Located
from transforms.datasets.read import ReadRecords
from transforms.datasets.reports import SpanReport, SpanReports
from transforms.errors import LosslessError
from transforms.formats.kept import Kept
from transforms.formats.readers import ReadOptions
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.splitting.plan import Part, SplitPlan
from transforms.splitting.contents_of import by_content
from transforms.splitting.placing import parts_of
from transforms.splitting.split_records import SpansOfSplit, SplitRecords, require_splits

PLAN = SplitPlan(
    parts=(Part("validation", share=Fraction(1, 5)), Part("test", share=Fraction(1, 10)))
)


def read_all(
    sources: dict[str, list[Path]], split: SplitRecords | None, **options: Any
) -> dict[str, Any]:
    """Read texts, and split them; names, or ``read``, to what was found of blocks and of spans."""
    reader = ReadRecords(
        sources={name: [str(path) for path in paths] for name, paths in sources.items()},
        options=ReadOptions(text_field="text", chunk_bytes=1 << 12, **options),
        span_bytes=1 << 14,
    )

    def build(root: Any) -> Any:
        read = root | reader
        found = {"read": (read.blocks, read.spans)}
        if split is not None:
            found |= read.blocks | split
            found |= {
                f"{name} for mixing": (
                    blocks,
                    (spans, read.spans) | f"Spans {name}" >> SpansOfSplit(),
                )
                for name, (blocks, spans) in found.items()
                if name != "read"
            }
        named = [
            kind | f"{name} {i}" >> beam.Map(lambda element, name=name, i=i: (name, i, element))
            for name, kinds in found.items()
            for i, kind in enumerate(kinds)
        ]
        return named | beam.Flatten()

    out: dict[str, Any] = defaultdict(lambda: ([], []))
    for name, i, element in collect(build, **THREADS):
        out[name][i].append(element)
    return out


def texts(located: Iterable[Located]) -> list[bytes]:
    return sorted(text for _, block in located for text in blocks.records(block))


def identities(located: Iterable[Located]) -> set[tuple[str, str, int, bytes]]:
    return {
        (origin.source, origin.name_of(row), int(position), text)
        for origin, block in located
        for row, (position, text) in enumerate(
            zip(blocks.column(block, "position"), blocks.records(block), strict=True)
        )
    }


def digests_of(spans: Iterable[SpanReports]) -> dict[str, Digest]:
    total: dict[str, Digest] = defaultdict(Digest)
    for reports in spans:
        for one in reports:
            total[one.file.source] += one.digest
    return total


def write_json(path: Path, records: Iterable[str], **more: Any) -> Path:
    data = b"".join(
        json.dumps({"id": i, "text": text, **more}, ensure_ascii=i % 2 == 0).encode() + b"\n"
        for i, text in enumerate(records)
    )
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_parquet(path: Path, records: list[str], kind: pa.DataType | None = None) -> Path:
    table = pa.table({"n": range(len(records)), "text": pa.array(records, kind or pa.string())})
    pq.write_table(table, path, row_group_size=50)
    return path


TEXTS = [f"text {i % 150} äöü 文本\t" for i in range(400)] + ["", " ", "\r", "a\r", "tail\n"]


def test_equal_texts_of_all_formats_fall_to_one_split(tmp_path: Path) -> None:
    sources = {
        "a": [write_json(tmp_path / "a.jsonl", TEXTS)],
        "b": [
            write_json(tmp_path / "b.jsonl.gz", reversed(TEXTS)),
            write_json(tmp_path / "c.jsonl", TEXTS[:50]),
        ],
        "c": [
            write_parquet(tmp_path / "d.parquet", TEXTS[:90]),
            write_parquet(tmp_path / "e.parquet", TEXTS, pa.large_string()),
        ],
        "d": [tmp_path / "lines.txt"],
    }
    lines = [text for text in TEXTS if "\n" not in text]
    (tmp_path / "lines.txt").write_text("\n".join(lines), newline="")
    found = read_all(sources, SplitRecords(plan=PLAN))
    side = {text: split_oracle.share_of(PLAN, text.encode()) or "train" for text in TEXTS}
    for name in PLAN.names:
        assert {text.decode() for text in texts(found[name][0])} == {
            text for text in TEXTS if side[text] == name
        }
    whole = identities(found["read"][0])
    parts = [identities(found[name][0]) for name in PLAN.names]
    assert set().union(*parts) == whole
    assert sum(map(len, parts)) == len(whole) == 3 * len(TEXTS) + 140 + len(lines)


def test_reports_are_of_what_each_split_has(tmp_path: Path) -> None:
    sources = {
        "a": [write_json(tmp_path / f"a{i}.jsonl", TEXTS[i:]) for i in range(3)],
        "b": [write_parquet(tmp_path / "b.parquet", TEXTS)],
    }
    found = read_all(sources, SplitRecords(plan=PLAN))
    read = digests_of(found["read"][1])
    splits = [digests_of(found[name][1]) for name in PLAN.names]
    require_splits(read, splits, what="epoch 0")
    for name in PLAN.names:
        want: dict[str, list[pa.RecordBatch]] = defaultdict(list)
        for origin, block in found[name][0]:
            want[origin.source].append(block)
        have: dict[str, list[SpanReport]] = defaultdict(list)
        for report in found[name][1]:
            for one in report:
                have[one.file.source].append(one)
        assert set(have) == set(want) == {"a", "b"}
        for source, reports in have.items():
            digest = Digest.total(one.digest for one in reports)
            assert digest == Digest.total(
                part for block in want[source] for part in blocks.digests(block, sources=1)
            )
            assert sum(one.payload for one in reports) == sum(
                map(blocks.payload_bytes, want[source])
            )
        begins = [
            (one.file.url, one.digest, one.payload)
            for reports in found[f"{name} for mixing"][1]
            for one in reports
            if one.start == 0
        ]
        assert sorted(begins) == sorted(
            (path.as_uri(), Digest(), 0) for paths in sources.values() for path in paths
        )
    with pytest.raises(LosslessError, match="epoch 0, source a: expected splits that hold"):
        require_splits(read, splits[1:], what="epoch 0")
    with pytest.raises(
        LosslessError, match=r"source b: expected splits that hold the 0 records read, of 0"
    ):
        require_splits({"a": read["a"]}, splits, what="epoch 0")


def test_only_what_is_wanted_goes_on(tmp_path: Path) -> None:
    sources = {"a": [write_json(tmp_path / "a.jsonl", TEXTS)]}
    found = read_all(sources, SplitRecords(plan=PLAN, only=["train"]))
    assert set(found) == {"read", "train", "train for mixing"}
    every = read_all(sources, SplitRecords(plan=PLAN))
    assert texts(found["train"][0]) == texts(every["train"][0])


def test_groups_keep_together_and_the_field_goes_no_further(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(json.dumps({"site": i % 40, "text": t, "n": i}) + "\n" for i, t in enumerate(TEXTS))
    )
    split = SplitRecords(plan=PLAN, contents=partial(by_content, groups=("site",)), drop=("site",))
    kept = Kept(names=("site", "n"), kinds=("integer", "integer"))
    found = read_all({"a": [path]}, split, kept=kept)
    for name in PLAN.names:
        numbers = {
            n for _, block in found[name][0] for n in block.column("kept").field("n").to_pylist()
        }
        assert numbers == {
            i
            for i in range(len(TEXTS))
            if (split_oracle.share_of(PLAN, b"%d" % (i % 40)) or "train") == name
        }
        for _, block in found[name][0]:
            assert [field.name for field in blocks.kept_of(block).type] == ["n"]
    alone = SplitRecords(
        plan=PLAN, contents=partial(by_content, groups=("site",)), drop=("site", "n")
    )
    found = read_all({"a": [path]}, alone, kept=kept)
    assert all("kept" not in block.schema.names for _, block in found["train"][0])


def test_a_block_that_stays_whole_is_not_copied() -> None:
    block = blocks.from_records([b"a", b"b"], np.arange(2, dtype=np.uint64), line_end=b"")
    [same] = parts_of(FileId("s", "f"), block, np.array([1, 1], np.uint8), range(2))
    assert (same.split, same.was.records) == (1, 2)
    assert same.block is block


def test_parts_are_of_the_wanted_splits_alone() -> None:
    block = blocks.from_records([b"a", b"b", b"c"], np.arange(3, dtype=np.uint64), line_end=b"")
    found = parts_of(FileId("s", "f"), block, np.array([2, 0, 1], np.uint8), (2, 0, 3))
    assert [(part.split, blocks.records(part.block)) for part in found] == [
        (2, [b"a"]),
        (0, [b"b"]),
    ]


def test_records_of_small_files_keep_their_names() -> None:
    records = [b"%d" % i for i in range(6)]
    block = blocks.from_records(records, np.arange(6, dtype=np.uint64), line_end=b"\n")
    origin = FileIds("s", ("a", "b", "c", "d"), (2, 0, 3, 1), 1)
    [part] = parts_of(origin, block, np.array([0, 1, 0, 0, 1, 1], np.uint8), [1])
    assert part.origin == FileIds("s", ("a", "b", "c", "d"), (1, 0, 1, 1), 1)
    assert blocks.records(part.block) == [b"1", b"4", b"5"]
    assert [part.origin.name_of(i) for i in range(3)] == ["a", "c", "d"]
