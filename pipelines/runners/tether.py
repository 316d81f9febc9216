"""A program that ends with the process that started it: ``python -m pipelines.runners.tether COMMAND…``.

Job servers would otherwise live on when a launcher is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

_GRACE = 5.0  # seconds in which the program may end by itself


def main(command: Sequence[str]) -> int:
    """Run a command; return its exit code."""
    parent = os.getppid()
    told: list[int] = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # our parent's: where it ends, we do
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: told.append(number))
    process = subprocess.Popen(command, start_new_session=True)
    while process.poll() is None and not told and os.getppid() == parent:
        time.sleep(0.1)
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
