"""What bad input gets: a message that names flag, value or file, an exit code, and no manifest."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pipelines.shuffle
from pipelines.jobs import command as jobs_command
from tests.pipelines.support import command, cut_otherwise, make_lines, read_tree, run, write_tree
from transforms.errors import DataError, InputError, RunError, UsageError
from transforms.formats import lines, small_files
from transforms.storage import files as storage


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Return a folder of two small files."""
    return write_tree(tmp_path / "in", {"a.txt": make_lines(50), "b.txt": make_lines(50)})


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """Check after every test that a run that failed wrote nothing but what it says."""
    yield
    left = read_tree(tmp_path)
    assert not [name for name in left if "manifest" in name or "_incomplete" in name]
    assert not [name for name in left if name.startswith(("o/", "t/")) or "dovetail-" in name]


@pytest.mark.parametrize(
    "pattern",
    ["missing.txt", "missing/", "in/*.jsonl", "in/c?", "missing/**", "in/a.txt/x", "empty"],
)
def test_a_pattern_that_matches_nothing_is_named(
    tmp_path: Path, corpus: Path, pattern: str
) -> None:
    (tmp_path / "empty").mkdir()
    given = f"--input={tmp_path / pattern}" + "/" * pattern.endswith("/")
    with pytest.raises(InputError, match=re.escape(f"{given}: no file matches")) as raised:
        run(f"--input={corpus}", given, f"--output={tmp_path / 'o'}")
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("flags", "blamed"),
    [
        (["--input={}/in", "--output={}/o", "--temp_location={}/in/t"], "--temp_location={}/in/t"),
        (["--input={}/in", "--output={}/o", "--temp_location={}/link"], "--temp_location={}/link"),
    ],
)
def test_an_output_that_would_be_read_as_input_is_refused_before_any_work(
    tmp_path: Path, corpus: Path, flags: list[str], blamed: str
) -> None:
    (tmp_path / "link").symlink_to("in")
    before = read_tree(tmp_path)
    with pytest.raises(UsageError) as raised:
        run(*(flag.format(tmp_path) for flag in flags))
    assert blamed.format(tmp_path) in str(raised.value)
    assert read_tree(tmp_path) == before


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ("in", "in/o"),
        ("in", "in/deep/er/o"),
        ("in/**", "in/o"),
        ("*/*", "o"),
        ("", "in/../o"),
        ("link", "in/o"),
        ("in", "link/o"),
    ],
)
def test_an_output_inside_the_input_is_passed_over(
    tmp_path: Path,
    corpus: Path,
    given: str,
    output: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "dovetail")
    if "link" in given + output:
        (tmp_path / "link").symlink_to("in")
    first = run(f"--input={tmp_path / given}", f"--output={tmp_path / output}")
    again = run(f"--input={tmp_path / given}", f"--output={tmp_path / output}", "--overwrite")
    assert first.records == again.records == 100
    assert "o/" in caplog.text.split("ignored ")[-1].splitlines()[0]
    shutil.rmtree(tmp_path / output)


HUB = {
    "data/train-0.jsonl": b'{"text":"one"}\n',
    "data/train-1.json": b'{"text":"two"}\n',
    "data/empty.csv": b"",
    "README.md": b"# Data\n",
    "LICENSE": b"MIT\n",
    "dataset_infos.json": b"{}\n",
    "data/_SUCCESS": b"",
    "data/_metadata": b"PAR1",
    ".gitattributes": b"*.parquet lfs\n",
}


def test_of_a_snapshot_of_the_hub_the_records_alone_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dovetail")
    hub, out = write_tree(tmp_path / "hub", HUB), tmp_path / "o"
    run(f"--input={hub}", f"--output={out}")
    (shard,) = (out / "data").iterdir()
    assert shard.name.endswith(".jsonl")
    assert sorted(shard.read_bytes().splitlines()) == [b'{"text":"one"}', b'{"text":"two"}']
    assert f"{hub}: ignored 6 files: .gitattributes, LICENSE, README.md, data/_SUCCESS, …" in (
        caplog.text
    )
    shutil.rmtree(out)
    run(f"--input={hub}/README.md", f"--output={out}")
    assert next((out / "data").iterdir()).read_bytes() == b"# Data\n"
    shutil.rmtree(out)


