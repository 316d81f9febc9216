"""Promise 2: the output is a function of files, recipe and seed, and of nothing else."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipelines.runners.forked import ForkServer
from tests.pipelines.support import (
    Tree,
    count_records,
    cut_otherwise,
    join_shards,
    make_lines,
    read_shards,
    run,
    shuffle_plainly,
    split,
    write_tree,
)
from transforms.datasets.spans import cut_spans
from transforms.kernels.records import compiling

FILES = {
    "a.txt": make_lines(1500, name="a"),
    "deep/er/b.txt": make_lines(1000, name="b") + b"no end",
    "deep/empty.txt": b"",
    "deep/c.txt": b"\n" * 200 + make_lines(500, name="c") + b"twin\n" * 100,
}
SHARDS = 5


class Baseline(NamedTuple):
    """The same corpus in two places, and how it comes out."""

    corpus: Path
    copy: Path
    shards: Tree
    manifest: dict[str, Any]


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    """Shuffle the corpus once, in the plainest way."""
    root = tmp_path_factory.mktemp("reproducible")
    corpus = write_tree(root / "corpus", FILES)
    copy = root / "some/where else/tree"
    shutil.copytree(corpus, copy)
    manifest = run(f"--input={corpus}", f"--output={root / 'o'}", f"--num_shards={SHARDS}")
    return Baseline(corpus, copy, read_shards(root / "o"), manifest.model_dump())


TINY = {"span_bytes": 9_000, "run_bytes": 30_000, "bucket_bytes": 15_000, "page_bytes": 5_000}
THREADS = ["--workers=2", "--direct_running_mode=multi_threading"]
PROCESSES = ["--workers=2"]


@pytest.mark.parametrize(
    ("flags", "plan"),
    [
        pytest.param(["--direct_running_mode=in_memory"], {}, id="in memory"),
        pytest.param(["--memory=256MiB"], {}, id="256MiB"),
        pytest.param(["--memory=1GiB"], {}, id="1GiB"),
        pytest.param(THREADS, {}, id="threads"),
        pytest.param(PROCESSES, {}, id="processes", marks=pytest.mark.slow),
        pytest.param([*PROCESSES, "--memory=600MiB"], TINY, id="processes, tiny"),
        pytest.param(
            ["--workers=1", "--direct_running_mode=multi_processing"],
            {},
            id="one process",
        ),
        pytest.param([], {"buckets": SHARDS * 8}, id="40 buckets"),
        pytest.param([], {"buckets": SHARDS * 1000}, id="5000 buckets"),
        pytest.param([], {"span_bytes": 30}, id="spans shorter than lines"),
        pytest.param([], {"run_bytes": 1}, id="a run a block"),
        pytest.param([], {"bucket_bytes": 2000, "page_bytes": 900}, id="buckets of some records"),
        pytest.param([], {"page_bytes": 1}, id="pages of one record"),
        pytest.param([], TINY, id="tiny"),
        pytest.param(THREADS, TINY | {"buckets": SHARDS * 4}, id="threads, tiny"),
    ],
)
def test_how_the_work_is_done_changes_no_byte(
    baseline: Baseline, tmp_path: Path, flags: list[str], plan: dict[str, int]
) -> None:
    corpus, folder = baseline.corpus, tmp_path / "o"
    with cut_otherwise(**plan) as made:
        manifest = run(f"--input={corpus}", f"--output={folder}", f"--num_shards={SHARDS}", *flags)
    assert read_shards(folder) == baseline.shards
    assert plan.items() <= dataclasses.asdict(made[0]).items()
    own = {"run_id", "started", "ended"}
    assert manifest.model_dump(exclude=own) == {
        k: v for k, v in baseline.manifest.items() if k not in own
    }


def test_the_small_plans_above_do_cut_the_work(baseline: Baseline) -> None:
    from transforms.datasets.listing import list_source

    files = list_source("default", [str(baseline.corpus)])
    assert sum(map(len, cut_spans(files, TINY["span_bytes"]))) > 10
    assert len(b"".join(FILES.values())) > 3 * TINY["run_bytes"]
    # a record's footprint is more than its bytes
    assert min(map(len, baseline.shards.values())) > TINY["bucket_bytes"] > 2 * TINY["page_bytes"]


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(["{copy}"], id="another place"),
        pytest.param(["{corpus}/"], id="a slash behind"),
        pytest.param(["{corpus}/../corpus"], id="a way around"),
        pytest.param(["file://{corpus}"], id="a URL"),
        pytest.param(["{corpus}/**"], id="a pattern"),
        pytest.param(["default={copy}"], id="its name given"),
        pytest.param(["{copy}/deep/**", "{copy}/a.txt"], id="several, in another order"),
        pytest.param(["{copy}/a.txt", "{copy}/*", "{copy}/deep"], id="several that overlap"),
        pytest.param(
            ["{copy}/deep/er/b.txt", "{copy}/a.txt", "{copy}/deep/empty.txt", "{copy}/deep/c.txt"],
            id="files one by one",
        ),
    ],
)
def test_how_the_same_tree_is_named_changes_no_byte(
    baseline: Baseline, tmp_path: Path, inputs: list[str]
) -> None:
    given = [text.format(corpus=baseline.corpus, copy=baseline.copy) for text in inputs]
    flags = [f"--input={text}" for text in given]
    run(*flags, f"--output={tmp_path / 'o'}", f"--num_shards={SHARDS}")
    assert read_shards(tmp_path / "o") == baseline.shards


@pytest.mark.parametrize("pattern", ["", "/**"])
def test_the_order_in_which_files_are_listed_changes_no_byte(
    baseline: Baseline, tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    real = os.scandir

    class Reversed(list[Any]):
        def __init__(self, path: Any = ".") -> None:
            with real(path) as entries:
                super().__init__(sorted(entries, key=lambda entry: entry.name, reverse=True))
            called.append(len(self))

        def __enter__(self) -> Any:
            return iter(self)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    run(
        f"--input={baseline.corpus}{pattern}",
        f"--output={tmp_path / 'o'}",
        f"--num_shards={SHARDS}",
    )
    assert max(called) > 1
    assert read_shards(tmp_path / "o") == baseline.shards


def test_times_of_files_change_no_byte(baseline: Baseline, tmp_path: Path) -> None:
    for path in baseline.copy.rglob("*.txt"):
        os.utime(path, (1, 1))
    run(f"--input={baseline.copy}", f"--output={tmp_path / 'o'}", f"--num_shards={SHARDS}")
    assert read_shards(tmp_path / "o") == baseline.shards


@pytest.mark.parametrize(
    ("flag", "shards"),
    [
        ("--num_shards=1", 1),
        ("--num_shards=2", 2),
        ("--num_shards=7", 7),
        ("--num_shards=50", 50),
        ("--shard_records=1000000", 1),
        ("--shard_records=3301", 1),
        ("--shard_records=3300", 2),
        ("--shard_records=400", 9),
        ("--shard_records=97", 35),
    ],
)
def test_the_concatenation_is_the_same_however_it_is_cut(
    baseline: Baseline, tmp_path: Path, flag: str, shards: int
) -> None:
    # several groups to cut across, which this corpus is too small for by itself
    groups = {"partitions": 6, "buckets": 12} if flag.startswith("--shard_records") else {}
    with cut_otherwise(**TINY, **groups):
        manifest = run(
            f"--input={baseline.corpus}",
            f"--output={tmp_path / 'o'}",
            flag,
        )
    found = read_shards(tmp_path / "o")
    assert b"".join(found.values()) == b"".join(baseline.shards.values())
    assert len(found) == shards
    counts = [len(split(data)) for data in found.values()]
    assert [shard.records for shard in manifest.shards] == counts
    if groups:
        size = int(flag.split("=")[1])
        assert counts[:-1] == [size] * (shards - 1)
        assert 0 < counts[-1] <= size


def test_seed_0_is_the_default_and_a_seed_like_any_other(
    baseline: Baseline, tmp_path: Path
) -> None:
    run(
        f"--input={baseline.corpus}",
        f"--output={tmp_path / 'o'}",
        f"--num_shards={SHARDS}",
        "--seed=0",
        "--epoch=0",
    )
    assert read_shards(tmp_path / "o") == baseline.shards


def test_every_seed_epoch_source_and_file_name_has_an_order_of_its_own(
    baseline: Baseline, tmp_path: Path
) -> None:
    shutil.copytree(baseline.copy, tmp_path / "renamed")
    (tmp_path / "renamed/a.txt").rename(tmp_path / "renamed/z.txt")
    orders = []
    for i, (name, *flags) in enumerate(
        [
            (baseline.corpus, "--seed=0"),
            (baseline.corpus, "--seed=1"),
            (baseline.corpus, "--seed=0", "--epoch=1"),
            (baseline.corpus, "--seed=1", "--epoch=1"),
            (baseline.corpus, "--seed=18446744073709551615", "--epoch=9223372036854775807"),
            (f"web={baseline.corpus}", "--seed=0"),
            (tmp_path / "renamed", "--seed=0"),
        ]
    ):
        manifest = run(f"--input={name}", f"--output={tmp_path / str(i)}", *flags)
        assert f"--seed={manifest.seed}" in flags
        orders.append(join_shards(tmp_path / str(i)))
    assert len(set(orders)) == len(orders)
    whole = count_records(FILES)
    assert all(count_records({"": data}) == whole for data in orders)
    same = [
        sum(a == b for a, b in zip(split(x), split(y), strict=True))
        for x in orders
        for y in orders
        if x is not y
    ]
    assert max(same) < len(whole) / 10  # empty lines and twins do meet now and then


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (7, 3), (2**64 - 1, 2**63 - 1)])
def test_the_order_is_the_one_that_its_version_defines(
    tmp_path: Path, seed: int, epoch: int
) -> None:
    # where this fails, every user's datasets change, and the order's version has to rise
    sources = {"web": {"a": FILES["a.txt"], "b/c": FILES["deep/c.txt"]}, "default": {"x": b"1\n2"}}
    for name, files in sources.items():
        write_tree(tmp_path / name, files)
    manifest = run(
        f"--input=web={tmp_path / 'web'}",
        f"--input={tmp_path / 'default'}",
        f"--seed={seed}",
        f"--epoch={epoch}",
        f"--output={tmp_path / 'o'}",
        "--num_shards=4",
    )
    assert manifest.order_version == 1
    expected = shuffle_plainly(sources, seed=seed, epoch=epoch)
    assert split(join_shards(tmp_path / "o")) == expected


def test_a_shard_is_a_range_of_keys_as_wide_as_the_others(baseline: Baseline) -> None:
    counts = [len(split(data)) for data in baseline.shards.values()]
    mean = sum(counts) / SHARDS
    assert all(abs(count - mean) < 6 * mean**0.5 for count in counts), counts


@pytest.mark.parametrize(
    ("large", "room", "taken"), [(1, 1, True), (1 << 60, 1, False), (1, 1 << 60, False)]
)
def test_compiled_loops_change_no_byte_and_are_for_much_input_and_memory(
    baseline: Baseline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    large: int,
    room: int,
    taken: bool,
) -> None:
    asked: list[str] = []
    warm = ForkServer.warm

    def count_calls(self: ForkServer, function: str, *arguments: Any) -> None:
        asked.append(function)
        warm(self, function, *arguments)

    monkeypatch.setattr(ForkServer, "warm", count_calls)
    monkeypatch.setattr(compiling, "LARGE", large)
    monkeypatch.setattr(compiling, "ROOM", room)
    flags = [f"--input={baseline.corpus}", f"--output={tmp_path / 'o'}", f"--num_shards={SHARDS}"]
    with cut_otherwise(**TINY):
        manifest = run(*flags, *PROCESSES)
    assert asked == ["transforms.kernels.records.compiling:load_loops"] * taken
    assert read_shards(tmp_path / "o") == baseline.shards
    assert manifest.model_dump()["shards"] == baseline.manifest["shards"]
