"""Mixtures through the whole command, against one position at a time in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.verify import verify
from tests.pipelines.mixture_oracle import Asked, mix_plainly
from tests.pipelines.support import (
    cut_otherwise,
    cut_twice,
    join_shards,
    make_lines,
    read_shards,
    run,
    split,
    write_tree,
)
from transforms.datasets.manifest import Manifest
from transforms.kernels.records import blocks
from transforms.mixing import shards, small_sources

SOURCES = {
    "books": {"a.txt": make_lines(90, name="book"), "b.txt": make_lines(37, name="other book")},
    "code": {"x.txt": make_lines(25, name="code")},
    "web": {"w.txt": make_lines(300, name="web"), "deep/v.txt": b"\n\nlast"},
}
SMALL = {"span_bytes": 700, "run_bytes": 6000, "bucket_bytes": 5000, "page_bytes": 900}
WEIGHTS = {"books": Fraction("0.3"), "code": Fraction("0.1"), "web": Fraction("0.6")}

ASKED: dict[str, Asked] = {
    "first exhausted": Asked(weights=WEIGHTS),
    "stratified": Asked(weights=WEIGHTS, interleave="stratified"),
    "all exhausted": Asked(weights=WEIGHTS, stop="all_exhausted"),
    "stratified, all exhausted": Asked(
        weights=WEIGHTS, stop="all_exhausted", interleave="stratified", seed=3
    ),
    "as needed": Asked(weights=WEIGHTS, max_records=900),
    "few": Asked(weights=WEIGHTS, max_records=5),
    "first exhausted or so many": Asked(weights=WEIGHTS, stop="first_exhausted", max_records=10**6),
    "so many bytes": Asked(weights=WEIGHTS, max_bytes=20_000, seed=8),
    "few bytes": Asked(weights=WEIGHTS, max_bytes=700),
    "by bytes": Asked(weights=WEIGHTS, weigh_by="bytes", epoch=2),
    "one source alone": Asked(
        weights={"books": Fraction(0), "code": Fraction(0), "web": Fraction(2)}
    ),
    "repeats": Asked(repeats={"books": Fraction("2.5"), "code": Fraction(7)}),
    "repeats, cut": Asked(repeats={"web": Fraction("0.5"), "code": Fraction(0)}, max_records=150),
    "as one, cut": Asked(max_records=100),
    "as one, few bytes": Asked(max_bytes=4321, seed=1),
    "as one, cut beyond its end": Asked(max_records=10**9),
}


def flags_of(asked: Asked) -> list[str]:
    """Return the flags that ask for it."""
    flags = []
    for name, value in asked._asdict().items():
        if isinstance(value, dict):
            text = ",".join(f"{source}={float(number)}" for source, number in value.items())
            flags.append(f"--{name}={text}")
        elif value is not None and not (name in ("interleave", "weigh_by") and not asked.weights):
            flags.append(f"--{name}={value}")
    return flags


def mix(tmp_path: Path, *flags: Any, output: str = "out") -> Manifest:
    for name, files in SOURCES.items():
        write_tree(tmp_path / name, files)
    inputs = [f"--input={name}={tmp_path / name}" for name in SOURCES]
    return run(*inputs, f"--output={tmp_path / output}", *flags)


def used(asked: Asked) -> dict[str, dict[str, bytes]]:
    """Return the sources that have a weight."""
    return {
        name: files
        for name, files in SOURCES.items()
        if asked.weights is None or asked.weights[name]
    }


def plainly(asked: Asked) -> list[bytes]:
    weights = {name: weight for name, weight in (asked.weights or {}).items() if weight}
    return mix_plainly(used(asked), asked._replace(weights=weights or None))


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize(
    "cut",
    [cut_otherwise, partial(cut_otherwise, **SMALL), partial(cut_twice, **SMALL)],
    ids=["whole", "cut", "two levels"],
)
def test_a_mixture_is_what_one_position_at_a_time_gives(
    tmp_path: Path, asked: Asked, cut: Callable[[], AbstractContextManager[Any]]
) -> None:
    with cut():
        manifest = mix(tmp_path, *flags_of(asked), "--num_shards=3")
    expected = plainly(asked)
    assert split(join_shards(tmp_path / "out")) == expected
    assert manifest.records == len(expected)
    assert len(read_shards(tmp_path / "out")) == 3
    assert verify(str(tmp_path / "out"))[1] == []


def laid_down(tmp_path: Path, *flags: str) -> list[int]:
    """Mix with small buckets; return the payload of each block that was laid down."""
    found: list[int] = []
    real = shards._lay_down

    def spy(*given: Any, **named: Any) -> Any:
        found.append(blocks.payload_bytes(block := real(*given, **named)))
        return block

    with pytest.MonkeyPatch.context() as patch, cut_otherwise(bucket_bytes=400_000):
        patch.setattr(shards, "_lay_down", spy)
        run(*flags, f"--output={tmp_path / 'out'}", "--num_shards=1")
    return found


def test_what_is_laid_down_at_a_time_follows_from_what_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_bytes(b"x\n" * 20_000)
    (tmp_path / "long.txt").write_bytes((b"y" * 4000 + b"\n") * 300)
    inputs = [f"--input={name}={tmp_path / name}.txt" for name in ("many", "long")]
    sizes = laid_down(tmp_path, *inputs, "--weights=many=1,long=9")
    assert sum(sizes) > 1_000_000
    assert max(sizes) < 100_000  # an eighth of the budget, twice: draws are random


def test_of_sparse_rows_no_more_is_laid_down_at_a_time_than_memory_holds(tmp_path: Path) -> None:
    """Nulls count nothing in a record's bytes, and take memory all the same."""
    columns = {f"c{i}": pa.nulls(3000, pa.float64()) for i in range(100)}
    for name in ("a", "b"):
        rows = {"id": [f"{name}{i}" for i in range(3000)], **columns}
        pq.write_table(pa.table(rows), tmp_path / f"{name}.parquet")
    inputs = [f"--input={name}={tmp_path / name}.parquet" for name in ("a", "b")]
    sizes = laid_down(tmp_path, *inputs, "--weights=a=1,b=1")
    assert sum(sizes) > 2_000_000
    assert max(sizes) < 60_000  # an eighth of the budget and some


def test_a_small_source_of_long_records_is_repeated_a_few_passes_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_bytes(b"".join(b"%d" % i * 9000 + b"\n" for i in range(9)))
    (tmp_path / "other.txt").write_bytes(b"z\n")
    inputs = [f"--input={name}={tmp_path / name}.txt" for name in ("long", "other")]
    taken: list[int] = []
    real = small_sources.read

    def spy(*given: Any) -> Any:
        for ordered in real(*given):
            taken.append(blocks.payload_bytes(ordered.block))
            yield ordered

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_sources, "read", spy)
        laid_down(tmp_path, *inputs, "--repeats=long=40")
    assert sum(taken) > 40 * 81_000  # all of it came this way
    # 375,000 is what the source may take: most of the weight, in 400,000 for all; it lies beside them
    assert max(taken) + 81_000 <= 375_000
