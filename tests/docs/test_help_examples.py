"""The examples in the help of each command and of all run, where this repository's examples/ is."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from pipelines import __main__ as command_line
from pipelines.__main__ import COMMANDS
from tests.docs.session import Step, run_steps

QUICK = {"verify"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=name or "all", marks=[] if name in QUICK else [pytest.mark.slow])
        for name in ("", *COMMANDS)
    ],
)
def test_examples_run_as_written(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"pipelines.{name}") if name else command_line
    commands = [Step(f"dovetail {name} --help", 1, "sh", module.EXAMPLES)]
    assert f"dovetail {name}" in module.EXAMPLES
    run_steps(commands, tmp_path, {})
