"""What a first run has compiled on a second core."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.jobs import compile_beside
from pipelines.jobs.compile_beside import ROOM, CompileBeside
from pipelines.runners.worker_processes import environment

AFTERWARDS = """
import sys
from transforms.kernels.compiled import told_of_compiling
from transforms.kernels.records import json_loops, loops
from transforms.tokenization.sampling import OFF
from transforms.tokenization.tokenizer import Tokenizer

told = []
with told_of_compiling(lambda: told.append(1)):
    Tokenizer.load(sys.argv[1]).prepare(OFF)
    json_loops.load()
    loops.load()
print(told)
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.json"
    pieces = {base64.b64encode(bytes([i])).decode(): [i + 3, "", 1] for i in range(256)}
    path.write_text(json.dumps(pieces))
    return path


@pytest.mark.slow
def test_what_it_compiled_nobody_compiles_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    with CompileBeside({"url": str(model)}, memory=None) as beside:
        beside._can = True  # whatever machine this is
        beside.start()
        beside.wait()
        assert beside._process is not None
        assert beside._process.returncode == 0
    found = subprocess.run(
        [sys.executable, "-c", AFTERWARDS, str(model)],
        env=os.environ,
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == "[]"


def test_none_is_started_without_room_or_a_second_core(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, memory in ((1, None), (2, ROOM - 1)):
        monkeypatch.setattr(compile_beside, "cores_available", lambda cores=cores: cores)
        with CompileBeside(None, memory=memory) as beside:
            beside.start()
            assert beside._process is None


def test_none_is_left_where_the_run_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_beside, "cores_available", lambda: 2)
    with pytest.raises(RuntimeError), CompileBeside(None, memory=None) as beside:
        beside.start()
        raise RuntimeError
    assert beside._process is not None
    assert beside._process.returncode is not None


def test_it_ends_with_whoever_wanted_it() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    command = [sys.executable, "-m", compile_beside.__name__, str(gone.pid), "null"]
    assert subprocess.run(command, env=environment(), check=False).returncode == 1
