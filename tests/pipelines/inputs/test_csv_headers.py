"""Headers of CSV that would be shuffled among the records are warned of, and nothing else is."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import pytest

from pipelines.inputs.csv_headers import header_warning
from pipelines.recipes.recipe import Recipe
from tests.pipelines.support import run, write_tree
from transforms.datasets.listing import list_sources


def warned(folder: Path, **fields: object) -> str | None:
    recipe = Recipe(sources={"default": [str(folder)]}, **fields)  # type: ignore[arg-type]
    return header_warning(list_sources(recipe.sources), recipe)


@pytest.mark.parametrize(
    "files",
    [
        {"a.csv": b"id,text\n1,one\n2,two\n"},
        {"a.tsv": b"\xef\xbb\xbfid\ttext\r\n1\tone, more\r\n"},
        {"a.csv": b'"id","long text"\n1,"one, two"\n'},
        {"a.csv.gz": gzip.compress(b"id,text\n1,one\n")},
        {"a.csv": b"text\none\n", "b.csv": b"text\ntwo\n"},
        {"0.csv": b"", "a.csv": b"id,text\n" + b"7,x\n" * 9000},
        {"a.csv": b"text,label\nThis is a film that nobody should ever have to see,good\n"},
    ],
)
def test_a_likely_header_is_warned_of(tmp_path: Path, files: dict[str, bytes]) -> None:
    write_tree(tmp_path, files)
    said = warned(tmp_path)
    assert said is not None
    assert said.endswith("is read as a record; if it is a header, pass --header_lines=1")
    assert said.startswith(f"the first line of {tmp_path}/a.")
    assert warned(tmp_path, format="csv") == said
    assert warned(tmp_path, header_lines=1) is None
    assert warned(tmp_path, format="lines") is None


@pytest.mark.parametrize(
    "files",
    [
        {"a.txt": b"id,text\n1,one\n"},
        {"a.csv": b"1,one\n2,two\n"},
        {"a.csv": b"one,two\nthree,four\n"},
        {"a.csv": b"id,id\n1,2\n"},
        {"a.csv": b"id,text\n"},
        {"a.csv": b"id,text\n1,one,more\n"},
        {"a.csv": b"one\ntwo\n", "b.csv": b"three\nfour\n"},
        {"a.csv": b"\n\n", "b.csv": b"\n\n"},
        {"a.csv": b"x" * 40000 + b",y\n"},
        {"a.csv": b""},
    ],
)
def test_other_first_lines_are_not(tmp_path: Path, files: dict[str, bytes]) -> None:
    write_tree(tmp_path, files)
    assert warned(tmp_path) is None


def test_a_run_says_so_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="dovetail")
    write_tree(tmp_path, {"h1.csv": b"id,text\n1,a\n", "h2.csv": b"id,text\n2,b\n"})
    inputs = [f"--input={tmp_path}/h{i}.csv" for i in (1, 2)]
    manifest = run(*inputs, f"--output={tmp_path}/out", "--workers=1")
    assert manifest.records == 4
    assert [m for m in caplog.messages if "h1.csv, 'id,text', is read as a record" in m]
    # nor is a dataset of ours, which was made so
    caplog.clear()
    run(f"--input={tmp_path}/out", f"--output={tmp_path}/again", "--plan")
    assert not caplog.messages
