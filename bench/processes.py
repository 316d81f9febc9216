"""Commands run and measured: time, processor time and the memory of the whole process tree.

Memory is PSS (proportional set size, /proc/PID/smaps_rollup): resident pages, mapped input
included, each divided by the number of processes that share it, so that a tree's sum counts a
shared page once. Pages shared with processes outside the tree count in part only: measure on a
quiet machine, and don't import numpy or pyarrow in a script that measures.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_SECONDS = 0.05
WORKER_NAME = "dovetail-worker"  # of processes, as ps and top show it
sys.path.insert(1, str(ROOT))  # this checkout, installed or not


def environment(root: Path = ROOT) -> dict[str, str]:
    """Return the environment for measured commands: a checkout, and byte code kept as usual."""
    paths = [str(root), str(root / "bench"), os.environ.get("PYTHONPATH", "")]
    out = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    out.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process compiles our modules anew
    return out


@dataclass(frozen=True, slots=True)
class Measured:
    """What a command took.

    Attributes:
        seconds: from its start to its end.
        user, system: processor seconds, of it and of all processes below it that were waited for.
        peak: most PSS of the whole process tree, 0 where memory was not sampled.
        own: most PSS of the command's own process, without those below it.
        high: the kernel's high-water mark of its own resident pages (VmHWM). It misses nothing
            between two samples, and counts shared pages in full.
        private: most pages that a worker process had for itself alone (USS), 0 without such.
    """

    seconds: float
    user: float
    system: float
    peak: int = 0
    own: int = 0
    high: int = 0
    private: int = 0

    @property
    def cpu(self) -> float:
        """User and system seconds."""
        return self.user + self.system


class _Sampler(threading.Thread):
    """Weighs a process tree every SAMPLE_SECONDS until it is told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = self.own = self.high = self.private = 0
        self.stop = threading.Event()
        self._root = psutil.Process(pid)

    def run(self) -> None:
        while not self.stop.wait(SAMPLE_SECONDS):
            with contextlib.suppress(psutil.Error):
                below = self._root.children(recursive=True)
                own = _field(self._root.pid, "smaps_rollup", "Pss:")
                total = own + sum(_field(p.pid, "smaps_rollup", "Pss:") for p in below)
                self.own, self.peak = max(self.own, own), max(self.peak, total)
                self.high = max(self.high, _field(self._root.pid, "status", "VmHWM:"))
                for process in below:
                    if process.name() == WORKER_NAME:
                        private = _field(process.pid, "smaps_rollup", "Private_")
                        self.private = max(self.private, private)


def _field(pid: int, file: str, name: str) -> int:
    """Return bytes from /proc, of all fields whose names begin so; 0 for a process that has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/{file}") as lines:
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(name))
    return 0


def measure(command: Sequence[str], *, memory: bool = False, root: Path = ROOT) -> Measured:
    """Run a command of a checkout to its end; ``memory`` samples its tree, which takes some time."""
    with tempfile.TemporaryFile() as log:
        begin = time.perf_counter()
        process = subprocess.Popen(command, env=environment(root), stdout=log, stderr=log)
        sampler = _Sampler(process.pid)
        if memory:
            sampler.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)  # reaped by us, not by Popen
        sampler.stop.set()
        if process.returncode:
            log.seek(0)
            said = log.read()[-4000:].decode(errors="replace")
            raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{said}")
    if memory:
        sampler.join()
    found = sampler.peak, sampler.own, sampler.high, sampler.private
    return Measured(seconds, usage.ru_utime, usage.ru_stime, *found)
