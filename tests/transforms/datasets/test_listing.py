"""Listing: which files a pattern means, and under which names."""

from __future__ import annotations

import json
import os
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from transforms.datasets.listing import list_source, list_sources
from transforms.datasets.source_files import SourceFile, extension, fingerprint
from transforms.errors import DovetailError, InputError
from transforms.storage import files as storage

TREE = (
    "a.txt",
    "b.jsonl",
    "deep/a.txt",
    "deep/er/c.txt",
    "deep/er/d1.txt",
    "deep/er/d2.txt",
)


def plant(root: Path, *names: str) -> Path:
    """Make files that hold their own names."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def names(root: Path, *patterns: str) -> list[str]:
    """List patterns below a folder, "" for the folder itself."""
    return [
        file.name
        for file in list_source("s", [f"{root}/{p}" if p else str(root) for p in patterns])
    ]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["a.txt"], ["a.txt"]),
        (["deep/er/c.txt"], ["c.txt"]),
        (
            [""],
            ["a.txt", "b.jsonl", "deep/a.txt", "deep/er/c.txt", "deep/er/d1.txt", "deep/er/d2.txt"],
        ),
        (["deep/"], ["a.txt", "er/c.txt", "er/d1.txt", "er/d2.txt"]),
        (["*.txt"], ["a.txt"]),
        (["?.*"], ["a.txt", "b.jsonl"]),
        (["deep/er/d[12].txt"], ["d1.txt", "d2.txt"]),
        (["deep/er/d[!1].txt"], ["d2.txt"]),
        (["*/er/d*"], ["deep/er/d1.txt", "deep/er/d2.txt"]),
        (["deep/**/c.txt"], ["er/c.txt"]),
        (["**/a.txt"], ["a.txt", "deep/a.txt"]),
    ],
    ids=str,
)
def test_a_pattern_is_a_file_a_folder_or_a_glob(
    tmp_path: Path, patterns: list[str], expected: list[str]
) -> None:
    assert names(plant(tmp_path, *TREE), *patterns) == expected


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["deep/a.txt", "deep/er/c.txt"], ["a.txt", "er/c.txt"]),
        (["deep/er/c.txt", "b.jsonl"], ["b.jsonl", "deep/er/c.txt"]),
        (["deep/er/*1.txt", "deep/er/*2.txt"], ["d1.txt", "d2.txt"]),
        (["deep/er", "deep/*.txt"], ["a.txt", "er/c.txt", "er/d1.txt", "er/d2.txt"]),
        # the name doesn't depend on what a pattern happens to match, only on its fixed part
        (["*/er/c.txt"], ["deep/er/c.txt"]),
        (["deep/*/c.txt"], ["er/c.txt"]),
    ],
    ids=str,
)
def test_names_are_paths_below_the_longest_common_folder_of_the_fixed_parts(
    tmp_path: Path, patterns: list[str], expected: list[str]
) -> None:
    assert names(plant(tmp_path, *TREE), *patterns) == expected
    assert names(tmp_path, *reversed(patterns)) == expected


def test_a_tree_has_the_same_names_wherever_it_lies(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "further" / "down"
    plant(first, *TREE)
    plant(second, *TREE)
    assert names(first, "deep", "a.txt") == names(second, "a.txt", "deep")


def test_hidden_files_and_folders_below_a_folder_are_left_out(tmp_path: Path) -> None:
    root = plant(tmp_path / ".above", "a.txt", ".b.txt", "c/.d/e.txt", "c/f.txt", "c/..g", "h./i")
    assert names(root, "") == ["a.txt", "c/f.txt", "h./i"]


def test_a_hidden_file_given_by_name_is_meant(tmp_path: Path) -> None:
    assert names(plant(tmp_path, ".b.txt"), ".b.txt") == [".b.txt"]


def test_files_that_two_patterns_match_come_once(tmp_path: Path) -> None:
    plant(tmp_path, *TREE)
    assert names(tmp_path, "deep/er/*", "deep/er/c.txt", "deep/er/") == [
        "c.txt",
        "d1.txt",
        "d2.txt",
    ]


@pytest.mark.parametrize(
    "patterns",
    [
        ["y/s.txt", "y//s.txt", "./y/./s.txt"],
        ["y/s.txt", "y/../y/s.txt", "../w/y/s.txt"],
        ["y/../y/s.txt"],
        ["y", "y/../y", "x/../y/"],
        ["y/*", "y/../y/*", "//y//*", "link/deep/../../w/y/s.txt"],
        ["y/*/../s.txt"],
    ],
    ids=str,
)
def test_a_file_has_one_name_however_its_path_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patterns: list[str]
) -> None:
    plant(tmp_path, "w/y/s.txt", "w/x/a.txt", "w/deep/b.txt")
    (tmp_path / "w/y/sub").mkdir()
    (tmp_path / "w/link").symlink_to(".")
    (file,) = list_source("s", [f"{tmp_path}/w/{pattern}" for pattern in patterns])
    assert (file.name, file.url) == ("s.txt", f"file://{tmp_path}/w/y/s.txt")
    for place in ("w", "w/x"):
        monkeypatch.chdir(tmp_path / place)
        below = [os.path.relpath(tmp_path / "w") + f"/{pattern}" for pattern in patterns]
        assert list(list_source("s", below)) == [file]


def test_what_lies_above_a_link_is_what_lies_above_where_it_leads(tmp_path: Path) -> None:
    plant(tmp_path, "real/deep/b.txt", "real/a.txt", "a.txt")
    (tmp_path / "link").symlink_to("real/deep")
    (file,) = list_source("s", [f"{tmp_path}/link/../a.txt"])
    assert file.url == f"file://{tmp_path}/real/a.txt"


def test_a_file_is_listed_with_its_source_place_and_size(tmp_path: Path) -> None:
    plant(tmp_path, "deep/a.txt")
    (file,) = list_source("web", [str(tmp_path)])
    assert (file.source, file.name, file.size) == ("web", "deep/a.txt", len("deep/a.txt"))
    assert storage.local_path(file.url) == f"{tmp_path}/deep/a.txt"


def test_sources_are_listed_by_name_and_may_share_names_of_files(tmp_path: Path) -> None:
    plant(tmp_path, "x/a.txt", "y/a.txt")
    found = list_sources({"q": [f"{tmp_path}/x"], "p": [f"{tmp_path}/y/*"]})
    assert [(file.source, file.name) for file in found] == [("p", "a.txt"), ("q", "a.txt")]


@pytest.mark.parametrize(
    "pattern", ["none.txt", "none/", "*.none", "deep/none*/x", "empty", "empty/*"]
)
def test_a_pattern_that_matches_nothing_is_refused_and_repeated(
    tmp_path: Path, pattern: str
) -> None:
    plant(tmp_path, *TREE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no file matches") as caught:
        names(tmp_path, "a.txt", pattern)
    assert f"--input={tmp_path}/{pattern}:" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "with space.txt",
        "é中文🎴.txt",
        "e\u0301.txt",  # decomposed: another name than é.txt
        "x[1].txt",
        "[ab]/x.txt",
        "what?.txt",
        "a*b.txt",
        "{a,b}.txt",
        "100%25.txt",
        "#1.txt",
        "~user.txt",
        "tab\t.txt",
        "a=b&c;d.txt",
        "a::b.txt",
    ],
)
def test_any_name_is_found_by_itself_by_folder_and_by_glob_and_opens(
    tmp_path: Path, name: str
) -> None:
    root = tmp_path / "r"
    path = root / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"itself")
    for pattern in (str(root), f"{root}/**" if "/" in name else f"{root}/*", str(path)):
        (file,) = list_source("s", [pattern])
        assert file.name == (os.path.basename(name) if pattern == str(path) else name)
        with storage.open_read(file.url) as opened:
            assert opened.read() == b"itself"


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"bad\xff.txt")).write_bytes(b"a\n")
    with pytest.raises(InputError, match="not UTF-8"):
        list_source("s", [str(tmp_path)])


@pytest.mark.parametrize(("target", "what"), [("nowhere", "nothing"), ("folder", "a folder")])
@pytest.mark.parametrize("pattern", ["", "*"])
def test_a_link_that_is_no_file_is_refused_by_name(
    tmp_path: Path, target: str, what: str, pattern: str
) -> None:
    plant(tmp_path, "r/a.txt", "folder/b.txt")
    (tmp_path / "r" / "link").symlink_to(tmp_path / target)
    with pytest.raises(InputError, match=f"link: a symbolic link to {what}"):
        list_source("s", [str(tmp_path / "r" / pattern)])


def test_brackets_that_name_a_file_are_no_glob(tmp_path: Path) -> None:
    plant(tmp_path, "x[1].txt", "x1.txt")
    assert names(tmp_path, "x[1].txt") == ["x[1].txt"]
    os.remove(tmp_path / "x[1].txt")
    assert names(tmp_path, "x[1].txt") == ["x1.txt"]


def test_a_folder_with_a_manifest_gives_only_the_shards_that_it_lists(tmp_path: Path) -> None:
    listed = ["data/train-00000-of-00002.txt", "data/train-00001-of-00002.txt"]
    plant(tmp_path, *listed, "data/stray.txt", "_tmp-1/x.txt", "README.txt")
    sizes = [(tmp_path / path).stat().st_size for path in listed]
    shards = [{"path": p, "bytes": n} for p, n in zip(listed, sizes, strict=True)]
    manifest = {"format": "dovetail-manifest", "shards": shards}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert names(tmp_path, "") == listed


OURS = '{"format": "dovetail-manifest", '


@pytest.mark.parametrize(
    "manifest",
    [
        OURS + '"shards": [{"path": "data/train-00000-of-00001.txt", "bytes": 9}]}',
        OURS + '"shards": [{"path": "../train-00000-of-00001.txt", "bytes": 1}]}',
        OURS + '"shards": [], "kind": "lines", "compression": "lzma9"}',
        OURS + '"shards": [], "kind": ["x"], "compression": "none"}',
        OURS + '"shards": [], "kind": "lines", "compression": "none", "separator": "x"}',
        OURS + '"shards": [], "kind": "lines", "compression": "none", "header_bytes": -1}',
        OURS + '"shards": [], "kind": "lines", "compression": "none", "header_bytes": "0"}',
        OURS + '"shards": [], "kind": "lines", "compression": "none", "header_bytes": 0.5}',
        OURS + '"shards": [], "kind": "lines", "compression": "none", "separator": true}',
        '{"name": "a web page"}',
        "not JSON",
        "[]",
    ],
    ids=[
        "a shard is missing",
        "a path leads away",
        "an unknown codec",
        "an unknown kind",
        "an impossible separator",
        "an impossible header",
        "a header of text",
        "a header of half a byte",
        "a separator that is no number",
        "of something else",
        "no JSON",
        "no object",
    ],
)
def test_a_folder_with_a_broken_manifest_is_refused_by_name(tmp_path: Path, manifest: str) -> None:
    plant(tmp_path, "a.txt")
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(DovetailError, match=str(tmp_path)) as raised:
        names(tmp_path, "")
    assert "KeyError" not in str(raised.value)


def test_another_programs_manifest_is_called_so(tmp_path: Path) -> None:
    plant(tmp_path, "a.txt")
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(InputError, match=r"is not Dovetail's .*as in .*/\*\.jsonl"):
        names(tmp_path, "")


SHARDS = [f"data/train-{i:05}-of-00003.txt" for i in range(3)]


@pytest.fixture(params=["disk", "store"])
def dataset(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Make a dataset of three shards; return its folder."""
    root = str(tmp_path) if request.param == "disk" else f"memory://{uuid.uuid4().hex}"
    listed = [{"path": path, "bytes": 5} for path in SHARDS]
    put(f"{root}/manifest.json", json.dumps({"format": "dovetail-manifest", "shards": listed}))
    for path in SHARDS:
        put(f"{root}/{path}", "12345")
    return root


