"""What `--like` needs beyond Dovetail's own dependencies."""

from __future__ import annotations

from importlib.util import find_spec

from transforms.errors import UsageError

_NEEDED = {"sklearn": "scikit-learn", "matplotlib": "matplotlib"}


def require_like() -> None:
    """Raise a UsageError, of one line, where a package is missing that ``--like`` needs."""
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing:
        verb = "isn't" if len(missing) == 1 else "aren't"
        raise UsageError(
            f"--like needs {' and '.join(missing)}, which {verb} installed; run pip "
            "install 'dovetail-data[like]'"
        )
