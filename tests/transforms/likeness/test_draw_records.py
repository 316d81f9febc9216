"""Draws: those that one walk along all records in their order gives, whoever reads and scores them."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest

from tests.transforms.helpers import THREADS, collect
from tests.transforms.likeness.made import make_model, make_texts, reading, write_json
from transforms.errors import DovetailError
from transforms.kernels.likeness.draws import drawn, points
from transforms.kernels.likeness.folds import folds_of
from transforms.kernels.likeness.weights import Weighing, counted, weigh
from transforms.kernels.records.digest import record_hashes
from transforms.likeness import score_records
from transforms.likeness.draw_records import DrawRecords
from transforms.likeness.drawn import Drawn, find_pairs, read_drawn
from transforms.likeness.score_records import (
    ScoreRecords,
    WeighScores,
    read_weighing,
    write_model,
)
from transforms.shuffling.spill_files import Spilling

TEXTS = make_texts(2000)
MOST = Fraction(3)


def hashes_of(texts: list[str]) -> Any:
    data = np.frombuffer("".join(texts).encode(), np.uint8)
    offsets = np.cumsum([0, *(len(text.encode()) for text in texts)])
    return record_hashes(data, offsets)


def weighed(texts: list[str]) -> tuple[Weighing, Any]:
    """Score and weigh all texts at once."""
    model = make_model()
    scores = model.score(texts, {}, folds_of(*hashes_of(texts), model.seed))
    found = weigh(*counted(scores), max_weight=MOST)
    return found, found.units_of(scores)


def draw(sources: Any, spilled: Path, draws: int, **options: Any) -> tuple[Weighing, Drawn]:
    spilled.mkdir(parents=True)
    span_bytes = options.pop("span_bytes", 1 << 30)
    model = write_model(make_model(), str(spilled))
    spill = Spilling(folders=[str(spilled)])

    def build(root: Any) -> Any:
        scored = root | ScoreRecords(
            reading=reading(sources, span_bytes=span_bytes),
            model=root | "Model" >> beam.Create([model]),
            spill=spill,
            keep=True,
        )
        weighing = scored.counts | WeighScores(max_weight=MOST, spill=spill)
        found = (scored.pages, weighing) | DrawRecords(draws=draws, seed=9, spill=spill)
        named = [
            one | f"{i}" >> beam.Map(lambda ref, i=i: (i, ref))
            for i, one in enumerate((weighing, found))
        ]
        return named | beam.Flatten()

    found = dict(collect(build, **options))
    return read_weighing(found[0]), read_drawn(found[1])


@pytest.mark.parametrize("draws", [1, 300, 5000])
def test_what_is_drawn_is_what_one_walk_along_the_records_gives(tmp_path: Path, draws: int) -> None:
    sources = write_json(tmp_path / "in", TEXTS)
    want, units = weighed(TEXTS)
    every = points(draws, total=int(units.sum()), seed=9)
    places, times = drawn(units, begin=0, points=every)
    contents = {
        (int(a), int(b)) for a, b in zip(*hashes_of([TEXTS[i] for i in places]), strict=True)
    }
    for name, more in (("one", {}), ("many", {"span_bytes": 1 << 13, **THREADS})):
        weighing, found = draw(sources, tmp_path / name, draws, **more)
        assert weighing.clipped == want.clipped > 0
        assert (weighing.units == want.units).all()
        assert int(found.times.sum()) == draws
        assert Counter(found.times.tolist()) == Counter(times.tolist())
        assert {(int(a), int(b)) for a, b in zip(*found.contents, strict=True)} == contents


def test_other_spans_pages_and_threads_draw_the_same_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = write_json(tmp_path / "in", TEXTS)
    _, one = draw(sources, tmp_path / "one", 500)
    monkeypatch.setattr(score_records, "_PAGE_RECORDS", 90)
    _, other = draw(sources, tmp_path / "other", 500, span_bytes=1 << 12, **THREADS)
    assert all((a == b).all() for a, b in zip(one.ids, other.ids, strict=True))
    assert (one.times == other.times).all()


def test_nothing_to_draw_from_is_an_error(tmp_path: Path) -> None:
    sources = write_json(tmp_path / "in", [], files=1)
    with pytest.raises(DovetailError, match="--draw=3: expected records to draw from"):
        draw(sources, tmp_path / "spill", 3)


def test_pairs_are_found_where_first_halves_are_equal() -> None:
    first = np.array([1, 1, 1, 4], np.uint64)
    second = np.array([2, 5, 9, 0], np.uint64)
    asked = np.array([1, 1, 4, 4, 0, 9, 1], np.uint64), np.array([9, 3, 0, 1, 0, 0, 2], np.uint64)
    assert find_pairs(asked, (first, second)).tolist() == [2, -1, 3, -1, -1, -1, 0]
