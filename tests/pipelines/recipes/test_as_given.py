"""Errors name input files as the user wrote them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pipelines.recipes.as_given import as_given
from tests.pipelines.support import run, write_tree
from transforms.errors import DataError, InputError


@pytest.mark.parametrize(
    ("pattern", "said", "told"),
    [
        ("a/*.txt", "file://{}/a/b.txt: expected", "a/b.txt: expected"),
        ("a", "file://{}/a/b.txt: expected", "a/b.txt: expected"),
        ("a/b.txt", "file://{}/a/b.txt: expected", "a/b.txt: expected"),
        ("*.txt", "two files: file://{}/b.txt and {}/c.txt", "two files: b.txt and c.txt"),
        ("./dt=1/*", "file://{}/dt=1/b: x", "./dt=1/b: x"),
        (".", "file://{}/b.txt: x", "b.txt: x"),
        ("../w/a", "file://{}/a/b.txt: x", "../w/a/b.txt: x"),
        ("a/{{b,c}}/*", "file://{}/a/b/d.txt: x", "a/b/d.txt: x"),
        ("a/part[0-9]*", "(file://{}/a/part0)", "(a/part0)"),
        ("file://{}/a", "file://{}/a/b.txt: x", "file://{}/a/b.txt: x"),
        ("{}/a", "file://{}/a/b.txt: x", "{}/a/b.txt: x"),
        # what the pattern doesn't name stays, but for the way of writing it
        ("a", "file://{}/ab/c.txt: x", "{}/ab/c.txt: x"),
        ("*.txt", "--output={}/out: x", "--output={}/out: x"),
        ("s3://b/a", "s3://b/a/c: x", "s3://b/a/c: x"),
        ("-", "standard input: x", "standard input: x"),
    ],
)
def test_files_are_called_as_their_patterns_call_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, said: str, told: str
) -> None:
    here = tmp_path / "w"
    here.mkdir()
    monkeypatch.chdir(here)
    assert as_given(said.format(here, here), [pattern.format(here)]) == told.format(here)


@pytest.mark.parametrize("pattern", ["in", "in/*", "in/*.jsonl"])
def test_errors_before_work_and_in_it_name_files_as_they_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path, {"in/a.jsonl": b'{"text": "x"}\n{"text": \n'})
    flags = f"--input={pattern}", "--output=out", "--text_field=text"
    with pytest.raises(DataError, match=r"^in/a\.jsonl: "):
        run(*flags)
    real = os.access
    monkeypatch.setattr(  # the superuser may read all
        os, "access", lambda path, *mode: real(path, *mode) and "a.jsonl" not in str(path)
    )
    with pytest.raises(InputError, match=r"^in/a\.jsonl: can't be read \(permission denied\)"):
        run(*flags)


def test_where_absolute_paths_were_given_they_stay(tmp_path: Path) -> None:
    write_tree(tmp_path, {"in/a.jsonl": b'{"text": 1}\n{"text"\n'})
    with pytest.raises(DataError, match=rf"^{re.escape(str(tmp_path))}/in/a\.jsonl: "):
        run(f"--input={tmp_path}/in", f"--output={tmp_path}/out", "--text_field=text")
