"""A planned run of prepare: what its pipeline is built from, and what is to be expected of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from transforms.kernels.schedules.staged import Stage, Until, expect_stages

from pipelines.inputs.preflight import Inputs
from pipelines.inputs.survey import Amount
from pipelines.jobs.execute import Planned
from pipelines.jobs.load_model import BYTES_PER_TOKEN
from pipelines.jobs.sample_tokens import Sampled
from pipelines.jobs.special_ids import SpecialIds
from pipelines.recipes.prepare_recipe import PrepareRecipe, StageRecipe
from pipelines.recipes.recipe import Recipe, Settings
from transforms.kernels.packing.rows import Packing
from transforms.kernels.planning.plan import Plan
from transforms.kernels.schedules.mixture import Amounts, Mixture
from transforms.kernels.splitting.plan import SplitPlan
from transforms.splitting.parse_splits import parse_splits
from transforms.trainers.contract import Dataset, Format
from transforms.trainers.formats import format_named
from transforms.trainers.of_manifest import OPTIONS

if TYPE_CHECKING:
    from transforms.tokenization.tokenize import BlockTokenizer

_OF_LIST = 4  # bytes of where a record's ids begin


@dataclass(frozen=True)
class Job(Planned):
    """A run of prepare, planned: what ``build`` needs to know.

    Attributes:
        recipe, settings: what is asked.
        plan: how the work is cut, by the bytes of the ids.
        work: makes ids of train's texts, of the first epoch and without special ids; None for rows of
            ids.
        eval_work: the same for other splits, of no epoch and without sampling unless it was asked for.
        column: of ids in the rows that cross the exchange; of rows of ids, in the input too.
        splits: which records are whose; None where all are train's.
        groups: fields that decide it in place of the text.
        drop: fields that are kept beside the texts for that alone.
        packing: how documents become rows.
        dataset: what is true of all files.
        formats: what is written, by name.
        model: what the manifest says of it; None where nobody knows it.
        special: EOS, BOS and pad.
        cost: in memory, of a byte of a record.
        sampled: what some records of each source come to.
    """

    recipe: PrepareRecipe
    settings: Settings
    plan: Plan
    work: BlockTokenizer | None
    eval_work: BlockTokenizer | None
    column: str
    splits: SplitPlan | None
    groups: tuple[str, ...]
    drop: tuple[str, ...]
    packing: Packing
    dataset: Dataset
    formats: tuple[Format, ...]
    model: dict[str, Any] | None
    special: SpecialIds
    cost: int
    sampled: Mapping[str, Sampled] = field(default_factory=dict)

    @property
    def reading(self) -> Recipe:
        """The recipe by which the input is read: as texts, or as rows of ids."""
        return self.recipe.reading_ids if self.work is None else self.recipe.reading

    @property
    def epochs(self) -> range:
        """The editions of train."""
        return range(self.recipe.epoch, self.recipe.epoch + self.recipe.epochs)

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources that are read, sorted."""
        return tuple(sorted(self.inputs.patterns))

    @property
    def dtype(self) -> str:
        """Type of ids, as they cross the exchange."""
        return self.dataset.ids_type.name

    def work_of(self, epoch: int) -> BlockTokenizer | None:
        """Return what makes the ids of train in one epoch."""
        return None if self.work is None else replace(self.work, epoch=epoch)

    def stages_of(self, epoch: int) -> tuple[Stage, ...]:
        """Return what train is woven by in one epoch."""
        return mix(self.recipe, self.sources, epoch)

    @property
    def row_tokens(self) -> int | None:
        """Tokens of documents in a row, at most; None where a row is a document."""
        return self.packing.length

    @cached_property
    def amounts(self) -> Amounts:
        """How much each source holds, about, of all splits together; bytes are those of its ids."""
        return estimate(self.inputs, self.sampled, self.dataset.ids_type.itemsize)

    def share_of(self, split: str) -> float:
        """Return which share of all records falls to a split, about."""
        if self.splits is None:
            return 1.0
        every, shares = max(sum(self.amounts.records), 1), {}
        left = 1.0
        for part in self.splits.parts:
            share = part.count / every if part.count is not None else float(part.share or 0)
            shares[part.name] = min(share, left)
            left -= shares[part.name]
        return shares.get(split, left)

    @cached_property
    def amounts_of_train(self) -> Amounts:
        """How much of each source is train's, about."""
        share = self.share_of(self.recipe.split_name)
        return Amounts(*(tuple(int(n * share) for n in one) for one in self.amounts))

    @cached_property
    def expected(self) -> list[list[float]]:
        """How many records of each source come out of each stage of train, in an epoch, about."""
        recipe, amounts = self.recipe, self.amounts_of_train
        stages = self.stages_of(recipe.epoch)
        if recipe.rows is not None:  # told of as tokens, or as documents
            most = dict.fromkeys(
                ("max_records", "max_tokens"), recipe.rows * (self.row_tokens or 1)
            )
            name = "max_records" if self.row_tokens is None else "max_tokens"
            stages = tuple(
                replace(stage, mixture=replace(stage.mixture, **{name: most[name]}))
                for stage in stages
            )
        if stages[0].mixture.is_union:  # counted as one, shared out alike
            total = Amounts(*((sum(one),) for one in amounts))
            one = replace(stages[0].mixture, sources=("all",))
            (used,) = expect_stages(
                (replace(stages[0], mixture=one),), total, row_tokens=self.row_tokens
            )[0]
            whole = max(sum(amounts.records), 1)
            return [[used * count / whole for count in amounts.records]]
        return expect_stages(stages, amounts, row_tokens=self.row_tokens)


