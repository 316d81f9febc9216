"""What ``--like`` came to, in numbers and in words; it goes into the manifest."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from transforms.kernels.likeness.weights import Weighing
from transforms.likeness.fit import FitReport
from transforms.likeness.model import Sizes
from transforms.likeness.telling import Telling

_ALIKE = 0.55  # an AUC below isn't worth mending
_NEAR_ONE = 0.8  # the share of the effective sample size above which weights are near 1
_APART = 0.99  # above, sets hardly overlap
_NEAR = 0.6  # what is drawn is as good as like the test set

LABELS = (
    "Labels weren't looked at. All this is right only if labels depend on inputs in the test set as "
    "they do in the input; whether they do can't be seen from inputs."
)


class SizeOfWeights(BaseModel):
    """Records whose weights are of one size.

    Attributes:
        at_least: the least of it, a power of two; it ends below twice that.
        records: how many have such a weight.
        share: of the whole weight.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_least: float
    records: int
    share: float


class LikeReport(BaseModel):
    """The report of ``--like``, of which ``words`` and ``figure`` tell.

    Attributes:
        auc_before: how well input and test set can be told apart: 0.5 is not at all, 1 always. Of scores
            by models that hadn't seen what they score; None where a model was given (``--like_model``).
        auc_after: the same of what was drawn, or of the weighted input, by a fresh discriminator; None
            where there wasn't enough to fit one.
        draws: how many records were drawn; None where they were weighted.
        loss: held-out, in nats; 0.693 is chance.
        sample, fitted: records of the sample, and of what of it was learned from.
        records: that were weighted.
        covered: the mean of D / (1 - D) before it was normalised: which part of the test set lies where
            the input has any records. 1 where weights are right and the input lacks nothing.
        effective: sample size, (sum of weights)**2 / sum of their squares.
        effective_share: of the records.
        heaviest: which part of the whole weight the heaviest hundredth of the records has.
        max_weight: as asked for.
        clipped: records whose weight was cut down to it.
        quantiles: of the weights, by share of the records.
        sizes: of the weights, rising.
        toward_test, toward_input: what speaks for either set, most of all first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    auc_before: float | None = Field(None, ge=0, le=1)
    auc_after: float | None = Field(None, ge=0, le=1)
    draws: int | None = None
    loss: float | None = None
    sample: Sizes | None = None
    fitted: Sizes | None = None
    records: int
    covered: float
    effective: float
    effective_share: float
    heaviest: float
    max_weight: float | None = None
    clipped: int
    quantiles: dict[str, float]
    sizes: list[SizeOfWeights]
    toward_test: list[Telling] = []
    toward_input: list[Telling] = []

    @property
    def verdict(self) -> Literal["alike", "different", "apart"] | None:
        """What the AUC before says; None where it isn't known."""
        if self.auc_before is None:
            return None
        if self.auc_before < max(_ALIKE, 0.5 + 3 * self._chance):
            return "alike"
        return "apart" if self.auc_before > _APART else "different"

    @property
    def _seldom(self) -> int:
        """How many different records there are of the set that has fewer."""
        return (
            0 if self.fitted is None else min(self.fitted.test_contents, self.fitted.input_contents)
        )

    @property
    def _chance(self) -> float:
        """The standard deviation of the AUC of sets that are alike (Mann and Whitney)."""
        if self.fitted is None:
            return 0.0
        tests, inputs = self.fitted.test_contents, self.fitted.input_contents
        return float(((tests + inputs + 1) / (12 * tests * inputs)) ** 0.5)


def make_report(
    weighing: Weighing,
    *,
    fitted: FitReport | None = None,
    auc_after: float | None = None,
    draws: int | None = None,
) -> LikeReport:
    """Put together what was found.

    Args:
        weighing: of all records that were weighted or drawn from.
        fitted: of the discriminator; None where a model was given.
        auc_after: see ``LikeReport``.
        draws: how many; None where weights are written.
    """
    limit = weighing.limit
    return LikeReport(
        auc_before=None if fitted is None else fitted.auc,
        auc_after=auc_after,
        draws=draws,
        loss=None if fitted is None else fitted.loss,
        sample=None if fitted is None else fitted.sample,
        fitted=None if fitted is None else fitted.fitted,
        records=weighing.records,
        covered=weighing.mean,
        effective=weighing.effective,
        effective_share=weighing.effective / weighing.records if weighing.records else 0.0,
        heaviest=weighing.share_of_heaviest(),
        max_weight=None if limit is None else float(limit),
        clipped=weighing.clipped,
        quantiles={f"{share:g}": value for share, value in weighing.quantiles().items()},
        sizes=[
            SizeOfWeights(at_least=2.0**size, records=records, share=share)
            for size, records, share in weighing.by_size()
        ],
        toward_test=[] if fitted is None else fitted.toward_test,
        toward_input=[] if fitted is None else fitted.toward_input,
    )


