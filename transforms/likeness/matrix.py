"""Features of a sample, as one sparse matrix of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.kernels.arrays import F64, I32, I64, offsets_of
from transforms.kernels.likeness.features import featurize
from transforms.kernels.likeness.spec import FeatureSpec

MOST_VALUES = 12 << 20
"""Features that are not zero, of all records of a fit: they take 8 bytes each."""

_CHUNK = 1024  # records that are looked at together
_PIECE = 1 << 21  # values

Bools = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Matrix:
    """Features of n records.

    Attributes:
        offsets: int64[n + 1]: where each record's begin.
        places: int32[m]: which features.
        values: float32[m].
        width: features in all.
    """

    offsets: I64
    places: I32
    values: F32
    width: int

    @property
    def sizes(self) -> I64:
        """int64[n]: how many features of each record are not zero."""
        return np.diff(self.offsets)

    def rows(self, rows: I64, scale: F64 | None = None) -> Any:
        """Return some records as scipy's CSR matrix of float64.

        Args:
            rows: which.
            scale: float64[width]: what features are multiplied by; None for nothing.
        """
        made = self._csr[rows].astype(np.float64)
        if scale is not None:
            made.data *= scale[made.indices]
        return made

    def sums(self, rows: I64, weights: F64) -> F64:
        """Return float64[r]: features times weights of some records."""
        parts = [
            self.rows(some) @ weights for some in np.array_split(rows, len(rows) // _CHUNK + 1)
        ]
        return np.concatenate(parts)

    def mean_square(self, mine: Bools, scale: F64) -> float:
        """Return the mean, over records that are ``mine``, of the sum of squares of scaled features."""
        of, squares = np.repeat(mine, self.sizes), 0.0
        for some in self._pieces():
            scaled = self.values[some][of[some]] * scale[self.places[some][of[some]]]
            squares += float(np.square(scaled).sum())
        return max(squares / max(int(mine.sum()), 1), 1e-9)

    def means(self, mine: Bools) -> F64:
        """Return float64[width]: the mean of each feature over records that are ``mine``, bool[n]."""
        return self._added(mine, self.values) / max(int(mine.sum()), 1)

    def counts(self, mine: Bools) -> F64:
        """Return float64[width]: how many of the records that are ``mine`` have each feature."""
        return self._added(mine, None)

    def _added(self, mine: Bools, values: F32 | None) -> F64:
        out = np.zeros(self.width)
        of = np.repeat(mine, self.sizes)
        for some in self._pieces():
            places = self.places[some][of[some]]
            each = None if values is None else values[some][of[some]]
            out += np.bincount(places, each, self.width)
        return out

    def _pieces(self) -> Iterator[slice]:
        for begin in range(0, len(self.values), _PIECE):
            yield slice(begin, begin + _PIECE)

    @cached_property
    def _csr(self) -> Any:
        from scipy import sparse

        parts = self.values, self.places, self.offsets.astype(np.int32)
        return sparse.csr_matrix(parts, shape=(len(self.sizes), self.width))


def featurized(
    spec: FeatureSpec,
    texts: pa.Array | None,
    columns: Mapping[str, pa.Array],
    sides: tuple[I64, I64],
) -> tuple[Matrix, I64]:
    """Return the features of as many records as there is room for, and which these are: int64[k].

    Either side is taken from its first record on, and has half of the room, or what the other leaves.

    Args:
        spec: which features.
        texts, columns: of all records.
        sides: the places of the test set's records, and of the input's.
    """
    room = _Room()
    filling = [_Side(side, spec, texts, columns, room) for side in sides]
    for side, other in ((0, 1), (1, 0), (0, 1)):
        most = MOST_VALUES - filling[other].size if filling[other].done else MOST_VALUES // 2
        filling[side].fill(most)
    return room.matrix(spec.width), np.concatenate([np.zeros(0, np.int64), *room.kept])


class _Room:
    """Room for all features; it takes memory as far as it is filled, and nothing lies there twice."""

    def __init__(self) -> None:
        self._places, self._values = (
            np.empty(MOST_VALUES, np.int32),
            np.empty(MOST_VALUES, np.float32),
        )
        self._end = 0
        self._sizes: list[I64] = []
        self.kept: list[I64] = []

    def add(self, rows: I64, sizes: I64, places: I32, values: F64) -> None:
        """Lay down the features of some records."""
        begin, self._end = self._end, self._end + len(places)
        self._places[begin : self._end], self._values[begin : self._end] = places, values
        self._sizes.append(sizes)
        self.kept.append(rows)

    def matrix(self, width: int) -> Matrix:
        """Return what was laid down, in its order."""
        offsets = offsets_of(np.concatenate([np.zeros(0, np.int64), *self._sizes]))
        return Matrix(offsets, self._places[: self._end], self._values[: self._end], width)


class _Side:
    """The records of one set, and how far they were laid down."""

    def __init__(
        self,
        rows: I64,
        spec: FeatureSpec,
        texts: pa.Array | None,
        columns: Mapping[str, pa.Array],
        room: _Room,
    ) -> None:
        self._rows, self._spec, self._texts, self._columns = rows, spec, texts, columns
        self._next, self._room = 0, room
        self.size = 0

    @property
    def done(self) -> bool:
        return self._next == len(self._rows)

    def fill(self, room: int) -> None:
        """Take records until there are no more or they would not fit."""
        while not self.done:
            rows = pa.array(self._rows[self._next : self._next + _CHUNK])
            made = featurize(
                self._spec,
                None if self._texts is None else self._texts.take(rows),
                {name: column.take(rows) for name, column in self._columns.items()},
            )
            fitting = int(np.searchsorted(made.indptr, room - self.size, side="right")) - 1
            end = int(made.indptr[fitting])
            self._room.add(
                self._rows[self._next : self._next + fitting],
                np.diff(made.indptr[: fitting + 1]),
                made.indices[:end],
                made.data[:end],
            )
            self.size += end
            self._next += fitting
            if fitting < len(rows):
                return
