"""Environments for packages of others, which ours never are installed beside."""

from __future__ import annotations

import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path


def make_environment(folder: Path, *installs: Sequence[str]) -> Path:
    """Return the Python of an environment, made where there is none yet.

    Args:
        folder: where it lies.
        installs: words of ``pip install``, one installation after another.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        for words in installs:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *words], check=True)
    return python
