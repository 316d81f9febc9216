"""Storage: the same calls on local paths and on fsspec's, whole buffers whatever one call takes."""

from __future__ import annotations

import io
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from transforms.storage import files as storage


@pytest.fixture(params=["path", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder's URL, not made yet."""
    return {
        "path": f"{tmp_path}/new",
        "file": f"file://{tmp_path}/new",
        "memory": f"memory://{uuid.uuid4().hex}/new",
    }[request.param]


def write(url: str, data: bytes) -> None:
    storage.make_folder(url.rpartition("/")[0])
    with storage.open_write(url) as file:
        storage.write_all(file, data)


def read(url: str) -> bytes:
    with storage.open_read(url) as file:
        return file.read() or b""


def test_what_is_written_is_read(folder: str) -> None:
    url = storage.join(folder, "deeper", "a b é.txt")
    write(url, b"content")
    assert read(url) == b"content"


def test_writing_makes_no_folder_that_somebody_took_away(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), storage.open_write(f"{tmp_path}/gone/x"):
        pass
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 4, b"0123"), (6, 4, b"6789"), (8, 5, b"89"), (10, 3, b""), (12, 3, b""), (3, 0, b"")],
)
def test_a_range_ends_where_the_file_does(
    folder: str, offset: int, length: int, expected: bytes
) -> None:
    url = storage.join(folder, "x")
    write(url, b"0123456789")
    assert bytes(storage.read_range(url, offset, length)) == expected


def test_rename_replaces_what_is_there(tmp_path: Path) -> None:
    folder = str(tmp_path)
    old, new = storage.join(folder, "old"), storage.join(folder, "data", "new")
    write(new, b"before")
    write(old, b"after")
    storage.rename(old, new)
    storage.rename(new, (moved := storage.join(folder, "deeper", "new")))
    storage.rename(moved, new)
    assert read(new) == b"after"
    with pytest.raises(FileNotFoundError):
        read(old)


def test_a_tree_goes_whole_and_twice_is_fine(folder: str) -> None:
    write(storage.join(folder, "a", "x"), b"1")
    write(storage.join(folder, "b"), b"2")
    storage.remove_tree(folder)
    fs, path = storage.filesystem(folder)
    assert not fs.exists(path)
    storage.remove_tree(folder)


@pytest.mark.parametrize(
    ("folder_url", "names", "expected"),
    [
        ("/a", ["b", "c"], "/a/b/c"),
        ("/a/", ["b"], "/a/b"),
        ("/", ["b", "c"], "/b/c"),
        ("s3://bucket", ["b"], "s3://bucket/b"),
        ("memory://x/", ["b"], "memory://x/b"),
        ("rel", ["b"], "rel/b"),
    ],
)
def test_join_puts_one_slash_between(folder_url: str, names: list[str], expected: str) -> None:
    assert storage.join(folder_url, *names) == expected


def test_local_is_what_lies_on_our_disks(tmp_path: Path) -> None:
    assert storage.is_local(str(tmp_path))
    assert storage.is_local(f"file://{tmp_path}")
    assert not storage.is_local("memory://x")
    assert storage.local_path(f"file://{tmp_path}/x") == f"{tmp_path}/x"
    assert storage.local_path("x/../y") == os.path.abspath("y")


class Stingy(io.RawIOBase):
    """Takes and gives 3 bytes a call at most, as raw files may."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)

    def write(self, data: Any) -> int:
        self.content += bytes(data[:3])
        return min(len(data), 3)

    def readinto(self, target: Any) -> int:
        some = self.content[: min(3, len(target))]
        target[: len(some)] = some
        del self.content[: len(some)]
        return len(some)


@pytest.mark.parametrize("size", [0, 1, 3, 10])
def test_a_buffer_is_written_whole_however_little_a_call_takes(size: int) -> None:
    file, data = Stingy(), bytes(range(size))
    assert storage.write_all(file, data) == size
    assert file.content == data


def test_a_buffer_larger_than_one_call_is_written_whole(folder: str) -> None:
    data = bytes(range(256)) * (4096 * 3) + b"end"  # 3 MiB and a bit: over two calls
    write(storage.join(folder, "x"), data)
    assert read(storage.join(folder, "x")) == data


def test_a_buffer_of_wider_items_counts_in_bytes() -> None:
    file = Stingy()
    assert storage.write_all(file, memoryview(bytes(24)).cast("Q")) == 24
    assert len(file.content) == 24


@pytest.mark.parametrize(
    ("size", "expected"), [(4, b"0123"), (10, b"0123456789"), (12, b"0123456789")]
)
def test_reading_goes_on_until_full_or_the_end(size: int, expected: bytes) -> None:
    target = bytearray(size)
    assert storage.read_into(Stingy(b"0123456789"), memoryview(target)) == len(expected)
    assert target[: len(expected)] == expected


def test_a_version_changes_with_size_and_with_time(tmp_path: Path) -> None:
    path = tmp_path / "x"
    seen = []
    for content, stamp in ((b"one", 1_000), (b"one", 2_000), (b"three", 2_000), (b"one", 1_000)):
        path.write_bytes(content)
        os.utime(path, ns=(stamp * 10**6, stamp * 10**6))  # a millisecond apart
        fs, inner = storage.filesystem(str(path))
        seen.append(storage.version_of(fs.info(inner)))
    assert len(set(seen[:3])) == 3
    assert seen[3] == seen[0]


def test_a_hole_gives_the_range_back_and_leaves_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "x"
    block = os.stat(tmp_path).st_blksize
    with path.open("wb") as file:
        file.write(b"a" * block + b"b" * 4 * block + b"c" * block)
        file.flush()
        os.fsync(file.fileno())  # only what is on disk counts in st_blocks
    before = path.stat().st_blocks
    storage.punch_hole(str(path), block, 4 * block)
    content = path.read_bytes()
    assert (content[:block], content[-block:]) == (b"a" * block, b"c" * block)
    assert len(content) == 6 * block
    if path.stat().st_blocks == before:  # a file system without holes: then nothing may happen
        assert content[block : 5 * block] == b"b" * 4 * block
    else:
        assert content[block : 5 * block] == bytes(4 * block)


def test_whether_holes_can_be_made_is_tried_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(1 << 16))
    with path.open("rb") as file:
        os.fsync(file.fileno())
    storage.punch_hole(str(path), 0, 1 << 16)
    assert storage.punches_holes(str(tmp_path)) == (path.stat().st_blocks == 0)
    assert list(tmp_path.iterdir()) == [path]
    assert not storage.punches_holes(str(tmp_path / "not there"))


def test_a_hole_somewhere_else_than_on_our_disks_does_nothing() -> None:
    url = f"memory://{uuid.uuid4().hex}/x"
    write(url, b"abc")
    storage.punch_hole(url, 0, 3)
    assert read(url) == b"abc"