def test_files_of_several_kinds_are_refused_with_counts_until_one_is_chosen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, out = write_tree(tmp_path / "hub", {**HUB, "a.py": b"x\n", "b": b"y\n"}), tmp_path / "o"
    for given in (folder, f"{folder}/**"):
        with pytest.raises(InputError) as raised:
            run(f"--input={given}", f"--output={out}")
        assert "1 .json, 1 .jsonl, 1 .py, 1 without an extension" in str(raised.value)
        assert "--extension=.json,.jsonl,.py,none" in str(raised.value)
    for choice, records in (("py", 1), ("json,.jsonl", 2), (".json,.jsonl,.py,none", 4)):
        assert (
            run(f"--input={folder}", f"--output={out}", f"--extension={choice}").records == records
        )
        shutil.rmtree(out)
    assert run(f"--input={folder}", f"--output={out}", "--format=lines").records == 4
    shutil.rmtree(out)
    caplog.set_level(logging.INFO, "dovetail")
    run("--input", folder / "data/train-0.jsonl", folder / "README.md", f"--output={out}")
    assert "source default has files of several kinds, and all are read" in caplog.text
    shutil.rmtree(out)
    caplog.clear()
    (tmp_path / "more").mkdir()
    (tmp_path / "more/c.txt").write_bytes(b"z\n")
    run("--input", folder / "data", tmp_path / "more", f"--output={out}")
    said = "source default has files of several kinds, and all are read: "
    assert f"{said}1 .json, 1 .jsonl, 1 .txt" in caplog.text
    shutil.rmtree(out)
    caplog.clear()
    given = ["--input", folder / "data/train-0.jsonl", folder / "README.md", folder / "LICENSE"]
    run(*given, f"--output={out}", "--extension=jsonl")  # as of an unquoted pattern
    said = f"{folder}/README.md and 1 more: read although --extension=.jsonl doesn't match"
    assert said in caplog.text
    shutil.rmtree(out)
    with pytest.raises(InputError, match=r"no file has --extension=\.csv\.gz; ignored"):
        run(f"--input={folder}", f"--output={out}", "--extension=csv.gz")


def test_a_dataset_is_not_overwritten_by_what_is_read_from_it(tmp_path: Path, corpus: Path) -> None:
    folder = tmp_path / "set"
    run(f"--input={corpus}", f"--output={folder}")
    before = read_tree(folder)
    (tmp_path / "link").symlink_to("set")
    for given in (
        folder,
        f"{folder}/data/*",
        f"{folder}/data/train-00000-of-00001.txt",
        tmp_path / "link",
    ):
        with pytest.raises(UsageError, match=f"--output={folder}"):
            run(f"--input={given}", f"--output={folder}", "--overwrite")
        assert read_tree(folder) == before
    (tmp_path / "link").unlink()
    shutil.rmtree(folder)


def test_an_input_may_lie_beside_temporary_files(tmp_path: Path, corpus: Path) -> None:
    # spill files go to a new folder of their own: nothing is in anybody's way
    run(f"--input={corpus}/a.txt", f"--output={tmp_path / 'out'}", f"--temp_location={corpus}")
    assert sorted(os.listdir(corpus)) == ["a.txt", "b.txt"]
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize("below", ["in/a.txt", "in/a.txt/t", "/proc/dovetail-test/t", "/proc"])
def test_a_temporary_location_that_cannot_be_written_is_named(
    tmp_path: Path, corpus: Path, below: str
) -> None:
    location = tmp_path / below
    with pytest.raises(UsageError, match=f"^--temp_location={location}: "):
        run(f"--input={corpus}/b.txt", f"--output={tmp_path / 'o'}", f"--temp_location={location}")


@pytest.mark.parametrize("below", ["in/a.txt", "in/a.txt/o", "/proc/dovetail-test/o", "/dev/null"])
def test_an_output_that_cannot_be_written_is_named(
    tmp_path: Path, corpus: Path, below: str
) -> None:
    folder = tmp_path / below
    with pytest.raises(UsageError, match=f"^--output={folder}: "):
        run(f"--input={corpus}/b.txt", f"--output={folder}")


@pytest.mark.parametrize(
    ("flags", "room", "blamed"),
    [
        ([], 0.5, "--output"),
        (["--temp_location={}/t"], 0.5, "--output"),
        (["--temp_location={}/t"], 1.5, "--temp_location"),
    ],
)
def test_too_little_room_is_found_before_any_work(
    corpus: Path, flags: list[str], room: float, blamed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path = corpus.parent
    size = sum(path.stat().st_size for path in corpus.iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=int(size * room)))
    monkeypatch.setattr(pipelines.shuffle.COMMAND, "build", None)
    with pytest.raises(UsageError, match=f"^{blamed}={tmp_path}.*, got .* kB, after"):
        run(f"--input={corpus}", f"--output={tmp_path / 'o'}", *(f.format(tmp_path) for f in flags))


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more\n")


def _rewrite(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(1, 1))


