"""What every test here gets: temporary files of its own, and a process left as it was."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.jobs import watch


@pytest.fixture(autouse=True)
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder in which runs put their logs, here and in processes started from here."""
    folder = tmp_path_factory.mktemp("tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def _quick_runs() -> Iterator[None]:
    """Take from small runs in this process what they would wait for.

    That is the disk, and the kernel's walk through all pages of a process as large as this one.
    Processes that tests start do both.
    """

    def resident(process: psutil.Process) -> int:
        return int(process.memory_info().rss)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(watch, "_proportional", resident)
        yield
