"""When two levels are taken, and what either asks of a store."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from transforms.kernels.levels import (
    LOCAL_SEGMENT,
    STORE_SEGMENT,
    choose_partitions,
    count_requests,
)
from transforms.kernels.plan import GIB, MIB, Workers, make_plan

TB = 10**12
SIZES = st.integers(0, 200 * TB) | st.integers(0, GIB)


def choose(
    size: int, *, run: int, buckets: int, on_store: bool = True, payload: int = 64 * GIB
) -> int:
    return choose_partitions(
        input_bytes=size,
        runs=math.ceil(size / run),
        buckets=buckets,
        workers=8,
        payload=payload,
        segment_bytes=STORE_SEGMENT if on_store else LOCAL_SEGMENT,
    )


@given(SIZES, st.integers(MIB, GIB), st.booleans())
def test_two_levels_are_taken_only_where_segments_would_be_too_small(
    size: int, run: int, on_store: bool
) -> None:
    buckets = max(1, math.ceil(size / run))
    first = choose(size, run=run, buckets=buckets, on_store=on_store)
    segment = size / (max(1, math.ceil(size / run)) * buckets)
    least = STORE_SEGMENT if on_store else LOCAL_SEGMENT
    if first > 1:
        assert segment < least
        assert first <= buckets
    else:
        assert segment >= least or size <= run


@given(st.integers(TB, 200 * TB), st.integers(512 * MIB, GIB))
def test_both_levels_segments_are_large_then(size: int, run: int) -> None:
    buckets = math.ceil(size / run)
    first = choose(size, run=run, buckets=buckets)
    assume(first > 1)
    assert run / first > STORE_SEGMENT
    assert run * first / buckets > STORE_SEGMENT
    assert first % 8 == 0  # of eight workers none waits for the others


def test_tables_of_all_pages_fit_in_memory_with_one_level() -> None:
    size, run = 4000 * GIB, GIB
    assert choose(size, run=run, buckets=4000, on_store=False) == 1
    assert choose(size, run=run, buckets=4000, on_store=False, payload=512 * MIB) > 1


@pytest.mark.parametrize(
    ("size", "on_store", "levels"),
    [(TB // 100, True, 1), (TB // 10, False, 1), (10 * TB, True, 2), (100 * TB, False, 2)],
)
def test_the_plan_says_so(size: int, on_store: bool, levels: int) -> None:
    plan = make_plan(input_bytes=size, workers=Workers(16, 16, 6 * GIB), spill_on_store=on_store)
    assert 1 + (plan.first > 1) == levels


def count(first: int, **other: int) -> float:
    sizes = {
        "footprint": 10 * TB,
        "spilled": 10 * TB,
        "records": 2 * 10**10,
        "run_bytes": GIB,
        "page_bytes": GIB // 8,
        "chunk_bytes": 2 * MIB,
        "buckets": 12_800,
        "partitions": 40_000,
    }
    return count_requests(**{**sizes, **other}, first=first).segments


def test_with_one_level_every_run_has_a_segment_of_every_bucket() -> None:
    assert count(1) == pytest.approx(10 * TB / GIB * 12_800, rel=0.01)


def test_with_two_levels_there_are_a_hundredth_of_them() -> None:
    runs = 10 * TB / GIB
    assert count(128) == pytest.approx(runs * (128 + 12_800 / 128), rel=0.15)


def test_a_segment_without_records_is_not_read() -> None:
    assert count(1, records=1000) == pytest.approx(1000, rel=0.01)
