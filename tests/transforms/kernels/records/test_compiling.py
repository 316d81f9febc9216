"""Compiled loops are taken by who is told to, who has numba, or after many bytes; and by nobody else."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
import numpy as np
from transforms.kernels.records import compiling
from transforms.kernels.records.digest import record_hashes

values, offsets = np.arange(256, dtype=np.uint8), np.array([0, 3, 256])
compiling.PASSED = 512
{first}
before = [h.tolist() for h in record_hashes(values, offsets)]
assert "numba" not in sys.modules and compiling._loops is None
{then}
after = [h.tolist() for h in record_hashes(values, offsets)]
assert (compiling._loops is not None) == {taken}
assert before == after
"""


@pytest.mark.parametrize(
    ("first", "then", "taken"),
    [
        ("", "", False),
        ("", "record_hashes(values, offsets)", True),
        ("compiling.tell(False)", "record_hashes(values, offsets)", False),
        ("compiling.tell(False)", "import numba", True),
        ("", "compiling.tell(True)", True),
    ],
    ids=["few bytes", "many bytes", "told not to", "numba is there", "told to"],
)
def test_loops_are_taken_when_they_pay(first: str, then: str, taken: bool) -> None:
    script = SCRIPT.format(first=first, then=then, taken=taken)
    subprocess.run([sys.executable, "-c", script], check=True)


LOAD = """
from numba.core.dispatcher import Dispatcher
from transforms.kernels.records import compiling

compiling.load_loops(of_rows=True, of_json=True)
from transforms.kernels.records import json_loops, loops, row_loops, text_loops

modules = json_loops, loops, row_loops, text_loops
made = {n: f for m in modules for n, f in vars(m).items() if isinstance(f, Dispatcher)}
inside = {name for found in made.values() for name in found.py_func.__code__.co_names}
# what others call is in what was kept of them
print([name for name, found in made.items() if name not in inside and not found.signatures])
"""


def test_nothing_is_left_to_be_compiled_once_they_are_loaded() -> None:
    found = subprocess.run([sys.executable, "-c", LOAD], check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"
