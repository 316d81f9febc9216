"""Compiled loops are taken when they are worth it, and not before."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import numpy as np
from transforms.kernels.records import compiling
from transforms.kernels.records.digest import record_hashes

values, offsets = np.arange(256, dtype=np.uint8), np.array([0, 3, 256])
compiling.WORTH_IT = 512
found = []
for _ in range(3):
    hashes = [h.tolist() for h in record_hashes(values, offsets)]
    found.append(("numba" in sys.modules, hashes))
assert [loaded for loaded, _ in found] == [False, False, True], found
assert found[0][1] == found[1][1] == found[2][1]
"""


def test_a_process_takes_the_loops_after_so_many_bytes_and_they_give_the_same() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
