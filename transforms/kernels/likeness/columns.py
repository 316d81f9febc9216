"""Features of rows beside those of their texts: numbers, categories, and an embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from transforms.errors import DataError
from transforms.kernels.arrays import F64, U32, offsets_of
from transforms.kernels.likeness.spec import Embedding, FeatureSpec, Number

Bools = npt.NDArray[np.bool_]

_FAR = 1024.0  # standard deviations: what lies further out counts as that far


def specify(spec: FeatureSpec, columns: Mapping[str, pa.Array]) -> FeatureSpec:
    """Add columns to a spec, each as what it is; means and scales are those of these values.

    Text and booleans are categories. Integers, floats, decimals and times are numbers. Lists of numbers
    are an embedding, and so is text that holds such a list in JSON, as ``[0.25, -1]``.

    Args:
        spec: to which they are added.
        columns: of a sample of records, by their names.

    Raises:
        DataError: a column is none of that, or a second one an embedding.
    """
    categories, numbers = list(spec.categories), list(spec.numbers)
    embedding = spec.embedding
    for name in columns:
        column = column_of(columns, name)
        kind = column.type
        if _is_list(kind) or (_is_text(kind) and _holds_lists(column)):
            if embedding is not None:
                raise DataError(
                    f"columns {embedding.name} and {name}: expected one embedding at most, got two"
                )
            embedding = _standardized_vectors(name, column)
        elif _is_text(kind) or pt.is_boolean(kind):
            categories.append(name)
        elif _is_number(kind):
            numbers.append(_standardized(name, column))
        else:
            raise DataError(
                f"column {name}: expected text, booleans, numbers, times or lists of numbers to make "
                f"features of, got {column.type}"
            )
    return replace(spec, categories=tuple(categories), numbers=tuple(numbers), embedding=embedding)


def column_of(columns: Mapping[str, pa.Array], name: str) -> pa.Array:
    """Return one of the columns, without a dictionary. Raises DataError where it isn't there."""
    if name not in columns:
        raise DataError(f"expected a column {name} to make features of, got {sorted(columns)}")
    column = columns[name]
    return column.dictionary_decode() if pt.is_dictionary(column.type) else column


def category_codes(name: str, column: pa.Array, buckets: int) -> U32:
    """Hash ``name=value`` of each value, and the name alone where none is.

    Returns:
        uint32[n]: 2 * bucket, and 1 more where the sign is minus, as scikit-learn's FeatureHasher has
        it.
    """
    from transforms.kernels.likeness.texts import hash_texts

    if pt.is_null(column.type):
        column = column.cast(pa.string())
    if not (_is_text(column.type) or pt.is_boolean(column.type) or pt.is_integer(column.type)):
        raise DataError(
            f"column {name}: expected text, integers or booleans as categories, got {column.type}"
        )
    found = column.dictionary_encode()
    values = [
        value if isinstance(value, bytes) else value.encode()
        for value in _as_text(found.dictionary).to_pylist()
    ]
    names = [*(name.encode() + b"=" + value for value in values), name.encode()]
    codes = hash_texts(
        np.frombuffer(b"".join(names), np.uint8), offsets_of([len(name) for name in names]), buckets
    )
    places = found.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    found_codes: U32 = codes[places]
    return found_codes


def dense_columns(spec: FeatureSpec, columns: Mapping[str, pa.Array]) -> tuple[F64, int]:
    """Return the features of numbers and of the embedding, and the number of the first of them.

    Returns:
        float64[n, d] in the order of ``FeatureSpec.ranges``.
    """
    count = len(next(iter(columns.values()))) if columns else 0
    parts: list[F64] = [np.zeros((count, 0))]
    for number in spec.numbers:
        far, missing = standard_numbers(number, column_of(columns, number.name))
        parts.append(np.stack([far, missing], axis=1))
    if spec.embedding is not None:
        vectors, missing = standard_vectors(spec.embedding, column_of(columns, spec.embedding.name))
        parts += [vectors, missing[:, np.newaxis].astype(np.float64)]
    dense = np.concatenate(parts, axis=1)
    return dense, spec.width - dense.shape[1]


def standard_numbers(number: Number, column: pa.Array) -> tuple[F64, Bools]:
    """Return float64[n], how many scales each value is from the mean, 0 where none is; and bool[n],
    where none is: nulls, NaN and infinities.
    """
    values, there = _numbers(number.name, column)
    with np.errstate(over="ignore"):
        far = (values - number.mean) / number.scale
    return np.where(there, np.clip(far, -_FAR, _FAR), 0.0), ~there


