"""Packages of tokenizers, whose Rust code may panic: their errors as one kind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from transforms.tokenization.models.model import RecordError

T = TypeVar("T")
U = TypeVar("U")


class PackageError(Exception):
    """A package refused or failed; says what it says."""


@contextlib.contextmanager
def package_errors() -> Iterator[None]:
    """Make a PackageError of what a package raises.

    They raise nothing narrower than Exception, and a panic is a BaseException whose class they don't
    export.
    """
    try:
        yield
    except Exception as error:
        raise PackageError(str(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise PackageError(f"it panicked: {error}") from None


def call_package(
    work: Callable[[Sequence[T]], U],
    records: Sequence[T],
    *,
    name: str,
    first: int = 0,
    package: str = "tokenizers",
) -> U:
    """Return what work on all records at once gives.

    Args:
        work: may fail inside of the package.
        records: of a batch.
        name: the model's, for messages.
        first: the number of the first one in the batch.
        package: what it is called.

    Raises:
        RecordError: the package fails; names the first record that it fails at.
    """
    try:
        with package_errors():
            return work(records)
    except PackageError:
        for number, record in enumerate(records, first):
            try:
                with package_errors():
                    work([record])
            except PackageError as error:
                raise RecordError(number, f"{name}: the {package} package says: {error}") from None
        raise
