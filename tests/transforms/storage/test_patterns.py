"""Patterns: braces, brackets that are part of a name, links to folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transforms.datasets.test_listing import names, plant
from transforms.errors import InputError, UsageError
from transforms.storage.patterns import alternatives, matches_here


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a", ["a"]),
        ("{a}", ["{a}"]),
        ("{}", ["{}"]),
        ("x{a,b}y", ["xay", "xby"]),
        ("{a,b}/{c,d}", ["a/c", "a/d", "b/c", "b/d"]),
        ("{a,b{c,d}}", ["a", "bc", "bd"]),
        ("x{,.gz}", ["x", "x.gz"]),
        ("{a,a}", ["a"]),
        ("p-{8..10}", ["p-8", "p-9", "p-10"]),
        ("p-{008..010}.x", ["p-008.x", "p-009.x", "p-010.x"]),
        ("{2..0}", ["2", "1", "0"]),
        ("p-{0..6..3}", ["p-0", "p-3", "p-6"]),
        ("{x..z}", ["x", "y", "z"]),
        ("s3://b/{a,b}/*", ["s3://b/a/*", "s3://b/b/*"]),
    ],
)
def test_braces_stand_for_several_patterns(
    pattern: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.storage.files.filesystem", lambda url: (_Nothing(), url))
    assert alternatives(pattern) == expected


def test_braces_that_stand_for_very_many_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"p-\{1..100001\}: expected a pattern that expands to at most 100,000"
    ):
        alternatives("p-{1..100001}")


class _Nothing:
    def exists(self, path: str) -> bool:
        return False


def test_braces_choose_files_and_each_has_to_match(tmp_path: Path) -> None:
    plant(tmp_path, "a/1.txt", "b/2.txt", "c/3.txt")
    assert names(tmp_path, "{a,b}/*.txt") == ["a/1.txt", "b/2.txt"]
    with pytest.raises(InputError, match=r"/d/\*\.txt: no file matches"):
        names(tmp_path, "{a,d}/*.txt")


def test_a_name_with_braces_is_itself(tmp_path: Path) -> None:
    plant(tmp_path, "{a,b}.txt", "a.txt", "b.txt")
    assert names(tmp_path, "{a,b}.txt") == ["{a,b}.txt"]


def test_brackets_of_a_folder_that_is_there_are_its_name(tmp_path: Path) -> None:
    plant(tmp_path, "dir[1]/right.txt", "dir1/wrong.txt", "[D]/koch/a.txt", "x2/b.txt", "[!z]/e")
    assert names(tmp_path, "dir[1]/*.txt") == ["right.txt"]
    assert names(tmp_path, "[D]/koch/*.txt") == ["a.txt"]
    assert names(tmp_path, "[D]/k[o]ch/**") == ["koch/a.txt"]
    assert names(tmp_path, "x[2]/*.txt") == ["x2/b.txt"]
    assert names(tmp_path, "[!z]/*") == ["e"]
    with pytest.raises(InputError, match=r"\[\[\] matches a bracket"):
        names(tmp_path, "no[1]/*.txt")


def test_links_to_folders_are_followed_by_all_but_two_stars(tmp_path: Path) -> None:
    plant(tmp_path, "real/deep/a.txt", "real/b.txt")
    (tmp_path / "mylink").symlink_to("real")
    (tmp_path / "real/loop").symlink_to(tmp_path)
    assert names(tmp_path, "*link/*.txt") == ["mylink/b.txt"]
    assert names(tmp_path, "*/deep/*.txt") == ["mylink/deep/a.txt", "real/deep/a.txt"]
    assert names(tmp_path, "my*/**/a.txt") == ["mylink/deep/a.txt"]
    assert names(tmp_path, "real/loop/mylink/*.txt") == ["b.txt"]
    with pytest.raises(InputError, match="symbolic link to a folder"):
        names(tmp_path, "**")


def test_what_is_here_is_found_through_any_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, "dt=1/a.txt")
    monkeypatch.chdir(tmp_path)
    assert all(map(matches_here, ["dt=1", "dt=*/a.txt", "dt=1/**", "dt={1,2}/*"]))
    assert not any(map(matches_here, ["dt=2", "dt=2*/a.txt", "dt=s3://b/c", "s3://b/dt=1"]))
