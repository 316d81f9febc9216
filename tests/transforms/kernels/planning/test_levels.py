"""When two levels are taken, and what either asks of a store."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.request_model import count_requests
from transforms.kernels.planning.levels import (
    LOCAL_SEGMENT,
    STORE_SEGMENT,
    choose_partitions,
    partition_streams,
)
from transforms.kernels.planning.plan import GIB, MIB, Workers, make_plan

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


# ---- the streams of a mixture


def of_streams(
    sizes: list[int],
    *,
    spans: list[int] | None = None,
    passes: list[int] | None = None,
    share: float = 1.0,
    bucket: int = GIB,
) -> tuple[int, ...]:
    buckets = [max(1, math.ceil(size / bucket)) for size in sizes]
    return partition_streams(
        sizes=sizes,
        spans=spans or [max(1, size // (256 * MIB)) for size in sizes],
        passes=passes or [1] * len(sizes),
        buckets=buckets,
        needed=[max(1, math.ceil(count * share)) for count in buckets],
        run_bytes=GIB,
        workers=8,
        payload=64 * GIB,
        segment_bytes=STORE_SEGMENT,
    )


def test_only_sources_whose_segments_would_be_too_small_take_two_levels() -> None:
    web, books, notes = of_streams([10 * TB, TB // 20, 10**6])
    assert web > 16
    assert (books, notes) == (1, 1)


def test_one_source_is_cut_as_the_plain_shuffle_cuts_it() -> None:
    plain = choose(10 * TB, run=GIB, buckets=math.ceil(10 * TB / GIB))
    assert of_streams([10 * TB]) == (plain,)


def test_a_source_of_many_files_lies_in_most_runs() -> None:
    sizes = [10 * TB, TB // 20]
    assert of_streams(sizes, spans=[40_000, 200])[1] == 1
    assert of_streams(sizes, spans=[40_000, 20_000])[1] > 1


def test_passes_that_are_gathered_together_have_smaller_segments() -> None:
    assert of_streams([3 * TB]) == (1,)
    assert of_streams([3 * TB], passes=[2]) == (1,)
    assert of_streams([3 * TB], passes=[3])[0] > 1


def test_of_what_is_within_reach_partitions_are_as_large_as_of_the_whole() -> None:
    (whole,) = of_streams([8 * TB])
    (tenth,) = of_streams([80 * TB], share=0.1)
    assert whole > 1
    assert tenth == pytest.approx(10 * whole, rel=0.01)


@given(
    st.lists(st.integers(0, 100 * TB) | st.integers(0, GIB), min_size=1, max_size=5),
    st.floats(0.01, 1),
    st.integers(64 * MIB, GIB),
    st.data(),
)
def test_partitions_of_streams_are_fewer_than_half_their_buckets(
    sizes: list[int], share: float, bucket: int, data: st.DataObject
) -> None:
    spans = [data.draw(st.integers(1, 10**6)) for _ in sizes]
    for first, size in zip(
        of_streams(sizes, spans=spans, share=share, bucket=bucket), sizes, strict=True
    ):
        assert first >= 1
        if first > 1:
            assert first <= math.ceil(size / bucket) / 2 + 1
            assert size * share > GIB / 8  # nothing that a run or two hold


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


def test_a_mixtures_shards_read_the_buckets_that_they_end_in_twice() -> None:
    plain, mixed = count(128), count(128, mixed=True)
    again = plain - 10 * TB / GIB * 128
    assert mixed - plain == pytest.approx(again * 40_000 / 12_800, rel=0.05)
