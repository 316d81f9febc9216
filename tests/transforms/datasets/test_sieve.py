"""Which files of a folder hold records."""

from __future__ import annotations

import pytest

from transforms.datasets.sieve import Sieve, count_kinds, extension_of, most_common, read_extension


@pytest.mark.parametrize(
    "name",
    [
        "_SUCCESS",
        "_metadata",
        "_common_metadata",
        "_committed_123",
        "_temporary/0/part-0.parquet",
        "a/_delta_log/0.json",
        ".part-0.crc",
        ".git/objects/ab",
        "a/.b/c",
        "part-0.parquet._COPYING_",
        "README.md",
        "readme",
        "a/README",
        "README.zh-CN.md",
        "README_en.txt",
        "LICENSE",
        "LICENCE.txt",
        "LICENSE-APACHE",
        "NOTICE",
        "CITATION.cff",
        "dataset_info.json",
        "dataset_infos.json",
        "dataset_dict.json",
        "train/state.json",
        "SHA256SUMS",
        "md5sums.txt",
        "cache-0123456789abcdef.arrow",
        "cache-0123456789abcdef_00000_of_00002.arrow",
    ],
)
def test_what_lies_beside_records_is_held_back_and_told(name: str) -> None:
    sieve = Sieve("hub")
    assert not sieve.lets(name, 5)
    assert sieve.said.startswith("hub: ignored 1 file: ")
    assert not sieve.kinds


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "a_b/c_d.txt",
        "a.b/c",
        "readmes.jsonl",
        "README-0001.parquet",
        "readme_corpus.jsonl.gz",
        "licensed.txt",
        "state.jsonl",
        "dataset.json",
        "mdata.json",
        "cache.arrow",
        "_year=2024/a.txt",
        "year=2024/_hour=1/a.txt",
    ],
)
def test_what_holds_records_goes_through(name: str) -> None:
    sieve = Sieve("hub")
    assert sieve.lets(name, 5)
    assert sieve.said == ""


@pytest.mark.parametrize(
    ("wild", "name", "found"),
    [
        ("/*", "_a.txt", False),
        ("/**", "README.md", False),
        ("/*.*", "README.md", False),
        ("/*.md", "README.md", True),
        ("/README*", "README.md", True),
        ("/_*", "_a.txt", True),
        ("/*.txt", "_a.txt", True),  # as a shell
        ("/*.txt", ".a.txt", False),
        ("/**/*.txt", "_temporary/0/a.txt", False),
        ("/_*/*.txt", "_temporary/a.txt", True),
        ("/.*", ".a.txt", True),
    ],
)
def test_a_glob_finds_what_it_says_by_name(wild: str, name: str, found: bool) -> None:
    sieve = Sieve(wild)
    sieve.aim(wild)
    assert sieve.lets(name, 5) is found


@pytest.mark.parametrize(
    ("extensions", "taken"),
    [
        ([".jsonl"], ["a.jsonl", "a.jsonl.gz", "B.JSONL"]),
        ([".jsonl.gz"], ["a.jsonl.gz"]),
        ([".gz"], ["a.jsonl.gz", "c.gz"]),
        ([".json", "none"], ["a.json", "b", "c.gz", "part.0001"]),
    ],
)
def test_extensions_choose(extensions: list[str], taken: list[str]) -> None:
    names = ["a.jsonl", "a.jsonl.gz", "B.JSONL", "a.json", "b", "c.gz", "part.0001", "README.json"]
    sieve = Sieve("hub", extensions)
    assert [name for name in names[:-1] if sieve.lets(name, 5)] == taken
    assert sieve.held == len(names) - 1 - len(taken)
    assert not sieve.lets("dataset_infos.json", 5)


def test_kinds_are_counted_of_files_that_hold_something() -> None:
    sieve = Sieve("hub")
    for name in ("a.jsonl", "b.json", "c.ndjson.gz"):
        sieve.lets(name, 5)
    assert not sieve.mixed
    sieve.lets("d.csv", 0)
    assert not sieve.mixed
    for name in ("e.csv", "f", "g.json"):
        sieve.lets(name, 1)
    counted = "2 .json, 1 .csv, 1 .jsonl, 1 .ndjson, 1 without an extension"
    assert sieve.mixed
    assert count_kinds(sieve.kinds) == counted
    assert most_common(sieve.kinds) == [".json", ".jsonl", ".ndjson"]
    sieve.aim("/*.*sv")
    assert not sieve.mixed  # the pattern says which


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("a.txt", ".txt"),
        ("a.b.TXT.Gz", ".txt"),
        ("v1.2/a", ""),
        ("a.gz", ""),
        ("a.2024-01-01", ""),
        ("a.c++", ".c++"),
        ("a b. c", ""),
    ],
)
def test_an_extension_is_a_word(name: str, extension: str) -> None:
    assert extension_of(name) == extension


def test_extensions_are_written_in_many_ways() -> None:
    assert {read_extension(text) for text in ("jsonl", ".jsonl", "*.JSONL", " jsonl ")} == {
        ".jsonl"
    }


def test_a_folder_that_cannot_be_read_is_hidden_where_its_path_says_so() -> None:
    sieve = Sieve("x")
    hidden = [".d", "a/_b", "_b/c", "lost+found", "_year=1/_x"]
    assert [sieve.hides(folder) for folder in hidden] == [True] * len(hidden)
    assert not any(map(sieve.hides, ["a", "_year=1", "a.b/c", "a/lost+found"]))
    sieve.aim("/.*/*")
    assert not sieve.hides(".d")
