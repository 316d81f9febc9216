"""Mixtures through the whole command, against one position at a time in plain Python."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from pipelines.verify import verify
from tests.pipelines.mixture_oracle import Asked, mix_plainly
from tests.pipelines.support import (
    cut_otherwise,
    join_shards,
    make_lines,
    read_shards,
    run,
    split,
    write_tree,
)
from transforms.errors import UsageError
from transforms.manifest import Manifest

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
@pytest.mark.parametrize("sizes", [{}, SMALL], ids=["whole", "cut"])
def test_a_mixture_is_what_one_position_at_a_time_gives(
    tmp_path: Path, asked: Asked, sizes: dict[str, int]
) -> None:
    with cut_otherwise(**sizes):
        manifest = mix(tmp_path, *flags_of(asked), "--num_shards=3")
    expected = plainly(asked)
    assert split(join_shards(tmp_path / "out")) == expected
    assert manifest.records == len(expected)
    assert len(read_shards(tmp_path / "out")) == 3
    assert verify(str(tmp_path / "out"))[1] == []


@pytest.mark.parametrize("name", [name for name, asked in ASKED.items() if not asked.max_bytes])
@pytest.mark.parametrize("sizes", [{}, SMALL], ids=["whole", "cut"])
def test_the_engine_gives_the_same(tmp_path: Path, name: str, sizes: dict[str, int]) -> None:
    asked = ASKED[name]
    with cut_otherwise(**sizes):
        manifest = mix(tmp_path, *flags_of(asked), "--num_shards=3", "--exchange=engine")
    expected = plainly(asked)
    assert split(join_shards(tmp_path / "out")) == expected
    assert manifest.records == len(expected)
    assert len(read_shards(tmp_path / "out")) == 3
    assert verify(str(tmp_path / "out"))[1] == []


def test_both_exchanges_say_the_same_of_a_mixture(tmp_path: Path) -> None:
    flags = ["--weights=books=3,code=1,web=6", "--stop=all_exhausted", "--shard_records=100"]
    files = mix(tmp_path, *flags, output="files")
    engine = mix(tmp_path, *flags, "--exchange=engine", output="engine")
    assert engine.mixture == files.mixture
    assert engine.shards == files.shards


def test_a_stop_by_bytes_needs_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--exchange=engine and --max_bytes=100: expected files"):
        mix(tmp_path, "--max_bytes=100", "--exchange=engine")
