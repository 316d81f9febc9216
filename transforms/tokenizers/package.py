"""The tokenizers package, whose Rust code may panic: its errors as one kind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class PackageError(Exception):
    """The tokenizers package refused or failed; says what it says."""


@contextlib.contextmanager
def package_errors() -> Iterator[None]:
    """Make a PackageError of what the package raises.

    It raises nothing narrower than Exception, and a panic is a BaseException whose class the package
    doesn't export.
    """
    try:
        yield
    except Exception as error:
        raise PackageError(str(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise PackageError(f"it panicked: {error}") from None
