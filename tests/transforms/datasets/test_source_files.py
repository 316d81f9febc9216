"""Listings of very many files, and what was read of them, in little memory."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from transforms.datasets import compact, matches
from transforms.datasets.files_read import add_up
from transforms.datasets.listing import list_source
from transforms.datasets.reports import Quarantine, SpanReport, SpanReports
from transforms.datasets.sieve import Sieve
from transforms.datasets.source_files import Files, SourceFile, fingerprint
from transforms.errors import DataError, InputError, LosslessError
from transforms.kernels.planning.plan import files_room
from transforms.kernels.records.digest import Digest

FILES = [
    SourceFile(
        source,
        f"deep/folder-{i // 100:04}/document-{i:07}.jsonl",
        f"file:///data/of/somebody/{source}/deep/folder-{i // 100:04}/document-{i:07}.jsonl",
        300 + i % 7,
        f"{300 + i % 7}:17{i:08}.25",
        ("lines", "none") if source == "told" else None,
    )
    for source in ("plain", "told")
    for i in range(5000)
]


def test_files_come_back_as_they_were_and_in_order() -> None:
    files = Files.of(iter(FILES))
    assert list(files) == FILES
    assert len(files) == len(FILES)
    assert files.size == sum(file.size for file in FILES)
    joined = Files.join([Files.of(FILES[:10]), Files(), Files.of(FILES[10:5000])])
    assert list(joined) == FILES[:5000]


@pytest.mark.parametrize("step", [1, 7, 4001, 4096, 20_000])
def test_some_of_them_are_those_that_a_list_would_give(step: int) -> None:
    assert Files.of(FILES).every(step) == FILES[::step]


def test_a_file_is_held_in_a_tenth_of_what_an_object_takes() -> None:
    def held(keep: Any) -> float:
        tracemalloc.start()
        kept = keep(
            SourceFile(f.source, f.name + "", f.url + "", f.size, f.version + "") for f in FILES
        )
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size / len(kept)

    files = Files.of(FILES)
    assert sum(map(len, files.packed)) / len(files) < 50
    assert held(Files.of) < 60


def test_listing_holds_no_more_of_most_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1500):
        path = tmp_path / f"part-{number % 10}" / f"document-{number:05}.txt"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.setattr(matches, "_AT_ONCE", 64)
    monkeypatch.setattr(matches, "_RANGE", 64)
    monkeypatch.setattr(compact, "_WORTH", 0)  # tables of 64 files stand for large ones
    list_source("s", [str(tmp_path)])  # what is done once
    tracemalloc.start()
    found = list_source("s", [f"{tmp_path}/*/*.txt"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    names = [f"part-{i % 10}/document-{i:05}.txt" for i in range(1500)]
    assert [file.name for file in found] == sorted(names)
    assert peak / len(found) < 250  # fsspec's info of a file alone takes over 1,000


@pytest.mark.parametrize("count", [1, 2, 100])
def test_files_are_sorted_by_ranges_of_names_and_come_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    names = sorted(["a", "a-b", "a/b", "a0", "ä", "ab/c.txt", "z", "\U0001f600", "\ufb00", "a/b-"])
    (tmp_path / "a").mkdir()
    (tmp_path / "ab").mkdir()
    for name in names:
        if name != "a":
            (tmp_path / name).touch()
    for name, value in (("_RANGE", count), ("_SAMPLED", 1), ("_AT_ONCE", count)):
        monkeypatch.setattr(matches, name, value)
    found = list_source("s", [str(tmp_path), f"{tmp_path}/a*"])
    assert [file.name for file in found] == [name for name in names if name != "a"]
    (tmp_path / "a0.gz").touch()
    with pytest.raises(InputError, match=r"two files have the name a0: .*/a0 and .*/a0\.gz"):
        list_source("s", [str(tmp_path), f"{tmp_path}/a*"])


@pytest.fixture
def shut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folders of a file each, of which ``b`` and ``.d`` can't be read, though by root."""
    for name in ("a", "b", ".d"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").touch()
    kept = {name: getattr(os, name) for name in ("scandir", "stat")}

    def refusing(name: str, path: Any, *args: Any, **more: Any) -> Any:
        inside = str(path) if name == "scandir" else os.path.dirname(str(path))
        if inside.endswith(("/b", "/.d")):
            raise PermissionError(path)
        return kept[name](path, *args, **more)

    for name in kept:
        monkeypatch.setattr(os, name, partial(refusing, name))
    yield tmp_path
    monkeypatch.undo()


@pytest.mark.parametrize(
    "pattern",
    ["", "**", "*/*.txt", "**/*.txt", "*/x.txt", "{a,b}/*.txt", "b/*", "b/x.txt", "*/y/*", "b"],
)
def test_a_folder_that_may_not_be_read_is_named(shut: Path, pattern: str) -> None:
    with pytest.raises(InputError, match=r"/b: the folder can't be read \(permission denied\)"):
        list_source("s", [f"{shut}/{pattern}"])


@pytest.mark.parametrize("pattern", ["", "**", "*/*.txt", "**/x.txt"])
def test_a_hidden_folder_that_may_not_be_read_is_passed_over(shut: Path, pattern: str) -> None:
    (shut / "b").rename(shut / "c")
    sieves: list[Sieve] = []
    found = list_source("s", [f"{shut}/{pattern}"], sifted=sieves.append)
    assert [file.name for file in found] == ["a/x.txt", "c/x.txt"]
    assert sieves[0].names == {".d/"}


@pytest.mark.parametrize("error_in", ["stat", "link"])
def test_a_folder_that_may_be_listed_but_not_entered_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_in: str
) -> None:
    class Entry:
        name, path = "x", f"{tmp_path}/x"

        def is_dir(self, *, follow_symlinks: bool = True) -> bool:
            if follow_symlinks:
                raise PermissionError
            return False

        def is_file(self, *, follow_symlinks: bool) -> bool:
            return True

        def stat(self, *, follow_symlinks: bool) -> None:
            raise PermissionError

    class Opened(list[Entry]):
        def __enter__(self) -> Opened:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", lambda path: Opened([Entry()]))
    with pytest.raises(InputError, match="the folder can't be read"):
        list_source("s", [str(tmp_path) if error_in == "stat" else f"{tmp_path}/*/y"])


