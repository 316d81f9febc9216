"""InterleaveSources on somebody's own records, without files."""

from __future__ import annotations

import traceback
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pytest

from pipelines.verify import verify
from tests.transforms.helpers import create, run
from tests.transforms.kernels import oracles
from tests.transforms.kernels.schedules import schedule_oracles
from transforms.datasets.manifest import now
from transforms.datasets.records import BlocksFromRecords, position_of
from transforms.datasets.write import WriteShards
from transforms.datasets.write_manifest import WriteManifest
from transforms.errors import RunError, from_traceback
from transforms.kernels.randomness import derive
from transforms.kernels.schedules.mixture import Amounts, Mixture
from transforms.kernels.schedules.weights import scale
from transforms.mixing.interleave import InterleaveSources, _weigh, plan_streams
from transforms.shuffling.spill_files import Spilling

RECORDS = {
    "a": [b"a%d" % i for i in range(60)],
    "b": [b"bb%d" % i for i in range(25)],
}
WEIGHTS = {"a": Fraction(2), "b": Fraction(1)}


def mix(
    root: Any,
    output: Path,
    mixture: Mixture,
    *,
    limits: tuple[int, ...] | None = None,
    release: bool | None = None,
) -> None:
    own = {
        name: root
        | f"Create {name}" >> create([(i, record) for i, record in enumerate(records)])
        | f"Blocks {name}" >> BlocksFromRecords(source=name)
        for name, records in RECORDS.items()
    }
    located = [found.blocks for found in own.values()] | "Blocks" >> beam.Flatten()
    spans = [found.spans for found in own.values()] | "Spans" >> beam.Flatten()
    amounts = Amounts((60, 25), (240, 100))
    streams = plan_streams(mixture, amounts=amounts, about=[200.0, 100.0], size=1 << 20)
    streams = replace(streams, limits=limits or streams.limits)
    if release is not None:  # two levels, of one of the sources
        streams = replace(streams, buckets=(10, 1), needed=(), partitions=(4, 1))
    shards, every, mixed = (located, spans) | InterleaveSources(
        mixture=mixture,
        streams=streams,
        spill=Spilling(
            folders=[str(output.parent / "spill")],
            run_bytes=1 << 10,
            release=bool(release),
        ),
        num_shards=2,
    )
    written = shards | WriteShards(output=str(output), sources=2)
    (every, written, mixed) | WriteManifest(
        output=str(output), sources=["a", "b"], recipe={}, seed=5, epoch=0, started=now()
    )


@pytest.mark.parametrize(
    ("out", "shards", "buckets"),
    [
        ((1 << 30, 1 << 28), 64, (256, 64)),  # four a shard, but none below 4 MiB
        ((1 << 29, 1 << 28), 16, (128, 64)),  # of what comes out, here half of a
        ((1 << 30, 1 << 28), 1, (4, 4)),
        ((1 << 30, 1 << 29), 16, (64, 32)),  # two passes of b, each over half of the shards
    ],
)
def test_buckets_are_finer_than_shards(
    out: tuple[int, int], shards: int, buckets: tuple[int, int]
) -> None:
    # a shard's writer reads every bucket that it touches: of one for four shards, four times as much
    mixture = Mixture(sources=("a", "b"), weights=(Fraction(1),) * 2, seed=0)
    amounts = Amounts((1 << 10,) * 2, (1 << 30, 1 << 28))
    found = plan_streams(mixture, amounts=amounts, about=out, size=8 << 30, shards=shards)
    assert found.buckets == buckets


def read(output: Path) -> list[bytes]:
    data = b"".join(path.read_bytes() for path in sorted((output / "data").iterdir()))
    return data.splitlines()


def test_own_records_come_in_the_schedules_order(tmp_path: Path) -> None:
    mixture = Mixture(sources=("a", "b"), weights=tuple(WEIGHTS.values()), seed=5)
    run(lambda root: mix(root, tmp_path / "out", mixture))
    order = {}
    for name, records in RECORDS.items():
        pair = derive(5, 0, name, 0, "")
        keys = [
            oracles.record_key(*pair, int.from_bytes(position_of(i), "little"))
            for i in range(len(records))
        ]
        order[name] = [record for _, record in sorted(zip(keys, records, strict=True))]
    scaled = scale(list(WEIGHTS.values()))
    draws = schedule_oracles.random_sequence(scaled, seed=5, epoch=0)
    count = schedule_oracles.stop_first(
        schedule_oracles.random_sequence(scaled, seed=5, epoch=0), [60, 25]
    )
    feeds = [iter(order["a"]), iter(order["b"])]
    assert read(tmp_path / "out") == [next(feeds[next(draws)]) for _ in range(count)]
    assert verify(str(tmp_path / "out"))[1] == []


@pytest.mark.parametrize("release", [True, False])
def test_what_the_first_of_two_levels_spilled_stays_where_a_step_may_run_again(
    tmp_path: Path, release: bool
) -> None:
    mixture = Mixture(sources=("a", "b"), weights=tuple(WEIGHTS.values()), seed=5)
    run(lambda root: mix(root, tmp_path / "plain", mixture))
    run(lambda root: mix(root, tmp_path / "out", mixture, release=release))
    assert read(tmp_path / "out") == read(tmp_path / "plain")
    left = list((tmp_path / "spill").glob("first/*.pages"))
    kept = b"".join(path.read_bytes() for path in left)
    assert all((record in kept) != release for record in RECORDS["a"])


def test_own_records_that_fit_in_memory_repeat(tmp_path: Path) -> None:
    mixture = Mixture(sources=("a", "b"), repeats=(Fraction(1), Fraction(3)), seed=5)
    run(lambda root: mix(root, tmp_path / "out", mixture))
    assert sorted(read(tmp_path / "out")) == sorted(RECORDS["a"] + 3 * RECORDS["b"])


def test_own_records_that_do_not_fit_can_not_repeat(tmp_path: Path) -> None:
    mixture = Mixture(sources=("a", "b"), repeats=(Fraction(1), Fraction(3)), seed=5)
    with pytest.raises(Exception) as info:  # noqa: PT011  # Beam's, with ours in its text
        run(lambda root: mix(root, tmp_path / "out", mixture, limits=(100, 100)))
    error = info.value
    found = error if isinstance(error, RunError) else from_traceback(str(error))
    assert "too large for memory" in str(found)


def test_what_counting_finds_wrong_is_the_same_error_from_any_worker() -> None:
    """A process of its own passes its traceback on as text, where the first error of ours counts."""
    mixture = Mixture(sources=("a", "b"), weights=(Fraction(1), Fraction(1)))
    asked: Any = SimpleNamespace(mixture=mixture)
    with pytest.raises(RunError, match="source a has a weight, but no records") as caught:
        _weigh(None, [], [], asked)
    assert isinstance(from_traceback("".join(traceback.format_exception(caught.value))), RunError)
