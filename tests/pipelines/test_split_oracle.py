"""Splits against the oracle: each one's records byte for byte, in the input's order, and all of them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipelines import split_oracle as oracle
from tests.pipelines import splits
from tests.pipelines.split_oracle import Asked, Record
from tests.pipelines.support import write_tree

THIRD = Fraction(1, 3)
LAWS: dict[str, tuple[list[str], Asked]] = {
    "fractions": (
        ["--fractions=train=0.5,validation=0.3,test=0.2"],
        Asked(law={"train": None, "validation": Fraction(3, 10), "test": Fraction(1, 5)}),
    ),
    "no rest": (
        ["--fractions=a=25%,b=0.75", "--split_seed=5"],
        Asked(law={"a": Fraction(1, 4), "b": Fraction(3, 4)}, split_seed=5),
    ),
    "thirds by site": (
        ["--fractions=a=1/3,b=1/3", "--split_by=site"],
        Asked(law={"train": None, "a": THIRD, "b": THIRD}, split_by=["site"]),
    ),
    "by two fields": (
        ["--fractions=validation=0.4", "--split_by=site,y"],
        Asked(law={"train": None, "validation": Fraction(2, 5)}, split_by=["site", "y"]),
    ),
    "counts": (
        ["--counts=train=40,more=30,test=rest"],
        Asked(law={"test": None, "train": 40, "more": 30}),
    ),
    "counts by identity": (
        ["--counts=train=40,more=30,test=rest", "--by=identity", "--split_seed=9"],
        Asked(law={"test": None, "train": 40, "more": 30}, by="identity", split_seed=9),
    ),
    "fractions by identity": (
        ["--fractions=validation=0.5", "--by=identity"],
        Asked(law={"train": None, "validation": Fraction(1, 2)}, by="identity"),
    ),
    "both": (
        ["--fractions=validation=0.3", "--counts=test=20"],
        Asked(law={"train": None, "validation": Fraction(3, 10), "test": 20}),
    ),
    "strata by identity": (
        ["--counts=a=31,b=30", "--stratify=y", "--by=identity"],
        Asked(law={"train": None, "a": 31, "b": 30}, by="identity", stratify="y"),
    ),
    "strata": (
        ["--counts=a=31,test=rest", "--stratify=label"],
        Asked(law={"test": None, "a": 31}, stratify="label"),
    ),
}


def make_rows(draw: random.Random, count: int) -> list[dict[str, Any]]:
    """Make records half of whose texts are there several times; ``label`` follows from the text."""
    rows = []
    for number in range(count):
        text = draw.choice(["", "poème", "a\nb", '"q"', "\r", f"text {draw.randrange(30)}"])
        text = text if draw.random() < 0.5 else f"{text} {number}"
        label = ["neg", "pos", "ça"][len(text) % 3]
        row = {"id": number, "text": text, "site": f"s{draw.randrange(9)}", "label": label}
        rows.append({**row, "y": draw.randrange(3)})
    return rows


def as_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(
        json.dumps(row, ensure_ascii=row["id"] % 2 == 0).encode() + b"\n" for row in rows
    )


def texts_of(found: dict[str, list[bytes]]) -> dict[str, list[str]]:
    return {name: [json.loads(line)["text"] for line in lines] for name, lines in found.items()}


@pytest.mark.parametrize("law", LAWS)
def test_json_lines_of_several_sources(law: str, tmp_path: Path) -> None:
    flags, asked = LAWS[law]
    draw = random.Random(law)
    trees = {
        "b": {"x.jsonl": as_lines(make_rows(draw, 90)), "y/z.jsonl": as_lines(make_rows(draw, 7))},
        "a": {"x.jsonl": as_lines(make_rows(draw, 80))[:-1], "empty.jsonl": b""},
    }
    records: list[Record] = []
    for source, files in trees.items():
        write_tree(tmp_path / source, files)
        for file, data in files.items():
            records += oracle.of_lines(data, file=file, source=source, json_lines=True)
    wanted = {
        name: [record.raw for record in found]
        for name, found in oracle.split(records, asked).items()
    }
    inputs = [f"--input={source}={tmp_path / source}" for source in trees]
    manifest = splits.run(tmp_path / "out", *inputs, *flags)
    found = {name: splits.lines(tmp_path / "out", name) for name in wanted}
    assert found == wanted
    splits.require_counts(manifest, found)
    assert len(records) == 177
    splits.require_all([record.raw for record in records], found)
    if asked.by == "content":
        assert manifest.parted is None
        return
    assert manifest.parted is not None
    parted = splits.parted([record.text for record in records], splits.sides(texts_of(found)))
    assert (manifest.parted.contents, manifest.parted.records) == parted
    assert parted[0] > 5


@pytest.mark.parametrize("law", ["fractions", "thirds by site", "counts", "strata by identity"])
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_rows(law: str, kind: str, tmp_path: Path) -> None:
    flags, asked = LAWS[law]
    draw = random.Random(law)
    records: list[Record] = []
    for file in (f"1.{kind}", f"2.{kind}"):
        rows = make_rows(draw, 90)
        table = pa.Table.from_pylist(rows)
        path = tmp_path / "in" / file
        path.parent.mkdir(exist_ok=True)
        if kind == "parquet":
            pq.write_table(table, path, row_group_size=13)
        else:
            with pa.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table, 13)
        records += oracle.of_rows(rows, file=file)
    wanted = {
        name: [dict(record.raw) for record in found]
        for name, found in oracle.split(records, asked).items()
    }
    splits.run(tmp_path / "out", f"--input={tmp_path / 'in'}", *flags)
    assert {name: splits.rows(tmp_path / "out", name) for name in wanted} == wanted


@pytest.mark.parametrize("law", ["fractions", "counts", "counts by identity", "both"])
def test_plain_lines_are_their_own_content(law: str, tmp_path: Path) -> None:
    flags, asked = LAWS[law]
    draw = random.Random(law)
    some = [b"", b"\xff\r", b"a,b", b'{"text"', "é".encode()]
    data = b"\n".join(draw.choice(some) + b"%d" % draw.randrange(60) for _ in range(150))
    write_tree(tmp_path / "in", {"a.txt": data, "b.txt": data + b"\n\n\nlast\n"})
    records = oracle.of_lines(data, file="a.txt", json_lines=False)
    records += oracle.of_lines(data + b"\n\n\nlast\n", file="b.txt", json_lines=False)
    wanted = {
        name: [record.raw for record in found]
        for name, found in oracle.split(records, asked).items()
    }
    splits.run(tmp_path / "out", f"--input={tmp_path / 'in'}", *flags)
    assert {name: splits.lines(tmp_path / "out", name) for name in wanted} == wanted


def test_shuffled_splits_hold_the_same_records(tmp_path: Path) -> None:
    flags, asked = LAWS["both"]
    rows = make_rows(random.Random(1), 200)
    write_tree(tmp_path / "in", {"a.jsonl": as_lines(rows)})
    records = oracle.of_lines(as_lines(rows), file="a.jsonl", json_lines=True)
    wanted = oracle.split(records, asked)
    orders = []
    for seed in (0, 1):
        output = tmp_path / f"out{seed}"
        splits.run(output, f"--input={tmp_path / 'in'}", *flags, "--shuffle", f"--seed={seed}")
        found = {name: splits.lines(output, name) for name in wanted}
        for name, mine in wanted.items():
            assert sorted(found[name]) == sorted(record.raw for record in mine)
        orders.append(found)
    assert orders[0] != orders[1]
    assert orders[0]["train"] != [record.raw for record in wanted["train"]]
