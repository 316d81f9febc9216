"""Values by key: a table that is held sorted as arrays, in which records' values are looked up.

A key is known by two 64-bit hashes, of an id's text or of a content (``contents``): so a key takes 16
bytes, whatever it is, and any two keys are told apart as surely as records are in a digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from transforms.errors import DataError
from transforms.kernels.arrays import I64
from transforms.kernels.records.contents import Hashes
from transforms.kernels.records.row_hashes import row_hashes
from transforms.kernels.records.rows import carried_type

KEY_BYTES = 16
"""Of memory that a key takes, beside its value."""


@dataclass(frozen=True)
class KeyedValues:
    """Values by key.

    Attributes:
        keys: two uint64[n], in the order of the first, then of the second; no two keys are equal.
        values: n of them, in a type in which rows travel.
    """

    keys: Hashes
    values: pa.Array

    @classmethod
    def of(cls, keys: Hashes, values: pa.Array) -> KeyedValues:
        """Sort keys in any order; one that comes several times has to have the same value each time.

        Raises:
            DataError: a key has several values, or values can't travel with rows.
        """
        values = values.cast(carried_type(values.type))
        order = np.lexsort((keys[1], keys[0]))
        first, second = (half[order] for half in keys)
        again = np.flatnonzero((first[1:] == first[:-1]) & (second[1:] == second[:-1]))
        values = values.take(pa.array(order))
        if not len(again):
            return cls((first, second), values)
        hashes = row_hashes(pa.StructArray.from_arrays([values], names=["value"]))
        differ = np.zeros(len(again), bool)
        for half in hashes:
            differ |= half[again] != half[again + 1]
        if differ.any():
            at = int(again[np.flatnonzero(differ)[0]])
            one, other = values[at].as_py(), values[at + 1].as_py()
            raise DataError(
                f"expected one value for each key, got {int(differ.sum())} more for keys that "
                f"have one, such as {one!r:.40} and {other!r:.40} for the same; keep one of them"
            )
        once = np.ones(len(first), bool)
        once[again + 1] = False
        return cls((first[once], second[once]), values.filter(pa.array(once)))

    @classmethod
    def join(cls, tables: Sequence[KeyedValues]) -> KeyedValues:
        """Join tables of one type of values, or of types that go together (integers and floats).

        Raises:
            DataError: as ``of``; or their values are of several types.
        """
        if len(tables) == 1:
            return tables[0]
        first, second = (
            np.concatenate([np.zeros(0, np.uint64), *(table.keys[half] for table in tables)])
            for half in range(2)
        )
        columns = [pa.table({"value": table.values}) for table in tables if len(table)]
        if not columns:
            return cls((first, second), tables[0].values if tables else pa.nulls(0))
        try:
            joined = pa.concat_tables(columns, promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            kinds = sorted({str(table.values.type) for table in tables})
            raise DataError(
                f"expected values of one type, got {' and '.join(kinds)}; cast them"
            ) from None
        return cls.of((first, second), joined.column(0).combine_chunks())

    def __len__(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that all of it takes."""
        return KEY_BYTES * len(self) + int(self.values.nbytes)

    def places(self, keys: Hashes) -> I64:
        """Return int64[m]: where in ``values`` that of each of m keys is, -1 where there is none."""
        first, second = keys
        at = np.searchsorted(self.keys[0], first)
        found = np.full(len(first), -1, np.int64)
        waiting = np.arange(len(first))
        while True:
            waiting = waiting[at[waiting] < len(self)]
            here = at[waiting]
            waiting = waiting[self.keys[0][here] == first[waiting]]
            if not len(waiting):
                return found
            here = at[waiting]
            same = self.keys[1][here] == second[waiting]
            found[waiting[same]] = here[same]
            waiting = waiting[~same]  # whose first hash alone was the same
            at[waiting] += 1
