"""Splits of odd files: each gives what the oracle says, or one clear line."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

import pipelines.split
from tests.pipelines import split_oracle as oracle
from tests.pipelines import splits
from tests.pipelines.split_oracle import Asked
from tests.pipelines.support import write_tree
from transforms.errors import DovetailError

HALVES = ["--fractions=validation=0.5"]
ASKED = Asked(law={"train": None, "validation": Fraction(1, 2)})
LINES = b"".join(b'{"text": "abc %d"}\n' % (number % 40) for number in range(90))
ODD_LINES = b"""{"text": "a", "n": NaN}\r
{"text": "a"}
no JSON
{"id": 1}

{"text": "\\ud800"}
{"text": "\xff"}
{"text": 7}
["text"]
{"text": "a", "text": "b"}
  {"text":"b"}  """


@pytest.mark.parametrize(
    ("files", "json_lines"),
    [
        ({"a.jsonl": ODD_LINES}, True),
        ({"a.txt": ODD_LINES}, True),
        ({"a.txt": b"x\n" + ODD_LINES}, False),
        ({"a.jsonl": LINES, "b.jsonl": b"", "c.jsonl": LINES[:-1]}, True),
        ({"a.jsonl": b'{"text": "one"}'}, True),
        ({"a.txt": b"\n"}, False),
        ({"a.txt": b"a\r\nb\na\nb\r\n\r\n"}, False),
        ({"a.jsonl": b'{"text":"a"}\n' * 50}, True),
        ({f"{n // 10}/{n}.jsonl": LINES[n * 16 : n * 16 + 160] for n in range(80)}, True),
        ({f"{n}.txt": b"abc %d" % (n % 20) for n in range(60)}, False),
    ],
    ids=[
        *("odd JSON", "odd lines of JSON", "odd lines", "an empty file", "one record", "one empty"),
        *("carriage returns", "one content", "many small files", "many small files of plain lines"),
    ],
)
def test_odd_lines(files: dict[str, bytes], json_lines: bool, tmp_path: Path) -> None:
    write_tree(tmp_path / "in", files)
    records = [
        record
        for file, data in files.items()
        for record in oracle.of_lines(data, file=file, json_lines=json_lines)
    ]
    wanted = {
        name: [record.raw for record in found]
        for name, found in oracle.split(records, ASKED).items()
    }
    manifest = splits.run(tmp_path / "out", f"--input={tmp_path / 'in'}", *HALVES)
    assert {name: splits.lines(tmp_path / "out", name) for name in wanted} == wanted
    splits.require_counts(manifest, wanted)


def test_a_header_is_in_every_shard_and_no_record(tmp_path: Path) -> None:
    rows = b"".join(b'%d,"a\n""%d"""\r\n' % (number % 50, number % 50) for number in range(120))
    write_tree(tmp_path / "in", {"a.csv": b"id,text\r\n" + rows})
    flags = ["--format=csv", "--header_lines=1", "--num_shards=3"]
    splits.run(tmp_path / "out", f"--input={tmp_path / 'in'}", *HALVES, *flags)
    found = {}
    for name in ("train", "validation"):
        data = b""
        for shard, mine in splits.shards(tmp_path / "out").items():
            if shard.startswith(name):
                assert mine.startswith(b"id,text\r\n")
                data += mine[9:]
        found[name] = [row + b'"\r\n' for row in data.split(b'"\r\n')[:-1]]
    every = [row + b'"\r\n' for row in rows.split(b'"\r\n')[:-1]]
    splits.require_all(every, found)
    assert {len(names) for names in splits.sides(found).values()} == {1}
    assert [*found["train"]] == [row for row in every if row in found["train"]]
    assert all(found.values())


def test_all_in_one_split_and_a_split_without_a_record(tmp_path: Path) -> None:
    write_tree(tmp_path / "in", {"a.jsonl": b'{"text":"a"}\n' * 20})
    splits.run(tmp_path / "out", f"--input={tmp_path / 'in'}", "--fractions=all=1")
    assert splits.lines(tmp_path / "out", "all") == [b'{"text":"a"}'] * 20
    asked = "--fractions=train=0.9,validation=0.05,test=0.05"
    manifest = splits.run(tmp_path / "two", f"--input={tmp_path / 'in'}", asked)
    found = {name: splits.lines(tmp_path / "two", name) for name in ("train", "validation", "test")}
    assert sorted(map(len, found.values())) == [0, 0, 20]
    splits.require_counts(manifest, found)


def test_records_larger_than_a_block_go_through(tmp_path: Path) -> None:
    lines = [b'{"text":"%d%s"}' % (number % 5, b"x" * 3_000_000) for number in range(9)]
    write_tree(tmp_path / "in", {"a.jsonl": b"\n".join(lines)})
    splits.run(tmp_path / "out", f"--input={tmp_path / 'in'}", *HALVES, "--memory=400MiB")
    found = {name: splits.lines(tmp_path / "out", name) for name in ("train", "validation")}
    splits.require_all(lines, found)
    assert {len(names) for names in splits.sides(found).values()} == {1}


def bad_lines(field: str) -> bytes:
    rows = [{"id": number, "text": f"{number}", field: number % 3} for number in range(30)]
    del rows[4][field]
    rows[9][field] = None  # type: ignore[assignment]
    rows[11][field] = "2"  # type: ignore[assignment]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows) + b"no JSON\n"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--split_by=site"], "a value in field 'site', to split by it|field 'site': expected"),
        (
            ["--counts=a=5", "--stratify=site", "--by=identity"],
            "unlabelled records under --stratify=site|field 'site': expected",
        ),
    ],
)
def test_records_without_a_group_or_a_label_are_bad_ones(
    flags: list[str], says: str, tmp_path: Path
) -> None:
    asked = flags if "--counts=a=5" in flags else [*HALVES, *flags]
    data = bad_lines("site")
    good = b"".join(data.splitlines(keepends=True)[:30])
    write_tree(tmp_path / "in", {"a.jsonl": good.replace(b'"2"', b"2") + b"no JSON\n"})
    given = [f"--input={tmp_path / 'in'}", *asked]
    with pytest.raises(DovetailError, match=says):
        pipelines.split.run([f"--output={tmp_path / 'out'}", *splits.ONE, *given])
    manifest = splits.run(tmp_path / "out", *given, "--on_bad_record=quarantine")
    names = ("train", "a") if "--counts=a=5" in flags else ("train", "validation")
    found = {name: splits.lines(tmp_path / "out", name) for name in names}
    assert sum(map(len, found.values())) == 28
    (kept,) = manifest.quarantine
    assert kept.records == 3  # once, however often the input was read


def test_records_without_the_text_that_was_named_are_bad_ones(tmp_path: Path) -> None:
    data = b'{"body":"a"}\n{"text":"b"}\n{"body":"c"}\n{"body":7}\n'
    write_tree(tmp_path / "in", {"a.jsonl": data})
    given = [f"--input={tmp_path / 'in'}", *HALVES, "--text_field=body"]
    with pytest.raises(DovetailError, match="expected a string in field 'body', it has text"):
        pipelines.split.run([f"--output={tmp_path / 'out'}", *splits.ONE, *given])
    manifest = splits.run(tmp_path / "out", *given, "--on_bad_record=quarantine")
    found = {name: splits.lines(tmp_path / "out", name) for name in ("train", "validation")}
    splits.require_all([b'{"body":"a"}', b'{"body":"c"}'], found)
    (kept,) = manifest.quarantine
    assert kept.records == 2
