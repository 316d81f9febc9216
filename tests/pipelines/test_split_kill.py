"""Promise 5 of datasets of several splits: killed between any two files, and at random moments.

DOVETAIL_KILLS is the number of moments, 20 by default, of which a quarter are taken of each way.
"""

from __future__ import annotations

import itertools
import json
import signal
import sys
import time
from collections.abc import Sequence
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
    for name, words in (("few", 7), ("test", 5)):
        texts = (f"number {i} of {i * i % words}" for i in range(400))
        lines = [json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)]
        (root / f"{name}.jsonl").write_text("".join(lines))
    return root


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the shards, and what ``--like`` writes beside them."""
    return {name: data for name, data in read_tree(folder).items() if name != "manifest.json"}


def killed_at_each(root: Path, flags: Sequence[str], *, most: int) -> None:
    """Kill a run when so many of its files have appeared; the next one makes it good.

    Args:
        root: a folder to write in.
        flags: of the run.
        most: how often, about.
    """
    pipelines.split.run([*flags, f"--output={root / 'whole'}", "--workers=1"])
    whole = files_of(root / "whole")
    assert {name.partition("-")[0] for name in whole} >= {"data/train"}
    for number in range(1, len(whole) + 1, max(1, len(whole) // most)):
        out = root / f"out{number}"
        died = command(str(number), *flags, f"--output={out}", python=("-m", __name__))
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
        assert not (out / "manifest.json").exists()
        pipelines.split.run([*flags, f"--output={out}", "--workers=1"])
        assert files_of(out) == whole
        assert verify(str(out))[1] == []
        assert not [path.name for path in out.iterdir() if path.name.startswith("_")]


@pytest.mark.parametrize("way", WAYS)
def test_killed_between_any_two_of_its_files_a_run_leaves_no_dataset(
    way: str, corpus: Path, tmp_path: Path
) -> None:
    flags = [f"--input={corpus / 'in/0.txt'}", *WAYS[way], "--num_shards=3"]
    killed_at_each(tmp_path, flags, most=3)


def test_killed_beside_the_files_of_like_a_run_leaves_no_dataset(
    corpus: Path, tmp_path: Path
) -> None:
    flags = [f"--input={corpus / 'few.jsonl'}", f"--like={corpus / 'test.jsonl'}"]
    flags += ["--fractions=validation=0.2", "--weights_column=weight"]
    killed_at_each(tmp_path, flags, most=2)


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
    whole = files_of(folder)
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
    assert files_of(folder) == whole
    require_nothing_but(folder, "out")


if __name__ == "__main__":
    die_at(pipelines.split.run, int(sys.argv[1]), *sys.argv[2:])
