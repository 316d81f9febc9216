"""Reading ranges of files."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import fsspec
import pytest

from transforms.errors import RunError
from transforms.shuffling import file_ranges
from transforms.shuffling.file_ranges import FileRange, read_in_turn
from transforms.storage import files as storage


def test_local_files_are_opened_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = storage.open_read

    def open_read(url: str) -> Any:
        opened.append(url)
        return real(url)

    monkeypatch.setattr(storage, "open_read", open_read)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 5 + b"0123456789")
    found = [FileRange(str(tmp_path / name), at, 4) for name in ("a", "b") for at in (3, 9)]
    assert [bytes(data) for data in read_in_turn(found)] == [b"aa01", b"4567", b"bb01", b"4567"]
    assert opened == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_files_on_stores_are_read_several_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of several files are in flight together: each waits for another one."""
    store = fsspec.filesystem("memory")
    store.pipe({f"/ranges/{i}": b"0123456789" for i in range(4)})
    together = threading.Barrier(4, timeout=120)
    real = FileRange.read

    def read(self: FileRange, file: Any = None) -> memoryview:
        together.wait()
        return real(self, file)

    monkeypatch.setattr(file_ranges.FileRange, "read", read)
    found = [FileRange(f"memory://ranges/{i}", i, 2) for i in range(4)]
    assert [bytes(data) for data in read_in_turn(found)] == [b"01", b"12", b"23", b"34"]
    store.rm("/ranges", recursive=True)


def test_a_file_that_is_gone_or_short_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="gone: can't be read"):
        list(read_in_turn([FileRange(str(tmp_path / "gone"), 0, 1)]))
    (tmp_path / "short").write_bytes(b"0123")
    with pytest.raises(RunError, match="short: expected 3 bytes at byte 2"):
        list(read_in_turn([FileRange(str(tmp_path / "short"), 2, 3)]))
