"""The manifest in short: tables of many sources, epochs, passes, stages without rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.datasets.in_short import in_short
from pipelines.datasets.prepared_sums import _check_sources
from pipelines.jobs.prepare_summary import split_lines, stage_lines
from tests.pipelines.datasets.prepared import write_prepared
from tests.pipelines.support import run
from transforms.datasets.prepared import MOST_PASSES, PassesOf, SplitEntry, StageEntry, passes_of


@pytest.mark.parametrize(("sources", "more"), [(12, []), (13, ["and 1 more source"])])
def test_tokens_of_a_mixture_are_no_source_of_it(
    tmp_path: Path, sources: int, more: list[str]
) -> None:
    names = [f"s{number:02}" for number in range(sources)]
    for name in names:
        pq.write_table(pa.table({"input_ids": [[1, 2, 3]] * 9}), tmp_path / f"{name}.parquet")
    inputs = [f"--input={name}={tmp_path}/{name}.parquet" for name in names]
    manifest = run(*inputs, f"--output={tmp_path}/o", "--max_tokens=60", "--workers=1")
    lines = list(in_short(manifest, "o"))
    assert "60 tokens in input_ids of 60 requested" in lines
    assert [line for line in lines if " more source" in line] == more
    assert sum(line.startswith("s0") or line.startswith("s1") for line in lines) == 12


@pytest.mark.parametrize(
    ("epochs", "said"),
    [([3], "epoch 3"), (list(range(14)), "epochs 0 to 13"), ([2, 5], "epochs 2, 5")],
)
def test_epochs_are_all_said(tmp_path: Path, epochs: list[int], said: str) -> None:
    manifest = write_prepared(tmp_path, epochs=epochs, count=3, shards=1)
    head, *lines = in_short(manifest, "o")
    assert head.endswith(f", seed 0, {said}")
    splits = len(epochs) + 1
    assert ("and 3 more splits" in lines) == (splits == 15)
    assert ("and 1 more split" in [*split_lines(manifest.splits[:13])]) == (splits == 15)


def _train(folder: Path, *, listed: int, begun: int, stages: int = 1) -> SplitEntry:
    """Return train whose source books was passed; stages after the first are without rows."""
    split = write_prepared(folder, count=4, shards=1).splits[0].model_dump()
    for source in split["stages"][0]["sources"]:
        source["records"] = 6
    one = {"documents": 6, "tokens": 9, "digest": "0" * 32}
    passes = [{**one, "number": number} for number in range(listed)]
    split["stages"][0]["sources"][0].update(passes=passes, passes_begun=begun)
    last = {**split["stages"][0], "first_row": split["rows"], "rows": 0}
    split["stages"] += [last] * (stages - 1)
    return SplitEntry.model_validate(split)


def test_as_many_passes_as_are_listed_are_known(tmp_path: Path) -> None:
    train = _train(tmp_path, listed=MOST_PASSES, begun=MOST_PASSES)
    assert passes_of(train, 0, 0) == PassesOf(MOST_PASSES, MOST_PASSES, 0)


def test_of_too_many_passes_to_list_it_is_said_how_many_began(tmp_path: Path) -> None:
    train = _train(tmp_path, listed=MOST_PASSES, begun=MOST_PASSES + 1)
    assert passes_of(train, 0, 0) is None
    (said,) = (line for line in stage_lines([train]) if line.startswith("books "))
    assert said.rstrip().endswith("1,001 begun")


def test_passes_of_one_of_several_stages_are_not_told_for_those_of_all(tmp_path: Path) -> None:
    train = _train(tmp_path, listed=MOST_PASSES, begun=MOST_PASSES + 1, stages=2)
    lines = list(stage_lines([train]))
    assert not any("begun" in line for line in lines)
    assert f"mixture of train, stage 0, rows 0 to {train.rows - 1}:" in lines
    assert "mixture of train, stage 1, no rows:" in lines


@pytest.mark.parametrize(("documents", "found"), [(6, False), (5, True)])
def test_verify_adds_up_as_many_passes_as_are_listed(
    tmp_path: Path, documents: int, found: bool
) -> None:
    books = _train(tmp_path, listed=MOST_PASSES, begun=MOST_PASSES).stages[0].sources[0]
    many = {"documents": documents * MOST_PASSES, "tokens": 9 * MOST_PASSES}
    source = books.model_copy(update={**many, "share_of_documents": 1.0, "share_of_tokens": 1.0})
    stage = StageEntry(first_row=0, rows=1, sources=[source], **many)
    problems = [line for line in _check_sources(stage) if "of its passes" in line]
    assert bool(problems) == found
