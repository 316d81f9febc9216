"""What this process may take of the machine: as the machine, its control groups and its masks say.

A batch system or systemd puts a process into a control group some levels deep, each of which may
set a limit: the least one holds.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

_CGROUPS = Path("sys/fs/cgroup")
_LIMITS = ("memory.max", "memory.high")  # above the second one a process stands still, nearly


def memory_available(root: Path = Path("/")) -> int:
    """Return the bytes of memory that this process may take: the machine's, or its groups' limit.

    Args:
        root: of the file system, in which ``proc`` and ``sys`` lie.
    """
    limit: int = psutil.virtual_memory().total
    files = [group / name for group in _groups(root, "") for name in _LIMITS]
    files += [group / "memory.limit_in_bytes" for group in _groups(root, "memory")]
    limits = [int(text) for file in files if (text := _text(file).strip()).isdecimal()]
    return min([limit, *filter(None, limits)])


def cores_available(root: Path = Path("/")) -> int:
    """Return how many cores this process may use, one at least; a part of one counts as one.

    Args:
        root: of the file system, in which ``proc`` and ``sys`` lie.
    """
    mask = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    cores = len(mask) if mask else os.cpu_count() or 1
    quotas = [_text(group / "cpu.max") for group in _groups(root, "")]
    for group in _groups(root, "cpu"):
        quotas.append(" ".join(_text(group / f"cpu.cfs_{name}_us") for name in ("quota", "period")))
    for quota in quotas:
        with contextlib.suppress(ValueError):  # "max", or nothing
            share, period = map(int, quota.split())
            if share > 0 and period > 0:
                cores = min(cores, -(-share // period))
    return max(cores, 1)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's group and of all above it; "" is the second version's.

    Inside a container the path may be that of the machine outside: then what is found is the top
    folder alone, which is the container's own group.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if not colon or controller not in names.split(","):
            continue
        mounts = [names, controller] if controller else [".", "unified"]
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        for mount in dict.fromkeys(mounts):
            for depth in range(len(parts), -1, -1):
                yield root / _CGROUPS / mount / Path(*parts[:depth])


def _text(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8")
    return ""
