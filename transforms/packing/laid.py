"""What writers of a split's shards read: documents in their final order, and the rows made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from transforms.kernels.packing.rows import Rows


class Laid(Protocol):
    """A split, laid down: any range of its rows or documents can be read by any worker.

    Attributes:
        rows: how many rows there are.
        documents: how many documents, empty ones included where packing keeps them.
    """

    @property
    def rows(self) -> int: ...

    @property
    def documents(self) -> int: ...

    def read_rows(self, begin: int, end: int) -> Iterator[Rows]:
        """Yield rows [begin, end), some at a time."""

    def read_documents(self, begin: int, end: int) -> Iterator[Rows]:
        """Yield documents [begin, end) with their special ids, each as a row of one piece."""