def report(number: int, size: int, *, start: int = 0, covered: int, **more: Any) -> SpanReport:
    file = FILES[number]
    digest = Digest(1, covered - 1, number << 50, start)
    return SpanReport(
        file,
        digest,
        covered=covered,
        whole=size,
        number=number,
        start=start,
        **more,
    )


READ = [
    report(0, 100, covered=40),
    report(0, 100, covered=60, start=40, quarantine=Quarantine("q", 2, 3, "s")),
    report(1, 7, covered=7, dropped=Digest(2, 3, 2**63, 2**63)),
    report(2, 1, covered=1, blank=5, marks=1),
    report(0, 100, covered=40, pass_number=1),
    report(0, 100, covered=60, start=40, pass_number=1),
    report(5000, 9, covered=9),
]
SOURCES = ["empty", "plain", "told"]


def tables(reports: Sequence[SpanReport], size: int) -> list[SpanReports]:
    return [SpanReports.of(reports[i : i + size]) for i in range(0, len(reports), size)]


def test_a_report_comes_back_as_it_was() -> None:
    assert list(SpanReports.of(READ)) == READ


@pytest.mark.parametrize("size", [1, 3, 100])
def test_reports_add_up_in_any_order_and_however_they_are_put_together(size: int) -> None:
    expected = fingerprint([FILES[0], FILES[1], FILES[2], FILES[5000]])
    for seed in range(3):
        mixed = random.Random(seed).sample(READ, len(READ))
        found = add_up(tables(mixed, size), SOURCES, expected)
        assert found.name.to_pylist() == [FILES[i].name for i in (0, 1, 2, 5000)]
        assert found.source.tolist() == [1, 1, 1, 2]
        assert found.digests() == {
            "empty": Digest(),
            "plain": Digest.total(r.digest for r in READ[:4]),
            "told": READ[6].digest,
        }
        assert found.digest(1, dropped=True) == READ[2].dropped
        assert found.quarantine == [READ[1].quarantine]
        assert found.left_out == {"blank": 5, "marks": 1, "trailing": 0}


@pytest.mark.parametrize(
    ("reports", "error", "says"),
    [
        (READ[1:], LosslessError, "not all listed files"),
        (READ[:-1], LosslessError, "not all listed files"),
        ([*READ, READ[0]], LosslessError, "not all listed files"),
        (
            [READ[0], *READ[2:4], READ[6]],
            DataError,
            f"{FILES[0].url}: expected to read 100 bytes .*, read 40",
        ),
        (READ[:5] + READ[6:], DataError, f"{FILES[0].url}: pass 1 read other records "),
    ],
)
def test_what_is_missing_is_missed(
    reports: list[SpanReport], error: type[Exception], says: str
) -> None:
    expected = fingerprint([FILES[0], FILES[1], FILES[2], FILES[5000]])
    with pytest.raises(error, match=says):
        add_up(tables(reports, 2), SOURCES, expected)


@pytest.mark.parametrize(("files", "room"), [(1, 0), (2000, 0), (1_000_000, 352 << 20)])
def test_very_many_files_leave_less_room_for_payload(files: int, room: int) -> None:
    assert files_room(files) == room
