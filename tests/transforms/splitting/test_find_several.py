"""Contents with several marks meet whatever the buckets, the runs and the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.transforms.helpers import THREADS, collect, create
from tests.transforms.kernels.splitting.test_marks import brute_force
from transforms.errors import RunError
from transforms.kernels.randomness import mix
from transforms.kernels.splitting.marks import SeveralMarks
from transforms.shuffling import spill_pages
from transforms.shuffling.spill_files import Spilling
from transforms.splitting.find_several import FindSeveral, marked

NUMBERS = np.arange(6000, dtype=np.uint64)
CONTENTS = mix(NUMBERS * NUMBERS % np.uint64(2003))
MARKS = (mix(NUMBERS) % np.uint64(50) == 0).astype(np.uint8)
MARKS[NUMBERS * NUMBERS % 2003 == 4] = 1  # several records, of one mark


def find(folder: Path, *, buckets: int, limit: int, run: int, **options: Any) -> SeveralMarks:
    spill = Spilling(folders=[str(folder)], run_bytes=run, page_bytes=1 << 10)
    several = FindSeveral(spill=spill, buckets=buckets, bucket_bytes=limit)
    parts = [slice(begin, begin + 500) for begin in range(0, len(NUMBERS), 500)]
    given = [marked(CONTENTS[part], ~CONTENTS[part], MARKS[part]) for part in parts]
    (found,) = collect(lambda root: root | create(given, spread=True) | several, **options)
    assert isinstance(found, SeveralMarks)
    return found


@pytest.mark.parametrize(
    ("buckets", "limit", "run"),
    [(1, 1 << 30, 1 << 30), (1, 1 << 12, 1 << 14), (7, 1 << 13, 1 << 13)],
)
def test_they_are_those_by_brute_force(tmp_path: Path, buckets: int, limit: int, run: int) -> None:
    """Of one bucket, of one that has to be halved many times, of several."""
    triples = zip(CONTENTS.tolist(), (~CONTENTS).tolist(), MARKS.tolist(), strict=True)
    want = brute_force(list(triples))
    assert want.contents > 50
    assert find(tmp_path, buckets=buckets, limit=limit, run=run, **THREADS) == want


def test_of_nothing_there_is_nothing(tmp_path: Path) -> None:
    several = FindSeveral(spill=Spilling(folders=[str(tmp_path)]))
    found = collect(lambda root: root | create([]) | several)
    assert found == [SeveralMarks()]


def test_a_page_that_is_damaged_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = spill_pages.encode_page

    def damage(*args: Any, **options: Any) -> list[Any]:
        data = bytearray(b"".join(bytes(part) for part in encode(*args, **options)))
        at = len(data) - 100  # among the records
        data[at] ^= 1
        return [bytes(data)]

    monkeypatch.setattr(spill_pages, "encode_page", damage)
    with pytest.raises(Exception, match="is damaged") as caught:
        find(tmp_path, buckets=1, limit=1 << 30, run=1 << 30)
    assert isinstance(caught.value, RunError) or "RunError" in repr(caught.value)
