"""The help of every command: short and whole, within 80 columns; and flags as people write them."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import pipelines.__main__
import pipelines.shuffle
from pipelines.recipes.flag_errors import FORMER, SHORT, flag_of
from pipelines.recipes.flag_parser import make_parser
from pipelines.recipes.help import COMMANDS
from pipelines.recipes.settings import RecipeFlags, Settings
from tests.pipelines.support import ROOT, command, make_lines, run
from transforms.errors import UsageError

MAKE = ("shuffle", "tokenize", "prepare", "split")
TOO_LONG = 25  # lines


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what a command prints before it exits well."""
    try:
        code = pipelines.__main__.main(words)
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 0
    return capsys.readouterr().out


def examples_of(text: str) -> list[str]:
    """Return the commands that stand in a help's first paragraph after its first line."""
    return text.split("\n\n")[1].replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("name", ["", *COMMANDS])
@pytest.mark.parametrize("flag", ["--help", "--help-all"])
def test_no_line_is_wider_than_a_terminal(
    name: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, *filter(None, [name]), flag).splitlines()
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_short_with_examples_on_top(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, name, "--help")
    lines = text.splitlines()
    assert len(lines) <= TOO_LONG
    assert lines[0].startswith(f"dovetail {name}")
    assert f"dovetail {name}" in lines[2] + lines[3]
    count = len(set(re.findall(r"^  (?:-\w, )?--\w+", said(capsys, name, "--help-all"), re.M)))
    page = re.fullmatch(rf"--help-all shows all {count} flags; docs: (\S+\.md)", lines[-1])
    assert page is not None
    assert (ROOT / page[1]).exists()
    assert said(capsys, name, "-h") == text


