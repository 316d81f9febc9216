"""gigatoken's encoder: its ids as arrays, on the calling thread, in bounded memory.

gigatoken 0.10.0 is trusted only as far as it is checked: see ``bpe``.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np
import psutil
from gigatoken import gigatoken_rs

from transforms.kernels.arrays import I64, U32, offsets_of
from transforms.tokenization.models.texts import Texts, unpack
from transforms.workers.give_back import give_back

NAME = f"gigatoken {version('gigatoken')}"

CACHE = 48 << 20
"""Bytes that the encoder's cache of pre-tokens may grow by, before it is made anew: it has no bound."""

_AWKWARD = "awkward"


class _Arrays(ModuleType):
    """Stands for the package awkward while gigatoken hands over its arrays.

    gigatoken returns ``awkward.unflatten(ids, counts)``, which takes 50 MB and an eighth of a second to
    import, of two arrays that are wanted as they are. Whoever else comes by this module gets awkward.
    """

    def __init__(self) -> None:
        super().__init__(_AWKWARD)
        self._lock = threading.Lock()
        self._ours: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        if name == "unflatten" and threading.get_ident() in self._ours:
            return lambda ids, counts: (ids, counts)
        with self._lock:
            if sys.modules.get(_AWKWARD) is self:
                del sys.modules[_AWKWARD]
        return getattr(importlib.import_module(_AWKWARD), name)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Stand there for this thread."""
        with self._lock:
            self._ours.add(threading.get_ident())
            sys.modules.setdefault(_AWKWARD, self)
        try:
            yield
        finally:
            with self._lock:
                self._ours.remove(threading.get_ident())
                if not self._ours and sys.modules.get(_AWKWARD) is self:
                    del sys.modules[_AWKWARD]


_arrays = _Arrays()


class Encoder:
    """A gigatoken tokenizer."""

    def __init__(self, make: Callable[[], Any]) -> None:
        """Make a tokenizer.

        Args:
            make: a gigatoken tokenizer, anew each time.

        Raises:
            Exception: gigatoken can't; says why.
        """
        self._make = make
        self._tokenizer = make()
        self._grown = 0

    def encode(self, texts: Texts) -> tuple[U32, I64]:
        """Return uint32[k] ids and int64[r + 1] offsets of r records of valid UTF-8."""
        if self._grown > CACHE:
            self._tokenizer, self._grown = None, 0  # the old one goes first
            give_back()
            self._tokenizer = self._make()
        before = _resident()
        source = gigatoken_rs.BytesSource(unpack(texts))
        with _arrays.in_place():
            found = self._tokenizer.encode_batch(source, parallel=False)
        ids, counts = found if isinstance(found, tuple) else _unpacked(found)
        self._grown += max(_resident() - before - ids.nbytes - counts.nbytes, 0)
        return ids, offsets_of(counts)


def _unpacked(found: Any) -> tuple[U32, I64]:
    """Return ids and counts of an awkward array, where the process has that package already."""
    layout = found.layout
    offsets = np.asarray(layout.offsets.data)
    return np.asarray(layout.content.data), np.diff(offsets)


def _resident() -> int:
    """Return how many bytes of memory this process takes."""
    return int(psutil.Process().memory_info().rss)


def load_json(document: str) -> Any:
    """Load a ``tokenizer.json``."""
    return gigatoken_rs.load_hf_json(document)


def load_ranks(lines: bytes, scheme: str, special_tokens: dict[str, int]) -> Any:
    """Load tiktoken's ranks, which have no gaps, with gigatoken's own way to cut by a known pattern."""
    with tempfile.NamedTemporaryFile(suffix=".tiktoken") as file:  # it takes nothing but a file
        file.write(lines)
        file.flush()
        return gigatoken_rs.BPETokenizer.from_tiktoken(file.name, scheme, special_tokens)
