"""What a sample of the records comes to in tokens: for plans, and to see what surrounds documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Sampled:
    """Some records of one source.

    Attributes:
        records: how many.
        bytes: of their texts; of rows of ids 0.
        tokens: of them.
        filled: how many have any tokens.
        begin, end: how many begin and end with the ids that were asked for.
        largest: the largest id.
        control: how many hold a control string.
    """

    records: int = 0
    bytes: int = 0
    tokens: int = 0
    filled: int = 0
    begin: int = 0
    end: int = 0
    largest: int = -1
    control: int = 0

    def mean(self, what: str) -> float:
        """Return how much a record has of ``bytes`` or ``tokens``."""
        found: int = getattr(self, what)
        return found / self.records if self.records else 0.0


def count_texts(
    work: Any,
    texts: Mapping[str, Sequence[bytes]],
    begin: int | None = None,
    end: int | None = None,
) -> dict[str, Sampled]:
    """Tokenize sampled texts, by source; called where the model is.

    Args:
        work: the BlockTokenizer.
        texts: by source.
        begin, end: ids that packing puts around documents, to be looked for at their ends.
    """
    from transforms.errors import DataError
    from transforms.tokenization.models.texts import pack

    tokenizer = work.load()
    found = {}
    for name, mine in texts.items():
        try:
            packed = pack(list(mine))
            keys = np.arange(len(mine), dtype=np.uint64)
            encoded = tokenizer.encode_keyed(packed, keys, sampling=work.sampling)
        except DataError:  # one that can't be encoded, which the work names
            continue
        hits = tokenizer.find_control(packed)
        found[name] = _count(
            encoded.ids,
            encoded.offsets,
            begin,
            end,
            size=len(packed.data),
            control=len(np.unique(hits.records)),
        )
    return found


def count_rows(
    lists: Mapping[str, Sequence[pa.Array]], begin: int | None = None, end: int | None = None
) -> dict[str, Sampled]:
    """Count sampled rows of ids, by source; else as of ``count_texts``."""
    found = {}
    for name, mine in lists.items():
        if not mine or any(one.null_count for one in mine):
            continue
        rows = pa.concat_arrays([one.cast(pa.large_list(pa.int64())) for one in mine])
        flat = rows.flatten()
        if flat.null_count:
            continue
        ends = np.cumsum(rows.value_lengths().to_numpy(zero_copy_only=False))
        offsets = np.concatenate([[0], ends]).astype(np.int64)
        found[name] = _count(flat.to_numpy(), offsets, begin, end)
    return found


def _count(
    ids: Any, offsets: Any, begin: int | None, end: int | None, *, size: int = 0, control: int = 0
) -> Sampled:
    filled = np.flatnonzero(np.diff(offsets))
    firsts, lasts = ids[offsets[filled]], ids[offsets[filled + 1] - 1]
    return Sampled(
        records=len(offsets) - 1,
        bytes=size,
        tokens=len(ids),
        filled=len(filled),
        begin=0 if begin is None else int((firsts == begin).sum()),
        end=0 if end is None else int((lasts == end).sum()),
        largest=int(ids.max()) if len(ids) else -1,
        control=control,
    )
