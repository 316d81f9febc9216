"""How segmentations are drawn: a law and its numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from transforms.errors import UsageError
from transforms.kernels.segmentation.nbest import MOST_NBEST

ALPHA = 0.1
"""The exponent where a law is chosen without one."""

NBEST_SIZE = 64
DROPOUT = 0.1
PROPORTION = 0.1

SamplingName = Literal[
    "off", "exact", "viterbi_sampling", "nbest", "uniform", "bpe_dropout", "stochastok"
]
SAMPLINGS: tuple[SamplingName, ...] = get_args(SamplingName)
WITH_ALPHA: tuple[SamplingName, ...] = ("exact", "viterbi_sampling", "nbest")
"""The laws of unigram models that have an exponent."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How segmentations are drawn.

    Attributes:
        law: ``off`` for the best one; of unigram models ``exact``, ``viterbi_sampling``, ``nbest``; of
            BPE models ``bpe_dropout``; of both ``uniform``; ``stochastok`` of any.
        alpha: exponent of probabilities, from 0 (all alike) up; ``ALPHA`` where such a law is chosen.
        nbest_size: how many best ones ``nbest`` draws from.
        dropout: how likely ``bpe_dropout`` drops a candidate, 0 to 1; ``DROPOUT``.
        proportion: how many steps ``stochastok`` takes a token, 0 to 1; ``PROPORTION``.

    Raises:
        UsageError: a number out of its range, or one that the law doesn't use.
    """

    law: SamplingName = "off"
    alpha: float | None = None
    nbest_size: int | None = None
    dropout: float | None = None
    proportion: float | None = None

    def __post_init__(self) -> None:
        if self.law not in SAMPLINGS:
            raise UsageError(f"--sampling={self.law}: expected one of {', '.join(SAMPLINGS)}")
        if self.alpha is not None:
            self._check_alpha(self.alpha)
        if self.nbest_size is not None:
            self._check_nbest_size(self.nbest_size)
        for name, law, what in (
            ("dropout", "bpe_dropout", "0 always merges, 1 never merges"),
            ("proportion", "stochastok", "of 100 tokens 0.1 takes 10 steps"),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            if self.law != law:
                raise UsageError(f"--{name}={value}: expected --sampling={law}, got {self.law}")
            if not 0 <= value <= 1:
                raise UsageError(f"--{name}={value}: expected a number from 0 to 1; {what}")

    def _check_alpha(self, alpha: float) -> None:
        if self.law == "off":
            raise UsageError(
                f"--alpha={alpha}: expected --sampling={', '.join(WITH_ALPHA)} with it, got off, "
                "which always takes the best segmentation; pass one of them, or leave --alpha out"
            )
        if self.law not in WITH_ALPHA:
            number = {"bpe_dropout": "--dropout", "stochastok": "--proportion"}.get(self.law)
            raise UsageError(
                f"--alpha={alpha}: {self.law} has no exponent; "
                + (
                    f"pass {number}, which it has"
                    if number
                    else "leave it out, or pass --sampling=exact"
                )
            )
        if not 0 <= alpha < math.inf:
            raise UsageError(
                f"--alpha={alpha}: expected a number of at least 0 (0 draws all segmentations "
                "alike); leave --sampling off for only the best one"
            )

    def _check_nbest_size(self, nbest_size: int) -> None:
        if nbest_size < 0:
            raise UsageError(
                f"--nbest_size={nbest_size}: expected 1 to {MOST_NBEST}; pass --sampling=exact "
                "without --nbest_size to draw from all segmentations, as SentencePiece does"
            )
        if self.law != "nbest":
            raise UsageError(
                f"--nbest_size={nbest_size}: expected --sampling=nbest, got {self.law}"
            )
        if not 1 <= nbest_size <= MOST_NBEST:
            raise UsageError(
                f"--nbest_size={nbest_size}: expected 1 to {MOST_NBEST}; pass --sampling=exact "
                "to draw from all segmentations, which is faster"
            )


OFF = Sampling()
