"""Preparing on a store that fails: the right dataset or a clear error."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import pipelines.prepare
from pipelines.verify import verify
from tests.pipelines.support import read_tree, write_tree
from tests.pipelines.test_prepare import DRAWN, lines_of, texts_of
from tests.pipelines.tokenized import write_model
from tests.stores.faulty import Faults, FaultyStore
from tests.stores.test_faults import left, store
from transforms.errors import DovetailError

__all__ = ["store"]  # the fixture
CORPUS = {
    "a/x.jsonl": lines_of([f"{DRAWN} {i}" for i in range(60)]),
    "b/y.jsonl": lines_of(texts_of([i % 23 for i in range(40)], "y")),
}
LAW = (
    *(
        "--sampling=exact",
        "--alpha=0.1",
        "--weights=a=2,b=1",
        "--rows=60",
        "--split=validation=20%",
    ),
    *("--packing=best_fit", "--sequence_length=16", "--pack_window=900", "--num_shards=3"),
    *("--output_format=parquet,megatron", "--megatron=documents"),
    *("--workers=1", "--direct_running_mode=in_memory"),
)
CUT = {"run_bytes": 6000, "span_bytes": 1500, "page_bytes": 1000, "bucket_bytes": 4000}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A model, and the shards as they are on local disks."""
    root = write_tree(tmp_path_factory.mktemp("expected"), CORPUS)
    model = write_model(root / "model.json")
    prepare(str(root), model)
    return model, shards_of(read_tree(root / "out"))


def prepare(root: str, model: Path) -> None:
    inputs = [f"--input={name}={root}/{name}/*" for name in ("a", "b")]
    pipelines.prepare.run([*inputs, f"--tokenizer={model}", f"--output={root}/out", *LAW])


def shards_of(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if "/data/" in path}


SOME = [
    Faults(0, rate=0.02),
    Faults(1, rate=0.05),
    Faults(2, rate=0.1),
    Faults(3, rate=0.3),
    Faults(7, rate=0.4, only=("complete",), kind="before"),  # at the very end of files in parts
]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("faults", SOME, ids=range(5))
def test_a_prepared_dataset_is_right_or_there_is_a_clear_error(
    faults: Faults, expected: tuple[Path, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step is done again where the store failed in its midst, and does the same."""
    model, shards = expected
    planned = pipelines.prepare.make_plan

    def make_plan(**given: Any) -> Any:
        return dataclasses.replace(planned(**given), segment_bytes=0, **CUT)

    monkeypatch.setattr(pipelines.prepare, "make_plan", make_plan)
    FaultyStore.objects.update({f"b/{name}": data for name, data in CORPUS.items()})
    FaultyStore.faults = faults
    error = None
    try:
        prepare("faulty://b", model)
    except DovetailError as raised:
        error = raised
    FaultyStore.faults = Faults()
    assert faults.errors
    if error is None or "manifest.json" in left():
        assert shards_of(left()) == shards
        assert verify("faulty://b/out")[1] == []
    else:
        assert "faulty://b" in str(error)
