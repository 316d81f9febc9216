"""A mixture is a function of files, recipe and seed: how the work is done changes no byte."""

from __future__ import annotations

import functools
import gzip
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.jobs import job as planned
from tests.pipelines.support import Tree, cut_otherwise, join_shards, read_shards, run, write_tree
from tests.pipelines.test_mixtures import SMALL, SOURCES
from transforms.kernels.schedules.mixture import Mixture

SHARDS = "--num_shards=3"
ASKED = {
    "weights": ["--weights=books=0.3,code=0.1,web=0.6", "--stop=all_exhausted"],
    "bytes": ["--weights=books=0.3,code=0.1,web=0.6", "--weigh_by=bytes", "--max_bytes=20000"],
    "repeats": ["--repeats=books=2.5,code=9"],
    "as one": ["--max_records=200"],
}
TINY = {"span_bytes": 400, "run_bytes": 2500, "bucket_bytes": 1500, "page_bytes": 500}
OWN = {"run_id", "started", "ended"}  # of each run
THREADS = ["--workers=2", "--direct_running_mode=multi_threading"]


class Baseline(NamedTuple):
    """The sources' folder, and per asked mixture its shards and manifest."""

    root: Path
    shards: dict[str, Tree]
    manifests: dict[str, dict[str, Any]]

    def inputs(self) -> list[str]:
        """Return the flags of the sources."""
        return [f"--input={name}={self.root / name}" for name in SOURCES]


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    """Make each mixture once, in the plainest way."""
    found = Baseline(tmp_path_factory.mktemp("mixtures"), {}, {})
    for name, files in SOURCES.items():
        write_tree(found.root / name, files)
    for name, flags in ASKED.items():
        out = found.root / f"out-{name}"
        manifest = run(*found.inputs(), f"--output={out}", SHARDS, *flags)
        found.shards[name] = read_shards(out)
        found.manifests[name] = manifest.model_dump(exclude=OWN)
    return found


