"""The ``dovetail`` command: finds our packages, whatever else is called so.

With a ``.`` in PYTHONPATH, a folder ``pipelines`` or ``transforms`` in which somebody works would come
before ours. This module has a name that nobody else uses, and lies beside them.
"""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parent)

sys.path.insert(0, _ROOT)
try:
    import transforms  # noqa: F401  # what is imported later is looked for inside these two
    from pipelines.__main__ import command
finally:
    sys.path.remove(_ROOT)

__all__ = ["command"]