def standard_vectors(embedding: Embedding, column: pa.Array) -> tuple[F64, Bools]:
    """Return the same of vectors: float64[n, width] and bool[n]. A vector with a number that is none
    counts as none.
    """
    width = len(embedding.means)
    values, there = _vectors(embedding.name, column, width)
    with np.errstate(over="ignore"):
        far = (values - np.array(embedding.means)) / np.array(embedding.scales)
    return np.where(there[:, np.newaxis], np.clip(far, -_FAR, _FAR), 0.0), ~there


def _standardized(name: str, column: pa.Array) -> Number:
    values, there = _numbers(name, column)
    mean, scale = _mean_and_scale(values[there][:, np.newaxis])
    return Number(name=name, mean=float(mean[0]), scale=float(scale[0]))


def _standardized_vectors(name: str, column: pa.Array) -> Embedding:
    """Scale each place so that the whole vector's mean square is 1, as that of n-grams is."""
    values, there = _vectors(name, column, None)
    means, scales = _mean_and_scale(values[there])
    scales = scales * np.sqrt(max(len(means), 1))
    return Embedding(name=name, means=tuple(means.tolist()), scales=tuple(scales.tolist()))


def _mean_and_scale(values: F64) -> tuple[F64, F64]:
    """Return the mean and the standard deviation, 1 where it is 0, of each column of float64[n, d]."""
    if not len(values):
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    largest = np.abs(values).max(axis=0)
    largest = np.where(largest > 0, largest, 1.0)  # squares of what is left can't be too large
    means = (values / largest).mean(axis=0)
    scales = (values / largest).std(axis=0) * largest
    return means * largest, np.where(scales > 0, scales, 1.0)


def _numbers(name: str, column: pa.Array) -> tuple[F64, Bools]:
    kind = column.type
    if not (_is_number(kind) or pt.is_boolean(kind) or pt.is_null(kind)):
        raise DataError(f"column {name}: expected numbers, got {kind}")
    if pt.is_date32(kind) or pt.is_time32(kind):
        column = column.cast(pa.int32())
    elif pt.is_temporal(kind):
        column = column.cast(pa.int64())
    values = column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
    there = np.isfinite(values)
    return np.where(there, values, 0.0), there


def _vectors(name: str, column: pa.Array, width: int | None) -> tuple[F64, Bools]:
    """Return float64[n, width], zeros where there is no vector, and bool[n]: where there is one.

    ``width`` is that of the first one, if it is None.
    """
    if _is_text(column.type) or pt.is_null(column.type):
        column = pa.array(
            [None if text is None else _list_of(text) for text in column.to_pylist()],
            pa.large_list(pa.float64()),
        )
    if not _is_list(column.type) or not _is_number(column.type.value_type):
        raise DataError(
            f"column {name}: expected lists of numbers, all of one length, got {column.type}"
        )
    there = column.is_valid().to_numpy(zero_copy_only=False)
    sizes = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    if width is None:
        width = int(sizes[there][0]) if there.any() else 0
    wrong = np.flatnonzero(there & (sizes != width))
    if len(wrong):
        raise DataError(
            f"column {name}: expected lists of {width} numbers, got one of {sizes[wrong[0]]}; "
            "make all vectors of one length"
        )
    held = column.filter(pa.array(there)).flatten().cast(pa.float64(), safe=False)
    out = np.zeros((len(column), width))
    out[there] = held.fill_null(np.nan).to_numpy(zero_copy_only=False).reshape(-1, width)
    there &= np.isfinite(out).all(axis=1)
    out[~there] = 0.0
    return out, there


def _holds_lists(column: pa.Array) -> bool:
    """Whether texts are lists of numbers in JSON, all that aren't null, and there is one."""
    held = column.drop_null().to_pylist()
    return bool(held) and all(_list_of(text) is not None for text in held)


def _list_of(text: str | bytes) -> list[Any] | None:
    if text[:1] not in {"[", b"["}:
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    numbers = isinstance(found, list) and all(type(value) in {int, float} for value in found)
    return [float(value) for value in found] if numbers else None


def _as_text(values: pa.Array) -> pa.Array:
    return values if _is_text(values.type) else values.cast(pa.string())


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pt.is_string(kind)
        or pt.is_large_string(kind)
        or pt.is_string_view(kind)
        or pt.is_binary(kind)
        or pt.is_large_binary(kind)
        or pt.is_binary_view(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    temporal = pt.is_temporal(kind) and not pt.is_interval(kind)
    return bool(pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind) or temporal)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind))
