"""Labels: the values of a field, by whose text counted splits have records in proportion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from transforms.errors import DataError
from transforms.kernels.arrays import U16, U64
from transforms.kernels.records.arrow_values import bytes_extents, is_bytes, validity
from transforms.kernels.records.contents import can_group, field_of
from transforms.kernels.records.digest import record_hashes

MOST_LABELS = 10_000
"""Labels that a field may have: each takes memory in every worker."""
_LONGEST = 1 << 10  # bytes of a label
_SHOWN = 40  # characters of a label


@dataclass(frozen=True)
class Labels:
    """All labels of the input, sorted by their bytes; a label's number is its place.

    Attributes:
        texts: in UTF-8; of integers and booleans as Arrow writes them, so that 7 is "7".
        records: how many each has of those that no share takes.
    """

    texts: tuple[bytes, ...]
    records: tuple[int, ...]

    @classmethod
    def of(cls, counts: Mapping[bytes, int]) -> Labels:
        """Return the labels of what was counted."""
        texts = tuple(sorted(counts))
        return cls(texts, tuple(counts[text] for text in texts))

    @cached_property
    def _numbers(self) -> dict[bytes, int]:
        return {text: number for number, text in enumerate(self.texts)}

    def numbers(self, values: pa.Array) -> U16:
        """Return uint16[n]: the number of each label.

        Raises:
            DataError: one wasn't there when labels were counted.
        """
        places, texts = _distinct(values)
        try:
            found = np.array([self._numbers[text] for text in texts], np.uint16)
        except KeyError as error:
            raise DataError(
                f"label {shown(error.args[0])} wasn't there when labels were counted; run again when "
                "nothing writes to the input"
            ) from None
        return found[places]


def labels_of(block: pa.RecordBatch, field: str) -> pa.Array:
    """Return the labels of a block's records, in one type for all.

    Args:
        block: with the field beside its records, or among its rows' columns.
        field: its name.

    Returns:
        large_binary[n], null where a record has none.

    Raises:
        DataError: there is no such field, or its values can't be told apart by their text.
    """
    values = field_of(block, field, why="to stratify by it")
    if pt.is_null(values.type):
        return values.cast(pa.large_binary())
    if not can_group(values.type):
        raise DataError(
            f"--stratify={field}: expected text, integers or booleans, got {values.type}"
        )
    text = values if is_bytes(values.type) else values.cast(pa.large_string())
    return text.cast(pa.large_binary())


def first_unlabelled(values: pa.Array) -> int | None:
    """Return the place of the first record without a label, None where all have one."""
    valid = validity(values)
    return None if valid is None else int(np.flatnonzero(~valid)[0])


def label_hashes(values: pa.Array) -> U64:
    """Return uint64[n], a hash of each label: equal labels have equal ones."""
    return record_hashes(*bytes_extents(values))[0]


def count_labels(values: pa.Array, left: U64) -> Counter[bytes]:
    """Count the records of each label.

    Args:
        values: as of ``labels_of``, of n records.
        left: [m], places of the records that count; labels of others come too, with 0.
    """
    places, texts = _distinct(values)
    counts = np.bincount(places[left], minlength=len(texts)).tolist()
    return Counter(dict(zip(texts, counts, strict=True)))


def add_counts(many: Iterable[Mapping[bytes, int]], field: str) -> Counter[bytes]:
    """Add counts of labels up.

    Raises:
        DataError: they are more, or longer, than labels may be.
    """
    total: Counter[bytes] = Counter()
    for counts in many:
        for text, records in counts.items():  # Counter's own sum leaves zeros out
            total[text] += records
        _require_few(total, field)
    return total


def _require_few(counts: Mapping[bytes, int], field: str) -> None:
    longest = max(counts, key=len, default=b"")
    if len(longest) > _LONGEST:
        raise DataError(
            f"--stratify={field}: expected labels of {_LONGEST:,} bytes at most, got one of "
            f"{len(longest):,}: {shown(longest)}; is it the field of labels?"
        )
    if len(counts) > MOST_LABELS:
        some = ", ".join(map(shown, sorted(counts)[:3]))
        raise DataError(
            f"--stratify={field}: expected {MOST_LABELS:,} different labels at most, got more: {some}, "
            "…; give a field of fewer values"
        )


def shown(text: bytes) -> str:
    """Return a label as it stands in a message, shortened.

    >>> shown(b"pos")
    "'pos'"
    """
    whole = text.decode(errors="backslashreplace")
    return repr(whole if len(whole) <= _SHOWN else whole[: _SHOWN - 1] + "…")


def _distinct(values: pa.Array) -> tuple[np.ndarray, list[bytes]]:
    """Return which of the different labels each is, int32[n], and these."""
    encoded = values.dictionary_encode()
    return encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
