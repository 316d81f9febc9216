"""Features of records: hashed n-grams of their texts, and what their columns hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from transforms.errors import DataError
from transforms.kernels.arrays import F64, I32, I64, U8, offsets_of
from transforms.kernels.likeness.columns import category_codes, column_of, dense_columns
from transforms.kernels.likeness.spec import FeatureSpec


class Features(NamedTuple):
    """Features of n records, as the three arrays of a CSR matrix: float64[n, width]."""

    indptr: I64
    """int64[n + 1]: where each record's begin."""

    indices: I32
    """int32[m]: which features, rising within a record."""

    data: F64
    """float64[m]: their values."""

    width: int
    """Features in all."""


def featurize(
    spec: FeatureSpec,
    texts: pa.Array | Sequence[str] | None,
    columns: Mapping[str, pa.Array] | None = None,
) -> Features:
    """Return the features of n records.

    Those of texts are scikit-learn's: ``HashingVectorizer`` with ``analyzer="char"`` and ``"word"``,
    side by side. A null text is an empty one.

    Args:
        spec: which features.
        texts: of any string or binary type, UTF-8; None where the spec asks for none of a text.
        columns: those that the spec names (``spec.columns``), of n values each.
    """
    from transforms.kernels.likeness.texts import (
        lay_texts,
    )  # numba is there where features are made

    require_features(spec)
    parts = []
    if spec.has_text:
        values, offsets = bytes_of(texts)
        parts.append(lay_texts(values, offsets, spec.kinds, spec.normed))
    if spec.columns:
        parts.append(_lay_columns(spec, columns or {}))
    indptr, indices, data = parts[0] if len(parts) == 1 else _beside(*parts)
    return Features(indptr, indices, data, spec.width)


def require_features(spec: FeatureSpec) -> None:
    """Raise a DataError where a spec asks for nothing."""
    if not spec.width:
        raise DataError("expected features of a text or of columns, got none")


def bytes_of(texts: pa.Array | Sequence[str] | None) -> tuple[U8, I64]:
    """Return texts as their bytes, uint8[m], and int64[n + 1], where each begins; nulls are empty."""
    if texts is None:
        raise DataError("expected texts to make features of, got records without texts")
    held = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
    held = held.cast(pa.large_binary())
    if held.null_count:
        held = held.fill_null(b"")
    _, offsets, values = held.buffers()
    begins = (
        np.frombuffer(offsets, np.int64, len(held) + 1, 8 * held.offset) if len(held) else _NONE
    )
    return np.frombuffer(values or b"", np.uint8), begins


_NONE = np.zeros(1, np.int64)
_Rows = tuple[I64, I32, F64]


def _lay_columns(spec: FeatureSpec, columns: Mapping[str, pa.Array]) -> _Rows:
    """Return the features of columns as the rows of a CSR matrix."""
    dense, begin = dense_columns(spec, columns)
    rows, places = np.nonzero(dense)
    numbers = _rows(len(dense), rows, places + begin, dense[rows, places])
    if not spec.categories:
        return numbers
    codes = np.stack(
        [
            category_codes(name, column_of(columns, name), spec.category_buckets)
            for name in spec.categories
        ],
        axis=1,
    ).astype(np.int64)
    first = np.arange(len(codes))[:, np.newaxis] * spec.category_buckets
    keys, which = np.unique((first + (codes >> 1)).reshape(-1), return_inverse=True)
    counts = np.bincount(which, (1 - 2 * (codes & 1)).reshape(-1), len(keys))
    rows, places = np.divmod(keys, spec.category_buckets)
    found = _rows(
        len(codes), rows, places + spec.ranges["categories"][0], counts.astype(np.float64)
    )
    return _beside(found, numbers)


def _rows(count: int, rows: I64, places: I64, values: F64) -> _Rows:
    """Make CSR rows of features that are given row by row."""
    return offsets_of(np.bincount(rows, minlength=count)), places.astype(np.int32), values


def _beside(left: _Rows, right: _Rows) -> _Rows:
    """Put CSR rows beside others, whose features have higher numbers."""
    indptr = left[0] + right[0]
    indices, data = np.empty(indptr[-1], np.int32), np.empty(indptr[-1])
    for part, before in ((left, right[0][:-1]), (right, left[0][1:])):
        to = np.arange(len(part[1])) + np.repeat(before, np.diff(part[0]))
        indices[to], data[to] = part[1], part[2]
    return indptr, indices, data
