"""The machine and the versions that results were measured with, in words."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil
from processes import ROOT

from transforms.version import VERSION


def describe(folder: Path, *, terashuf: Path | None) -> None:
    """Print the machine and the versions that matter, as a Markdown list."""
    folder = folder.resolve()
    disks = [d for d in psutil.disk_partitions(all=True) if folder.is_relative_to(d.mountpoint)]
    disk = max(disks, key=lambda d: len(d.mountpoint))
    usage = psutil.disk_usage(str(folder))
    versions = {
        name: importlib.metadata.version(name) for name in ("apache-beam", "numpy", "pyarrow")
    }
    print(f"- command: {' '.join(['python', *sys.argv])}")
    print(
        f"- machine: {_cpu()}, {len(os.sched_getaffinity(0))} cores, "
        f"{psutil.virtual_memory().total / (1 << 30):.1f} GiB of memory, "
        f"{platform.system()} {platform.release()}, load {os.getloadavg()[0]:.2f} at the start"
    )
    print(
        f"- disk: {disk.fstype} on {disk.device}, {usage.free / 1e9:.0f} of "
        f"{usage.total / 1e9:.0f} GB free"
    )
    print(
        f"- versions: Python {platform.python_version()}, dovetail {VERSION} "
        f"({_first_line('git', '-C', str(ROOT), 'describe', '--always', '--dirty')}), "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}, "
        f"{_first_line('shuf', '--version')}, terashuf {terashuf or 'not given'}",
        flush=True,
    )


def _cpu() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "CPU")
    return platform.processor()


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError:
        return "?"
    return done.stdout.split("\n")[0] or "?"
