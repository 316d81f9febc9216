"""Promise 5 of datasets of several splits: killed between any two files, and at random moments.

DOVETAIL_KILLS is the number of moments, 20 by default, of which a quarter are taken of each way.
"""

from __future__ import annotations

import itertools
import signal
import sys
import time
from pathlib import Path

import pytest

import pipelines.split
from pipelines.verify import verify
from tests.pipelines.support import command, read_tree
from tests.pipelines.test_kill import (
    MOMENTS,
    Attempt,
    moments,
    require_end,
    require_nothing_but,
    require_whole_or_nothing,
)
from tests.pipelines.test_prepare_kill import die_at

pytestmark = pytest.mark.slow

WAYS = {
    "in order": ("--fractions=validation=0.05,test=0.05",),
    "shuffled": ("--fractions=validation=0.05,test=0.05", "--shuffle"),
    "counted": ("--counts=test=500", "--by=identity"),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make about 30 MB of lines in four files."""
    root = tmp_path_factory.mktemp("split")
    (root / "in").mkdir()
    line = b"%08d " + b"The quick brown fox jumps over the lazy dog. " * 6 + b"\n"
    for part in range(4):
        with (root / "in" / f"{part}.txt").open("wb") as file:
            file.writelines(line % (part * 27_000 + i) for i in range(27_000))
    return root


def shards_of(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in read_tree(folder).items() if name.startswith("data/")}


@pytest.mark.parametrize("way", WAYS)
def test_killed_between_any_two_of_its_files_a_run_leaves_no_dataset(
    way: str, corpus: Path, tmp_path: Path
) -> None:
    flags = [f"--input={corpus / 'in/0.txt'}", *WAYS[way], "--num_shards=3"]
    pipelines.split.run([*flags, f"--output={tmp_path / 'whole'}", "--direct_num_workers=1"])
    whole = shards_of(tmp_path / "whole")
    assert {name.partition("-")[0] for name in whole} >= {"data/train", "data/test"}
    for number in range(1, len(whole) + 1, max(1, len(whole) // 3)):
        out = tmp_path / f"out{number}"
        words = [str(number), *flags, f"--output={out}"]
        died = command(*words, python=("-m", __name__))
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
        assert not (out / "manifest.json").exists()
        pipelines.split.run([*flags, f"--output={out}", "--direct_num_workers=1"])
        assert shards_of(out) == whole
        assert verify(str(out))[1] == []
        assert sorted(path.name for path in out.iterdir()) == ["data", "manifest.json"]


@pytest.mark.parametrize("way", WAYS)
def test_killed_at_any_moment_a_run_leaves_a_whole_dataset_or_none(
    way: str, corpus: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"

    def attempt(*more: str, workers: int = 2) -> Attempt:
        flags = (*WAYS[way], *more)
        return Attempt(corpus / "in", folder, *flags, workers=workers, module="pipelines.split")

    attempt().process.wait(300)  # kernels are compiled
    first = attempt("--overwrite")
    assert first.process.wait(300) == 0, first.stderr()
    seconds = time.monotonic() - first.begin
    whole = shards_of(folder)
    assert verify(str(folder))[1] == []
    count = -(-MOMENTS // 4)
    for moment in itertools.islice(moments(f"split {way}", seconds, count=count), count):
        run = attempt("--overwrite")
        time.sleep(max(0.0, run.begin + moment - time.monotonic()))
        run.process.kill()
        run.process.wait()
        require_end(run)
        require_whole_or_nothing(folder)
    last = attempt("--overwrite", workers=1)
    assert last.process.wait(300) == 0, last.stderr()
    assert shards_of(folder) == whole
    require_nothing_but(folder, "out")


if __name__ == "__main__":
    die_at(pipelines.split.run, int(sys.argv[1]), *sys.argv[2:])
