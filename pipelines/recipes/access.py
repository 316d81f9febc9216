"""Access to what is read and written: stores by their options, compressed files by their codecs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from transforms.formats import compressed
from transforms.storage import files as storage


@contextlib.contextmanager
def access(
    storage_options: Mapping[str, Any] | None, codec_modules: Iterable[str] | None
) -> Iterator[None]:
    """Have stores and codecs as a command's flags say, for the time of the command.

    Args:
        storage_options: of fsspec; None leaves them as they are.
        codec_modules: the user's own, beside those of installed packages; None for none.

    Raises:
        UsageError: a module can't be imported, or another run in this process has others.
    """
    with (
        storage.configured(storage_options),
        compressed.having(compressed.with_installed(codec_modules)),
    ):
        yield