RECORDS = {"span_bytes": 90, "run_bytes": 1, "page_bytes": 1}  # pages of a record
HOW: dict[str, tuple[list[str], dict[str, int]]] = {
    "pages of a record": (["--spill_compression=zstd"], RECORDS),
    "buckets of some records": ([], {"bucket_bytes": 1}),
    "threads": ([*THREADS, "--spill_compression=lz4"], TINY),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize(("flags", "plan"), [HOW["buckets of some records"], HOW["threads"]])
def test_how_the_work_is_done_changes_no_byte(
    baseline: Baseline, tmp_path: Path, asked: str, flags: list[str], plan: dict[str, int]
) -> None:
    with cut_otherwise(**plan):
        manifest = run(
            *baseline.inputs(), f"--output={tmp_path / 'o'}", SHARDS, *ASKED[asked], *flags
        )
    assert read_shards(tmp_path / "o") == baseline.shards[asked]
    found = manifest.model_dump(exclude=OWN)
    # a source that fits into memory is read once, however often it repeats
    assert _without_reads(found) == _without_reads(baseline.manifests[asked])


@pytest.mark.parametrize(
    ("flags", "plan"),
    [
        (["--workers=2", "--memory=600MiB"], TINY),
        (["--workers=1", "--direct_running_mode=multi_processing"], SMALL),
        (["--memory=1GiB"], {}),
        HOW["pages of a record"],
    ],
    ids=["2 processes", "1 process", "memory", "pages of a record"],
)
def test_neither_do_processes_memory_nor_pages(
    baseline: Baseline, tmp_path: Path, flags: list[str], plan: dict[str, int]
) -> None:
    with cut_otherwise(**plan):
        run(*baseline.inputs(), f"--output={tmp_path / 'o'}", SHARDS, *ASKED["repeats"], *flags)
    assert read_shards(tmp_path / "o") == baseline.shards["repeats"]


@pytest.mark.parametrize(("asked", "chunk"), [("weights", 1), ("bytes", 7)])
def test_neither_does_how_many_positions_are_counted_at_a_time(
    baseline: Baseline, tmp_path: Path, asked: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned, "Mixture", functools.partial(Mixture, chunk=chunk))
    run(*baseline.inputs(), f"--output={tmp_path / 'o'}", SHARDS, *ASKED[asked])
    assert read_shards(tmp_path / "o") == baseline.shards[asked]


@pytest.mark.parametrize(
    ("asked", "cut"),
    [
        *((asked, "--shard_records=29") for asked in ASKED),
        ("bytes", "--num_shards=17"),
        ("repeats", "--num_shards=17"),
        ("weights", "--num_shards=1"),
    ],
)
def test_the_concatenation_is_the_same_however_it_is_cut(
    baseline: Baseline, tmp_path: Path, asked: str, cut: str
) -> None:
    with cut_otherwise(**TINY):
        manifest = run(*baseline.inputs(), f"--output={tmp_path / 'o'}", cut, *ASKED[asked])
    whole = join_shards(tmp_path / "o")
    assert whole == b"".join(baseline.shards[asked].values())
    counts = [shard.records for shard in manifest.shards]
    number = int(cut.partition("=")[2])
    if cut.startswith("--num"):
        assert len(counts) == number
        assert max(counts) - min(counts) <= 1
    else:
        assert set(counts[:-1]) <= {number}
        assert 0 < counts[-1] <= number


def test_neither_does_the_order_of_flags_sources_and_weights(
    baseline: Baseline, tmp_path: Path
) -> None:
    flags = ["--weights=web=0.6,code=0.1,books=0.3", "--stop=all_exhausted"]
    mixed = [flags[1], SHARDS, *reversed(baseline.inputs()), f"--output={tmp_path / 'o'}", flags[0]]
    run(*mixed)
    assert read_shards(tmp_path / "o") == baseline.shards["weights"]
    one_by_one = [f"--input=books={baseline.root}/books/{name}" for name in ("b.txt", "a.txt")]
    run(*baseline.inputs()[1:], *one_by_one, *flags, SHARDS, f"--output={tmp_path / 'p'}")
    assert read_shards(tmp_path / "p") == baseline.shards["weights"]


def test_weights_of_the_same_ratio_are_the_same_weights(baseline: Baseline, tmp_path: Path) -> None:
    flags = ["--weights=books=3,code=1.0,web=6e0", "--stop=all_exhausted"]
    run(*baseline.inputs(), f"--output={tmp_path / 'o'}", SHARDS, *flags)
    assert read_shards(tmp_path / "o") == baseline.shards["weights"]


def test_a_source_of_weight_zero_is_as_if_it_were_not_there(
    baseline: Baseline, tmp_path: Path
) -> None:
    books, code, web = baseline.inputs()
    for name, inputs, weights in [
        ("o", [books, code, web], "books=1,code=0,web=2"),
        ("p", [books, web], "books=1,web=2"),
    ]:
        run(*inputs, f"--output={tmp_path / name}", f"--weights={weights}")
    assert read_shards(tmp_path / "o") == read_shards(tmp_path / "p")


@pytest.mark.parametrize("asked", ASKED)
def test_a_manifest_is_a_recipe_that_makes_its_dataset_again(
    baseline: Baseline, tmp_path: Path, asked: str
) -> None:
    recipe = baseline.root / f"out-{asked}" / "manifest.json"
    manifest = run(f"--recipe={recipe}", f"--output={tmp_path / 'o'}")
    assert read_shards(tmp_path / "o") == baseline.shards[asked]
    assert manifest.model_dump(exclude=OWN) == baseline.manifests[asked]


def test_every_seed_and_epoch_mixes_differently(baseline: Baseline, tmp_path: Path) -> None:
    """The arrangement of sources differs, and so does the order within each of them."""
    found = []
    for i, flags in enumerate((["--seed=0"], ["--seed=1"], ["--epoch=1"])):
        out = tmp_path / str(i)
        run(*baseline.inputs(), f"--output={out}", *ASKED["repeats"], *flags)
        found.append(join_shards(out).splitlines())
    assert sorted(found[0]) != found[0]
    for left, right in itertools.combinations(found, 2):
        sources = [[line[:4] for line in lines] for lines in (left, right)]
        assert sources[0] != sources[1]
        assert [line for line in left if line[:4] == b"code"] != [
            line for line in right if line[:4] == b"code"
        ]


def test_compressed_inputs_and_shards_hold_the_same_records(
    baseline: Baseline, tmp_path: Path
) -> None:
    for name, files in SOURCES.items():
        write_tree(tmp_path / name, {f"{n}.gz": gzip.compress(d) for n, d in files.items()})
    inputs = [f"--input={name}={tmp_path / name}" for name in SOURCES]
    for source, name in ((baseline.inputs(), "o"), (inputs, "p")):
        with cut_otherwise(**(SMALL if name == "p" else {})):
            run(
                *source,
                f"--output={tmp_path / name}",
                "--compression=zstd",
                SHARDS,
                *ASKED["weights"],
            )
    found = read_shards(tmp_path / "o")
    assert list(found.values()) == list(read_shards(tmp_path / "p").values())
    plain = pa.input_stream
    decoded = [plain(pa.BufferReader(d), compression="zstd").read() for d in found.values()]
    assert decoded == list(baseline.shards["weights"].values())


def test_rows_are_mixed_as_lines_are(baseline: Baseline, tmp_path: Path) -> None:
    for name, files in SOURCES.items():
        (tmp_path / name).mkdir()
        lines = b"".join(files.values()).splitlines()
        table = pa.table({"text": [line.decode() for line in lines], "of": [name] * len(lines)})
        pq.write_table(table, tmp_path / name / "x.parquet", row_group_size=40)
    inputs = [f"--input={name}={tmp_path / name}" for name in SOURCES]
    tables = []
    for name, plan in (("o", {}), ("p", TINY)):
        with cut_otherwise(**plan):
            manifest = run(*inputs, f"--output={tmp_path / name}", SHARDS, *ASKED["weights"])
        parts = [pq.read_table(tmp_path / name / shard.path) for shard in manifest.shards]
        tables.append(pa.concat_tables(parts))
    assert tables[0].equals(tables[1])
    assert read_shards(tmp_path / "o") == read_shards(tmp_path / "p")
    # the schedule knows nothing of what records are: sources come in the order in which they do
    lines = b"".join(baseline.shards["weights"].values()).splitlines()
    known = {
        line.decode(): name
        for name, f in SOURCES.items()
        for d in f.values()
        for line in d.splitlines()
    }
    assert tables[0]["of"].to_pylist() == [known[line.decode()] for line in lines]


def _without_reads(manifest: dict[str, Any]) -> dict[str, Any]:
    """Leave out how often sources were read, and what of that was unused."""
    entries = [
        {k: v for k, v in entry.items() if k not in ("passes_read", "unused")}
        for entry in manifest["mixture"]
    ]
    return manifest | {"mixture": entries}
