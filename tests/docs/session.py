"""A reader's session: commands and Python of a page, run in a folder in which examples/ is there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.pipelines.support import ROOT

_NOWHERE = "http://127.0.0.1:9"  # what is run needs no network


@dataclass(frozen=True)
class Step:
    """What is run.

    Attributes:
        page: where it is written, for messages.
        line: of it there.
        language: sh or python.
        text: the code.
        expected: exit code.
    """

    page: str
    line: int
    language: str
    text: str
    expected: int = 0


def run_steps(steps: Sequence[Step], beside: Path, files: dict[str, str]) -> dict[int, str]:
    """Run steps in order in a new folder with the commands of this environment.

    Args:
        steps: what is run.
        beside: an empty folder.
        files: that are there from the start, by name.

    Returns:
        What each printed, by its line.
    """
    folder = beside / "page"
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__py*"))
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    (beside / "steps.json").write_text(json.dumps([asdict(step) for step in steps]), "utf-8")
    script = Path(__file__).with_name("run_page.py")
    done = subprocess.run(
        [sys.executable, str(script), str(beside / "steps.json"), str(beside / "results.json")],
        cwd=folder,
        env=_environment(),
        check=False,
        capture_output=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr.decode()
    printed: dict[int, str] = {}
    for step, one in zip(
        steps, json.loads((beside / "results.json").read_text("utf-8")), strict=False
    ):
        where = f"{step.page}:{step.line}"
        said = (
            f"{where}: exit code {one['code']}, expected {step.expected}\n{one['printed'][-3000:]}"
        )
        assert one["code"] == step.expected, said
        printed[step.line] = one["printed"]
    assert list(printed) == [step.line for step in steps]
    return printed


def _environment() -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "http_proxy": _NOWHERE,
        "https_proxy": _NOWHERE,
        "no_proxy": "127.0.0.1,localhost",
        "TERM": "dumb",
        "COLUMNS": "80",
    }
