"""``--json``: one object on standard output, for results, plans and errors of every command."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.__main__
import pipelines.prepare
import pipelines.show
import pipelines.shuffle
import pipelines.split
import pipelines.tokenize
import pipelines.verify
from pipelines.recipes.cli import run_main
from tests.pipelines.support import ROOT, environment
from tests.pipelines.test_prepare_plan import write_texts, write_tokenizer

Main = Callable[[list[str]], int]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Return what runs a command with --json, and gives its one object."""

    def run(main: Main, *flags: object, code: int = 0) -> dict[str, Any]:
        assert main([*map(str, flags), "--json"]) == code
        out = capsys.readouterr().out
        assert out.count("\n") == 1
        found = json.loads(out)
        assert isinstance(found, dict)
        return found

    return run


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Return a file of 100 lines."""
    path = tmp_path / "in.txt"
    path.write_text("".join(f"line {i}\n" for i in range(100)))
    return path


def test_a_shuffle_says_what_it_wrote(said: Any, lines: Path, tmp_path: Path) -> None:
    found = said(pipelines.shuffle.main, f"--input={lines}", f"--output={tmp_path}/out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert found["command"] == "shuffle"
    assert found["output"] == f"{tmp_path}/out"
    for name in ("records", "bytes", "seed", "epoch"):
        assert found[name] == manifest[name]
    assert found["shards"] == len(manifest["shards"])
    assert found["warnings"] == []
    assert found["seconds"] > 0
    assert found["peak_memory_bytes"] > 1 << 20
    assert [one["records"] for one in found["sources"]] == [100]


def test_a_mixture_has_requested_and_actual_shares_and_warnings(said: Any, tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": range(2000)}), tmp_path / "big.parquet")
    pq.write_table(pa.table({"n": range(20)}), tmp_path / "tiny.parquet")
    flags = [f"--input={name}={tmp_path}/{name}.parquet" for name in ("big", "tiny")]
    flags += ["--weights=big=0.9,tiny=0.1", "--interleave=stratified", f"--output={tmp_path}/o"]
    plan = said(pipelines.shuffle.main, *flags, "--plan")
    assert not (tmp_path / "o").exists()
    assert [one["records_are_exact"] for one in plan["plan"]["sources"]] == [True, True]
    assert [one["records"] for one in plan["plan"]["expected"]["sources"]] == [180, 20]
    assert all(need["fits"] for need in plan["plan"]["room"])
    assert plan["plan"]["text"][0].startswith("source ")
    found = said(pipelines.shuffle.main, *flags)
    big, tiny = found["mixture"]
    assert (big["requested"], tiny["requested"]) == (0.9, 0.1)
    assert big["share_of_records"] == big["records"] / found["records"]
    assert big["records"] + tiny["records"] == found["records"]
    assert tiny["records"] == 20
    assert (tiny["full_passes"], tiny["partial_passes"], tiny["unused_records"]) == (1, 0, 0)
    assert (big["full_passes"], big["partial_passes"], big["unused_records"]) == (
        *(0, 1),
        2000 - big["records"],
    )
    assert any("the mixture ends when tiny runs out" in text for text in found["warnings"])


def test_files_that_give_nothing_are_counted(said: Any, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, text in {"a.txt": "a\n", "_b.txt": "b\n", ".c.txt": "c\n", "d.txt.gz": ""}.items():
        (folder / name).write_text(text)
    flags = [f"--input={folder}/*", f"--input={folder}/a.txt", f"--output={tmp_path}/o", "--quiet"]
    for more in (["--plan"], []):
        found = said(pipelines.shuffle.main, *flags, *more)
        assert {name: n for name, n in found.items() if name.endswith("_files")} == {
            "ignored_files": 2,
            "repeated_files": 1,
            "empty_files": 1,
        }


def test_splits_say_what_each_has(said: Any, lines: Path, tmp_path: Path) -> None:
    flags = (f"--input={lines}", "--counts=train=60,test=rest", f"--output={tmp_path}/out")
    plan = said(pipelines.split.main, *flags, "--plan")
    assert [one["requested"] for one in plan["plan"]["expected"]["splits"]] == ["60", None]
    found = said(pipelines.split.main, *flags)
    assert [(one["split"], one["requested"], one["records"]) for one in found["splits"]] == [
        ("train", "60", 60),
        ("test", None, 40),
    ]


def test_tokenize_prepare_and_show_say_tokens(said: Any, tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "in", ["w1 w2 w3", "w2"] * 10)
    model = write_tokenizer(tmp_path / "tokenizer.json")
    flags = (f"--input={texts}", f"--tokenizer={model}")
    tokens = said(pipelines.tokenize.main, *flags, f"--output={tmp_path}/tokens")["tokens"]
    assert tokens["tokens"] == 40
    assert tokens["model"] == str(model)
    more = ("--sequence_length=8", f"--output={tmp_path}/ready")
    plan = said(pipelines.prepare.main, *flags, *more, "--plan")
    assert plan["plan"]["expected"]["tokens"] == 40
    found = said(pipelines.prepare.main, *flags, *more)
    assert found["document_tokens"] == 40
    assert found["rows"] == sum(split["rows"] for split in found["splits"])
    assert sum(one["bytes"] for one in found["formats"]) == found["bytes"]
    shown = said(pipelines.show.main, f"{tmp_path}/ready", "--row=1")
    (row,) = shown["shown"]
    assert row["row"] == 1
    assert len(row["input_ids"]) == len(row["tokens"]) == 8
    assert said(pipelines.verify.main, f"{tmp_path}/ready")["ok"] is True


def test_verify_says_what_differs(said: Any, lines: Path, tmp_path: Path) -> None:
    said(pipelines.shuffle.main, f"--input={lines}", f"--output={tmp_path}/out")
    good = said(pipelines.verify.main, f"{tmp_path}/out")
    assert (good["ok"], good["differences"], good["records"]) == (True, [], 100)
    shown = said(pipelines.show.main, f"{tmp_path}/out", "-q")["shown"]
    assert [one["record"][:5] for one in shown] == ["line "] * 3
    (shard,) = (tmp_path / "out" / "data").iterdir()
    shard.write_bytes(shard.read_bytes().replace(b"line 7\n", b"line X\n"))
    bad = said(pipelines.verify.main, f"{tmp_path}/out", code=1)
    assert bad["ok"] is False
    assert shard.name in bad["differences"][0]
    assert bad["error"]["type"] == "LosslessError"
    assert bad["error"]["exit_code"] == 1


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        (["--input=nothing-there", "--output=out"], "InputError"),
        (["--no_such=1"], "UsageError"),
        (["--seed=x"], "UsageError"),
    ],
)
def test_errors_are_objects_too(
    said: Any, flags: list[str], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = said(pipelines.shuffle.main, *flags, code=2)["error"]
    assert (error["type"], error["exit_code"]) == (kind, 2)
    assert error["message"]


def test_an_unknown_command_is_an_object_too(said: Any) -> None:
    error = said(pipelines.__main__.main, "shufle", code=2)["error"]
    assert error["message"] == "shufle: unknown command; did you mean shuffle?"


def test_an_error_that_nobody_foresaw_is_one_too(
    said: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(argv: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("pipelines.verify.run", fail)
    assert said(pipelines.verify.main, "x", code=1) == {
        "error": {"type": "ZeroDivisionError", "message": "boom", "exit_code": 1}
    }


def test_the_page_names_every_field(said: Any, tmp_path: Path) -> None:
    page = (ROOT / "docs/reference/json-output.md").read_text("utf-8")
    texts = write_texts(tmp_path / "in", ["w1 w2 w3", "w2"] * 10)
    model = write_tokenizer(tmp_path / "tokenizer.json")
    flags = (f"--input={texts}", f"--tokenizer={model}", "--sequence_length=8")
    out = f"--output={tmp_path}/o"
    names: set[str] = set()
    for found in (
        said(pipelines.prepare.main, *flags, out, "--plan"),
        said(pipelines.prepare.main, *flags, out),
        said(pipelines.show.main, f"{tmp_path}/o"),
        said(pipelines.verify.main, f"{tmp_path}/o"),
        said(
            pipelines.split.main,
            f"--input={texts}",
            "--fractions=test=0.5",
            f"--output={tmp_path}/s",
        ),
    ):
        names |= set(_names_in({**found, "special": None}))
    assert {name for name in names if not re.search(rf"`\"?{name}[`\"]", page)} == set()


def _names_in(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for part in value for name in _names_in(part)]
    if isinstance(value, dict):
        return [*value, *(name for part in value.values() for name in _names_in(part))]
    return []


def test_a_number_that_json_has_no_word_for_is_null(said: Any, tmp_path: Path) -> None:
    table = pa.table({"x": [math.nan, math.inf, 1.5], "deep": [[-math.inf], [0.5], []]})
    pq.write_table(table, tmp_path / "in.parquet")
    flags = (f"--input={tmp_path}/in.parquet", f"--output={tmp_path}/out", "--num_shards=1")
    said(pipelines.shuffle.main, *flags)
    shown = said(pipelines.show.main, f"{tmp_path}/out")["shown"]
    assert "NaN" not in json.dumps(shown)
    assert "Infinity" not in json.dumps(shown)
    found = [one["record"] for one in shown]
    assert sorted(map(str, found)) == [
        "{'x': 1.5, 'deep': []}",
        "{'x': None, 'deep': [0.5]}",
        "{'x': None, 'deep': [None]}",
    ]


def test_a_reader_that_has_enough_ends_the_command_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("x" * 1_000_000 + "\n")
    assert pipelines.shuffle.main([f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out"]) == 0
    for flags in (["--json", "--full"], ["--full"]):
        with subprocess.Popen(
            [sys.executable, "-m", "pipelines", "show", f"{tmp_path}/out", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd=ROOT,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(5)
            process.stdout.close()
            assert process.stderr.read().decode() == ""
        assert process.returncode == 141


def test_a_pipe_that_breaks_elsewhere_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    def work(_: object) -> None:
        raise BrokenPipeError

    assert run_main(work, []) == 1
    assert "unexpected error" in capsys.readouterr().err
