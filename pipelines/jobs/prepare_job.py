"""A planned run of prepare: what its pipeline is built from, and what is to be expected of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from pipelines.inputs.preflight import Inputs
from pipelines.inputs.survey import Amount
from pipelines.jobs.execute import Planned
from pipelines.jobs.load_model import BYTES_PER_TOKEN
from pipelines.jobs.prepare_values import mix
from pipelines.jobs.sample_tokens import Sampled
from pipelines.jobs.special_ids import SpecialIds
from pipelines.recipes.prepare_recipe import PrepareRecipe
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.settings import Settings
from transforms.kernels.packing.rows import Packing
from transforms.kernels.planning.plan import Plan
from transforms.kernels.schedules.mixture import Amounts
from transforms.kernels.schedules.needed import needed_share
from transforms.kernels.schedules.staged import Stage, expect_stages
from transforms.kernels.splitting.plan import SplitPlan
from transforms.mixing.mean_tokens import LEAST
from transforms.splitting.contents_of import by_content
from transforms.trainers.contract import Dataset, Format

if TYPE_CHECKING:
    from transforms.tokenization.tokenize import BlockTokenizer

_OF_LIST = 4  # bytes of where a record's ids begin
_SURE = 2 * LEAST
"""Records of a source that are tokenized at least where weights go by tokens, for their mean: of which
there may be half as many as estimated.
"""


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
    def contents(self) -> Any:
        """What hashes records' contents, by which they are split."""
        ids = self.column if self.work is None else None
        return partial(by_content, groups=self.groups, ids=ids)

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
        stages, amounts = self._ended, self.amounts_of_train
        if not stages[0].mixture.is_union:
            return self._expect(stages, amounts)
        whole = sum(amounts.records)
        one = replace(stages[0], mixture=replace(stages[0].mixture, sources=("all",)))
        ((used,),) = self._expect([one], amounts.together())
        return [[used * count / max(whole, 1) for count in amounts.records]]

    def _expect(self, stages: Sequence[Stage], amounts: Amounts) -> list[list[float]]:
        joined = self.packing.is_joined
        return expect_stages(stages, amounts, row_tokens=self.row_tokens, joined=joined)

    @cached_property
    def _ended(self) -> tuple[Stage, ...]:
        """The stages of train, whose end by rows is told of as documents, or as tokens."""
        stages, rows = self.stages_of(self.recipe.epoch), self.recipe.rows
        if rows is None:
            return stages
        end: dict[str, Any] = {} if self.packing.is_joined else {"max_records": rows}
        if self.row_tokens is not None:
            end["max_tokens"] = int(rows * self.row_tokens * self._share_of_tokens)
        return tuple(replace(one, mixture=replace(one.mixture, **end)) for one in stages)

    @property
    def _share_of_tokens(self) -> float:
        """Share of a row's ids that are documents' own, about."""
        records, tokens = sum(self.amounts.records), sum(self.amounts.tokens)
        return tokens / (tokens + records * self.packing.special) if tokens else 1.0

    @property
    def means(self) -> list[float]:
        """Tokens of a record of each source, about."""
        held = zip(self.amounts.records, self.amounts.tokens, strict=True)
        return [size / count if count else 0.0 for count, size in held]

    @property
    def expected_records(self) -> list[float]:
        """How many records of each source come out of train, in an epoch, about."""
        return [sum(each) for each in zip(*self.expected, strict=True)]

    @property
    def train_tokens(self) -> float:
        """How many tokens train has, in an epoch, about."""
        return sum(n * mean for n, mean in zip(self.expected_records, self.means, strict=True))

    @property
    def expected_tokens(self) -> float:
        """How many tokens all that is written has, about."""
        beside = (1 - self.share_of(self.recipe.split_name)) * sum(self.amounts.tokens)
        return self.train_tokens * len(self.epochs) + beside

    @property
    def passes(self) -> list[float]:
        """How often train passes each source, in an epoch, about."""
        have = self.amounts_of_train.records
        return [n / max(count, 1) for n, count in zip(self.expected_records, have, strict=True)]

    @property
    def tokenized(self) -> list[float]:
        """How many records of each source are tokenized for an epoch's train, about.

        Of a first pass it is what is thought to be needed, with room for what isn't known exactly.
        """
        mixture, amounts = self._ended[0].mixture, self.amounts_of_train
        if mixture.is_whole:
            return [float(count) for count in amounts.records]
        sure = self.sure(self.expected_records, amounts)
        have, fewest = amounts.records, min(amounts.records)
        if mixture.is_union:  # whose keys are those of all sources together
            sure, have, fewest = [sum(sure)] * len(sure), (sum(have),) * len(have), sum(have)
        exact = all(amount.exact_records for amount in self.inputs.contents.amounts.values())
        shares = [
            needed_share(mixture, expected=min(n, count), records=count, fewest=fewest, exact=exact)
            for n, count in zip(sure, have, strict=True)
        ]
        held = zip(shares, amounts.records, self.expected_records, strict=True)
        return [max(share * count, used) for share, count, used in held]

    def sure(self, expected: Sequence[float], amounts: Amounts) -> list[float]:
        """Return how many records of each source are to be tokenized, about, in a first pass.

        Args:
            expected: how many are thought to come out.
            amounts: of the split.
        """
        if self.recipe.weigh_by != "tokens":
            return list(expected)
        held = zip(expected, amounts.records, strict=True)
        return [max(used, min(have, _SURE)) for used, have in held]

    def rows_of(self, records: float, tokens: float) -> float:
        """Return how many rows so many documents make, about."""
        length = self.packing.length
        if length is None:
            return records
        rows = (tokens + records * self.packing.special) / length
        return max(rows, records) if self.packing.kind in ("pad", "buckets") else max(rows, 1.0)

    def bytes_of(self, form: Format) -> float:
        """Return how many bytes train's ids take in a format's files, in an epoch, about; with special
        ids, and with filler where it is written.
        """
        records, tokens = sum(self.expected_records), self.train_tokens
        ids = tokens + records * self.packing.special
        if form.filler(self.dataset) is not None and self.packing.length is not None:
            ids = max(ids, self.rows_of(records, tokens) * self.packing.length)
        return ids * form.id_bytes(self.dataset)


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
