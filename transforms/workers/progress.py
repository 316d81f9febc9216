"""Progress: counts that workers keep in small files, and that the launcher reads.

Every thread that counts has a file of its own, mapped into memory, so there are no locks, and no
count is lost. What a process had counted stays when it dies. Counts are for people to look at:
work that is done twice counts twice.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from transforms.workers.signs_of_life import Beat

Stage = Literal[
    "count", "score", "partition", "split", "tokenize", "decode", "order", "write", "verify"
]
Watched = str | Beat | None
"""Where is counted: a local folder that the run's processes share, the runner's counters, nowhere."""
STAGES: tuple[Stage, ...] = get_args(Stage)


class Counts(NamedTuple):
    """What a stage has done.

    Attributes:
        bytes: in the unit of the stage's total: of input files (as stored: compressed ones of a
            compressed file) where it reads, of payload where it writes.
        records: how many.
        payload: of a stage that reads, the bytes that the stage which writes will count for them.
        tokens: that it made of text, or text of.
    """

    bytes: int = 0
    records: int = 0
    payload: int = 0
    tokens: int = 0


_FILE = np.dtype([("counts", np.int64, (len(STAGES), len(Counts._fields))), ("doing", "S400")])
_serials = itertools.count()


class Progress(threading.local):
    """One run's counts in this process; each thread that uses it gets a file of its own.

    Args:
        where: to count.
    """

    def __init__(self, where: Watched) -> None:
        self._beat = where if isinstance(where, Beat) else None
        file = _make_file(where if isinstance(where, str) else None)
        self._counts, self._doing = file["counts"][0], file["doing"]

    @staticmethod
    @functools.cache
    def open(where: Watched) -> Progress:
        """Return this process's counts for a place."""
        return Progress(where)

    def add(
        self,
        stage: Stage,
        *,
        bytes: int = 0,  # noqa: A002
        records: int = 0,
        payload: int = 0,
        tokens: int = 0,
    ) -> None:
        """Add to a stage's counts, as of ``Counts``."""
        self._counts[STAGES.index(stage)] += (bytes, records, payload, tokens)
        if self._beat is not None:
            self._beat.count(stage, bytes=bytes, records=records)

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Say what this thread does meanwhile, such as "reading FILE"; afterwards what it did before."""
        mine = self._doing  # a generator that is given up may be closed by another thread
        before = mine[0]
        mine[0] = what.encode()
        try:
            yield
        finally:
            mine[0] = before


def _make_file(folder: str | None) -> Any:
    """Return zeros that are kept in a new file, where one can be made: no work fails for this."""
    if folder is not None:
        path = os.path.join(folder, f"{os.getpid()}-{next(_serials)}")
        with contextlib.suppress(OSError):
            with open(path, "xb") as file:
                file.write(bytes(_FILE.itemsize))  # a mapped hole on a full disk would be a SIGBUS
            return np.memmap(path, _FILE, mode="r+")
    return np.zeros(1, _FILE)


def read_progress(folder: str) -> dict[Stage, Counts]:
    """Return what all processes together have done."""
    total = sum((file["counts"] for _, file in _files(folder)), np.zeros(1, _FILE)["counts"][0])
    return {stage: Counts(*row) for stage, row in zip(STAGES, total.tolist(), strict=True)}


def read_doing(folder: str) -> list[tuple[int, str]]:
    """Return (pid, what it does) of every thread that says so."""
    said = [(pid, file["doing"].decode(errors="replace")) for pid, file in _files(folder)]
    return sorted((pid, what) for pid, what in said if what)


def _files(folder: str) -> Iterator[tuple[int, Any]]:
    with contextlib.suppress(OSError):  # somebody clears the temporary folder: nothing to be seen
        for name in os.listdir(folder):
            for file in np.fromfile(
                os.path.join(folder, name), _FILE
            ):  # none, just when it is made
                yield int(name.split("-")[0]), file
