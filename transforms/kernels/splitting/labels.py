"""Labels: all that there are, their numbers, and how many records each has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from transforms.errors import DataError
from transforms.kernels.arrays import I32, I64, U16

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

        Args:
            values: large_binary[n], without nulls.

        Raises:
            DataError: one wasn't there when labels were counted.
        """
        places, texts = _distinct(values)
        try:
            found: U16 = np.array([self._numbers[text] for text in texts], np.uint16)
        except KeyError as error:
            raise DataError(
                f"label {shown(error.args[0])} wasn't in the input when labels were counted: the "
                "input changed; run again when nothing writes to it"
            ) from None
        return np.take(found, places)


def count_labels(values: pa.Array, left: I64) -> Counter[bytes]:
    """Count the records of each label.

    Args:
        values: large_binary[n], without nulls.
        left: [m], places of the records that count; labels of others come too, with 0.
    """
    places, texts = _distinct(values)
    counts = np.bincount(places[left], minlength=len(texts)).tolist()
    return Counter(dict(zip(texts, counts, strict=True)))


def add_counts(total: Counter[bytes], more: Mapping[bytes, int], field: str) -> None:
    """Add counts of labels to a total; labels of no record stay.

    Raises:
        DataError: they are more, or longer, than labels may be.
    """
    for text, records in more.items():
        total[text] += records
    _require_few(total, more, field)


def _require_few(total: Mapping[bytes, int], more: Mapping[bytes, int], field: str) -> None:
    longest = max(more, key=len, default=b"")
    if len(longest) > _LONGEST:
        raise DataError(
            f"--stratify={field}: expected labels of at most {_LONGEST:,} bytes, got one of "
            f"{len(longest):,}: {shown(longest)}; check that it is the field of labels"
        )
    if len(total) > MOST_LABELS:
        some = ", ".join(map(shown, sorted(total)[:3]))
        raise DataError(
            f"--stratify={field}: expected at most {MOST_LABELS:,} different labels, got more: "
            f"{some}, …; check that it is the field of labels"
        )


def shown(text: bytes) -> str:
    """Return a label as it stands in a message, shortened.

    >>> shown(b"pos")
    "'pos'"
    """
    whole = text.decode(errors="backslashreplace")
    return repr(whole if len(whole) <= _SHOWN else whole[: _SHOWN - 1] + "…")


def _distinct(values: pa.Array) -> tuple[I32, list[bytes]]:
    """Return which of the different labels each is, int32[n], and these."""
    encoded = values.dictionary_encode()
    return encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
