"""``run`` in somebody else's process: it returns or raises, and leaves the process as it was."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import pipelines.shuffle
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.settings import Settings
from pipelines.runners.fork_server import WORKER_NAME
from pipelines.verify import verify
from tests.pipelines.support import make_lines, read_shards, read_tree, run, write_tree
from transforms.datasets.manifest import Manifest
from transforms.errors import DataError, DovetailError, WorkerError
from transforms.storage import files as storage

LOGGERS = (None, "apache_beam", "dovetail")
OF_BEAM = ("_Worker", "PeriodicThread")  # a pool, and a timer that outlives a failed bundle
KINDS = {
    "alone": ["--workers=1"],
    "threads": ["--workers=2", "--direct_running_mode=multi_threading"],
    "processes": ["--workers=2"],
}
LEAST = {"alone": "215MiB", "threads": "240MiB", "processes": "480MiB"}


def look() -> dict[str, Any]:
    """Return what of this process a run could have changed."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)
    return {
        "loggers": [
            (name, log.level, log.propagate, list(log.handlers), list(log.filters))
            for name, log in ((name, logging.getLogger(name)) for name in LOGGERS)
        ],
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "signals": [signal.getsignal(number) for number in signals],
        "hooks": (threading.excepthook, sys.excepthook),
        "children": [child.pid for child in psutil.Process().children(recursive=True)],
        "files": [f.path for f in psutil.Process().open_files()],  # gRPC keeps some sockets
        "threads": [t for t in threading.enumerate() if type(t).__name__ not in OF_BEAM],
        "streams": (sys.stdin, sys.stdout, sys.stderr),
    }


@pytest.fixture(scope="module")
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let Beam start its pool of threads, and open what it opens once."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "in").write_bytes(b"1\n")
    for flags in KINDS.values():
        run(f"--input={folder / 'in'}", f"--output={folder / 'o'}", "--overwrite", *flags)


@pytest.mark.usefixtures("_warm")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 10_000_000], ids=["success", "failure"])
def test_a_run_leaves_the_process_as_it_was(tmp_path: Path, kind: str, size: int) -> None:
    (tmp_path / "in").write_bytes(make_lines(50) + b"x" * size)  # a record larger than allowed
    before = look()
    expected = pytest.raises(DataError) if size else contextlib.nullcontext()
    with expected:
        run(
            f"--input={tmp_path / 'in'}",
            f"--output={tmp_path / 'o'}",
            f"--memory={LEAST[kind]}",
            *KINDS[kind],
        )
    until = time.monotonic() + 60  # Beam's threads end some time later
    while look() != before and time.monotonic() < until:
        time.sleep(0.1)
    after = look()
    assert {k: v for k, v in after.items() if v != before[k]} == {}


def test_a_run_may_be_given_as_objects_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_tree(tmp_path, {"in": b"b;a;c"})
    recipe = Recipe(sources={"web": [str(tmp_path / "in")]}, separator=";", seed=3, num_shards=2)
    settings = Settings(output=str(tmp_path / "o"))
    manifest = pipelines.shuffle.COMMAND.make(recipe, settings)
    assert isinstance(manifest, Manifest)
    assert sorted(b"".join(read_shards(tmp_path / "o").values()).split(b";")) == [
        b"",
        b"a",
        b"b",
        b"c",
    ]
    assert capfd.readouterr() == ("", "")


