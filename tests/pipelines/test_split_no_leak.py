"""No leak, and stable: of the reviews, half of whose texts are there twice and more, none in two splits.

35,123 records of 17,410 texts, with ids that are all different.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from tests.pipelines import splits
from tests.pipelines.support import split as lines_of

FRACTIONS = "--fractions=train=0.9,validation=0.05,test=0.05"
NAMES = ("train", "validation", "test")


@pytest.fixture(scope="module")
def reviews() -> bytes:
    if "DOVETAIL_SHARED" not in os.environ:
        pytest.skip("DOVETAIL_SHARED isn't set")
    return Path(os.environ["DOVETAIL_SHARED"], "data", "reviews.jsonl").read_bytes()


def sides_of(folder: Path) -> dict[str, str]:
    """Return the one split of each text of JSON lines."""
    found = splits.sides(splits.texts(folder, NAMES))
    assert {len(names) for names in found.values()} == {1}
    return {text: next(iter(names)) for text, names in found.items()}


@pytest.fixture(scope="module")
def once(reviews: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Split the reviews by fractions, and return the split of each text."""
    folder = tmp_path_factory.mktemp("once")
    (folder / "reviews.jsonl").write_bytes(reviews)
    manifest = splits.run(folder / "out", f"--input={folder}/reviews.jsonl", FRACTIONS)
    found = {name: splits.lines(folder / "out", name) for name in NAMES}
    splits.require_all(lines_of(reviews), found)
    splits.require_counts(manifest, found)
    sides = sides_of(folder / "out")
    assert len(sides) == 17_410
    share = sum(name == "test" for name in sides.values()) / len(sides)
    assert abs(share - 0.05) < 5 * (0.05 * 0.95 / 17_410) ** 0.5
    return sides


@pytest.mark.parametrize(
    "flags",
    [
        [FRACTIONS],
        ["--counts=validation=1000,test=2000,train=rest"],
        ["--fractions=validation=0.1", "--counts=test=1000", "--shuffle", "--seed=3"],
    ],
)
def test_no_text_stands_in_two_splits_with_a_second_copy_under_another_name(
    flags: list[str], reviews: bytes, tmp_path: Path
) -> None:
    (tmp_path / "reviews.jsonl").write_bytes(reviews)
    (tmp_path / "copy.jsonl").write_bytes(reviews)
    one, other = (f"--input={name}={tmp_path}/{name}.jsonl" for name in ("reviews", "copy"))
    splits.run(tmp_path / "out", one, other, *flags)
    found = {name: splits.lines(tmp_path / "out", name) for name in NAMES}
    splits.require_all(lines_of(reviews) * 2, found)
    assert len(sides_of(tmp_path / "out")) == 17_410  # each of which stands in one


@pytest.mark.parametrize("by", ["--split_by=id", "--by=identity"])
def test_by_what_is_different_in_each_duplicates_part(
    by: str, reviews: bytes, tmp_path: Path
) -> None:
    """The control: what the other tests look for can be found."""
    (tmp_path / "reviews.jsonl").write_bytes(reviews)
    splits.run(tmp_path / "out", f"--input={tmp_path}/reviews.jsonl", FRACTIONS, by)
    found = splits.sides(splits.texts(tmp_path / "out", NAMES))
    assert sum(len(names) > 1 for names in found.values()) > 1000


def more_records(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a tenth more: new texts, and some that are there already."""
    extra = [{**row, "id": -1 - row["id"]} for row in rows[::20]]
    return extra + [{"id": i, "text": f"new {i}", "label": 1} for i in range(len(rows) // 20)]


def dump(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def added(rows: list[dict[str, Any]], folder: Path) -> list[str]:
    (folder / "all.jsonl").write_bytes(dump(more_records(rows) + rows))
    return [f"--input={folder}/all.jsonl"]


def renamed(rows: list[dict[str, Any]], folder: Path) -> list[str]:
    (folder / "another name.txt").write_bytes(dump(rows))
    return [f"--input=other={folder}/another name.txt", "--seed=7", "--epoch=2", "--shuffle"]


def cut(rows: list[dict[str, Any]], folder: Path) -> list[str]:
    for number in range(30):  # small ones are read together
        (folder / f"{99 - number}.jsonl").write_bytes(dump(rows[number * 100 : number * 100 + 100]))
    (folder / "rest.jsonl").write_bytes(dump(rows[3000:]))
    return [f"--input=a={folder}/9*.jsonl", f"--input=b={folder}/[!9]*.jsonl"]


def reordered(rows: list[dict[str, Any]], folder: Path) -> list[str]:
    (folder / "a.jsonl").write_bytes(dump(rows[::-1]))
    return [f"--input={folder}/a.jsonl", "--num_shards=9"]


def compressed(rows: list[dict[str, Any]], folder: Path) -> list[str]:
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(dump(rows[:20_000])))
    (folder / "b.jsonl.zst").write_bytes(zstd.compress(dump(rows[20_000:])))
    return [f"--input={folder}", "--compression=none"]


def as_array(rows: list[dict[str, Any]], folder: Path) -> list[str]:
    (folder / "a.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1))
    return [f"--input={folder}"]


def weighed(rows: list[dict[str, Any]], folder: Path) -> list[str]:
    nested = [{"data": {"text": row["text"][:1], "rest": row["text"][1:]}, **row} for row in rows]
    (folder / "a.jsonl").write_bytes(dump(nested))
    return [f"--input={folder}", "--text_field={data.text}{data.rest}"]


@pytest.mark.parametrize("change", [added, renamed, cut, reordered, compressed, as_array, weighed])
def test_no_record_moves_between_fractions(
    change: Any, once: dict[str, str], reviews: bytes, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in lines_of(reviews)]
    (tmp_path / "in").mkdir()
    splits.run(tmp_path / "out", *change(rows, tmp_path / "in"), FRACTIONS)
    now = sides_of(tmp_path / "out")
    assert {text: now[text] for text in once} == once
    assert len(now) == len(once) + (len(rows) // 20 if change is added else 0)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "arrow_stream"])
def test_no_record_moves_where_lines_become_rows(
    kind: str, once: dict[str, str], reviews: bytes, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in lines_of(reviews)]
    table = pa.Table.from_pylist(rows)
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=5000)
    else:
        new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with new(path, table.schema) as writer:
            writer.write_table(table, 5000)
    splits.run(tmp_path / "out", f"--input={path}", FRACTIONS)
    found = {name: [row["text"] for row in splits.rows(tmp_path / "out", name)] for name in NAMES}
    assert {text: {name} for text, name in once.items()} == splits.sides(found)
