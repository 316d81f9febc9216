"""Strata: the labels, and what each counted split is to have of each (``--stratify``)."""

from __future__ import annotations

from dataclasses import dataclass

from transforms.kernels.arrays import I64
from transforms.kernels.splitting.first_contents import not_enough
from transforms.kernels.splitting.labels import Labels
from transforms.kernels.splitting.plan import SplitPlan
from transforms.kernels.splitting.quotas import quotas


@dataclass(frozen=True, eq=False)
class Strata:
    """Attributes:
    field: of the labels.
    labels: all of the input.
    quotas: int64[splits, labels], of each counted split.
    """

    field: str
    labels: Labels
    quotas: I64

    @classmethod
    def of(cls, plan: SplitPlan, field: str, labels: Labels) -> Strata:
        """Share a plan's counts out among labels.

        Raises:
            DataError: there are fewer records than counts ask for.
        """
        there = sum(labels.records)
        if there < sum(plan.counts):
            raise not_enough(plan, there)
        return cls(field, labels, quotas(labels.records, plan.counts))