def test_a_run_works_outside_the_main_thread(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(make_lines(50))
    done: list[Manifest] = []
    thread = threading.Thread(
        target=lambda: done.append(run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}"))
    )
    thread.start()
    thread.join()
    assert done[0].records == 50


def test_two_runs_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": make_lines(3000, name="a"), "b": make_lines(3000, name="b")})
    done: dict[str, Manifest] = {}

    def work(name: str) -> None:
        done[name] = run(f"--input={tmp_path / name}", f"--output={tmp_path / name}.out")

    hook = threading.excepthook
    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == ["a", "b"]
    assert threading.excepthook is hook
    for name in "ab":
        assert verify(f"{tmp_path / name}.out")[1] == []
        assert done[name].records == 3000


class Held:
    """Whoever opens a file of a kind for writing stops there until told to go on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.suffix = ""
        self.began, self.go_on = threading.Event(), threading.Event()
        self._real = storage.open_write
        patch.setattr(storage, "open_write", self._open)

    def _open(self, url: str) -> Any:
        if url.endswith(self.suffix):
            self.began.set()
            self.go_on.wait()
        return self._real(url)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """Hold writers back; in the end they all go on."""
    hold = Held(monkeypatch)
    yield hold
    hold.go_on.set()


@pytest.mark.parametrize(
    ("kind", "suffix", "when"),
    [("alone", ".pages", "later"), ("alone", ".txt", "meanwhile"), ("threads", ".txt", "before")],
)
def test_an_interrupted_run_leaves_nothing_though_its_work_goes_on_before_meanwhile_or_later(
    tmp_path: Path, kind: str, suffix: str, when: str, held: Held
) -> None:
    (tmp_path / "in").write_bytes(make_lines(500))
    held.suffix = suffix
    before = read_tree(tmp_path)
    real = shutil.rmtree

    def rmtree(*args: Any, **given: Any) -> None:
        real(*args, **given)
        clearing = held.began.is_set() and str(args[0]).startswith(str(tmp_path))
        if when == "meanwhile" and clearing and not held.go_on.is_set():
            held.go_on.set()
            time.sleep(0.7)

    def tick(_: object) -> None:
        if held.began.is_set():
            threading.Timer(0.3 if when == "before" else 1.5, held.go_on.set).start()
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.jobs.watch.Watch.tick", tick)
        patch.setattr(shutil, "rmtree", rmtree)
        if when != "before":
            patch.setattr("pipelines.runners.local._LAST_WORK", 0.1)
        with pytest.raises(KeyboardInterrupt):
            run(
                f"--input={tmp_path / 'in'}",
                f"--output={tmp_path / 'o'}",
                "--num_shards=5",
                *KINDS[kind],
            )
        held.go_on.wait(10)
        time.sleep(1)
    assert read_tree(tmp_path) == before
    while "pipeline" in {thread.name for thread in threading.enumerate()}:
        time.sleep(0.05)
    assert read_tree(tmp_path) == before


def test_a_run_that_fails_ends_only_processes_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").write_bytes(make_lines(50))
    bystander: list[subprocess.Popen[bytes]] = []

    def sort_run(*_: object) -> None:  # in the midst of the run, another thread's doing
        if not bystander:
            bystander.append(subprocess.Popen(["sleep", "60"]))
        raise DataError("broken")

    monkeypatch.setattr("transforms.kernels.records.sorting.sort_run", sort_run)
    with pytest.raises(DataError, match="broken"):
        run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}")
    time.sleep(0.2)
    died = bystander[0].poll()
    bystander[0].kill()
    bystander[0].wait()
    assert died is None


@pytest.mark.parametrize(
    "kill", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGSEGV]
)
def test_a_worker_that_dies_ends_the_run_with_one_error_that_says_how(
    tmp_path: Path, kill: signal.Signals
) -> None:
    (tmp_path / "in").write_bytes(make_lines(50) * 40_000)
    before = read_tree(tmp_path)

    ended = threading.Event()

    def strike() -> None:
        while not ended.is_set() and not list(tmp_path.glob("o/_tmp-*/spill/*")):
            time.sleep(0.01)
        for child in psutil.Process().children(recursive=True):
            if child.name() == WORKER_NAME:
                child.send_signal(kill)
                return

    thread = threading.Thread(target=strike)
    thread.start()
    with pytest.raises(WorkerError, match=rf"signal {kill.value}\b.*log: ") as raised:
        run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'o'}", "--workers=2")
    ended.set()
    thread.join()
    assert isinstance(raised.value, DovetailError)
    assert read_tree(tmp_path) == before
    assert psutil.Process().children(recursive=True) == []
