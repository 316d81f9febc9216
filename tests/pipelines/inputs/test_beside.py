"""What is looked at beside whole records is settled, or refused by the flag that asks for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.inputs.beside import inspect_beside
from pipelines.outputs.claim import Claim
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.settings import Settings
from transforms.errors import InputError
from transforms.formats.readers import Beside

LINES = [{"text": "a", "site": "s", "y": 1, "x": 0.5, "odd": 1}, {"text": "b", "odd": "1"}]


def look(tmp_path: Path, **asked: Any) -> Beside:
    """Look at the folder ``in``."""
    reading = Recipe.model_validate({"sources": {"default": [str(tmp_path / "in")]}})
    settings = Settings.model_validate({"output": str(tmp_path / "out")})
    _, beside = inspect_beside(reading, settings, Claim.of_nothing(settings.output), **asked)
    return beside


@pytest.fixture(params=["lines", "array", "rows"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Make the same records in a format."""
    (tmp_path / "in").mkdir()
    if request.param == "rows":
        rows = [{**row, "odd": float(row["odd"])} for row in LINES]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in" / "a.parquet")
    elif request.param == "array":
        (tmp_path / "in" / "a.json").write_text(json.dumps(LINES))
    else:
        text = "".join(json.dumps(row) + "\n" for row in LINES)
        (tmp_path / "in" / "a.jsonl").write_text(text)
    return tmp_path


def test_nothing_asked(folder: Path) -> None:
    assert look(folder) == Beside()
    assert look(folder, text_field="") == Beside(text_field="")


def test_fields_have_one_type_in_all_formats(folder: Path) -> None:
    beside = look(folder, text_field="text", groups=["site"], label="y", features=["x", "site"])
    assert beside.text_field == "text"
    assert beside.fields is not None
    assert beside.fields.names == ("site", "y", "x")
    assert [field.type for field in beside.fields.schema or ()] == [
        *(pa.string(), pa.int64(), pa.float64())
    ]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"text_field": "txt"}, "(--text_field=txt|a column txt).*did you mean text"),
        ({"text_field": "{text} {by}"}, "(a field|a column) by[,;]"),
        ({"groups": ["sight"]}, "(--split_by=sight|a column sight, for --split_by).*mean site"),
        ({"groups": ["site"], "label": "label"}, "(--stratify=label|a column label, for --strat)"),
        ({"groups": ["x"]}, "--split_by=x: expected text, integers or booleans, .*got double"),
        ({"label": "odd"}, "--stratify=odd: expected text, integers or booleans, .*got"),
    ],
)
def test_what_is_not_there_or_can_not_decide(folder: Path, asked: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        look(folder, **asked)


def test_plain_lines_have_no_fields(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("text\n")
    assert look(tmp_path, text_field="text") == Beside(text_field="text")
    with pytest.raises(
        InputError, match=r"rows with fields for --split_by=a,b --stratify=y, got plain"
    ):
        look(tmp_path, groups=["a", "b"], label="y")


def test_of_empty_files_every_field_will_do(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text("")
    (tmp_path / "in" / "b.txt").write_text("")
    assert look(tmp_path, groups=["site"], label="y").fields is not None