def put(url: str, text: str) -> None:
    storage.make_folder(url.rpartition("/")[0])
    with storage.open_write(url) as file:
        storage.write_all(file, text.encode())


WHOLE = ["data", "data/", "data/*", "data/*.txt", "dat*/*", "data/**", "data/*-0000[12]-*"]


@pytest.mark.parametrize("pattern", [*WHOLE, "data/*-00000-*", SHARDS[0]])
def test_shards_of_a_dataset_that_died_are_refused_by_any_pattern(
    dataset: str, pattern: str
) -> None:
    storage.remove_file(f"{dataset}/manifest.json")
    assert list_source("s", [f"{dataset}/{pattern}"])
    put(f"{dataset}/_incomplete.json", "{}")
    with pytest.raises(InputError, match=r"holds a _incomplete\.json: a run is writing"):
        list_source("s", [f"{dataset}/{pattern}"])


@pytest.mark.parametrize("pattern", WHOLE)
def test_a_pattern_of_shards_misses_one_that_is_gone_and_one_that_changed(
    dataset: str, pattern: str
) -> None:
    assert len(list_source("s", [f"{dataset}/{pattern}"])) == (2 if "[12]" in pattern else 3)
    storage.remove_file(f"{dataset}/{SHARDS[1]}")
    with pytest.raises(
        InputError, match=r"manifest\.json lists them: train-00001-of-00003\.txt is missing"
    ):
        list_source("s", [f"{dataset}/{pattern}"])
    assert len(list_source("s", [f"{dataset}/{SHARDS[2]}", f"{dataset}/data/*-00000-*"])) == 2
    put(f"{dataset}/{SHARDS[1]}", "123456")
    with pytest.raises(InputError, match="has 6 bytes, expected 5; write the dataset again"):
        list_source("s", [f"{dataset}/{pattern}"])
    with pytest.raises(InputError, match="has 6 bytes, expected 5"):
        list_source("s", [f"{dataset}/{SHARDS[1]}"])


