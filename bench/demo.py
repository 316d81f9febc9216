"""Time `make demo` as a newcomer meets it, and how long it is silent.

    python bench/demo.py

Clones this checkout's last commit into a new folder and runs `make demo` there, with an empty cache
of pip. Prints the seconds from the clone to the end, and the longest time in which nothing came.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import common
from processes import ROOT


def main() -> None:
    """Run the demo, and print a row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common.add_work_arguments(parser)
    with common.work_folder(parser.parse_args()) as folder:
        seconds, silence, last = time_demo(folder)
    common.header("clone to the end of `make demo`, s", "longest silence, s", "after the line")
    common.row(f"{seconds:.0f}", f"{silence:.1f}", f"`{last}`")


def time_demo(folder: Path) -> tuple[float, float, str]:
    """Return the seconds, the longest silence, and the line before it."""
    start = heard = time.monotonic()
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "clone"], check=True)
    # nothing that was downloaded or compiled before
    fresh = {"PIP_CACHE_DIR": str(folder / "pip"), "XDG_CACHE_HOME": str(folder / "cache")}
    demo = subprocess.Popen(
        ["make", "demo"],
        cwd=folder / "clone",
        env={**os.environ, **fresh},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert demo.stdout is not None
    silence, after, said = 0.0, "", "git clone"
    while piece := os.read(demo.stdout.fileno(), 1 << 16):
        sys.stderr.buffer.write(piece)
        sys.stderr.flush()
        now = time.monotonic()
        if now - heard > silence:
            silence, after = now - heard, said
        heard, said = now, (piece.decode(errors="replace").strip().splitlines() or [said])[-1]
    if demo.wait():
        raise SystemExit(f"make demo failed, with exit code {demo.returncode}")
    return time.monotonic() - start, silence, after


if __name__ == "__main__":
    main()
