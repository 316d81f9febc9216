"""The example of self-training does what it says, on the small part of the reviews that is shipped."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.pipelines.support import ROOT

SCRIPT = ROOT / "examples" / "self_training.py"
LABELLED = 60


@pytest.fixture(scope="module")
def example() -> Any:
    pytest.importorskip("sklearn")
    spec = importlib.util.spec_from_file_location("self_training", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(example: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Run it, one round of each way; return the folder, and the rounds by way."""
    output = tmp_path_factory.mktemp("self_training")
    options = example.Options(output, labelled=LABELLED, rounds=1, pieces=2500)
    return output, example.run(options, example.REVIEWS)


def reviews(folder: Path, split: str) -> list[dict[str, Any]]:
    paths = sorted(folder.glob(f"data/{split}-*"))
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def texts(found: list[dict[str, Any]]) -> set[str]:
    return {review["text"] for review in found}


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / "data").to_pylist()
    return found


def test_held_out_texts_stand_nowhere_else(run: tuple[Path, Any]) -> None:
    held_out = texts(reviews(run[0] / "held_out", "held_out"))
    others = texts(reviews(run[0] / "held_out", "train"))
    assert held_out
    assert not held_out & others
    for by in ("identity", "content"):
        parts = [texts(reviews(run[0] / by, split)) for split in ("labelled", "rest", "leaky")]
        assert set.union(*parts) == others
        assert bool(parts[0] & parts[1]) == (by == "identity")


def test_one_by_one_the_labelled_are_as_many_as_asked_and_have_the_shares_of_labels(
    run: tuple[Path, Any],
) -> None:
    labelled = Counter(review["label"] for review in reviews(run[0] / "identity", "labelled"))
    there = labelled + Counter(review["label"] for review in reviews(run[0] / "identity", "rest"))
    assert labelled.total() == LABELLED
    assert all(
        abs(labelled[label] - LABELLED * there[label] / there.total()) < 1 for label in (0, 1)
    )
    by_content = reviews(run[0] / "content", "labelled")
    assert LABELLED - 8 <= len(by_content) <= LABELLED
    assert len(texts(by_content)) < len(texts(reviews(run[0] / "identity", "labelled")))


def test_texts_with_both_labels_are_left_out(example: Any, run: tuple[Path, Any]) -> None:
    lines = example.REVIEWS.read_bytes().splitlines()
    labels: dict[str, set[int]] = {}
    for review in map(json.loads, lines):
        labels.setdefault(review["text"], set()).add(review["label"])
    good = [line for line in lines if len(labels[json.loads(line)["text"]]) == 1]
    assert len(good) < len(lines)
    assert (run[0] / "reviews.jsonl").read_bytes().splitlines() == good


@pytest.mark.parametrize("by", ["identity", "content"])
def test_the_rest_gets_a_label_each_and_is_mixed_with_the_labelled_by_weight(
    run: tuple[Path, Any], by: str
) -> None:
    output, found = run
    truth = {review["id"]: review["label"] for review in reviews(output / by, "rest")}
    bare = {row["id"]: row for row in rows(output / f"{by}-rest-tokens")}
    assert all(row.keys() == {"id", "input_ids"} for row in bare.values())
    pseudo = rows(output / f"{by}-pseudo-1")
    assert sorted(row["id"] for row in pseudo) == sorted(truth)
    assert all(row == {**bare[row["id"]], "label": row["label"]} for row in pseudo)
    right = sum(row["label"] == truth[row["id"]] for row in pseudo)
    baseline = next(one for one in found[by] if one.number == 0)
    assert baseline.rest == pytest.approx(right / len(truth))
    mixed = Counter(row["id"] for row in rows(output / f"{by}-mixed-1"))
    known = sum(times for id_, times in mixed.items() if id_ not in truth)
    assert truth.keys() <= mixed.keys()
    assert known / mixed.total() == pytest.approx(0.5, abs=0.05)


def test_each_round_stands_beside_the_baseline(run: tuple[Path, Any]) -> None:
    for by, rounds in run[1].items():
        assert [one.number for one in rounds] == [-1, 0, 1]
        assert [one.leaky is None for one in rounds] == [by == "content"] * 3
        assert all(0.4 < one.held_out < 1 for one in rounds)
        assert all(f"{one.held_out:.2%}" in str(one) for one in rounds)
        assert rounds[0].rest > rounds[1].rest  # it was trained on them


def test_what_changed_is_counted_between_rounds(example: Any) -> None:
    class Model:
        @staticmethod
        def predict(features: Any) -> Any:
            return features

    part = example.Documents("", np.arange(3), np.array([0, 1, 1]), np.array([0, 1, 0]))
    found = {"held_out": part, "rest": part, "labelled": part}
    one = example.judge(3, Model, found, np.array([1, 1, 1]))
    assert (one.changed, one.leaky) == (2, None)
    assert one.held_out == one.rest == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("after", "changed", "said"),
    [
        (0.7512, 0, "predictions stand still; held-out accuracy rose by 0.12 points"),
        (0.7488, 3, "predictions still change; held-out accuracy fell by 0.12 points"),
    ],
)
def test_what_came_out_is_said_as_it_is(
    example: Any, after: float, changed: int, said: str
) -> None:
    before = example.Round(0, 0.75, None, 0.7, 0)
    assert example.conclusion(before, example.Round(4, after, None, 0.7, changed)) == said
