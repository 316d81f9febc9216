"""docs/reference/trainers.md says of each format what it says itself."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.pipelines.support import ROOT
from tests.transforms.trainers.support import dataset_of, make_rows, write
from transforms.trainers.checks import KINDS
from transforms.trainers.formats import FORMATS

PAGE = (ROOT / "docs" / "reference" / "trainers.md").read_text()
VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("parquet", "`parquet`", {}),
    (
        "parquet",
        "`parquet` with `--keep_fields`, `--keep_source`",
        {"kept": pa.schema([("title", pa.string())])},
    ),
    ("parquet", "`parquet --layout=megatron_bridge`", {"options": {"layout": "megatron_bridge"}}),
    ("arrow", "`arrow`", {}),
    ("megatron", "`megatron --megatron=documents`", {"options": {"megatron": "documents"}}),
    ("megatron", "`megatron --megatron=rows`", {"options": {"megatron": "rows"}}),
    ("flat", "`flat`", {}),
    ("flat", "`flat --header=llmc`", {"options": {"header": "llmc"}}),
    ("olmo", "`olmo`", {}),
]


def line_of(name: str, label: str, more: dict[str, Any]) -> str:
    """Return the line of the page's table that a format's own words make."""
    form, cells = FORMATS[name], []
    for kind in KINDS:
        needs = form.needs(dataset_of(kind, **more))
        filled = "as they are" if needs.filler == "none" else f"filled: {needs.filler}"
        cells.append(filled if kind in needs.packings else "no")
    needs = form.needs(dataset_of("concat", **more))
    also = ", ".join(["EOS"] * needs.end + ["EOS at cuts"] * needs.end_at_cuts)
    made = form.unit(dataset_of("concat", **more))
    return " | ".join(["", label, made, *cells, also, ""]).strip().replace("|  |", "| |")


@pytest.mark.parametrize(
    "variant", [one for one in VARIANTS if one[0] in FORMATS], ids=lambda variant: variant[1]
)
def test_the_table_says_what_the_formats_say(variant: tuple[str, str, dict[str, Any]]) -> None:
    assert line_of(*variant) in PAGE.splitlines()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_line_and_a_part(name: str) -> None:
    assert name in [variant[0] for variant in VARIANTS]
    assert f"\n## {name}\n" in PAGE


@pytest.mark.parametrize("options", [{}, {"header": "llmc"}])
@pytest.mark.parametrize("ids", [65_536, 65_537])
def test_the_line_that_opens_flat_files_opens_them(
    tmp_path: Path, options: dict[str, str], ids: int
) -> None:
    form, dataset = FORMATS["flat"], dataset_of("none", ids=ids, options=options)
    folder = tmp_path / 'a "b" [1]'
    (folder / "data").mkdir(parents=True)
    shards = [make_rows(dataset, count=20, seed=seed) for seed in (1, 2)]
    for number, rows in enumerate(shards):
        data = write(form, dataset, [rows])[".bin"]
        (folder / "data" / f"train-0000{number}-of-00002.bin").write_bytes(data)
    opened = eval(form.how_to_open(dataset, str(folder)), {"numpy": np, "glob": glob})
    assert [part.tolist() for part in opened] == [rows.ids.tolist() for rows in shards]


@pytest.mark.parametrize(
    ("name", "options", "folder"),
    [
        ("parquet", {}, "ready/parquet"),
        ("arrow", {}, "ready/arrow"),
        ("flat", {}, "ready/flat"),
        ("flat", {"header": "llmc"}, "llmc"),
    ],
)
def test_the_line_that_opens_a_format_stands_on_the_page(
    name: str, options: dict[str, str], folder: str
) -> None:
    assert FORMATS[name].how_to_open(dataset_of("none", options=options), folder) in PAGE
