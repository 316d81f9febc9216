"""Finds our other packages, whatever else is called so.

Somebody's own project may well have a folder ``pipelines`` or ``transforms``, which comes first where a
script or a notebook is run in it. What is imported of ours later is looked for inside of ours.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(_ROOT))
try:
    import pipelines
    import transforms
finally:
    sys.path.remove(str(_ROOT))

for _package in (pipelines, transforms):
    _file = _package.__file__ or next(iter(_package.__path__))
    if _ROOT not in Path(_file).resolve().parents:
        raise ImportError(
            f"dovetail: expected its own package {_package.__name__}, but another package of "
            f"this name was imported before, from {_file}; rename that one, because a "
            "process can have only one"
        )
