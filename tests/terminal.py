"""A command on a terminal of its own, and what a person sees there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_STEP = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|(\r?\n)|(\r)|([^\x1b\r\n]+)")


def run_on_terminal(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    columns: int = 100,
    cwd: Path | None = None,
    heard: Callable[[subprocess.Popen[bytes], bytes], None] = lambda process, so_far: None,
) -> tuple[int, str]:
    """Run a command whose three streams are a terminal; return its code and all that it printed.

    Args:
        heard: is called with what was printed so far, each time there is more.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command,
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=cwd,
        env={**environment, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
        start_new_session=True,
    )
    os.close(its)
    said = b""
    try:
        while more := _read(ours):
            said += more
            heard(process, said)
        return process.wait(), said.decode()
    finally:
        process.kill()
        os.close(ours)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # EIO: nobody has the other end any more
        return b""


def frames(said: str) -> list[list[str]]:
    """Play what was printed; return the lines as they were before each return, and in the end.

    Colours stay in the lines, as they were printed.

    Raises:
        ValueError: something is printed over what is there, or a sequence isn't known.
    """
    out: list[list[str]] = []
    lines, row, at = [""], 0, 0
    returned = False  # to the line's begin, where nothing may stand
    while at < len(said):
        step = _STEP.match(said, at)
        if not step:
            raise ValueError(f"not known: {said[at : at + 20]!r}")
        at = step.end()
        sequence, kind, down, back, text = step.groups()
        if back:
            out.append(list(lines))
            returned = True
        elif down:
            row += 1
            lines += [""] * (row == len(lines))
            returned = bool(lines[row])
        elif text or kind == "m":
            if returned:
                raise ValueError(f"{step[0]!r} is printed over {lines[row]!r}")
            lines[row] += step[0]
        elif kind == "A":
            row -= int(sequence or 1)
            returned = True
        elif kind == "K" and sequence == "2":
            lines[row], returned = "", False
        elif sequence != "?25":  # the cursor, hidden or shown
            raise ValueError(f"not known: {step[0]!r}")
    return [*out, lines]


def plain(line: str) -> str:
    """Return a line without its colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", line)
