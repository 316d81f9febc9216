"""Packages that extend numba: not imported for our kernels, found by everybody else's."""

from __future__ import annotations

import subprocess
import sys

from tests.pipelines.support import environment

SCRIPT = """
import numba
from numba.core import entrypoints
from transforms.kernels.segmentation.automaton import build
loaded = []
entrypoints.importlib_metadata.entry_points = lambda: {"numba_extensions": [Extension]}
class Extension:
    name, module = "init", "another"
    load = staticmethod(lambda: lambda: loaded.append(1))
build([b"a", b"aa"])
assert loaded == [], loaded
assert numba.njit(lambda a: a + 1)(1) == 2
assert loaded == [1], loaded
build([b"a", b"aaa"])
assert numba.njit(lambda a: a + 2)(1) == 3
assert loaded == [1], loaded
"""


def test_what_extends_numba_is_left_to_those_who_need_it() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, env=environment())
