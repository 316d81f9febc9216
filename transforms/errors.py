"""The one tree of errors.

::

    DovetailError              what a caller may catch
    ├── UsageError             can be fixed before work starts: a flag, an output, a location (exit 2)
    │   └── InputError         the inputs: none found, two of one name, overlap
    └── RunError               went wrong during the run (exit 1)
        ├── DataError          a file is damaged, unexpected, or changed during the run
        ├── LosslessError      a digest did not match: what was written is not what was read
        ├── StoreError         a store refused a request, or kept failing
        │   └── PassingError   a store failed once: Dovetail tries again
        └── WorkerError        a worker process died

Messages are one line: they travel inside Beam's tracebacks and are found there again.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any


class DovetailError(Exception):
    """Base of every error that Dovetail raises on purpose.

    The message says what was expected, what came instead, where, and what to do.

    Attributes:
        result: what ``--json`` says beside it.
    """

    exit_code = 1
    result: Mapping[str, Any] | None = None

    def __init__(self, message: str) -> None:
        # runners quote messages: there a backslash and an n end the line in which they are found
        super().__init__(" ".join(message.split()).replace("\\n", "\\x0a"))


class UsageError(DovetailError):
    """Something the user can fix before work starts."""

    exit_code = 2


class InputError(UsageError):
    """The inputs can't be read as one dataset."""


class RunError(DovetailError):
    """Something went wrong during the run."""


class DataError(RunError):
    """A file is damaged, holds something unexpected, or changed during the run."""


class LosslessError(RunError):
    """What was written is not what was read."""


class StoreError(RunError):
    """A store refused a request, or kept failing."""


class PassingError(StoreError):
    """A store failed for a reason that may pass. Dovetail tries again."""


class WorkerError(RunError):
    """A worker process died."""


_BY_NAME: dict[str, type[DovetailError]] = {
    cls.__name__: cls
    for cls in (
        UsageError,
        InputError,
        RunError,
        DataError,
        LosslessError,
        StoreError,
        PassingError,
        WorkerError,
    )
}
_IN_TRACEBACK = re.compile(
    r"transforms\.errors\.(" + "|".join(_BY_NAME) + r"): (.*?)(?: \[while running '|\\n|\n|$)"
)


def from_traceback(text: str) -> DovetailError | None:
    """Find the first of our errors in a runner's report of a failed worker.

    Runners pass a worker's exception on as text. Returns None where none of ours is in it.
    """
    match = _IN_TRACEBACK.search(text)
    return _BY_NAME[match[1]](match[2]) if match else None


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint to the nearest of names, empty where none is near."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""
