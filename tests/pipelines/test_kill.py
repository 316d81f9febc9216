"""Promise 5 under fire: killed at random moments, a run leaves no manifest or a whole dataset.

DOVETAIL_KILLS is the number of moments for each kind of death, 20 by default.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from pipelines.runners import fork_server
from pipelines.verify import verify
from tests.pipelines.support import Tree, environment, read_shards
from tests.pipelines.tokenized import write_model

pytestmark = pytest.mark.slow

MOMENTS = int(os.environ.get("DOVETAIL_KILLS", "20"))
SEED = 1
TAG = "DOVETAIL_TEST_RUN"


def is_worker(process: psutil.Process) -> bool:
    """Whether a process does the work, or all that do are forked from it."""
    try:
        return fork_server.__name__ in process.cmdline()
    except psutil.NoSuchProcess:
        return False


class Undisturbed(NamedTuple):
    """A run that nobody killed.

    Attributes:
        flags: that it was given beside its input.
        moments: at how many such a run is killed.
        module: the command.
    """

    corpus: Path
    flags: tuple[str, ...]
    seconds: float
    shards: Tree
    moments: int
    module: str

    def attempt(self, folder: Path, *flags: str, workers: int = 2) -> Attempt:
        """Begin it again."""
        return Attempt(
            self.corpus, folder, *self.flags, *flags, workers=workers, module=self.module
        )


class Attempt:
    """A run in a process of its own, whose processes are known by a variable they inherit."""

    def __init__(self, corpus: Path, folder: Path, *flags: str, workers: int, module: str) -> None:
        self.folder, self._tag = folder, uuid.uuid4().hex
        self.begin = time.monotonic()
        self.log = folder.parent / "stderr"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    module,
                    f"--input={corpus}",
                    f"--output={folder}",
                    "--num_shards=6",
                    f"--workers={workers}",
                    *flags,
                ],
                env={**environment(), TAG: self._tag},
                stderr=log,
            )

    def workers(self) -> list[psutil.Process]:
        """Return its worker processes, whoever is their parent by now."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(TAG) == self._tag and process.pid != self.process.pid:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def stderr(self) -> str:
        """Return what it said."""
        return self.log.read_text()


