"""What is compiled the first time: the chosen law's kernels, and nothing of another's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from transforms.kernels.segmentation.lattice import length_of

FIRST = """
import numpy as np
from transforms.kernels.compiled import told_of_compiling
from transforms.kernels.segmentation import decode, forward, laws, nbest
from transforms.kernels.segmentation.segment import segment
told = []
with told_of_compiling(lambda: told.append(1)):
    pieces = laws.build([b"a", b"b"], np.zeros(2), np.arange(2), unit="byte")
    law = laws.prepare(pieces, law="exact")
    text = np.frombuffer(b"abab", np.uint8)
    segment(law, text, np.array([0, 4]), np.zeros(1, np.uint64))
parts = forward.total, forward.challenge, decode.best, decode.best_float32, nbest.draw_path
print(told, [len(part.signatures) for part in parts])
"""


@pytest.mark.slow
def test_a_law_compiles_its_own_kernels_and_says_so_at_once(tmp_path: Path) -> None:
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    for expected in ("[1] [1, 0, 0, 0, 0]", "[] [0, 0, 0, 0, 0]"):  # the second loads what was kept
        found = subprocess.run(
            [sys.executable, "-c", FIRST], env=env, check=True, capture_output=True, text=True
        )
        assert found.stdout.strip() == expected


def test_a_part_called_from_python_says_what_it_is() -> None:
    with pytest.raises(TypeError, match="length_of is a part of kernels; Python can't call it"):
        length_of(1)
