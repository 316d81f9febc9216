"""What tokenizing came to, in numbers that add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from transforms.kernels.arrays import F64, I64

NAT = 1 << 30
"""In how many parts a nat is counted."""

_NONE = np.zeros(0)


@dataclass(frozen=True, kw_only=True)
class TokenCounts:
    """Counts of records; they add up.

    Attributes:
        records: how many, empty ones too.
        bytes: of their texts, as UTF-8.
        tokens: of them, without bos and eos.
        unknown: characters that the model doesn't know, or tokens of a model of another kind.
        unknown_of: out of how many; 0 where none can be unknown.
        surprise: sum of minus the logarithm of the segmentations' probabilities under the law, in parts
            of a nat (``NAT``), so that its order shows nowhere; None where the law doesn't tell. Over
            ``tokens`` it is the entropy per token.
        lengths: how many records have 0, 1, 2 to 3, 4 to 7, … tokens.
        compared_bytes, best_tokens: of a sample of records under a law: their bytes, and what the best
            segmentations come to.
        collisions: records with CPM's symbols in their text.
        checked_records, checked_bytes: records that a second implementation encoded to the same ids,
            and the bytes of their texts.
        control: of each control string that was found, how many records hold it, and how often.
    """

    records: int = 0
    bytes: int = 0
    tokens: int = 0
    unknown: int = 0
    unknown_of: int = 0
    surprise: int | None = 0
    lengths: tuple[int, ...] = ()
    compared_bytes: int = 0
    best_tokens: int = 0
    collisions: int = 0
    checked_records: int = 0
    checked_bytes: int = 0
    control: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        tokens: I64,
        *,
        bytes: int,  # noqa: A002
        unknown: int = 0,
        unknown_of: int = 0,
        checked_records: int = 0,
        checked_bytes: int = 0,
        negative_log_probs: F64 = _NONE,
    ) -> TokenCounts:
        """Count records.

        Args:
            tokens: int64[r], of each record.
            bytes: of all texts.
            unknown, unknown_of, checked_records, checked_bytes: as of ``Encoded``.
            negative_log_probs: float64[r], as of ``Encoded``.
        """
        _, exponents = np.frexp(tokens)  # 0 for 0, else the number of bits
        known = not np.isnan(negative_log_probs).any()
        return cls(
            records=len(tokens),
            bytes=bytes,
            tokens=int(tokens.sum()),
            unknown=unknown,
            unknown_of=unknown_of,
            surprise=int(np.rint(negative_log_probs * NAT).sum()) if known else None,
            lengths=tuple(np.bincount(exponents).tolist()),
            checked_records=checked_records,
            checked_bytes=checked_bytes,
        )

    def __add__(self, other: TokenCounts) -> TokenCounts:
        lengths = map(sum, zip_longest(self.lengths, other.lengths, fillvalue=0))
        added = {
            name: getattr(self, name) + getattr(other, name)
            for name in self.__dataclass_fields__
            if name not in ("lengths", "surprise", "control")
        }
        surprise = None
        if self.surprise is not None and other.surprise is not None:
            surprise = self.surprise + other.surprise
        control = dict(self.control)
        for string, (records, times) in other.control.items():
            have = control.get(string, (0, 0))
            control[string] = have[0] + records, have[1] + times
        return TokenCounts(
            **added,
            lengths=tuple(lengths),
            surprise=surprise,
            control=dict(sorted(control.items())),
        )