def estimate(inputs: Inputs, sampled: Mapping[str, Sampled], itemsize: int) -> Amounts:
    """Return how much each source holds, about, as rows of ids.

    Args:
        inputs: what is read.
        sampled: some records of each source; where none were, texts are taken for usual ones.
        itemsize: bytes of an id.
    """
    records, sizes, tokens = [], [], []
    for name in sorted(inputs.patterns):
        amount = inputs.contents.amounts.get(name, Amount())
        sample = sampled.get(name, Sampled())
        made = int(amount.records * sample.mean("tokens"))
        if not sample.records:
            made = amount.bytes // BYTES_PER_TOKEN
        records.append(amount.records)
        tokens.append(made)
        sizes.append(made * itemsize + _OF_LIST * amount.records)
    return Amounts(tuple(records), tuple(sizes), tuple(tokens))


def mix(recipe: PrepareRecipe, sources: Sequence[str], epoch: int) -> tuple[Stage, ...]:
    """Return the stages of train, one where none were asked for.

    Args:
        recipe: what is asked.
        sources: those that are read, sorted.
        epoch: of train.
    """
    common: dict[str, Any] = {
        "sources": tuple(sources),
        "weigh_by": recipe.weigh_by,
        "max_records": recipe.max_records,
        "max_bytes": recipe.max_bytes,
        "max_tokens": recipe.max_tokens,
        "seed": recipe.seed,
        "epoch": epoch,
    }

    def numbers(given: Mapping[str, Any] | None) -> tuple[Fraction, ...] | None:
        return None if given is None else tuple(Fraction(given.get(name, 1)) for name in sources)

    if recipe.stages is None:
        mixture = Mixture(
            **common,
            weights=numbers(recipe.weights),
            repeats=numbers(recipe.repeats),
            temperature=recipe.temperature,
            interleave=recipe.interleave,
            stop=recipe.stop,
        )
        return (Stage(mixture),)
    return tuple(_stage(stage, common, numbers(stage.weights)) for stage in recipe.stages)


def _stage(
    stage: StageRecipe, common: dict[str, Any], weights: tuple[Fraction, ...] | None
) -> Stage:
    mixture = Mixture(**common, weights=weights, interleave=stage.interleave, stop=stage.stop)
    if stage.until is None:
        return Stage(mixture)
    ((unit, count),) = stage.until.given.items()
    return Stage(mixture, Until(unit, count))  # type: ignore[arg-type]


def split(recipe: PrepareRecipe) -> SplitPlan | None:
    """Return which records are whose; None where all are train's."""
    if recipe.split is None:
        return None
    parts = parse_splits(",".join(f"{name}={size}" for name, size in recipe.split.items()))
    return SplitPlan(parts=parts, rest=recipe.split_name, seed=recipe.split_seed)


def pack(recipe: PrepareRecipe, special: SpecialIds) -> Packing:
    """Return how documents become rows."""
    return Packing(
        kind=recipe.packing_kind,
        length=recipe.sequence_length,
        begin=None if special.begin is None else special.begin.ids[0],
        end=None if special.end is None else special.end.ids[0],
        end_at_cuts=recipe.eos_at_cuts,
        long=recipe.long or "split",
        window=recipe.window,
    )


def options_of(recipe: PrepareRecipe) -> dict[str, Any]:
    """Return the formats' own flags, those that have a say."""
    found = {name: getattr(recipe, name) for name in OPTIONS}
    return {name: value for name, value in found.items() if value is not None}


def format_all(recipe: PrepareRecipe, dataset: Dataset) -> tuple[Format, ...]:
    """Return the formats that are asked for.

    Raises:
        UsageError: one of them can't be written of such a dataset, or two can't share its rows.
    """
    found = tuple(format_named(name) for name in recipe.output_format)
    for form in found:
        form.require(dataset)
    return found
