"""What dovetail split says: the plan before work, and what each split has when it is done."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from pipelines.split import run
from transforms.datasets.manifest import Manifest


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """100 records: 20 texts five times."""
    path = tmp_path / "in.jsonl"
    records = [{"id": i, "text": f"text {i % 20}", "label": i % 2} for i in range(100)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def plan(path: Path, *flags: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert run([f"--input={path}", f"--output={path}-out", "--plan", "--workers=1", *flags]) is None
    return capsys.readouterr().out.splitlines()


def words(lines: Sequence[str]) -> list[list[str]]:
    return [line.split() for line in lines]


def test_a_plan_says_what_each_split_will_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(pa.table({"text": [f"{i:1000}" for i in range(1000)]}), path)
    flags = "--fractions=validation=25%,test=1/8", "--split_by=text", "--shuffle", "--seed=3"
    lines = plan(path, *flags, capsys=capsys)
    at = next(i for i, line in enumerate(lines) if line.startswith("split "))
    assert [line[:4] for line in words(lines[at + 1 : at + 4])] == [
        ["train", "the", "rest", "~62.50%"],
        ["validation", "25%", "~25.00%", "~250"],
        ["test", "12.5%", "~12.50%", "~125"],
    ]
    assert lines[at + 4].startswith("split by    content: 1 field, text; duplicates are never")
    assert "order       shuffled, seed 3" in lines
    assert not (tmp_path / "in.parquet-out").exists()


def test_a_plan_of_counts_says_that_all_is_read_once_more(
    reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = plan(reviews, "--counts=train=40,test=rest", capsys=capsys)
    assert any(line.startswith("counts      the whole input is read once more") for line in lines)
    assert any("duplicates stay together" in line for line in lines)
    lines = plan(reviews, "--counts=train=40,test=rest", "--by=identity", capsys=capsys)
    assert any("duplicates may be in different splits" in line for line in lines)
    assert not any("duplicates stay together" in line for line in lines)


def test_a_plan_of_likeness_says_what_is_fitted(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n')
    flags = f"--like={tmp_path}/t.jsonl", "--draw=10", "--fit_records=500"
    lines = plan(reviews, *flags, capsys=capsys)
    assert any("fitted on up to 500 records of either set, 8MiB of each" in line for line in lines)
    assert any(line.startswith("draws       10, with replacement") for line in lines)


def done(
    path: Path, *flags: str, caplog: pytest.LogCaptureFixture
) -> tuple[Manifest, list[tuple[int, str]]]:
    caplog.set_level(logging.INFO, "dovetail")
    logging.getLogger("dovetail").propagate = True
    made = run([f"--input={path}", f"--output={path}-out", "--workers=1", *flags])
    assert made is not None
    return made, [(record.levelno, record.getMessage()) for record in caplog.records]


def test_a_shortfall_of_a_count_is_said_with_its_reason(
    reviews: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made, lines = done(reviews, "--counts=train=43,test=rest", caplog=caplog)
    assert [(s.name, s.asked, s.records) for s in made.splits or ()] == [
        ("train", "43", 40),
        ("test", None, 60),
    ]
    (warned,) = (text for level, text in lines if level == logging.WARNING)
    assert warned.startswith("train has 40 of the 43 records requested: duplicates stay together")
    assert "--by=identity meets a count exactly" in warned


def test_a_table_of_splits_and_what_parted(reviews: Path, caplog: pytest.LogCaptureFixture) -> None:
    flags = "--counts=train=43,test=rest", "--by=identity"
    made, lines = done(reviews, *flags, caplog=caplog)
    assert [s.records for s in made.splits or ()] == [43, 57]
    said = [text for _, text in lines]
    assert any(text.split()[:3] == ["train", "43", "43.00%"] for text in said)
    assert made.parted is not None
    told = f"{made.parted.contents} contents of {made.parted.records} records are in more than one split"
    assert [text.startswith(told) for text in said].count(True) == 1
    (warned,) = (text for level, text in lines if level == logging.WARNING)
    assert warned.startswith(told)
    assert warned.endswith("; leave out --by=identity to keep duplicates together")


def test_an_empty_split_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "one.txt"
    path.write_text("one\n")
    _, lines = done(path, "--fractions=train=0.5,test=0.5", caplog=caplog)
    (warned,) = (text for level, text in lines if level == logging.WARNING)
    assert (
        " is empty: no record was assigned to it; datasets.load_dataset refuses a folder"
    ) in warned


def test_a_shortfall_of_groups_does_not_speak_of_contents(
    reviews: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, lines = done(reviews, "--counts=train=43,test=rest", "--split_by=label", caplog=caplog)
    (warned,) = (text for level, text in lines if level == logging.WARNING and "requested" in text)
    head, _, why = warned.partition(": ")  # said of none, too
    assert head == "train has 0 of the 43 records requested"
    assert why == "groups stay together, and no remaining group fits"


@pytest.mark.parametrize(
    ("flags", "is_said"),
    [
        ((), True),
        (("--text_field=body",), False),
        (("--text_field=",), False),
        (("--split_by=body",), False),
        (("--by=identity",), False),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_whole_records_are_said_where_none_has_a_text(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    flags: Sequence[str],
    is_said: bool,
    ending: str,
) -> None:
    path = tmp_path / f"in.{ending}"
    records = [{"id": i, "body": f"body {i % 5}"} for i in range(20)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    if ending == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(records), path)
    _, lines = done(path, "--fractions=test=0.5", *flags, caplog=caplog)
    found = [text for level, text in lines if level == logging.WARNING and "--text_field" in text]
    assert len(found) == is_said
    assert all("may be in two splits" in text and "id, body" in text for text in found)


def test_plain_lines_and_rows_of_ids_are_their_own_contents(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in.txt").write_text("".join(f"line {i}\n" for i in range(20)))
    _, lines = done(tmp_path / "in.txt", "--fractions=test=0.5", caplog=caplog)
    ids = tmp_path / "ids.parquet"
    pyarrow.parquet.write_table(pa.table({"input_ids": [[1, 2], [3]] * 9}), ids)
    lines += done(ids, "--fractions=test=0.5", caplog=caplog)[1]
    assert not [text for _, text in lines if "whole records" in text]
