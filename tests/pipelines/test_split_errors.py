"""What bad input gets from dovetail split: a line that says it, before any work."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

import dovetail
from pipelines.__main__ import main
from pipelines.split import run
from transforms.errors import InputError, UsageError
from transforms.likeness import needs

HALVES = "--fractions=train=0.5,test=0.5"


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


@pytest.fixture
def jsonl(tmp_path: Path) -> str:
    return write_lines(
        tmp_path / "in.jsonl",
        [{"id": i, "text": f"text {i}", "label": i % 2, "x": i / 3} for i in range(60)],
    )


@pytest.fixture
def rows(tmp_path: Path) -> str:
    path = tmp_path / "in.parquet"
    table = pa.table({"body": ["a", "b", "c"], "n": [1.5, 2.5, 3.5], "label": [0, 1, 0]})
    pyarrow.parquet.write_table(table, path)
    return str(path)


@pytest.fixture
def like_set(tmp_path: Path) -> str:
    return write_lines(tmp_path / "test.jsonl", [{"text": f"other {i}"} for i in range(60)])


def said(tmp_path: Path, *flags: str) -> str:
    """Return the error of a run that must not begin to work."""
    output = tmp_path / "out"
    with pytest.raises(UsageError) as error:
        run([f"--output={output}", "--workers=1", "--quiet", *flags])
    assert not output.exists() or not any(output.iterdir())
    assert "\n" not in str(error.value)
    return str(error.value).replace(f"{tmp_path}/", "")


def test_nothing_that_says_the_splits(tmp_path: Path, jsonl: str) -> None:
    assert said(tmp_path, f"--input={jsonl}") == (
        "--fractions: expected the splits: pass --fractions=train=0.98,validation=0.01,test=0.01, or "
        "--counts=train=1000,test=rest, or --like with --draw"
    )


def test_the_command_exits_with_2_and_one_line(
    jsonl: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--input={jsonl}", f"--output={tmp_path / 'o'}", "--fractions=train=0.9,test=0.2"]
    assert main(["split", *flags]) == 2
    assert capsys.readouterr().err == (
        "error: --fractions=train=0.9,test=0.2: expected fractions that add up to at most 1, got "
        "1.1\n"
    )


def test_help_groups_begin_with_what_most_need(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--help-all"])
    shown = capsys.readouterr().out
    groups = [line for line in shown.splitlines() if re.fullmatch(r"[a-z][a-z ]*:", line)]
    assert groups[:5] == ["input:", "split:", "like a test set:", "order:", "output:"]
    assert "(default 8MiB)" in " ".join(shown.split())
    assert "--split_name" not in shown
    assert "--weights " not in shown


@pytest.mark.parametrize(
    "flag", ["--split_by=site", "--counts=test=5 --stratify=site", "--text_field=site"]
)
def test_a_field_that_is_not_there(tmp_path: Path, jsonl: str, rows: str, flag: str) -> None:
    flags = flag.split() if "--counts" in flag else [flag, HALVES]
    name = flags[-1] if "--counts" in flag else flag
    assert said(tmp_path, f"--input={jsonl}", *flags).startswith(
        f"{name}: no record that was looked at has "
    )
    assert "site" in said(tmp_path, f"--input={rows}", *flags)
    assert "keep" not in said(tmp_path, f"--input={rows}", *flags)


def test_a_field_that_can_not_decide(tmp_path: Path, jsonl: str) -> None:
    assert said(tmp_path, f"--input={jsonl}", HALVES, "--split_by=x") == (
        "--split_by=x: expected text, integers or booleans, of one type in all files, got double"
    )
    assert said(tmp_path, f"--input={jsonl}", "--counts=test=5", "--stratify=x") == (
        "--stratify=x: expected text, integers or booleans, of one type in all files, got double"
    )


def test_plain_lines_have_no_fields(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb\n")
    assert said(tmp_path, f"--input={tmp_path}/a.txt", HALVES, "--split_by=site,day") == (
        "a.txt: expected JSON lines or rows with fields for --split_by=site,day, got plain lines"
    )


def test_an_empty_file_of_any_name_has_no_field_to_be_missed(tmp_path: Path, jsonl: str) -> None:
    (tmp_path / "b.txt").write_text("")
    flags = [f"--output={tmp_path / 'o'}", "--workers=1", "--quiet", HALVES, "--split_by=label"]
    assert run([f"--input={tmp_path}/b.txt", *flags]).records == 0
    flags.append("--overwrite")
    assert run(["--input", jsonl, f"{tmp_path}/b.txt", *flags]).records == 60


def test_counts_larger_than_what_is_there_where_that_is_known(tmp_path: Path, rows: str) -> None:
    assert said(tmp_path, f"--input={rows}", "--counts=train=3,dev=1,test=rest") == (
        "--counts=train=3,dev=1,test=rest: expected at most the 3 records of the input, got 4"
    )


def test_a_shard_size_that_makes_too_many_shards(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"some line\n" * 30_000)
    flags = [f"--input={tmp_path / 'in.txt'}", "--fractions=test=0.1", "--shard_size=1"]
    assert said(tmp_path, *flags) == (
        "--shard_size=1: expected a size that makes at most 200,000 shards of 300,000 "
        "bytes, got one that makes 300,000; pass a larger one"
    )


def test_counts_that_take_more_memory_than_there_is(tmp_path: Path, jsonl: str) -> None:
    found = said(tmp_path, f"--input={jsonl}", "--counts=test=900000000", "--memory=1GiB")
    assert found.startswith("--counts=test=900000000: choosing this many records takes ")
    assert "pass a share such as --fractions=test=1%, which takes none" in found


LIKE = (HALVES, "--weights_column=w")


@pytest.mark.parametrize("holds", ["", "\n\n"])
def test_an_empty_test_set(tmp_path: Path, jsonl: str, holds: str) -> None:
    (tmp_path / "empty.jsonl").write_text(holds)
    assert said(tmp_path, f"--input={jsonl}", f"--like={tmp_path}/empty.jsonl", *LIKE) == (
        "--like=empty.jsonl: expected records of a test set, but its files hold none"
    )


def test_a_test_set_where_nothing_can_be(tmp_path: Path, jsonl: str) -> None:
    found = said(tmp_path, f"--input={jsonl}", "--like=foo://x/y.jsonl", *LIKE)
    assert found.startswith("--like=foo://x/y.jsonl: expected a path or a URL that fsspec knows")


def test_a_model_that_is_none(tmp_path: Path, jsonl: str) -> None:
    model = tmp_path / "like.json"
    flags = f"--input={jsonl}", "--draw=2", f"--like_model={model}"
    assert said(tmp_path, *flags) == (
        "--like_model=like.json: can't be read: No such file or directory"
    )
    model.write_text('{"format": "dovetail-manifest"}')
    assert said(tmp_path, *flags).startswith(
        "--like_model=like.json: expected a model as --like writes it (like.json), got something else"
    )
    model.write_text("no JSON")
    assert said(tmp_path, *flags).split("got something else: ")[1].startswith("Invalid JSON")
    assert "got a folder" in said(tmp_path, *flags[:2], f"--like_model={tmp_path}")


def test_a_test_set_that_is_not_there(tmp_path: Path, jsonl: str) -> None:
    found = said(tmp_path, f"--input={jsonl}", f"--like={tmp_path}/none.jsonl", *LIKE)
    assert found.startswith("--like=none.jsonl: no file matches; ")
    assert "source" not in found


def test_files_of_the_test_set_among_the_input_however_they_are_spelled(
    tmp_path: Path, jsonl: str, like_set: str
) -> None:
    (tmp_path / "deep").mkdir()
    linked, hard = tmp_path / "linked.jsonl", tmp_path / "hard.jsonl"
    linked.symlink_to(like_set)
    os.link(like_set, hard)
    (tmp_path / "folder").symlink_to(tmp_path, target_is_directory=True)
    for spelled in (
        like_set,
        f"{tmp_path}/deep/../test.jsonl",
        f"file://{like_set}",
        str(linked),
        str(hard),
        f"{tmp_path}/folder/test.jsonl",
        f"{tmp_path}/t*t.jsonl",
    ):
        found = said(
            tmp_path, f"--input=a={jsonl}", f"--input=b={like_set}", f"--like={spelled}", *LIKE
        )
        assert "is in the input too" in found, spelled


def test_a_column_can_not_be_added_to_plain_lines(tmp_path: Path, like_set: str) -> None:
    (tmp_path / "a.txt").write_text("a\nb\n")
    flags = (f"--input={tmp_path}/a.txt", f"--like={like_set}")
    assert said(tmp_path, *flags, *LIKE) == (
        "a.txt: plain lines have no place for a column, and --weights_column=w adds one; expected JSON "
        "lines (.jsonl) or rows (Parquet, Arrow)"
    )
    assert "--draw_column=drawn adds one" in said(tmp_path, *flags, "--draw=3")


def test_a_column_that_is_there_already(
    tmp_path: Path, jsonl: str, rows: str, like_set: str
) -> None:
    found = said(tmp_path, f"--input={jsonl}", f"--like={like_set}", HALVES, "--weights_column=x")
    assert found == (
        "--weights_column=x: the records have a field of this name already; choose another name"
    )
    found = said(
        tmp_path, f"--input={rows}", f"--like={like_set}", "--draw=2", "--draw_column=label"
    )
    assert found.startswith("--draw_column=label: the records have a field of this name already")


def test_rows_without_a_text_to_be_compared_by(tmp_path: Path, rows: str, like_set: str) -> None:
    assert said(tmp_path, f"--input={rows}", f"--like={like_set}", "--draw=2") == (
        "--input: expected a column text to compare the sets by; name another with "
        "--text_field, or columns with --features; the rows have body, n, label"
    )


def test_json_lines_without_a_text_to_be_compared_by(
    tmp_path: Path, jsonl: str, like_set: str
) -> None:
    other = write_lines(tmp_path / "other.jsonl", [{"n": i, "body": f"b {i}"} for i in range(60)])
    end = (
        "expected a field text to compare the sets by; name another with --text_field, "
        "or fields with --features; the lines have n, body"
    )
    assert said(tmp_path, f"--input={other}", f"--like={like_set}", *LIKE) == f"--input: {end}"
    found = said(tmp_path, f"--input={jsonl}", f"--like={other}", *LIKE)
    assert found == f"--like=other.jsonl: {end}"


def test_lines_and_rows_are_not_told_to_mix_texts_which_a_split_can_not(
    tmp_path: Path, jsonl: str
) -> None:
    rows = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.table({"text": ["a"]}), rows)
    found = said(tmp_path, f"--input={jsonl}", f"--input={rows}", HALVES)
    assert "in.jsonl holds lines and rows.parquet holds rows" in found
    assert found.endswith("choose with --extension, as in --extension=.parquet")


def test_a_feature_that_the_test_set_lacks(tmp_path: Path, jsonl: str, like_set: str) -> None:
    found = said(
        tmp_path, f"--input={jsonl}", f"--like={like_set}", "--draw=2", "--features=text,x"
    )
    assert found.startswith(
        "--features=x: no record of the test set that was looked at has this field; they have text"
    )


def test_packages_that_are_missing(
    tmp_path: Path, jsonl: str, like_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = needs.find_spec
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name == "sklearn" else real(name))
    assert said(tmp_path, f"--input={jsonl}", f"--like={like_set}", "--draw=2") == (
        "--like needs scikit-learn, which isn't installed; run pip install 'dovetail-data[like]'"
    )


def test_unlabelled_records_are_named(tmp_path: Path) -> None:
    records = [{"text": f"text {i}", "label": i % 2} for i in range(20)]
    del records[13]["label"]
    path = write_lines(tmp_path / "in.jsonl", records)
    with pytest.raises(dovetail.DataError) as error:
        dovetail.split(
            input=path,
            output=tmp_path / "out",
            counts={"test": 5},
            stratify="label",
            workers=1,
            quiet=True,
        )
    assert "unlabelled records under --stratify=label" in str(error.value)


def test_standard_input_is_no_test_set(tmp_path: Path, jsonl: str) -> None:
    assert said(tmp_path, f"--input={jsonl}", "--like=-", "--draw=2") == (
        "--like=-: expected files; standard input is read once, and a test set twice"
    )


def test_the_recipe_of_another_command_is_refused(tmp_path: Path, jsonl: str) -> None:
    dovetail.shuffle(input=jsonl, output=tmp_path / "shuffled", workers=1, quiet=True)
    found = said(tmp_path, f"--recipe={tmp_path}/shuffled/manifest.json", HALVES)
    assert "dovetail shuffle made this dataset" in found


def test_from_python_and_again_from_its_manifest(tmp_path: Path, jsonl: str) -> None:
    made = dovetail.split(
        input=Path(jsonl),
        fractions={"train": 0.5, "validation": "25%", "test": 0.25},
        output=tmp_path / "one",
        workers=1,
        quiet=True,
    )
    assert [(split.name, split.asked) for split in made.splits or ()] == [
        ("train", "50%"),
        ("validation", "25%"),
        ("test", "25%"),
    ]
    again = dovetail.split(recipe=made, output=tmp_path / "two", workers=1, quiet=True)
    assert [s.sha256 for s in again.shards] == [s.sha256 for s in made.shards]
    assert dovetail.split(recipe=made, output=tmp_path / "three", plan=True) is None
    assert "fractions: splits, each as a fraction of the contents" in (dovetail.split.__doc__ or "")
    with pytest.raises(InputError, match="no file matches"):
        dovetail.split(input=tmp_path / "nowhere", counts={"a": 1}, output=tmp_path / "four")


@pytest.mark.parametrize("flag", ["like_model=out/like.json", "like=out/data/train-*"])
def test_what_is_read_of_the_dataset_that_would_be_replaced_leaves_it_whole(
    tmp_path: Path, jsonl: str, flag: str
) -> None:
    output = f"--output={tmp_path / 'out'}"
    run([f"--input={jsonl}", "--fractions=test=0.2", output, "--workers=1", "--quiet"])
    (tmp_path / "out/like.json").write_text("{}")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    asked = f"--{flag.replace('out/', f'{tmp_path}/out/')}"
    with pytest.raises(UsageError, match=rf"--{flag[:5]}.* is inside --output="):
        run([f"--input={jsonl}", "--draw=2", asked, output, "--overwrite", "--workers=1"])
    assert before == {
        path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
