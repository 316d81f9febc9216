"""Counts: exact over processes and threads, and nobody's work fails for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.transforms.helpers import run
from transforms.datasets.read import ReadRecords
from transforms.formats.line_format import LineFormat
from transforms.formats.readers import ReadOptions
from transforms.workers.progress import Counts, Progress, read_doing, read_progress

_COUNT = """
import sys, threading
from transforms.workers.progress import Progress
progress = Progress.open(sys.argv[1])
def count():
    for i in range(3000):
        progress.add("partition", bytes=i, records=1, payload=2)
        progress.add("write", bytes=1)
threads = [threading.Thread(target=count) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
_DIE = """
import os, signal, sys
from transforms.workers.progress import Progress
progress = Progress.open(sys.argv[1])
progress.add("write", bytes=7, records=1)
with progress.doing("writing its last"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def start(code: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start Python in a process of its own."""
    root = Path(__file__).parents[3]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], env={**os.environ, "PYTHONPATH": path}
    )


def test_counts_of_processes_and_threads_add_up_exactly(tmp_path: Path) -> None:
    processes = [start(_COUNT, tmp_path) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    adds = 3 * 4 * 3000
    found = read_progress(str(tmp_path))
    assert found["partition"] == Counts(bytes=12 * 3000 * 2999 // 2, records=adds, payload=2 * adds)
    assert found["write"] == Counts(bytes=adds)
    assert found["verify"] == Counts()


def test_what_a_killed_process_counted_stays(tmp_path: Path) -> None:
    process = start(_DIE, tmp_path)
    assert process.wait(60) == -signal.SIGKILL
    assert read_progress(str(tmp_path))["write"] == Counts(bytes=7, records=1)
    assert read_doing(str(tmp_path)) == [(process.pid, "writing its last")]


def test_a_thread_says_what_it_does_and_afterwards_what_it_did_before(tmp_path: Path) -> None:
    folder, pid = str(tmp_path), os.getpid()
    progress = Progress.open(folder)
    with progress.doing("reading ä"):
        with progress.doing("waiting for memory"):
            assert read_doing(folder) == [(pid, "waiting for memory")]
        assert read_doing(folder) == [(pid, "reading ä")]
        with pytest.raises(KeyError), progress.doing("sorting"):
            raise KeyError
        assert read_doing(folder) == [(pid, "reading ä")]
    assert read_doing(folder) == []


def test_a_text_too_long_is_cut_even_in_the_midst_of_a_letter(tmp_path: Path) -> None:
    with Progress.open(str(tmp_path)).doing("x" + "ä" * 1000):
        ((_, what),) = read_doing(str(tmp_path))
    assert what.startswith("xää")
    assert 100 < len(what) < 1000


def test_what_another_thread_closes_leaves_that_threads_words_alone(tmp_path: Path) -> None:
    progress = Progress.open(str(tmp_path))
    outer = progress.doing("reading")
    outer.__enter__()

    def close() -> None:
        with progress.doing("writing"):
            outer.__exit__(None, None, None)
            assert [what for _, what in read_doing(str(tmp_path))] == ["writing"]
            closed.append(True)

    closed: list[bool] = []
    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert closed


def test_without_a_folder_or_with_one_that_is_gone_counting_is_for_nobody(tmp_path: Path) -> None:
    for folder in (None, str(tmp_path / "gone")):
        progress = Progress.open(folder)
        progress.add("write", bytes=1)
        with progress.doing("writing"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_just_being_made_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "123-0").touch()
    (tmp_path / "124-0").write_bytes(b"\1" * 10)
    assert set(read_progress(str(tmp_path)).values()) == {Counts()}
    assert read_doing(str(tmp_path)) == []


@pytest.mark.parametrize("span_bytes", [1 << 20, 7])
def test_reading_counts_the_files_own_sizes_and_the_payload_of_every_record(
    tmp_path: Path, span_bytes: int
) -> None:
    files = {"a": b"head\none\n\ntwo\n", "b": b"head\nthree, which is longer", "c": b"head\n"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    counts = tmp_path / "counts"
    counts.mkdir()
    run(
        lambda root: (
            root
            | ReadRecords(
                sources={"s": [str(tmp_path / name) for name in files]},
                options=ReadOptions(line_format=LineFormat(header_lines=1, header=b"head\n")),
                span_bytes=span_bytes,
                progress=str(counts),
            )
        )
    )
    assert read_progress(str(counts))["partition"] == Counts(
        bytes=sum(map(len, files.values())),
        records=4,
        payload=len(b"one\n\ntwo\nthree, which is longer\n"),
    )
    assert read_doing(str(counts)) == []
