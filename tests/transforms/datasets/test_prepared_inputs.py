"""Prepared datasets as inputs: the rows of one split, of one format, with the model that made them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipelines.datasets.find_record import find_record
from tests.pipelines.datasets.prepared import write_prepared
from tests.pipelines.support import run
from tests.transforms.trainers.support import dataset_of, make_rows
from transforms.datasets.dataset_inputs import manifest_beside
from transforms.datasets.listing import list_source
from transforms.errors import InputError

MODEL = {"url": "model.json", "kind": "a BytePiece model", "ids": 1000, "sha256": "0" * 64}


def listed(*patterns: object) -> list[str]:
    """Return the names of the files that patterns come to."""
    found = list_source("s", [str(pattern) for pattern in patterns])
    return sorted(Path(file.url).name for file in found)


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_dataset_of_one_split_and_format_is_read_by_its_manifest(
    tmp_path: Path, form: str
) -> None:
    write_prepared(tmp_path / "p", formats=[form], validation=False)
    assert listed(tmp_path / "p") == [f"train-0000{i}-of-00002.{form}" for i in (0, 1)]
    (tmp_path / "p/data" / f"train-00002-of-00003.{form}").write_bytes(b"nobody's")
    assert len(listed(tmp_path / "p")) == 2
    (tmp_path / "p/data" / f"train-00001-of-00002.{form}").write_bytes(b"short")
    with pytest.raises(InputError, match="has 5 bytes, expected"):
        listed(tmp_path / "p")


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_its_rows_are_shuffled_and_its_model_is_handed_on(tmp_path: Path, form: str) -> None:
    write_prepared(tmp_path / "p", formats=[form], validation=False, model=MODEL)
    manifest = run(f"--input={tmp_path / 'p'}", f"--output={tmp_path / 'o'}")
    assert manifest.tokenizers is not None
    assert [(one.column, one.model) for one in manifest.tokenizers] == [("input_ids", MODEL)]
    rows = make_rows(dataset_of(), count=20)
    asked = sorted(rows.slice(i, i + 1).ids.tolist() for i in range(20))
    found = [find_record(str(tmp_path / "o"), manifest, manifest.shards, i)[1] for i in range(20)]
    assert sorted(one["input_ids"].tolist() for one in found if isinstance(one, dict)) == asked


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "of 2 splits, 1 formats and 1 epochs; .*/p/data/train-"),
        ({"formats": ["parquet", "flat"]}, "2 splits, 2 formats .*/p/parquet/data/train-"),
        ({"epochs": [1, 2], "validation": False}, "2 epochs; .*/p/epoch-1/data/train-"),
        (
            {"formats": ["flat"], "validation": False},
            "in the format flat, which can't be read back as rows",
        ),
    ],
)
def test_several_splits_formats_or_epochs_are_refused_with_a_pattern_that_names_one(
    tmp_path: Path, options: dict[str, Any], named: str
) -> None:
    write_prepared(tmp_path / "p", **{"formats": ["parquet"], **options})
    with pytest.raises(InputError, match=named) as raised:
        listed(tmp_path / "p")
    if "pass the shards" in str(raised.value):
        pattern = str(raised.value).rpartition(" as in ")[2]
        assert listed(pattern) == [f"train-0000{i}-of-00002.parquet" for i in (0, 1)]


def _refuse(pattern: object, named: str) -> None:
    with pytest.raises(InputError, match=named):
        listed(pattern)


def test_patterns_take_the_shards_of_one_split_alone(tmp_path: Path) -> None:
    write_prepared(tmp_path / "p", formats=["parquet", "megatron"], kind="best_fit", model=MODEL)
    data = tmp_path / "p/parquet/data"
    assert listed(f"{data}/val*") == ["validation-00000-of-00001.parquet"]
    assert len(listed(f"{data}/train-*", f"{data}/val*")) == 3, "both were named"
    _refuse(f"{data}/*", r"matches 2 splits .* \(train, validation\); .*/data/train-")
    _refuse(data, "matches 2 splits")
    _refuse(tmp_path / "p/parquet", r"dataset\.json: the inputs include a prepared dataset")
    _refuse(
        f"{tmp_path}/p/megatron/data/train-*.bin",
        "in the format megatron, which can't be read back as rows",
    )
    (data / "train-00001-of-00002.parquet").unlink()
    _refuse(f"{data}/train-*", "train-00001-of-00002.parquet is missing")
    assert (manifest_beside(str(data)) or {})["prepared"] == 1
    assert manifest_beside(str(tmp_path / "p/other/data")) is None


def test_shards_of_a_run_that_died_are_refused_by_any_pattern(tmp_path: Path) -> None:
    write_prepared(tmp_path / "p", formats=["parquet", "flat"], epochs=[0, 1])
    (tmp_path / "p/manifest.json").rename(tmp_path / "p/_incomplete.json")
    _refuse(f"{tmp_path}/p/epoch-0/parquet/data/train-*", "_incomplete.json: a run is writing")
    _refuse(tmp_path / "p", "_incomplete.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(shards=7),
        lambda m: m["shards"][0].pop("files"),
        lambda m: m["shards"][0]["files"][0].update(path="../x.parquet"),
        lambda m: m["shards"][0]["files"][0].update(bytes="1"),
        lambda m: m.update(shards=[]),
    ],
)
def test_a_manifest_that_was_edited_is_no_traceback(tmp_path: Path, change: Any) -> None:
    write_prepared(tmp_path / "p", formats=["parquet"], validation=False)
    path = tmp_path / "p/manifest.json"
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError):
        listed(tmp_path / "p")


@pytest.mark.parametrize("inner", [("data",), ("parquet", "data")])
def test_on_a_store_it_is_the_same(tmp_path: Path, inner: Sequence[str]) -> None:
    formats = ["parquet", "flat"] if len(inner) > 1 else ["parquet"]
    write_prepared(tmp_path / "p", formats=formats, validation=len(inner) > 1)
    fs = fsspec.filesystem("memory")
    for path in (tmp_path / "p").rglob("*"):
        if path.is_file():
            fs.pipe_file(f"/prepared/{path.relative_to(tmp_path)}", path.read_bytes())
    try:
        url = "memory://prepared/p"
        assert len(listed("/".join([url, *inner, "train-*"]))) == 2
        if len(inner) > 1:
            _refuse(url, "2 splits, 2 formats")
        else:
            assert len(listed(url)) == 2
    finally:
        fs.rm("/prepared", recursive=True)
