"""What a process may take: by control groups of both versions, at any level, as batch systems set it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import psutil
import pytest

from pipelines.recipes.settings import Settings
from pipelines.runners import choose_workers as runners
from pipelines.runners.machine import cores_available, memory_available
from tests.pipelines.support import write_tree
from transforms.errors import UsageError
from transforms.kernels.planning.plan import share_memory

MIB = 1 << 20
MACHINE, CORES = 64 << 30, 16
V2 = "sys/fs/cgroup"


@pytest.fixture(autouse=True)
def _large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = psutil.virtual_memory()._replace(total=MACHINE)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES)))


def lay(root: Path, group: str, files: dict[str, str]) -> Path:
    """Lay down what a kernel shows to a process of a group."""
    return write_tree(
        root,
        {"proc/self/cgroup": group.encode(), **{k: v.encode() for k, v in files.items()}},
    )


SLICE = "0::/user.slice/user-1000.slice/session-3.scope\n"
SLURM = "6:cpu,cpuacct:/slurm/uid_7/job_9/step_0\n5:memory:/slurm/uid_7/job_9/step_0\n0::/\n"
UNLIMITED = "9223372036854771712\n"


@pytest.mark.parametrize(
    ("group", "files", "memory", "cores"),
    [
        ("", {}, MACHINE, CORES),
        (SLICE, {f"{V2}/user.slice/memory.max": "max\n"}, MACHINE, CORES),
        (
            SLICE,
            {
                f"{V2}/user.slice/user-1000.slice/session-3.scope/memory.max": "max\n",
                f"{V2}/user.slice/user-1000.slice/memory.max": f"{700 * MIB}\n",
                f"{V2}/user.slice/memory.max": f"{900 * MIB}\n",
                f"{V2}/user.slice/cpu.max": "150000 100000\n",
                f"{V2}/user.slice/user-1000.slice/cpu.max": "max 100000\n",
            },
            700 * MIB,
            2,
        ),
        (SLICE, {f"{V2}/user.slice/memory.high": f"{5 * MIB}"}, 5 * MIB, CORES),
        # a container's own group is the top one that it sees
        ("0::/\n", {f"{V2}/memory.max": f"{9 * MIB}", f"{V2}/cpu.max": "5000 100000"}, 9 * MIB, 1),
        (
            "4:memory:/docker/0123\n3:cpu:/docker/0123\n",
            {
                f"{V2}/memory/memory.limit_in_bytes": f"{8 * MIB}\n",
                f"{V2}/cpu/cpu.cfs_quota_us": "400000\n",
                f"{V2}/cpu/cpu.cfs_period_us": "100000\n",
            },
            8 * MIB,
            4,
        ),
        (
            SLURM,
            {
                f"{V2}/memory/memory.limit_in_bytes": UNLIMITED,
                f"{V2}/memory/slurm/uid_7/job_9/step_0/memory.limit_in_bytes": UNLIMITED,
                f"{V2}/memory/slurm/uid_7/job_9/memory.limit_in_bytes": f"{700 * MIB}\n",
                f"{V2}/memory/slurm/uid_8/memory.limit_in_bytes": f"{MIB}\n",
                f"{V2}/cpu,cpuacct/slurm/uid_7/cpu.cfs_quota_us": "300000\n",
                f"{V2}/cpu,cpuacct/slurm/uid_7/cpu.cfs_period_us": "100000\n",
                f"{V2}/cpu,cpuacct/slurm/cpu.cfs_quota_us": "-1\n",
                f"{V2}/cpu,cpuacct/slurm/cpu.cfs_period_us": "100000\n",
            },
            700 * MIB,
            3,
        ),
        # both versions at once, and what is no number
        (
            "4:memory:/a\n0::/a\n",
            {f"{V2}/unified/a/memory.max": "", f"{V2}/memory/a/memory.limit_in_bytes": "x"},
            MACHINE,
            CORES,
        ),
        ("0::/../b\nnonsense\n", {f"{V2}/b/memory.max": f"{3 * MIB}"}, 3 * MIB, CORES),
    ],
)
def test_the_least_limit_of_all_groups_above_a_process_holds(
    tmp_path: Path, group: str, files: dict[str, str], memory: int, cores: int
) -> None:
    lay(tmp_path, group, files)
    assert memory_available(tmp_path) == memory
    assert cores_available(tmp_path) == cores


def test_no_more_cores_are_used_than_the_mask_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(tmp_path, "0::/\n", {f"{V2}/cpu.max": "800000 100000\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6})
    assert cores_available(tmp_path) == 3


def test_half_of_what_the_group_allows_is_the_default_and_its_quota_that_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"memory.max": f"{2400 * MIB}", "cpu.max": "200000 100000"}
    lay(tmp_path, SLICE, {f"{V2}/user.slice/{name}": text for name, text in limits.items()})
    monkeypatch.setattr(runners, "memory_available", lambda: memory_available(tmp_path))
    monkeypatch.setattr(runners, "cores_available", lambda: cores_available(tmp_path))
    settings = Settings(runner="DirectRunner", output="o")
    expected = share_memory(1200 * MIB, count=2, processes=2, forked=True)
    assert runners.choose_workers(settings, 10 << 30) == expected


def test_what_asks_for_too_much_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "memory_available", lambda: 8 << 30)
    with pytest.raises(UsageError) as raised:
        runners.choose_workers(Settings(runner="DirectRunner", output="o", workers=100_000), 1)
    assert re.fullmatch(
        r"--workers=100000: 100,000 workers need \d\.\d\d TiB of memory, but a run takes half of this "
        r"machine's, which is 4 GiB; pass fewer",
        str(raised.value),
    )
    monkeypatch.setattr(runners, "memory_available", lambda: 300 * MIB)
    with pytest.raises(
        UsageError, match=r"^1 worker needs .*which is 150 MiB; pass --memory=\d+MiB"
    ):
        runners.choose_workers(Settings(runner="DirectRunner", output="o"), 1)