def _cut(path: Path) -> None:
    os.truncate(path, 10)


HARMS = {"append": _append, "rewrite": _rewrite, "cut": _cut, "remove": Path.unlink}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("alone", [False, True])
def test_a_file_that_changes_after_it_was_listed_is_named(
    tmp_path: Path, corpus: Path, harm: str, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = jobs_command.execute

    def execute(*args: Any, **kwargs: Any) -> Any:
        HARMS[harm](corpus / "b.txt")
        return real(*args, **kwargs)

    monkeypatch.setattr(jobs_command, "execute", execute)
    with pytest.raises((RunError, InputError)) as raised:
        run(f"--input={corpus}{'/b.txt' if alone else ''}", f"--output={tmp_path / 'o'}")
    assert f"{corpus}/b.txt" in str(raised.value)
    assert re.search("changed|vanished|no file matches", str(raised.value))


def test_a_file_that_comes_after_the_listing_is_told(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = jobs_command.execute

    def execute(*args: Any, **kwargs: Any) -> Any:
        write_tree(corpus, {"c.txt": b"late\n"})
        return real(*args, **kwargs)

    monkeypatch.setattr(jobs_command, "execute", execute)
    with pytest.raises(DataError, match="changed"):
        run(f"--input={corpus}", f"--output={tmp_path / 'o'}")


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_file_that_changes_while_it_is_read_is_named(
    tmp_path: Path, corpus: Path, harm: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_files, "SMALL", -1)
    real: Callable[..., Any] = lines.read_span

    def read_span(file: Any, task: Any, **given: Any) -> Any:
        hit = task.name.endswith("b.txt")
        if hit and when == "before":
            HARMS[harm](corpus / "b.txt")
        yield from real(file, task, **given)
        if hit and when == "after":
            HARMS[harm](corpus / "b.txt")

    monkeypatch.setattr(lines, "read_span", read_span)
    with pytest.raises(DataError, match=rf"{corpus}/b\.txt: the file (changed|vanished)") as raised:
        run(f"--input={corpus}", f"--output={tmp_path / 'o'}")
    assert raised.value.exit_code not in (0, 2)


@pytest.mark.parametrize("harm", HARMS)
def test_a_small_file_that_changes_before_it_is_read_is_named(
    tmp_path: Path, corpus: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = storage.read_small

    def read_small(url: str, size: int) -> Any:
        if url.endswith("b.txt"):
            HARMS[harm](corpus / "b.txt")
        return real(url, size)

    monkeypatch.setattr(storage, "read_small", read_small)
    with pytest.raises(DataError, match=rf"{corpus}/b\.txt: the file (changed|vanished)"):
        run(f"--input={corpus}", f"--output={tmp_path / 'o'}")


def test_a_file_that_changes_between_its_spans_is_named(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = lines.read_span

    def read_span(file: Any, task: Any, **given: Any) -> Any:
        if task.start > 300 and task.name.endswith("b.txt"):
            _rewrite(corpus / "b.txt")
        yield from real(file, task, **given)

    monkeypatch.setattr(lines, "read_span", read_span)
    with (
        cut_otherwise(span_bytes=99),
        pytest.raises(DataError, match=rf"{corpus}/b\.txt: the file changed"),
    ):
        run(f"--input={corpus}", f"--output={tmp_path / 'o'}")


@pytest.mark.parametrize(
    "flags",
    [
        ["--workers=1"],
        ["--workers=2", "--direct_running_mode=multi_threading"],
        ["--workers=2"],
    ],
    ids=["alone", "threads", "processes"],
)
def test_too_little_memory_names_what_works_and_that_does(
    tmp_path: Path, corpus: Path, flags: list[str]
) -> None:
    flags = [f"--input={corpus}", f"--output={tmp_path / 'out'}", *flags]
    with pytest.raises(UsageError, match=r"^--memory=100MiB is too little") as raised:
        run(*flags, "--memory=100MiB")
    works = re.search(r"pass (--memory=(\d+)MiB)", str(raised.value))
    assert works
    with pytest.raises(UsageError, match="is too little"):
        run(*flags, f"--memory={int(works[2]) - 1}MiB")
    run(*flags, works[1])
    shutil.rmtree(tmp_path / "out")


def test_fewer_workers_are_recommended_only_where_they_help(tmp_path: Path, corpus: Path) -> None:
    for memory in (100, 300):
        flags = [f"--input={corpus}", f"--output={tmp_path / 'out'}", f"--memory={memory}MiB"]
        with pytest.raises(UsageError) as raised:
            run(*flags, "--workers=2")
        if "or --workers=1 with" in str(raised.value):
            run(*flags, "--workers=1")
            shutil.rmtree(tmp_path / "out")


def test_512_mib_are_enough_for_one_worker(tmp_path: Path, corpus: Path) -> None:
    run(
        f"--input={corpus}",
        f"--output={tmp_path / 'out'}",
        "--memory=512MiB",
        "--workers=1",
    )
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize("end", [b"", b"\n", b"\nmore\n"])
@pytest.mark.parametrize("before", [0, 3, 70_001])
def test_a_record_larger_than_memory_allows_names_file_and_offset(
    tmp_path: Path, before: int, end: bytes
) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"." * (before - 1) + b"\n" * (before > 0) + b"x" * 8_000_000 + end)
    with pytest.raises(DataError) as raised:
        run(
            f"--input={path}",
            f"--output={tmp_path / 'o'}",
            "--memory=214MiB",
            "--workers=1",
        )
    # its length, though it wasn't read into memory, and the memory that would do
    assert re.search(
        rf"{path}: the record at byte {before} has 8,000,000 bytes, .* pass --memory=\d+MiB",
        str(raised.value),
    )
    assert raised.value.exit_code not in (0, 2)


@pytest.mark.parametrize(
    ("magic", "name"),
    [
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"PAR1\x15", "Parquet"),
        (b"ARROW1\0\0", "Arrow"),
    ],
)
def test_a_file_of_another_format_is_named_with_its_format(
    tmp_path: Path, corpus: Path, magic: bytes, name: str
) -> None:
    write_tree(corpus, {"c.txt": magic + b"\n\0\xff" * 9})
    with pytest.raises(InputError, match=rf"{corpus}/c\.txt: .*{name}"):
        run(f"--input={corpus}", f"--output={tmp_path / 'o'}")


def test_a_twin_that_is_compressed_is_refused_by_name(tmp_path: Path, corpus: Path) -> None:
    import gzip

    write_tree(corpus, {"a.txt.gz": gzip.compress(make_lines(50))})
    with pytest.raises((InputError, DataError), match=r"a\.txt\.gz"):
        run(f"--input={corpus}", f"--output={tmp_path / 'o'}")


def test_headers_that_differ_name_both_files(tmp_path: Path, corpus: Path) -> None:
    write_tree(corpus, {"b.txt": b"other\n1\n"})
    with pytest.raises(InputError, match=rf"--header_lines=1.*{corpus}/a.txt.*{corpus}/b.txt"):
        run(f"--input={corpus}", f"--output={tmp_path / 'o'}", "--header_lines=1")


@pytest.mark.parametrize("data", [b"\n", b"one\n", b"one"])
def test_a_file_shorter_than_its_header_is_named_with_the_flag(tmp_path: Path, data: bytes) -> None:
    write_tree(tmp_path, {"short.txt": data})
    with pytest.raises((InputError, DataError), match=r"short\.txt.*--header_lines"):
        run(f"--input={tmp_path}/short.txt", f"--output={tmp_path / 'o'}", "--header_lines=2")


@pytest.mark.parametrize(
    "flags", [["--input=-", "--input=in"], ["--input=a=-", "--input=b=-"], ["--input=-"] * 2]
)
def test_standard_input_is_one_source_alone(tmp_path: Path, corpus: Path, flags: list[str]) -> None:
    done = command(*flags, "--output=o", cwd=tmp_path, stdin=b"1\n")
    assert done.returncode == 2
    assert b"error: --input=-: expected standard input once, for one source" in done.stderr


def test_standard_input_is_not_spooled_for_a_run_that_will_be_refused(tmp_path: Path) -> None:
    # a pipe of gigabytes can't be read again
    for flag in (
        "--memory=1MiB",
        "--workers=2 --direct_running_mode=in_memory",
        "--input=b=missing",
    ):
        done = command(
            "--input=a=-",
            *flag.split(),
            "--output=o",
            cwd=tmp_path,
            stdin=b"1\n" * 5_000_000,
            python=("-c", COUNT_WHAT_IS_LEFT),
        )
        assert done.returncode == 2
        assert int(done.stdout) > 9_000_000


COUNT_WHAT_IS_LEFT = """
import sys, pipelines.shuffle
code = pipelines.shuffle.main()
print(len(sys.stdin.buffer.read()))
sys.exit(code)
"""
CLOSE_AND_RUN = """
import os, sys
os.close(0)
os.execv(sys.executable, [sys.executable, "-m", "pipelines.shuffle", *sys.argv[1:]])
"""


def test_a_closed_standard_input_is_told(tmp_path: Path) -> None:
    done = command("--input=-", "--output=o", cwd=tmp_path, python=("-c", CLOSE_AND_RUN))
    assert done.returncode == 2, done.stderr
    assert b"--input=-" in done.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ["--workers=1"],
        ["--workers=2"],
        ["--workers=2", "--direct_running_mode=multi_threading"],
    ],
    ids=["alone", "processes", "threads"],
)
def test_what_went_wrong_in_a_worker_is_said_once_and_its_log_is_where_the_message_says(
    tmp_path: Path, corpus: Path, logs: Path, flags: list[str]
) -> None:
    write_tree(corpus, {"b.txt": b"x" * 100_000_000})
    done = command("--input=in", "--output=o", "--memory=540MiB", *flags, cwd=tmp_path)
    err = done.stderr.decode()
    assert done.returncode not in (0, 2), err
    assert err.count("the record at byte 0 has") == 1, err
    assert len(re.findall("^error: ", err, re.MULTILINE)) == 1, err
    assert "Traceback" not in err
    assert "while running" not in err
    named = re.search(r"log: (\S+?)\)?$", err.strip())
    assert named
    assert Path(named[1]).read_text()
    assert Path(named[1]).parent == logs
    Path(named[1]).unlink()