@pytest.mark.parametrize("text", ["[]", "{", '{"format": "dovetail-manifest"}', '{"shards": 1}'])
def test_beside_a_manifest_that_says_nothing_files_are_read_as_they_lie(
    dataset: str, text: str
) -> None:
    put(f"{dataset}/manifest.json", text)
    storage.remove_file(f"{dataset}/{SHARDS[1]}")
    assert len(list_source("s", [f"{dataset}/data"])) == 2


def test_a_shard_that_leads_out_of_the_dataset_is_not_taken_for_input(tmp_path: Path) -> None:
    shard = "data/train-00000-of-00001.txt"
    plant(tmp_path, "secret", "set/data/x")
    (tmp_path / "set" / shard).symlink_to(tmp_path / "secret")
    size = (tmp_path / "secret").stat().st_size
    manifest = {"format": "dovetail-manifest", "shards": [{"path": shard, "bytes": size}]}
    (tmp_path / "set" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=f"{shard}: not read: it leads to {tmp_path}/secret"):
        names(tmp_path, "set")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a.txt", "b/c.txt"][:1]),
        ("**", ["a.txt", "b/c.txt"]),
        (".*", [".hid"]),
        ("b/*", ["c.txt"]),
    ],
)
def test_only_a_dot_finds_a_hidden_file(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    plant(tmp_path, "a.txt", ".hid", "b/c.txt", "b/.d/e.txt", ".f/g.txt")
    assert names(tmp_path, pattern) == expected


def test_twins_are_refused_and_both_named(tmp_path: Path) -> None:
    plant(tmp_path, "a.txt")
    memory = fsspec.filesystem("memory")
    memory.pipe(f"{tmp_path}/a.txt", b"another")
    try:
        with pytest.raises(InputError, match="two files have the name") as caught:
            list_source("s", [f"{tmp_path}/a.txt", f"memory://{tmp_path}/a.txt"])
        assert "source s" in str(caught.value)
        assert f"{tmp_path}/a.txt" in str(caught.value)
        assert f"memory://{tmp_path}/a.txt" in str(caught.value)
    finally:
        memory.rm(f"{tmp_path}/a.txt")


def test_of_twins_that_are_archives_it_is_said_that_they_are(tmp_path: Path) -> None:
    plant(tmp_path, "x.txt")
    for name, mode in (("a.tar", "w"), ("a.tar.gz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as archive:
            archive.add(tmp_path / "x.txt")
    with pytest.raises(
        InputError, match=r"/a\.tar is a tar archive: unpack it, and pass the files"
    ):
        names(tmp_path, "")


def test_other_filesystems_are_listed_alike() -> None:
    root = f"memory://{uuid.uuid4().hex}"
    for name in ("x/a.txt", "x/y/b.txt"):
        with storage.open_write(f"{root}/{name}") as file:
            storage.write_all(file, b"12345")
    found = list_source("s", [f"{root}/x/*.txt", f"{root}/x/y"])
    assert [(file.name, file.size) for file in found] == [("a.txt", 5), ("y/b.txt", 5)]
    assert all(file.url.startswith("memory://") for file in found)


def _add(root: Path) -> None:
    plant(root, "new.txt")


def _drop(root: Path) -> None:
    (root / "a.txt").unlink()


def _rename(root: Path) -> None:
    (root / "a.txt").rename(root / "z.txt")


def _grow(root: Path) -> None:
    stamp = (root / "a.txt").stat().st_mtime_ns
    (root / "a.txt").write_text("longer than before")
    os.utime(root / "a.txt", ns=(stamp, stamp))


def _touch(root: Path) -> None:
    stamp = (root / "a.txt").stat().st_mtime_ns + 10**9
    os.utime(root / "a.txt", ns=(stamp, stamp))


@pytest.mark.parametrize("change", [_add, _drop, _rename, _grow, _touch])
def test_a_fingerprint_changes_when_a_file_comes_goes_or_changes(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    plant(tmp_path, *TREE)
    before = fingerprint(list_source("s", [str(tmp_path)]))
    assert fingerprint(list_source("s", [f"{tmp_path}/"])) == before
    change(tmp_path)
    assert fingerprint(list_source("s", [str(tmp_path)])) != before


def test_a_fingerprint_tells_sources_apart() -> None:
    files = [SourceFile(source, "a", "file:///a", 1, "v") for source in "st"]
    assert fingerprint(files[:1]) != fingerprint(files[1:])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["a.jsonl"], ".jsonl"),
        (["a.jsonl", "b/c.jsonl"], ".jsonl"),
        (["a.jsonl", "b.txt"], ".txt"),
        (["a", "b"], ".txt"),
        (["a.csv", "b"], ".txt"),
        (["v1.2/a.csv", "v1.3/b.csv"], ".csv"),
        (["v1.2/README"], ".txt"),
        ([], ".txt"),
    ],
    ids=str,
)
def test_the_extension_is_what_all_files_share(found: list[str], expected: str) -> None:
    assert extension(SourceFile("s", name, "", 1, "") for name in found) == expected


def test_a_pattern_that_may_have_been_a_path_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no file matches.*part of a path, pass \./dt=2025-\*/a\.txt"
    ):
        list_source("dt", ["2025-*/a.txt"])


def test_a_pattern_of_folders_alone_gets_a_hint(tmp_path: Path) -> None:
    plant(tmp_path, "dt=1/a.txt", "dt=2/b.txt")
    with pytest.raises(InputError, match=r"only folders; .* pass .*/dt=\*/\*\*$"):
        names(tmp_path, "dt=*")
    assert names(tmp_path, "dt=*/**") == ["dt=1/a.txt", "dt=2/b.txt"]
