"""The ``dovetail`` command: finds our packages, whatever else is called so.

With a ``.`` in PYTHONPATH, a folder ``dovetail`` in which somebody works would come before ours. This
module has a name that nobody else uses, and lies beside ours, which finds the other packages.
"""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parent)

sys.path.insert(0, _ROOT)
try:
    from dovetail.__main__ import command
finally:
    sys.path.remove(_ROOT)

__all__ = ["command"]