@pytest.fixture(
    scope="module",
    params=[("shuffle",), ("shuffle", "--repeats=default=1.5"), ("tokenize", "--sampling=exact")],
    ids=["plain", "with a second pass", "tokenizing"],
)
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Undisturbed:
    """Make about 100 MB of lines, 20 to be tokenized, and run once to see how long it takes."""
    root = tmp_path_factory.mktemp("kill")
    name, *flags = request.param
    lines, count = 90_000, MOMENTS
    if name == "tokenize":
        lines, count = 18_000, -(-MOMENTS // 4)
        flags += [f"--tokenizer={write_model(root / 'model.json')}", "--text_field="]
    line = b"%08d " + b"The quick brown fox jumps over the lazy dog. " * 6 + b"\n"
    (root / "in").mkdir()
    for part in range(4):
        with (root / "in" / f"{part}.txt").open("wb") as file:
            file.writelines(line % (part * lines + i) for i in range(lines))
    run = Undisturbed(root / "in", tuple(flags), 0.0, {}, count, f"pipelines.{name}")
    run.attempt(root / "first").process.wait(300)  # kernels are compiled
    attempt = run.attempt(root / "out")
    assert attempt.process.wait(300) == 0, attempt.stderr()
    seconds = time.monotonic() - attempt.begin
    assert verify(str(root / "out"))[1] == []
    return run._replace(seconds=seconds, shards=read_shards(root / "out"))


def moments(kind: str, seconds: float, *, count: int) -> Iterator[float]:
    """Return moments all over a run, by a seed: more than are asked for, should some come too late.

    Those come earlier and earlier: a machine that others use less by now is faster than it was.
    """
    draws = random.Random(f"{SEED} {kind}")
    for i in range(10 * count):
        moment = draws.uniform(0, seconds * 0.8 ** max(0, i - count))
        print(f"{kind} {i}: {moment:.3f} s of {seconds:.3f}")
        yield moment


def require_whole_or_nothing(folder: Path) -> bool:
    """Check what a reader would see; return whether there is a dataset."""
    if not (folder / "manifest.json").exists():
        return False
    assert verify(str(folder))[1] == []
    return True


def require_end(attempt: Attempt) -> None:
    """Check that no process of a run is alive after a while, a long one on a busy machine."""
    until = time.monotonic() + 60
    while attempt.workers() and time.monotonic() < until:
        time.sleep(0.05)
    assert attempt.workers() == []


def require_nothing_but(folder: Path, *names: str) -> None:
    """Check that nothing lies beside the output but what was there, and nothing temporary in it."""
    beside = {path.name for path in folder.parent.iterdir()} - {"stderr"}
    assert beside == set(names)
    if folder.name in names:
        assert {path.name for path in folder.iterdir()} == {"data", "manifest.json"}


def test_a_killed_launcher_leaves_nothing_or_all_and_the_next_run_makes_it_good(
    undisturbed: Undisturbed, tmp_path: Path, logs: Path
) -> None:
    folder = tmp_path / "out"
    finished = 0
    for tried, moment in enumerate(
        moments("launcher", undisturbed.seconds, count=undisturbed.moments)
    ):
        if tried >= undisturbed.moments and finished <= tried / 2:
            break  # a machine that is faster than it was takes more of them
        attempt = undisturbed.attempt(folder)
        time.sleep(max(0.0, attempt.begin + moment - time.monotonic()))
        attempt.process.send_signal(signal.SIGKILL)
        attempt.process.wait()
        require_whole_or_nothing(folder)
        require_end(attempt)
        whole = require_whole_or_nothing(folder)
        finished += whole
        again = undisturbed.attempt(folder, *(["--overwrite"] if whole else []), workers=1)
        assert again.process.wait(300) == 0, again.stderr()
        assert read_shards(folder) == undisturbed.shards
        require_nothing_but(folder, "out")
        assert not list(logs.glob("*dovetail*"))
        _remove(folder)
    assert finished <= tried / 2, "most kills came too late to test anything"


def test_a_killed_worker_ends_the_run_with_one_error_and_nothing_left(
    undisturbed: Undisturbed, tmp_path: Path, logs: Path
) -> None:
    folder = tmp_path / "out"
    finished = 0
    draws = random.Random(SEED)
    for tried, moment in enumerate(
        moments("worker", undisturbed.seconds, count=undisturbed.moments)
    ):
        if tried >= undisturbed.moments and finished <= tried / 2:
            break  # a machine that is faster than it was takes more of them
        attempt = undisturbed.attempt(folder)
        time.sleep(max(0.0, attempt.begin + moment - time.monotonic()))
        victims: list[psutil.Process] = []
        while not victims and attempt.process.poll() is None:
            victims = [p for p in attempt.workers() if is_worker(p)]
        if victims:
            draws.choice(victims).kill()
        code = attempt.process.wait(300)
        require_end(attempt)
        said = attempt.stderr()
        if code == 0:  # it was done with its work
            finished += 1
            assert require_whole_or_nothing(folder)
            require_nothing_but(folder, "out")
            _remove(folder)
            continue
        assert len(re.findall("^error: ", said, re.MULTILINE)) == 1, said
        assert "signal 9" in said
        assert "Traceback" not in said
        require_nothing_but(folder)
        for log in logs.glob("dovetail-*.log"):
            assert str(log) in said
            log.unlink()
    assert finished <= tried / 2, "most kills came too late to test anything"
    last = undisturbed.attempt(folder)
    assert last.process.wait(300) == 0
    assert read_shards(folder) == undisturbed.shards


@pytest.mark.parametrize(
    ("sent", "workers"),
    [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 2), (signal.SIGHUP, 2)],
)
def test_an_interrupted_run_clears_up_after_itself(
    undisturbed: Undisturbed, tmp_path: Path, sent: signal.Signals, workers: int
) -> None:
    folder = tmp_path / "out"
    count = undisturbed.moments
    every = moments(f"{sent.name} {workers}", undisturbed.seconds, count=count)
    for moment in islice(every, count):
        attempt = undisturbed.attempt(folder, workers=workers)
        # before that a signal may meet Python, not us
        while attempt.process.poll() is None and not list(tmp_path.glob("out/_incomplete.json")):
            time.sleep(0.01)
        time.sleep(moment / 2)
        attempt.process.send_signal(sent)
        code = attempt.process.wait(300)
        require_end(attempt)
        if code == 128 + sent:
            assert attempt.stderr().splitlines()[-1].startswith("stopped")
            require_nothing_but(folder)
        else:  # it was done with its work, though perhaps not yet gone
            assert require_whole_or_nothing(folder), attempt.stderr()
            require_nothing_but(folder, "out")
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a dataset, and only a dataset."""
    for path in (folder / "data").iterdir():
        path.unlink()
    (folder / "data").rmdir()
    (folder / "manifest.json").unlink()
    (folder / "_incomplete.json").unlink(missing_ok=True)
    for path in folder.glob("_tmp-*"):
        shutil.rmtree(path)
    folder.rmdir()
