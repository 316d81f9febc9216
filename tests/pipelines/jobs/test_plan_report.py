"""``--plan``: what a run would read, write and need, printed, and nothing touched."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.jobs.disk_room
import pipelines.shuffle
import pipelines.tokenize
from pipelines.jobs.summary import unused_warning
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.settings import Settings
from tests.pipelines.support import make_lines, read_tree, write_tree


def plan(*flags: object) -> int:
    return pipelines.shuffle.main([*map(str, flags), "--plan"])


def test_a_plan_names_sources_shards_buckets_memory_and_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_lines(2000)
    write_tree(tmp_path / "in", {"web/a.txt": data, "books/b.txt.gz": gzip.compress(data)})
    pq.write_table(pa.table({"n": range(77)}), tmp_path / "in" / "x.parquet")
    before = read_tree(tmp_path)
    spill = tmp_path / "spill"
    code = plan(
        f"--input=web={tmp_path}/in/web",
        f"--input=books={tmp_path}/in/books",
        f"--output={tmp_path}/out",
        f"--temp_location={spill}",
        "--num_shards=3",
        "--memory=1GiB",
    )
    out = capsys.readouterr().out
    assert code == 0
    assert read_tree(tmp_path) == before
    assert " 3 buckets, ~1 run, at most 3 segments of " in out
    rows = {line.split()[0]: line.split() for line in out.splitlines()}
    assert rows["web"][1] == rows["books"][1] == "1"
    assert rows["all"][1] == "2"
    assert rows["web"][-2:] == rows["books"][-2:] == [f"{len(data) / 1000:.2f}", "kB"] or (
        rows["books"][-2].startswith("~")  # of what is compressed it is an estimate
    )
    estimate = int(rows["web"][4].removeprefix("~").replace(",", ""))
    assert 1900 <= estimate <= 2100
    assert "3 shards of about" in out
    assert "data/train-00000-of-00003.txt" in out
    assert "memory      1 GiB: " in out
    assert "buckets" in out
    assert f"--temp_location={spill}" in out
    assert "free" in out


def test_the_rows_of_parquet_are_counted_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"n": range(77)}), tmp_path / "x.parquet")
    assert plan(f"--input={tmp_path / 'x.parquet'}", f"--output={tmp_path / 'o'}") == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert " 77 " in line
    assert "~77" not in line


def test_what_does_not_fit_is_said_and_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path / "in", {"a.txt": make_lines(2000)})
    flags = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}"]
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        pipelines.jobs.disk_room.shutil, "disk_usage", lambda path: usage._replace(free=1000)
    )
    assert plan(*flags) == 2
    captured = capsys.readouterr()
    assert "DOES NOT FIT" in captured.out
    assert "of free space for" in captured.err
    assert "--spill_compression" not in captured.err, "the shards alone don't fit"
    rooms = [line for line in captured.out.splitlines() if line.startswith("room")]
    assert ["-" in line.partition(": ")[2] for line in rooms] == [False, False]
    assert "0 bytes left" in rooms[1]
    assert pipelines.shuffle.main(flags) == 2
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("flag", "warned"),
    [
        ("--shard_records=1", True),
        ("--num_shards=10001", True),
        ("--shard_records=2", False),
        ("--num_shards=10000", False),
    ],
)
def test_very_many_tiny_shards_are_warned_of_before_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, flag: str, warned: bool
) -> None:
    pq.write_table(pa.table({"n": range(20_000)}), tmp_path / "x.parquet")  # counted exactly
    settings = Settings(output=str(tmp_path / "o"), plan=True)
    name, value = flag[2:].split("=")
    recipe = Recipe(sources={"default": [str(tmp_path / "x.parquet")]}, **{name: int(value)})
    pipelines.shuffle.COMMAND.make(recipe, settings)
    number = "20,000" if flag == "--shard_records=1" else "10,001"
    said = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert [f"about {number} shards" in text and "slow" in text for text in said] == [True] * warned


def test_compressed_spill_files_are_planned_smaller_and_change_no_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(tmp_path / "in", {"a.txt": make_lines(3000)})
    shards = []
    for compression, workers in (("none", 1), ("lz4", 1), ("zstd", 1), ("zstd", 2)):
        out = tmp_path / f"{compression}{workers}"
        flags = [f"--input={tmp_path / 'in'}", f"--output={out}", "--num_shards=2"]
        more = [f"--spill_compression={compression}", f"--workers={workers}"]
        assert pipelines.shuffle.main([*flags, *more]) == 0
        shards.append([p.read_bytes() for p in sorted((out / "data").iterdir())])
    assert all(found == shards[0] for found in shards)


def test_a_plan_of_standard_input_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan("--input=-", f"--output={tmp_path / 'o'}") == 2
    assert "standard input" in capsys.readouterr().err


def test_an_empty_file_leaves_the_plan_exact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(tmp_path / "in", {"a.txt": b"one\n", "e.txt": b""})
    assert plan(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("default")]
    assert line.endswith("  4 bytes")


@pytest.mark.parametrize(
    ("flags", "warned"),
    [
        (["--weights=big=0.9,tiny=0.1"], True),
        (["--weights=big=0.99,tiny=0.01"], False),
        (["--weights=big=0.9,tiny=0.1", "--max_records=50"], False),
        (["--weights=big=0.9,tiny=0.1", "--stop=all_exhausted"], False),
    ],
)
def test_a_mixture_that_leaves_most_records_unused_is_warned_of_before_and_after(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, flags: list[str], warned: bool
) -> None:
    pq.write_table(pa.table({"n": range(2000)}), tmp_path / "big.parquet")  # counted exactly
    pq.write_table(pa.table({"n": range(20)}), tmp_path / "tiny.parquet")
    inputs = [f"--input={name}={tmp_path / name}.parquet" for name in ("big", "tiny")]
    more = [
        *flags,
        f"--output={tmp_path / 'o'}",
        "--workers=1",
        "--interleave=stratified",
    ]
    for plan, words in (
        (["--plan"], ["~200 of ~2,020 records are used (9.9%)"]),
        ([], ["~200 of ~2,020", "of 2,020 records are used"]),
    ):
        caplog.clear()
        pipelines.shuffle.run([*inputs, *more, *plan])
        said = [r.message for r in caplog.records if "records are used" in r.message]
        assert len(said) == len(words) * warned
        for line, word in zip(said, words, strict=False):
            assert word in line
            assert "ends when tiny runs out" in line
            assert "--stop=all_exhausted to use all, which repeats tiny about 11 times" in line


@pytest.mark.parametrize(
    ("counts", "flags", "used_up"),
    [
        ((870, 660, 495), ["--weights=a=2,b=0.1,c=0.33"], "a"),
        ((870, 660, 495), ["--repeats=a=1.1,b=1.1,c=7"], "c"),
    ],
)
def test_a_source_that_is_used_up_leaves_nothing_unused_whatever_floats_make_of_it(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    counts: tuple[int, ...],
    flags: list[str],
    used_up: str,
) -> None:
    for name, count in zip("abc", counts, strict=True):
        (tmp_path / f"{name}.txt").write_text("".join(f"{n + 1}\n" for n in range(count)))
    inputs = [f"--input={name}={tmp_path / name}.txt" for name in "abc"]
    pipelines.shuffle.run([*inputs, *flags, f"--output={tmp_path / 'o'}", "--plan"])
    mixture = capsys.readouterr().out.partition("mixture")[2]
    (line,) = (line for line in mixture.splitlines() if line.startswith(f"{used_up} "))
    assert line.endswith(" ~0"), line


def test_where_a_source_was_not_drawn_at_all_nothing_is_said_of_how_often_another_would_be() -> (
    None
):
    (line,) = unused_warning(["big", "tiny"], [20_000, 2], [0, 2])
    assert "pass --stop=all_exhausted to use all, or lower the weight of tiny" in line
    (line,) = unused_warning(["big", "tiny"], [20_000, 2], [1, 2])
    assert "all, which repeats tiny about 20,000 times, or" in line


def test_what_tokens_take_is_reckoned_by_their_width(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="b")).save(str(tmp_path / "t.json"))
    write_tree(tmp_path / "in", {"a.txt": b"a\n" * 30_000})
    flags = [f"--input={tmp_path / 'in'}", f"--tokenizer={tmp_path / 't.json'}", "--text_field="]
    flags += [f"--output={tmp_path / 'o'}"]
    assert pipelines.tokenize.main([*flags, "--plan"]) == 0
    assert ": ~40.00 kB for shards, " in capsys.readouterr().out
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        pipelines.jobs.disk_room.shutil, "disk_usage", lambda path: usage._replace(free=39_000)
    )
    assert pipelines.tokenize.main(flags) == 2
    said = capsys.readouterr().err
    assert "free some space" in said
    assert "--spill_compression" not in said


@pytest.mark.parametrize(
    ("size", "flags", "workers"),
    [
        (300_000_000, [], 1),
        (600_000_000, [], 2),
        (300_000_000, ["--workers=2"], 2),
        (600_000_000, ["--workers=1"], 1),
        (300_000_000, ["--compression=gzip"], 2),
    ],
)
def test_a_small_input_is_shuffled_by_one_worker_unless_somebody_says_otherwise(
    tmp_path: Path,
    size: int,
    flags: list[str],
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("pipelines.runners.choose_workers.cores_available", lambda: 2)
    (tmp_path / "in.txt").write_bytes(make_lines(2000))
    os.truncate(tmp_path / "in.txt", size)  # a hole
    monkeypatch.setattr("pipelines.jobs.command.require_room", lambda needs: None)
    given = [f"--input={tmp_path / 'in.txt'}", f"--output={tmp_path / 'o'}", "--memory=2GiB"]
    assert plan(*given, *flags) == 0
    said = capsys.readouterr().out
    assert ("for 1 worker;" if workers == 1 else f"for each of {workers} workers;") in said
    assert ("worker process" in said) == (workers > 1)
