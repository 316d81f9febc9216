"""How segmentations are drawn: a law and its numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from transforms.errors import UsageError
from transforms.kernels.segmentation.laws import LAWS, LawName
from transforms.kernels.segmentation.nbest import MOST_NBEST

ALPHA = 0.1
"""The exponent where a law is chosen without one."""

NBEST_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How segmentations are drawn.

    Attributes:
        law: ``off`` for the best one, or ``exact``, ``viterbi_sampling``, ``nbest``.
        alpha: exponent of probabilities, from 0 (all alike) up; ``ALPHA`` where a law is chosen.
        nbest_size: how many best ones ``nbest`` draws from.

    Raises:
        UsageError: a number out of its range, or one that the law doesn't use.
    """

    law: LawName = "off"
    alpha: float | None = None
    nbest_size: int | None = None

    def __post_init__(self) -> None:
        if self.law not in LAWS:
            raise UsageError(f"--sampling={self.law}: expected one of {', '.join(LAWS)}")
        if self.alpha is not None:
            if self.law == "off":
                raise UsageError(
                    f"--alpha={self.alpha}: expected --sampling with it, one of "
                    f"{', '.join(LAWS[1:])}; off always takes the best segmentation"
                )
            if not 0 <= self.alpha < math.inf:
                raise UsageError(
                    f"--alpha={self.alpha}: expected a number from 0 (all segmentations alike) up; "
                    "for the best one alone leave --sampling off"
                )
        if self.nbest_size is not None:
            if self.nbest_size < 0:
                raise UsageError(
                    f"--nbest_size={self.nbest_size}: SentencePiece then draws from all; "
                    "give --sampling=exact, without --nbest_size"
                )
            if self.law != "nbest":
                raise UsageError(
                    f"--nbest_size={self.nbest_size}: expected --sampling=nbest, got {self.law}"
                )
            if not 1 <= self.nbest_size <= MOST_NBEST:
                raise UsageError(
                    f"--nbest_size={self.nbest_size}: expected 1 to {MOST_NBEST}; exact draws from "
                    "all segmentations, and is quicker"
                )


OFF = Sampling()