@pytest.mark.parametrize("name", MAKE)
def test_help_all_has_every_flag_once_in_its_group(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = importlib.import_module(f"pipelines.{name}").COMMAND.kind
    text = said(capsys, name, "--help-all")
    groups = re.split(r"^(\S[^\n]*):\n(?=  -)", text, flags=re.MULTILINE)
    shown = {
        flag: title
        for title, part in zip(groups[1::2], groups[2::2], strict=True)
        for flag in re.findall(r"^  (?:-\w, )?(--\w+)", part, re.M)
    }
    expected = {
        flag_of(field): told.json_schema_extra["group"]
        for model in (kind.recipe, kind.settings, RecipeFlags)
        for field, told in model.model_fields.items()
        if not told.deprecated and "in_files_only" not in told.json_schema_extra
    }
    assert shown == expected
    assert shown["--shared_filesystem"] == "FlinkRunner"
    assert shown["--no_wait"] == "DataflowRunner"
    assert not any(former in text for former in FORMER)
    assert said(capsys, name, "--help_all") == text


@pytest.mark.parametrize("name", MAKE)
def test_each_common_flag_has_a_line_with_its_default(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = importlib.import_module(f"pipelines.{name}").COMMAND.kind
    text = said(capsys, name, "--help")
    assert 10 <= len(kind.common) <= 14
    for field in kind.common:
        told = {**kind.recipe.model_fields, **kind.settings.model_fields}[field]
        (line,) = re.findall(rf"^  (?:-\w, )?{flag_of(field)}(?: \S+)? +(.*)", text, re.M)
        assert told.json_schema_extra["brief"] in line
        assert told.is_required() or told.default in (None, False) or "default" in line


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_examples_run_as_they_are_pasted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = examples_of(said(capsys, *filter(None, [name]), "--help"))
    assert 2 <= len(lines) <= 4
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        if program == "python":
            subprocess.run([sys.executable, *words], check=True, timeout=120)
        else:
            assert program == "dovetail"
            assert pipelines.__main__.main(words) == 0, capsys.readouterr().err


def settings_of(
    monkeypatch: pytest.MonkeyPatch, words: Sequence[str]
) -> tuple[Any, Settings, list[str]]:
    """Return the recipe, settings and Beam's flags that a shuffle of these words would have."""
    seen: list[Any] = []
    monkeypatch.setattr(
        pipelines.shuffle.COMMAND,
        "make",
        lambda recipe, settings, beam_flags, origin: seen.append((recipe, settings, beam_flags)),
    )
    run(*words)
    (found,) = seen
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "words",
    [
        ["--input", "a", "b", "--output=o", "--num_shards=3", "--on_bad_record", "skip"],
        ["--input", "a", "b", "--output=o", "--num-shards=3", "--on-bad-record", "skip"],
        ["-i", "a", "b", "-o", "o", "--num-shards", "3", "--on_bad-record=skip"],
        ["-ia", "-ib", "-oo", "--num_shards=3", "--on-bad-record=skip"],
        ["-i=a", "-i=b", "-o=o", "--num_shards=3", "--on-bad-record=skip"],
    ],
)
def test_dashes_and_short_forms_are_taken_as_flags(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, settings, beam_flags = settings_of(monkeypatch, words)
    assert recipe.sources == {"default": ["a", "b"]}
    assert (recipe.num_shards, recipe.on_bad_record, settings.output) == (3, "skip", "o")
    assert beam_flags == []


@pytest.mark.parametrize(
    ("words", "sources", "output"),
    [
        (["-iseed=b.txt", "-ooutput"], {"seed": ["b.txt"]}, "output"),
        (["-iinput", "-oinput"], {"default": ["input"]}, "input"),
        (["-ioutput=x", "-onum-shards"], {"output": ["x"]}, "num-shards"),
        (["-ipu=x", "-output/x"], {"pu": ["x"]}, "utput/x"),
    ],
)
def test_what_is_joined_to_a_short_flag_is_its_value_whatever_it_resembles(
    words: list[str], sources: object, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, settings, _ = settings_of(monkeypatch, words)
    assert (recipe.sources, settings.output) == (sources, output)


@pytest.mark.parametrize("name", MAKE)
def test_every_flag_of_ours_is_taken_with_dashes(name: str) -> None:
    kind = importlib.import_module(f"pipelines.{name}").COMMAND.kind
    parser = make_parser(kind.recipe, kind.settings, RecipeFlags, prog="x", about="")
    for field, told in {**kind.recipe.model_fields, **kind.settings.model_fields}.items():
        if "in_files_only" not in told.json_schema_extra:
            dashed = f"--{flag_of(field)[2:].replace('_', '-')}"
            word = dashed if told.annotation is bool else f"{dashed}=1"
            known, rest = parser.parse_known_args([word])
            assert (field in known, rest) == (True, [])


def test_beams_flags_and_values_go_on_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["-i", "a-b", "-o", "--out-put=x", "--job_name=a-b", "--text-field=my-text"]
    with pytest.raises(UsageError, match="--output"):
        run(*words)
    words = ["-i", "a-b", "-o", "o-p", "--job_name=a-b", "--text-field=my-text"]
    recipe, settings, beam_flags = settings_of(monkeypatch, words)
    assert recipe.sources == {"default": ["a-b"]}
    assert (recipe.text_field, settings.output) == ("my-text", "o-p")
    assert beam_flags == ["--job_name=a-b"]
    words = ["-i", "a", "-o", "o", "--job-name=a-b", "--num-workers", "2", "--flink-master=x-y:1"]
    _, _, beam_flags = settings_of(monkeypatch, words)
    assert beam_flags == ["--job_name=a-b", "--num_workers", "2", "--flink_master=x-y:1"]


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("--num-shard=3", "--num_shards"),
        ("--on-bad-records=skip", "--on_bad_record"),
        ("--flink-mister=x", "--flink_master"),
        ("--direct_num_worker=2", "--workers"),
        ("-output=x", "--output"),
        ("-input=x", "--input"),
        ("-overwrite", "--overwrite"),
        ("-num-shards=x", "--num_shards"),
        ("-quiet", "--quiet"),
    ],
)
def test_a_flag_that_is_nearly_one_names_it_in_one_spelling(word: str, near: str) -> None:
    with pytest.raises(UsageError) as raised:
        run("-i", "a", "-o", "o", word)
    assert str(raised.value).startswith(f"{word}: unknown flag; did you mean {near}?")


def test_short_switches_are_seen_before_anything_is_parsed(tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_bytes(make_lines(20))
    quiet = command(f"-i={source}", "-o", tmp_path / "a", "-q")
    assert (quiet.returncode, quiet.stderr) == (0, b"")
    failed = command("-i", tmp_path / "missing", "-o", tmp_path / "b", "-qv")
    assert failed.returncode == 2
    assert b"Traceback" in failed.stderr


def test_no_short_form_stands_for_two_flags() -> None:
    assert len(set(SHORT.values())) == len(SHORT)
