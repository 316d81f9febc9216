"""Megatron's files read field by field, as the notes on its format say; nothing of ours is used."""

from __future__ import annotations

import struct
from dataclasses import dataclass

TYPES = {1: "B", 2: "b", 3: "h", 4: "i", 5: "q", 6: "d", 7: "f", 8: "H"}


@dataclass
class Indexed:
    """What an ``.idx`` says, and the sequences of the ``.bin``."""

    code: int
    lengths: list[int]
    offsets: list[int]
    boundaries: list[int]
    sequences: list[list[int]]

    @property
    def documents(self) -> list[list[int]]:
        """The sequences of each document, joined."""
        return [
            [one for sequence in self.sequences[begin:end] for one in sequence]
            for begin, end in zip(self.boundaries, self.boundaries[1:], strict=False)
        ]


def read_indexed(ids: bytes, index: bytes) -> Indexed:
    """Read both files whole."""
    assert index[:9] == b"MMIDIDX\x00\x00"
    assert struct.unpack_from("<Q", index, 9) == (1,)
    (code,) = struct.unpack_from("<B", index, 17)
    (sequences,) = struct.unpack_from("<Q", index, 18)
    (boundaries,) = struct.unpack_from("<Q", index, 26)
    assert len(index) == 34 + 12 * sequences + 8 * boundaries  # MaxText refuses bytes that trail
    lengths = struct.unpack_from(f"<{sequences}i", index, 34)
    offsets = struct.unpack_from(f"<{sequences}q", index, 34 + 4 * sequences)
    ends = struct.unpack_from(f"<{boundaries}q", index, 34 + 12 * sequences)
    kind = TYPES[code]
    width = struct.calcsize("<" + kind)
    assert all(length > 0 for length in lengths)
    assert len(ids) == sum(lengths) * width
    return Indexed(
        code,
        list(lengths),
        list(offsets),
        list(ends),
        [
            list(struct.unpack_from(f"<{length}{kind}", ids, offset))
            for length, offset in zip(lengths, offsets, strict=True)
        ],
    )
