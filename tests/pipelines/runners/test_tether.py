"""A job server ends with the command that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.pipelines.support import environment

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(300)"]


def started(*, below_a_parent: bool) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    """Start a program that is tethered; return the process to end, and the program's."""
    command = [sys.executable, "-m", "pipelines.runners.tether", *SLEEP]
    if below_a_parent:
        code = f"import subprocess; subprocess.run({command!r})"
        command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    below = psutil.Process(process.pid).children(recursive=True)
    return process, next(one for one in below if one.cmdline()[1:2] == ["-c"])


@pytest.mark.parametrize("below_a_parent", [True, False])
def test_a_program_ends_with_what_it_is_tethered_to(below_a_parent: bool) -> None:
    process, program = started(below_a_parent=below_a_parent)
    os.kill(process.pid, signal.SIGKILL if below_a_parent else signal.SIGTERM)
    process.wait()
    while program.is_running() and program.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)


def test_its_exit_code_is_passed_on() -> None:
    command = [sys.executable, "-m", "pipelines.runners.tether", sys.executable, "-c", "exit(7)"]
    assert subprocess.run(command, env=environment(), check=False).returncode == 7
