"""The plan: what it hands out fits the memory given, and what it advises works."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.errors import UsageError
from transforms.kernels.planning.plan import (
    FORK_SERVER_BASE,
    FORKED_BASE,
    GIB,
    GOOD_PAYLOAD,
    LAUNCHER_BASE,
    LEAST_PAYLOAD,
    MIB,
    SHARD_BYTES,
    WORKER_BASE,
    Plan,
    Workers,
    base_memory,
    count_shards,
    count_workers,
    make_plan,
    share_memory,
    small_shuffle,
    spill_bytes,
)

TIB = 1024 * GIB
INPUTS = st.integers(0, 10 * TIB) | st.integers(0, 2 * GIB) | st.sampled_from([0, 1, SHARD_BYTES])


@st.composite
def workers(draw: st.DrawFn) -> tuple[int, Workers]:
    """Memory of a machine, from the least that works, and the workers that share it."""
    processes = draw(st.integers(0, 64))
    count = draw(st.integers(1, 8)) * max(1, processes)
    least = LAUNCHER_BASE + processes * WORKER_BASE + count * LEAST_PAYLOAD
    memory = least + draw(st.integers(0, 64 * GIB) | st.integers(0, GIB))
    return memory, share_memory(memory, count=count, processes=processes)


def plan_of(
    input_bytes: int,
    payload: int,
    *,
    num_shards: int | None = None,
    shard_records: int | None = None,
) -> Plan:
    """Plan for one worker with this payload."""
    return make_plan(
        input_bytes=input_bytes,
        workers=Workers(1, 0, payload),
        num_shards=num_shards,
        shard_records=shard_records,
    )


PAYLOADS = st.integers(LEAST_PAYLOAD, 64 * GIB) | st.integers(LEAST_PAYLOAD, GIB)
NUMBERS = st.none() | st.integers(1, 5000)


@given(workers(), INPUTS, NUMBERS, NUMBERS)
def test_what_is_held_at_once_fits_the_memory_given(
    shared: tuple[int, Workers], input_bytes: int, shards: int | None, shard_records: int | None
) -> None:
    memory, team = shared
    plan = make_plan(
        input_bytes=input_bytes, workers=team, num_shards=shards, shard_records=shard_records
    )
    base = LAUNCHER_BASE + team.processes * WORKER_BASE
    assert team.count == team.slots * max(1, team.processes)
    assert base + team.count * team.payload <= memory
    # sorting holds a run twice beside the chunk being read; gathering a bucket twice, and a page
    assert 2 * plan.run_bytes + plan.chunk_bytes <= team.payload
    assert 2 * plan.bucket_bytes + plan.page_bytes <= team.payload
    assert plan.record_limit <= team.payload // 4
    # offsets and lengths are kept in 32 bits where a page is described
    assert max(plan.run_bytes, plan.bucket_bytes, plan.page_bytes, plan.record_limit) <= GIB
    assert min(plan.run_bytes, plan.page_bytes, plan.chunk_bytes, plan.record_limit) > 0
    assert plan.chunk_bytes <= plan.run_bytes
    assert plan.page_bytes <= plan.bucket_bytes


@given(INPUTS, PAYLOADS, NUMBERS, NUMBERS)
def test_buckets_subdivide_partitions_until_one_fits(
    input_bytes: int, payload: int, shards: int | None, shard_records: int | None
) -> None:
    plan = plan_of(input_bytes, payload, num_shards=shards, shard_records=shard_records)
    assert plan.partitions >= 1
    halvings, odd = divmod(plan.buckets, plan.partitions)
    assert odd == 0
    assert halvings & (halvings - 1) == 0, "not a power of two: halves would not nest"
    assert input_bytes / plan.buckets <= plan.bucket_bytes
    if halvings > 1:  # no finer than it has to be
        assert input_bytes / (plan.buckets // 2) > plan.bucket_bytes / 2


@given(INPUTS, PAYLOADS, PAYLOADS, st.integers(1, 16), st.none() | st.integers(1, 5000))
def test_shards_depend_on_no_memory_and_no_workers(
    input_bytes: int, payload: int, other: int, count: int, num_shards: int | None
) -> None:
    here = plan_of(input_bytes, payload, num_shards=num_shards)
    there = make_plan(
        input_bytes=input_bytes, workers=Workers(count, count, other), num_shards=num_shards
    )
    wanted = num_shards or count_shards(input_bytes)
    assert here.shards == there.shards == wanted
    assert here.partitions == there.partitions == wanted


@given(INPUTS, PAYLOADS, st.integers(1, 10**9))
def test_shards_by_records_are_left_to_the_count(
    input_bytes: int, payload: int, shard_records: int
) -> None:
    assert plan_of(input_bytes, payload, shard_records=shard_records).shards is None


@pytest.mark.parametrize(
    ("input_bytes", "shards"),
    [
        (0, 1),
        (1, 1),
        (SHARD_BYTES, 1),
        (SHARD_BYTES + 1, 2),
        (2 * SHARD_BYTES + 1, 4),
        (15 * SHARD_BYTES, 16),
        (4 * GIB, 16),
        (10 * TIB, 40960),
    ],
)
def test_shards_are_256_mib_at_most_and_a_round_number(input_bytes: int, shards: int) -> None:
    assert count_shards(input_bytes) == shards


@given(INPUTS, workers())
def test_every_worker_gets_spans_of_a_large_input(
    input_bytes: int, shared: tuple[int, Workers]
) -> None:
    _, team = shared
    span = make_plan(input_bytes=input_bytes, workers=team).span_bytes
    assert 4 * MIB <= span <= 256 * MIB
    if input_bytes >= team.count * 64 * MIB:
        assert input_bytes // span >= team.count * 16


@given(st.integers(1, 32), st.integers(0, 32), st.data())
def test_too_little_memory_is_refused_with_a_value_that_works(
    count: int, processes: int, data: st.DataObject
) -> None:
    least = LAUNCHER_BASE + processes * WORKER_BASE + count * LEAST_PAYLOAD
    memory = data.draw(st.integers(0, least - 1))
    with pytest.raises(UsageError, match="is too little for") as caught:
        share_memory(memory, count=count, processes=processes)
    named = int(re.findall(r"pass --memory=(\d+)MiB", str(caught.value))[0]) * MIB
    assert share_memory(named, count=count, processes=processes).payload >= LEAST_PAYLOAD
    with pytest.raises(UsageError):  # and no less would do
        share_memory(named - MIB, count=count, processes=processes)


def test_one_worker_is_advised_only_where_it_works() -> None:
    with pytest.raises(UsageError) as caught:
        share_memory(100 * MIB, count=2, processes=2)
    assert "--workers=1" not in str(caught.value)


@given(INPUTS, PAYLOADS)
def test_no_shard_is_too_large(input_bytes: int, payload: int) -> None:
    assert plan_of(input_bytes, payload, num_shards=1).shards == 1


@given(INPUTS, PAYLOADS, st.integers(1, 10**6))
def test_groups_of_shards_by_records_fit_in_memory(
    input_bytes: int, payload: int, shard_records: int
) -> None:
    plan = plan_of(input_bytes, payload, shard_records=shard_records)
    assert 2 * input_bytes / plan.partitions <= payload


@given(st.integers(0, 16 * GIB), st.integers(1, 64), st.integers(0, TIB))
def test_by_default_no_more_workers_start_than_memory_and_cores_allow(
    memory: int, cores: int, input_bytes: int
) -> None:
    count = count_workers(memory, cores=cores, input_bytes=input_bytes)
    assert 1 <= count <= cores
    if count > 1:
        assert input_bytes > 64 * MIB, "a small input pays for no process"
        assert share_memory(memory, count=count, processes=count).payload >= GOOD_PAYLOAD
    if input_bytes > 64 * MIB:
        for more in range(count + 1, cores + 1):
            assert (memory - base_memory(more, more)) // more < GOOD_PAYLOAD, (
                f"{more} would have fitted"
            )


@pytest.mark.parametrize(
    ("memory", "cores", "input_bytes", "count"),
    [
        (16 * GIB, 8, TIB, 8),
        (16 * GIB, 1, TIB, 1),
        (16 * GIB, 8, 64 * MIB, 1),
        (512 * MIB, 2, TIB, 1),
        (GIB, 2, TIB, 2),
        (0, 2, TIB, 1),
    ],
)
def test_default_workers_of_some_machines(
    memory: int, cores: int, input_bytes: int, count: int
) -> None:
    assert count_workers(memory, cores=cores, input_bytes=input_bytes) == count


@pytest.mark.parametrize(
    ("compression", "stores", "input_bytes", "count"),
    [
        ("none", False, 300 * 10**6, 1),
        ("none", False, 600 * 10**6, 2),
        ("zstd", False, 300 * 10**6, 1),
        ("gzip", False, 100 * 10**6, 1),
        ("gzip", False, 300 * 10**6, 2),
        ("none", True, 100 * 10**6, 2),
    ],
)
def test_a_second_worker_starts_where_it_was_seen_to_save_time(
    compression: str, stores: bool, input_bytes: int, count: int
) -> None:
    small = small_shuffle(compression, stores=stores)
    assert count_workers(16 * GIB, cores=2, input_bytes=input_bytes, small=small) == count


def test_512_mib_are_enough_for_one_worker() -> None:
    alone = share_memory(512 * MIB, count=1, processes=0)
    assert alone.slots == 1
    assert make_plan(input_bytes=4 * GIB, workers=alone).shards == 16


@given(st.integers(0, TIB), st.integers(0, 10**12))
def test_spill_files_take_payload_key_and_offset(input_bytes: int, records: int) -> None:
    assert spill_bytes(input_bytes=input_bytes, records=records) >= input_bytes + 16 * records


def test_what_decoders_hold_is_taken_from_each_workers_share() -> None:
    without = share_memory(GIB, count=2, processes=2)
    assert share_memory(GIB, count=2, processes=2, window=64 * MIB).payload == (
        without.payload - 64 * MIB
    )
    with pytest.raises(UsageError, match="--memory=1024MiB is too little"):
        share_memory(GIB, count=2, processes=2, window=256 * MIB)
    assert count_workers(GIB, cores=2, input_bytes=GIB) == 2
    assert count_workers(GIB, cores=2, input_bytes=GIB, window=200 * MIB) == 1


@given(st.integers(2, 64), st.integers(0, GIB), st.integers(0, GIB))
def test_forked_processes_take_what_they_share_once(count: int, window: int, shared: int) -> None:
    taken = {"window": window, "shared": shared}
    further = [
        base_memory(n + 1, n + 1, forked=forked, **taken)
        - base_memory(n, n, forked=forked, **taken)
        for n in (count - 1, count)
        for forked in (True, False)
    ]
    assert further == 2 * [FORKED_BASE + window, WORKER_BASE + window + shared]
    first = base_memory(1, 1, forked=True, **taken)
    assert first == LAUNCHER_BASE + FORK_SERVER_BASE + FORKED_BASE + window + shared
    # without processes nothing is forked
    alone = LAUNCHER_BASE + window + shared
    assert base_memory(1, 0, forked=True, **taken) == base_memory(1, 0, **taken) == alone


def test_workers_that_are_forked_have_more_payload() -> None:
    forked, anew = (
        share_memory(2 * GIB, count=4, processes=4, shared=100 * MIB, forked=forked)
        for forked in (True, False)
    )
    gained = 4 * (WORKER_BASE - FORKED_BASE) + 3 * 100 * MIB - FORK_SERVER_BASE
    assert forked.payload - anew.payload == gained // 4
    assert (forked.forked, anew.forked) == (True, False)