def words(report: LikeReport) -> list[str]:
    """Say in plain English what a report means: a few sentences, the most important first."""
    return [
        *_before(report),
        *_weights(report),
        *_after(report),
        *_telling(report),
        LABELS,
    ]


def _before(report: LikeReport) -> list[str]:
    if report.auc_before is None:
        return ["A fitted model was given, so how far the sets are apart wasn't measured."]
    auc = f"AUC {report.auc_before:.3f}; 0.5 means not at all, 1 always"
    few = f", as far as so few records show ({report._seldom:,} of a set)"
    said = {
        "alike": f"Input and test set can't be told apart ({auc}): there is nothing to fix"
        f"{few if report.auc_before >= _ALIKE else _of_chance(report)}.",
        "different": f"Input and test set can be told apart ({auc}).",
        "apart": f"Input and test set hardly overlap: they can be told apart nearly always ({auc}). "
        "Weights can't fix that: they rest on few records, or on differences that mean nothing.",
    }
    lines = [said[report.verdict or "different"]]
    if report.verdict != "alike" and report.covered < 0.5:
        lines.append(
            f"Before they are normalised, weights come to {report.covered:.0%} of what they should: "
            "most of the test set lies where the input has next to nothing, and no weights can make up "
            "for that."
        )
    if report.sample and report.fitted and report.sample != report.fitted:
        lines.append(
            f"The discriminator learned from {report.fitted.input:,} of {report.sample.input:,} records "
            f"of the input's sample, and {report.fitted.test:,} of {report.sample.test:,} of the test "
            "set's: more don't fit into its memory."
        )
    return lines


def _of_chance(report: LikeReport) -> str:
    """Say of weights of sets that are alike whether they are near 1, as they should be."""
    if report.effective_share >= _NEAR_ONE:
        return ", and weights are near 1"
    return ". Weights that aren't near 1 are a matter of chance: do without them"


def _weights(report: LikeReport) -> list[str]:
    if not report.records:
        return ["There was nothing to weigh."]
    share = report.effective_share
    worth = f"{report.effective:,.0f} ({_percent(share)}; the effective sample size)"
    lines = [f"Weighted, {report.records:,} records are worth {worth}."]
    if share < 0.05 or report.heaviest > 0.5:
        lines.append(
            f"Weights rest on few records: the heaviest hundredth has {report.heaviest:.0%} of the "
            f"whole weight, and the largest weight is {report.quantiles['1']:,.4g}."
        )
    if report.max_weight is not None:
        cut = f"{report.clipped:,} records were" if report.clipped != 1 else "One record was"
        lines.append(f"{cut} cut down to a weight of {report.max_weight:g} (--max_weight).")
    if report.draws is not None and report.draws > report.effective / 3:
        lines.append(
            f"{report.draws:,} draws are many for that: many will be the same records again. A third of "
            f"the effective sample size, {report.effective / 3:,.0f}, is a safe number."
        )
    return lines


def _after(report: LikeReport) -> list[str]:
    what = "what was drawn" if report.draws is not None else "the weighted input"
    if report.auc_after is None:
        if report.auc_before is None:
            return []
        return [f"There is too little of {what} to tell how like the test set it is."]
    said = f"A fresh discriminator tells {what} from the test set with an AUC of {report.auc_after:.3f}"
    if report.verdict == "alike":
        return [f"{said}."]
    if report.auc_after < _NEAR:
        return [f"{said}: hardly at all."]
    return [f"{said}: it is still not like the test set."]


def _telling(report: LikeReport) -> list[str]:
    if report.verdict == "alike":
        return []
    sides = (("the test set", report.toward_test), ("the input", report.toward_input))
    return [
        f"What speaks for {what}: {', '.join(repr(one.name) for one in found[:10])}."
        for what, found in sides
        if found
    ]


def _percent(share: float) -> str:
    return f"{share:.2%}" if share < 0.01 else f"{share:.1%}"
