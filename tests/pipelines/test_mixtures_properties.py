"""What holds for every mixture: orders that weights leave alone, shares, one position at a time."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.mixture_oracle import Asked, mix_plainly, records_of
from tests.pipelines.support import cut_otherwise, join_shards, run, split, write_tree
from tests.pipelines.test_mixtures import SMALL, SOURCES, flags_of, mix
from transforms.kernels.randomness import derive

NAMES = ("a", "b", "c", "d")
KIND = {
    record: name for name, files in SOURCES.items() for d in files.values() for record in split(d)
}


def by_source(folder: Path) -> dict[str, list[bytes]]:
    """Return the records of each source in a dataset, in its order."""
    found = defaultdict(list)
    for record in split(join_shards(folder)):
        found[KIND[record]].append(record)
    return found


@pytest.mark.parametrize("sizes", [{}, SMALL], ids=["whole", "cut"])
def test_what_is_asked_changes_when_records_come_and_never_their_order(
    tmp_path: Path, sizes: dict[str, int]
) -> None:
    longest: dict[str, list[bytes]] = {}
    seen = set()
    for i, flags in enumerate(
        [
            ["--repeats=books=8,code=40,web=4"],
            ["--weights=books=1,code=1,web=1", "--max_records=800"],
            ["--weights=books=8,code=1,web=1", "--interleave=stratified", "--max_records=800"],
            ["--weights=books=0,code=1,web=1", "--weigh_by=bytes", "--max_bytes=9000"],
            ["--temperature=3", "--weigh_by=bytes", "--max_records=400"],
        ]
    ):
        with cut_otherwise(**sizes):
            mix(tmp_path, *flags, output=str(i))
        found = by_source(tmp_path / str(i))
        longest = longest or found
        for source, records in found.items():
            both = min(len(records), len(longest[source]))
            assert records[:both] == longest[source][:both], (flags, source)
            assert both > 20
        seen.add(join_shards(tmp_path / str(i)))
    assert len(seen) == 5


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[dict[str, dict[str, bytes]], Asked]:
    """Draw a few small sources, and what is asked of them."""
    names = NAMES[: draw(st.integers(1, 4))]
    line = st.binary(max_size=9).map(lambda b: b.replace(b"\n", b" ")) | st.sampled_from(
        [b"", b"x"]
    )
    sources = {}
    for name in names:
        files = {}
        for file in ("x.txt", "y/z.txt")[: draw(st.integers(1, 2))]:
            lines = draw(st.lists(line, max_size=12))
            files[file] = b"".join(found + b"\n" for found in [*lines, b"some bytes"])
        sources[name] = files
    seeds: dict[str, Any] = {"seed": draw(st.integers(0, 9)), "epoch": draw(st.integers(0, 3))}
    ends: dict[str, Any] = {
        "max_records": draw(st.none() | st.integers(1, 120)),
        "max_bytes": draw(st.none() | st.integers(1, 900)),
    }
    way = draw(st.sampled_from(["weights", "weights", "weights", "repeats", "none"]))
    numbers = {name: Fraction(draw(st.integers(1, 20)), 4) for name in names}
    if way == "none":
        ends["max_records"] = ends["max_records"] or 50  # else it is the plain shuffle
        return sources, Asked(**ends, **seeds)
    if way == "repeats":
        return sources, Asked(repeats=numbers, **ends, **seeds)
    return sources, Asked(
        weights=numbers,
        interleave=draw(st.sampled_from(["random", "stratified"])),
        weigh_by=draw(st.sampled_from(["records", "bytes"])),
        stop=draw(st.sampled_from([None, "first_exhausted", "all_exhausted"])),
        **ends,
        **seeds,
    )


@given(asked=mixtures(), cut=st.booleans(), shards=st.integers(1, 5))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_any_mixture_is_what_one_position_at_a_time_gives(
    asked: tuple[dict[str, dict[str, bytes]], Asked], cut: bool, shards: int
) -> None:
    sources, what = asked
    plan = {"span_bytes": 20, "run_bytes": 300, "bucket_bytes": 1, "page_bytes": 100}
    with tempfile.TemporaryDirectory() as folder, cut_otherwise(**(plan if cut else {})):
        for name, files in sources.items():
            write_tree(Path(folder, name), files)
        inputs = [f"--input={name}={folder}/{name}" for name in sources]
        out = Path(folder, "out")
        manifest = run(*inputs, f"--output={out}", f"--num_shards={shards}", *flags_of(what))
        expected = mix_plainly(sources, what)
        assert split(join_shards(out)) == expected
        assert sum(part.written.records for part in manifest.mixture or ()) == len(expected)


@given(
    asked=mixtures(),
    tokens=st.none() | st.integers(1, 900),
    cut=st.booleans(),
    shards=st.integers(1, 5),
)
@settings(max_examples=12, deadline=None, derandomize=True)
def test_any_mixture_of_rows_of_ids_is_by_their_tokens(
    asked: tuple[dict[str, dict[str, bytes]], Asked], tokens: int | None, cut: bool, shards: int
) -> None:
    lines, what = asked
    by_tokens = what.weigh_by == "bytes"
    what = what._replace(
        weigh_by="tokens" if by_tokens else what.weigh_by, max_bytes=None, max_tokens=tokens
    )
    rows = {
        name: {
            f"{file}.parquet": [tuple(record) for _, record in records_of(data)]
            for file, data in files.items()
        }
        for name, files in lines.items()
    }
    plan = {"span_bytes": 20, "run_bytes": 900, "bucket_bytes": 1, "page_bytes": 300}
    with tempfile.TemporaryDirectory() as folder, cut_otherwise(**(plan if cut else {})):
        for name, files in rows.items():
            for file, own in files.items():
                path = Path(folder, name, file)
                path.parent.mkdir(parents=True, exist_ok=True)
                table = pa.table({"input_ids": pa.array(own, pa.large_list(pa.uint8()))})
                pq.write_table(table, path, row_group_size=4)
        inputs = [f"--input={name}={folder}/{name}" for name in rows]
        out = Path(folder, "out")
        run(*inputs, f"--output={out}", f"--num_shards={shards}", *flags_of(what))
        found = [
            tuple(row)
            for shard in sorted((out / "data").iterdir())
            for row in pq.read_table(shard).column("input_ids").to_pylist()
        ]
        assert found == mix_plainly(rows, what)


@pytest.mark.parametrize("interleave", ["random", "stratified"])
@pytest.mark.parametrize("max_records", [None, 4700])
def test_one_long_record_late_in_its_pass_lets_a_number_of_bytes_be_met_all_the_same(
    tmp_path: Path, interleave: str, max_records: int | None
) -> None:
    """Counted beforehand is by mean lengths, and that is too short here."""
    sources = {"a": {"x": b"a\n" * 5000 + b"b" * 20_000 + b"\n"}, "b": {"x": b"b\n" * 10}}
    for name, files in sources.items():
        write_tree(tmp_path / name, files)
    asked = Asked(
        weights={"a": Fraction(1), "b": Fraction("0.001")},
        interleave=interleave,
        max_bytes=10_000,
        max_records=max_records,
        seed=8,  # puts it at place 4609
    )
    inputs = [f"--input={name}={tmp_path / name}" for name in sources]
    run(*inputs, f"--output={tmp_path / 'out'}", *flags_of(asked))
    expected = mix_plainly(sources, asked)
    assert len(expected) > 1.2 * 10_000 / 5 + 1000  # beyond what was counted
    assert split(join_shards(tmp_path / "out")) == expected


LENGTHS = {"a": 100, "b": 1000, "c": 330}
SHARES = {"a": 0.5, "b": 0.3, "c": 0.2}


def weigh(tmp_path: Path, lengths: dict[str, np.ndarray[Any, Any]], *flags: str) -> Any:
    """Mix sources whose records have these lengths, in bytes, by SHARES; return the manifest."""
    for name, sizes in lengths.items():
        data = b"".join(b"%s\n" % (b"%06d" % i).ljust(size, b".") for i, size in enumerate(sizes))
        write_tree(tmp_path / name, {"x.txt": data})
    inputs = [f"--input={name}={tmp_path / name}" for name in lengths]
    shares = ",".join(f"{name}={share}" for name, share in SHARES.items())
    return run(*inputs, f"--output={tmp_path / 'out'}", f"--weights={shares}", *flags)


def test_shares_of_bytes_are_met_within_a_thousandth_where_lengths_are_constant(
    tmp_path: Path,
) -> None:
    lengths = {name: np.full(2000, length) for name, length in LENGTHS.items()}
    flags = ["--interleave=stratified", "--max_records=12000"]
    manifest = weigh(tmp_path, lengths, *flags, "--weigh_by=bytes")
    for part in manifest.mixture:
        assert part.asked == pytest.approx(SHARES[part.source])
        assert abs(part.share_of_bytes - SHARES[part.source]) < 0.001, part
    by_records = weigh(tmp_path, lengths, *flags, "--overwrite").mixture
    assert max(abs(p.share_of_bytes - SHARES[p.source]) for p in by_records) > 0.1
    assert all(abs(p.share_of_records - SHARES[p.source]) < 0.001 for p in by_records)


@pytest.mark.parametrize("interleave", ["random", "stratified"])
def test_shares_of_bytes_are_met_within_chance_where_lengths_differ(
    tmp_path: Path, interleave: str
) -> None:
    lengths = {}
    for i, (name, length) in enumerate(LENGTHS.items()):
        spread = np.array([derive(7, i, j)[0] % 1000 for j in range(1500)]) / 1000
        lengths[name] = (6 + length * 2 * spread**3).astype(int)  # a few are long
    drawn = 9000
    manifest = weigh(
        tmp_path,
        lengths,
        f"--interleave={interleave}",
        f"--max_records={drawn}",
        "--weigh_by=bytes",
    )
    means = {name: sizes.mean() for name, sizes in lengths.items()}
    chance = {name: SHARES[name] / means[name] for name in lengths}
    chance = {name: value / sum(chance.values()) for name, value in chance.items()}
    mean = sum(chance[name] * means[name] for name in lengths)
    for part in manifest.mixture:
        share = SHARES[part.source]
        # each draw adds (its bytes, if they are this source's) - share * (its bytes), mean 0
        variance = sum(
            chance[name] * (sizes**2.0).mean() * ((name == part.source) - share) ** 2
            for name, sizes in lengths.items()
        )
        deviation = np.sqrt(variance / drawn) / mean
        assert abs(part.share_of_bytes - share) < 4 * deviation, (part, deviation, "seed 0")
        assert deviation < 0.015


@pytest.mark.parametrize("interleave", ["random", "stratified"])
def test_fifty_sources_come_as_often_as_they_were_asked_to(tmp_path: Path, interleave: str) -> None:
    weights = np.array([1 + (7 * i) % 50 for i in range(50)])
    for i in range(50):
        write_tree(
            tmp_path / f"s{i:02}", {"x.txt": b"".join(b"%02d %d\n" % (i, j) for j in range(30))}
        )
    inputs = [f"--input=s{i:02}={tmp_path}/s{i:02}" for i in range(50)]
    asked = ",".join(f"s{i:02}={weight}" for i, weight in enumerate(weights))
    with cut_otherwise(bucket_bytes=100_000):
        manifest = run(
            *inputs,
            f"--output={tmp_path / 'out'}",
            f"--weights={asked}",
            f"--interleave={interleave}",
            "--max_records=5000",
            "--num_shards=4",
        )
    drawn = np.array([int(record[:2]) for record in split(join_shards(tmp_path / "out"))])
    counts = np.cumsum(drawn[:, None] == np.arange(50), axis=0)
    share = weights / weights.sum()
    off = counts - np.arange(1, 5001)[:, None] * share
    if interleave == "stratified":
        assert np.abs(off).max() < 2
    else:
        assert 2 < np.abs(off[-1]).max() < 5 * np.sqrt(5000 * share.max())
    assert [part.written.records for part in manifest.mixture or ()] == counts[-1].tolist()
