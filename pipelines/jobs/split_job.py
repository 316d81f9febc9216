"""A planned run of split: what its pipeline is built from, and what is to be expected of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from pipelines.inputs.counted_column import holds_ids
from pipelines.jobs.execute import Planned
from pipelines.recipes.settings import Settings
from transforms.kernels.planning.plan import MIB, Plan, count_shards, make_plan
from transforms.kernels.records import compiling
from transforms.kernels.splitting.plan import SplitPlan
from transforms.storage import files as storage

if TYPE_CHECKING:
    from pipelines.jobs.split_inputs import LikeInputs
    from pipelines.recipes.split_recipe import SplitRecipe
    from transforms.formats.readers import Beside

MARK_COST = 96
"""Bytes of memory that a content's mark takes, with all that lies beside a record."""

LARGE_OF_JSON = 128 << 20
"""Bytes of lines from which on numba pays where texts are taken of them, which may be JSON: without it a
parser makes objects of each."""
IDS = "input_ids"
"""Where rows of ids have them, as ``tokenize`` writes them and ``prepare`` takes them."""


@dataclass(frozen=True)
class Job(Planned):
    """A run of split, planned: what ``build`` needs to know.

    Attributes:
        recipe, settings: what is asked.
        plan: how reading is cut.
        beside: what is looked at beside whole records; None for nothing.
        like: the test set of ``--like``; None for none.
    """

    recipe: SplitRecipe
    settings: Settings
    plan: Plan
    beside: Beside | None = None
    like: LikeInputs | None = None

    @property
    def compiled(self) -> bool:
        """Whether workers pass over records by compiled loops: of much, and where there is room."""
        room = self.workers.payload * self.workers.count
        passed = self.inputs.contents.bytes * (1 + self.readings_before)
        parsed = self.beside is not None and self.inputs.contents.schema is None
        large = LARGE_OF_JSON if parsed else compiling.LARGE
        return passed >= large and room >= compiling.ROOM

    @property
    def splits(self) -> SplitPlan:
        """Shares and counts."""
        found = self.recipe.split_plan
        assert found is not None
        return found

    @property
    def contents(self) -> Any:
        """What decides for each record: its content, or its identity."""
        from transforms.splitting.contents_of import by_content, by_identity

        if self.recipe.by == "identity":
            return by_identity
        return partial(by_content, groups=tuple(self.recipe.split_by or ()), ids=self.column_of_ids)

    @property
    def column_of_ids(self) -> str | None:
        """The column of ids that are the content of rows without a text; None where they have none."""
        schema = self.inputs.contents.schema
        named = self.recipe.text_field is not None
        return IDS if schema is not None and not named and holds_ids(schema, IDS) else None

    @property
    def readings_before(self) -> int:
        """How often the input is read beside the reading by which it is split."""
        counts = self.recipe.counts is not None
        return counts + (self.recipe.stratify is not None) + (self.recipe.by == "identity")

    @property
    def marked_bytes(self) -> int:
        """About how much memory marks of contents take, which meet in the exchange; 0 for no marks."""
        marks = self.recipe.by == "identity" or self.recipe.stratify is not None
        return marks * int(self.inputs.contents.records) * MARK_COST

    @cached_property
    def expected(self) -> dict[str, int]:
        """About how many bytes each split comes to, by the sizes of the files and the recipe alone."""
        contents = self.inputs.contents
        mean = contents.bytes / max(contents.records, 1)
        if self.recipe.draw is not None:
            train, drawn = self.recipe.split_names
            return {train: contents.bytes, drawn: int(self.recipe.draw * mean)}
        found: dict[str, int] = {}
        for part in self.splits.parts:
            share, count = part.share or 0, part.count or 0
            found[part.name] = min(int(share * contents.bytes + count * mean), contents.bytes)
        left = max(contents.bytes - sum(found.values()), 0)
        return {name: found.get(name, left) for name in self.splits.names}

    @property
    def largest(self) -> str:
        """The split that is expected to be the largest: its records are written as they are read."""
        return max(self.expected, key=self.expected.__getitem__)

    def shards_of(self, name: str) -> int:
        """Return how many shards a split is thought to have."""
        if name == self.largest and self.recipe.num_shards is not None:
            return self.recipe.num_shards
        return count_shards(self.expected[name], self.shard_bytes)

    @property
    def shard_bytes(self) -> int:
        """Bytes of a shard, about."""
        if self.recipe.num_shards is not None:
            return max(self.expected[self.largest] // self.recipe.num_shards, 1)
        return self.recipe.bytes_of_shard

    def plan_of(self, name: str) -> Plan:
        """Return how the shuffle of one split is cut; all are gathered together, and share the room."""
        contents = self.inputs.contents
        expected = self.expected[name]
        plan = make_plan(
            input_bytes=expected,
            workers=self.workers,
            num_shards=self.shards_of(name),
            rows=contents.schema is not None,
            spill_on_store=not all(map(storage.is_local, self.claim.spills)),
        )
        share = expected / max(sum(self.expected.values()), 1)
        run = max(min(plan.run_bytes, int(self.workers.payload // 5 * share)), MIB)
        return replace(plan, run_bytes=run)
