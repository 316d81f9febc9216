"""Promise 5 of prepared datasets: killed between any two of their files, and at random moments.

DOVETAIL_KILLS is the number of moments, 20 by default, of which a quarter are taken here.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pipelines.prepare
from pipelines.verify import verify
from tests.pipelines import prepared
from tests.pipelines.support import command
from tests.pipelines.test_kill import (
    MOMENTS,
    Attempt,
    moments,
    require_end,
    require_whole_or_nothing,
)
from tests.pipelines.tokenized import write_model
from transforms.storage import layout

pytestmark = pytest.mark.slow

FORMATS = ("--output_format=megatron,parquet", "--megatron=documents")
ASKED = ("--sampling=exact", "--split=validation=5%", "--epochs=2", "--text_field=")
PACKED = ("--packing=best_fit", "--sequence_length=512")


def die_at(run: Callable[[list[str]], object], number: int, *flags: str) -> None:
    """Run a command in this process, and be killed as soon as the n-th file has appeared."""
    real = layout.publish
    appeared = itertools.count(1)

    @contextlib.contextmanager
    def publish(*given: Any, **more: Any) -> Iterator[Any]:
        with real(*given, **more) as file:
            yield file
        if next(appeared) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    layout.publish = publish  # type: ignore[assignment]
    run([*flags, "--workers=1"])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make some MB of lines and a model."""
    root = tmp_path_factory.mktemp("prepared")
    write_model(root / "model.json")
    (root / "in").mkdir()
    line = b"%08d " + b"The quick brown fox jumps over the lazy dog. " * 6 + b"\n"
    for part in range(4):
        with (root / "in" / f"{part}.txt").open("wb") as file:
            file.writelines(line % (part * 2000 + i) for i in range(2000))
    return root


def flags_of(corpus: Path) -> tuple[str, ...]:
    return (f"--tokenizer={corpus / 'model.json'}", *ASKED, *FORMATS, *PACKED, "--num_shards=2")


def test_killed_between_any_two_of_its_files_a_run_leaves_no_dataset(
    corpus: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    flags = [f"--input={corpus / 'in'}", *flags_of(corpus)]
    pipelines.prepare.run([*flags, f"--output={folder}", "--workers=1"])
    whole = prepared.files_of(folder)
    assert verify(str(folder))[1] == []
    assert {Path(name).suffix for name in whole} >= {".bin", ".idx", ".parquet"}
    of_shards = sum("/data/" in name for name in whole)
    for number in range(1, of_shards + 1, max(1, of_shards // 6)):
        out = tmp_path / f"out{number}"
        died = command(number, *flags, f"--output={out}", python=("-m", __name__))
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
        assert not (out / "manifest.json").exists()
        pipelines.prepare.run([*flags, f"--output={out}", "--workers=1"])
        assert prepared.files_of(out) == whole
        assert verify(str(out))[1] == []


def test_killed_at_any_moment_a_run_leaves_a_whole_dataset_or_none(
    corpus: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"

    def attempt(*more: str, workers: int = 2) -> Attempt:
        flags = (*(flag for flag in flags_of(corpus) if "num_shards" not in flag), *more)
        return Attempt(corpus / "in", folder, *flags, workers=workers, module="pipelines.prepare")

    first = attempt()
    assert first.process.wait(300) == 0, first.stderr()
    seconds = time.monotonic() - first.begin
    whole = prepared.files_of(folder)
    count = -(-MOMENTS // 4)
    for moment in itertools.islice(moments("prepare", seconds, count=count), count):
        run = attempt("--overwrite")
        time.sleep(max(0.0, run.begin + moment - time.monotonic()))
        run.process.kill()
        run.process.wait()
        require_end(run)
        require_whole_or_nothing(folder)
    last = attempt("--overwrite", workers=1)
    assert last.process.wait(300) == 0, last.stderr()
    assert prepared.files_of(folder) == whole


if __name__ == "__main__":
    die_at(pipelines.prepare.run, int(sys.argv[1]), *sys.argv[2:])
