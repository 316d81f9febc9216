"""The examples in each command's help run as they are written, where examples/ of this repository is."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS
from tests.docs.session import Step, run_steps

QUICK = {"verify"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in COMMANDS],
)
def test_examples_run_as_written(name: str, tmp_path: Path) -> None:
    examples = importlib.import_module(f"pipelines.{name}").EXAMPLES
    commands = [Step(f"dovetail {name} --help", 1, "sh", examples)]
    assert f"dovetail {name} " in examples
    run_steps(commands, tmp_path, {})
