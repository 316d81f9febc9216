"""Splitting on a store that fails: the right dataset or a clear error."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import pipelines.split
from pipelines.verify import verify
from tests.pipelines.support import read_tree, write_tree
from tests.pipelines.test_prepare import lines_of, texts_of
from tests.stores.faulty import Faults, FaultyStore
from tests.stores.test_faults import left, store
from transforms.errors import DovetailError
from transforms.splitting import aside

__all__ = ["store"]  # the fixture
CORPUS = {
    "a/x.jsonl": lines_of(texts_of([i % 90 for i in range(140)], "x")),
    "b/y.jsonl": lines_of(texts_of([i % 23 for i in range(40)], "y")),
}
WAYS = {
    "in order": ("--fractions=validation=0.3,test=0.2", "--num_shards=3"),
    "shuffled": ("--fractions=validation=0.3,test=0.2", "--num_shards=3", "--shuffle"),
    "counted": ("--counts=test=50", "--by=identity", "--num_shards=3"),
}
CUT = {"run_bytes": 6000, "span_bytes": 1500, "page_bytes": 1000, "bucket_bytes": 4000}
SOME = [
    Faults(0, rate=0.02),
    Faults(1, rate=0.05),
    Faults(2, rate=0.1),
    Faults(3, rate=0.3),
    Faults(7, rate=0.4, only=("complete",), kind="before"),  # at the very end of files in parts
]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The shards as they are on local disks, each way."""
    found = {}
    for way in WAYS:
        root = write_tree(tmp_path_factory.mktemp("expected"), CORPUS)
        split(str(root), way)
        found[way] = shards_of(read_tree(root / "out"))
    return found


def split(root: str, way: str) -> None:
    inputs = [f"--input={name}={root}/{name}/*" for name in ("a", "b")]
    alone = ("--workers=1", "--direct_running_mode=in_memory")
    pipelines.split.run([*inputs, *WAYS[way], f"--output={root}/out", *alone])


def shards_of(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path.removeprefix("out/"): data for path, data in files.items() if "data/" in path}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("way", "faults"),
    [(way, faults) for faults in SOME for way in WAYS],
    ids=[f"{way}-{number}" for number in range(len(SOME)) for way in WAYS],
)
def test_splits_are_right_or_there_is_a_clear_error(
    way: str,
    faults: Faults,
    expected: dict[str, dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every step is done again where the store failed in its midst, and does the same."""
    planned = pipelines.split.make_plan

    def make_plan(**given: Any) -> Any:
        return dataclasses.replace(planned(**given), segment_bytes=0, **CUT)

    monkeypatch.setattr(pipelines.split, "make_plan", make_plan)
    monkeypatch.setattr(aside, "PAGE_BYTES", 500)
    FaultyStore.objects.update({f"b/{name}": data for name, data in CORPUS.items()})
    given = Faults(faults.seed, rate=faults.rate, only=faults.only, kind=faults.kind)
    FaultyStore.faults = given
    error = None
    try:
        split("faulty://b", way)
    except DovetailError as raised:
        error = raised
    FaultyStore.faults = Faults()
    assert given.errors
    if error is None or "manifest.json" in left():
        assert shards_of(left()) == expected[way]
        assert verify("faulty://b/out")[1] == []
    else:
        assert "faulty://b" in str(error)
