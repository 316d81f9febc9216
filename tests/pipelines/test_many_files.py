"""Many input files: listed in a Parquet file beside the manifest, which is checked and used."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import pipelines.verify
from pipelines.verify import read_manifest
from tests.pipelines.support import join_shards, run, write_tree
from transforms.datasets import manifest, manifest_files, write_manifest
from transforms.errors import UsageError


def _set_most(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    for module in (manifest, write_manifest):
        monkeypatch.setattr(module, "MOST", count)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    _set_most(monkeypatch, 20)
    write_tree(tmp_path / "in", {f"{i:03}.txt": b"%d\n" % i * (i % 4) for i in range(50)})
    run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}")
    return tmp_path / "o"


def test_the_listing_has_every_file_and_the_manifest_refers_to_it(dataset: Path) -> None:
    made = read_manifest(str(dataset))
    assert made.sources[0].files == []
    assert made.files_listing is not None
    assert made.files_listing.files == 50
    rows = pq.read_table(dataset / "manifest.files.parquet").to_pylist()
    assert [row["name"] for row in rows] == [f"{i:03}.txt" for i in range(50)]
    assert [row["records"] for row in rows] == [i % 4 for i in range(50)]
    assert [row["size"] for row in rows] == [len(b"%d\n" % i) * (i % 4) for i in range(50)]
    sums = manifest_files.sum_files(made, str(dataset))["default"]
    assert sums.digest.to_json() == made.sources[0].digest.model_dump()
    assert pipelines.verify.verify(str(dataset))[1] == []


def test_a_listing_that_is_gone_or_changed_is_found(dataset: Path) -> None:
    path = dataset / "manifest.files.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "differ" in pipelines.verify.verify(str(dataset))[1][0]
    path.unlink()
    assert "missing" in pipelines.verify.verify(str(dataset))[1][0]


def test_overwriting_removes_it(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _set_most(monkeypatch, 1000)
    with pytest.raises(UsageError, match="holds a dataset"):
        run(f"--input={dataset.parent / 'in'}", f"--output={dataset}")
    run(f"--input={dataset.parent / 'in'}", f"--output={dataset}", "--overwrite")
    assert not (dataset / "manifest.files.parquet").exists()
    assert len(read_manifest(str(dataset)).sources[0].files) == 50


def test_such_a_dataset_is_an_input_like_others(dataset: Path, tmp_path: Path) -> None:
    run(f"--input={dataset}", f"--output={tmp_path / 'again'}")
    assert sorted(join_shards(tmp_path / "again").splitlines()) == sorted(
        join_shards(dataset).splitlines()
    )