def test_an_error_that_nobody_foresaw_is_a_line_with_the_workers_log(
    tmp_path: Path, corpus: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr("transforms.kernels.records.sorting.sort_run", fail)
    with pytest.raises(RunError, match=r"ZeroDivisionError: a bug of ours.*log: ") as raised:
        run(f"--input={corpus}", f"--output={tmp_path / 'o'}")
    assert "\n" not in str(raised.value)
    assert len(list(logs.glob("dovetail-*.log"))) == 1


def test_a_run_that_succeeds_leaves_no_log(tmp_path: Path, corpus: Path, logs: Path) -> None:
    for i, flags in enumerate(([], ["--workers=2"])):
        run(f"--input={corpus}", f"--output={tmp_path / f'out{i}'}", *flags)
        shutil.rmtree(tmp_path / f"out{i}")
    assert os.listdir(logs) == []


def test_a_full_disk_is_told_and_nothing_is_left(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_all(file: Any, data: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transforms.storage.files.write_all", write_all)
    with pytest.raises(RunError, match="No space left on device"):
        run(f"--input={corpus}", f"--output={tmp_path / 'o'}")


def test_a_dataset_that_is_to_be_replaced_stays_when_the_input_is_no_good(
    tmp_path: Path, corpus: Path
) -> None:
    folder = tmp_path / "set"
    run(f"--input={corpus}", f"--output={folder}")
    before = read_tree(folder)
    write_tree(corpus, {"c.txt.gz": b"\x1f\x8b\x08\0"})
    with pytest.raises(InputError, match="gzip"):
        run(f"--input={corpus}", f"--output={folder}", "--overwrite")
    assert read_tree(folder) == before
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("made", "used"),
    [
        (["--header_lines=1"], []),
        ([], ["--header_lines=1"]),
        (["--header_lines=2"], ["--header_lines=1"]),
        (["--header_lines=1"], ["--header_lines=2"]),
        (["--separator=a"], []),
        ([], ["--separator=;"]),
    ],
)
def test_a_dataset_is_read_as_it_was_written_or_not_at_all(
    tmp_path: Path, corpus: Path, made: list[str], used: list[str]
) -> None:
    write_tree(tmp_path / "one", {"x.txt": b"head\na\nb\n"})
    folder = tmp_path / "set"
    run(f"--input={tmp_path / 'one'}", f"--output={folder}", *made)
    with pytest.raises(InputError, match="its manifest says"):
        run(f"--input={folder}", f"--output={tmp_path / 'o'}", *used)
    run(f"--input={folder}", f"--output={tmp_path / 'again'}", *made)
    shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "again")


@pytest.mark.parametrize("name", ["manifest.json", "_incomplete.json"])
def test_a_dataset_below_a_folder_is_not_taken_for_records(
    tmp_path: Path, corpus: Path, name: str
) -> None:
    run(f"--input={corpus}", f"--output={tmp_path / 'all/set'}")
    manifest = tmp_path / "all/set/manifest.json"
    manifest.rename(manifest.with_name(name))
    with pytest.raises(InputError, match=rf"{name}: the inputs include a dataset"):
        run(f"--input={tmp_path / 'all'}", f"--output={tmp_path / 'o'}")
    shutil.rmtree(tmp_path / "all")


def test_more_memory_than_the_machine_has_is_refused(tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(UsageError, match=r"--memory=.*this machine"):
        run(f"--input={corpus}", f"--output={tmp_path / 'o'}", "--memory=999TiB")
