"""Three figures that say what a packing does to documents: padding, truncation and concatenation.

Named as in "Bucket Pre-training is All You Need" (arXiv 2407.07495), and defined here for every kind of
packing: a padding of 0 and a concatenation of 1 is ``concat``, a concatenation of 0 is ``pad``.
"""

from __future__ import annotations

from dataclasses import dataclass

from transforms.kernels.packing.counts import Counts
from transforms.kernels.packing.rows import Packing


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a split, or of any rows.

    Attributes:
        padding: filler, as a share of ids and filler.
        truncation: documents that were cut or cut off, as a share of those that stand in rows.
        concatenation: rows that hold pieces of several documents, as a share of rows.
    """

    padding: float
    truncation: float
    concatenation: float


def figures(counts: Counts, packing: Packing) -> Figures:
    """Return the figures of counts of any number of windows; a share of nothing is 0."""
    documents = counts.documents - counts.dropped_documents
    if packing.kind != "none":
        documents -= counts.empty
    return Figures(
        padding=_share(counts.filler, counts.ids + counts.filler),
        truncation=_share(counts.cut_documents, documents),
        concatenation=_share(counts.joined_rows, counts.rows),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
