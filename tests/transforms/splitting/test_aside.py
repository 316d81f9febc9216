"""What is laid aside: in order, by split, proved when it is read, and little of it waits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from transforms.errors import RunError
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.splitting import aside
from transforms.splitting.aside import AsideWriter, read_aside

RECORDS = [b"%d " % i * (i % 40) for i in range(2000)]


def write(folder: Path) -> tuple[AsideWriter, aside.FileRange]:
    with AsideWriter(str(folder), sources=1) as writer:
        for begin in range(0, len(RECORDS), 7):
            some = RECORDS[begin : begin + 7]
            positions = np.arange(begin, begin + len(some), dtype=np.uint64)
            block = blocks.from_records(some, positions, line_end=b"\n")
            writer.add(begin // 7 % 3, block)
        where = writer.close()
    return writer, where


def test_each_split_comes_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "PAGE_BYTES", 5000)
    writer, where = write(tmp_path)
    for split in range(3):
        found = [r for ordered in read_aside(where, split) for r in blocks.records(ordered.block)]
        want = [r for place, r in enumerate(RECORDS) if place // 7 % 3 == split]
        assert found == want
    digests = [ordered.expected for split in range(3) for ordered in read_aside(where, split)]
    total = Digest.total(digest for found in digests for digest in found or [])
    assert (total.records, total.bytes) == (len(RECORDS), sum(map(len, RECORDS)))
    assert sum(writer.sizes(3)) == sum(len(record) + 1 for record in RECORDS)
    assert list(read_aside(where, 3)) == []


def test_of_many_splits_little_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "WAITING_BYTES", 10_000)
    most = 0
    with AsideWriter(str(tmp_path), sources=1) as writer:
        for split in range(200):
            positions = np.arange(1, dtype=np.uint64)
            writer.add(split, blocks.from_records([b"x" * 400], positions, line_end=b"\n"))
            most = max(most, sum(writer._size.values()))
        where = writer.close()
    assert 9000 < most < 10_000
    for split in range(200):
        (ordered,) = read_aside(where, split)
        assert blocks.records(ordered.block) == [b"x" * 400]


def test_damage_is_found(tmp_path: Path) -> None:
    _, where = write(tmp_path)
    path = Path(where.url)
    data = path.read_bytes()
    for place in (0, 200, where.offset - 30, where.offset + 5):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(RunError, match=r"aside.*(damaged|isn't what|expected its pages)"):
            for split in range(3):
                for ordered in read_aside(where, split):
                    found = blocks.digests(ordered.block, sources=1)
                    if found != ordered.expected:
                        raise RunError("x.aside: damaged: by its digest")
    path.write_bytes(data)
    assert list(read_aside(where, 0))
