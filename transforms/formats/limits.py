"""How large a record may be, and what is said of one that is larger."""

from __future__ import annotations

from dataclasses import dataclass

from transforms.errors import DataError

MIB = 1 << 20
LARGEST = 1 << 30
"""Bytes of a record that no memory makes room for: Arrow's buffers stay below 2 GiB."""


@dataclass(frozen=True)
class MemoryFor:
    """What ``--memory`` a record takes.

    Attributes:
        given: bytes of ``--memory``.
        per_byte: how much more of it a byte more takes, of all workers together.
    """

    given: int
    per_byte: int


class TooLarge(DataError):
    """A record is larger than memory allows.

    Args:
        where: which record of which file.
        size: its bytes; at least, where ``more``.
        limit: how many are allowed.
    """

    def __init__(self, where: str, *, size: int, limit: int, more: bool = False) -> None:
        self.where, self.size, self.limit, self.more = where, size, limit, more
        super().__init__(f"{self._says()}; pass more --memory or fewer --workers")

    def _says(self) -> str:
        size = f"{'more than ' if self.more else ''}{self.size:,} bytes"
        return f"{self.where} has {size}, and --memory allows {self.limit:,} per record"

    def advised(self, memory: MemoryFor | None) -> DataError:
        """Return the error that names the memory that would do, where that is known."""
        if memory is None:
            return DataError(str(self))
        works = -(-(memory.given + (self.size - self.limit) * memory.per_byte) // MIB) + 1
        advice = f"pass --memory={works}MiB, or fewer --workers"
        if self.size > LARGEST:
            none = f"no --memory is enough for a record of more than {LARGEST:,} bytes"
            advice = f"{none}; cut it, or leave it out"
        return DataError(f"{self._says()}; {advice}")
