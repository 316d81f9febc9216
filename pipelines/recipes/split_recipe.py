"""The recipe of splitting: everything that determines which record stands in which split."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from pipelines.recipes.check_split import DRAW_COLUMN, FIT_BYTES, FIT_RECORDS, check_split_recipe
from pipelines.recipes.fields import Count, Size, make_flag
from pipelines.recipes.recipe import CommonRecipe, Recipe, WholeRecordsRecipe
from pipelines.recipes.recipe_file import RecipeKind
from pipelines.recipes.settings import Settings
from pipelines.recipes.values import Names, Number, as_list, as_written, check_paths, parse_parts
from transforms.formats.text_field import TextField
from transforms.kernels.planning.plan import SHARD_BYTES
from transforms.kernels.splitting.labels import MOST_LABELS
from transforms.kernels.splitting.plan import TRAIN, Part, SplitPlan
from transforms.splitting.parse_splits import parse_counts, parse_fractions, plan_split

_INPUT, _SPLIT, _LIKE, _ORDER, _OUTPUT = "input", "split", "like a test set", "order", "output"
MOST_SHARDS = 200_000
"""Shards that a split may have: each is written by itself, and listed in the manifest."""
DRAWN_SPLIT = "validation"
"""The split of what ``--draw`` draws."""


_Fractions = Annotated[
    dict[str, str],
    BeforeValidator(
        partial(parse_parts, expected="NAME=FRACTION,NAME=FRACTION"),
        json_schema_input_type=dict[str, str | float] | str,
    ),
    as_written(parse_fractions),
]
_Counts = Annotated[
    dict[str, str],
    BeforeValidator(
        partial(parse_parts, expected="NAME=RECORDS,NAME=rest"),
        json_schema_input_type=dict[str, str | int] | str,
    ),
    as_written(parse_counts),
]
_Patterns = Annotated[
    list[str],
    BeforeValidator(as_list, json_schema_input_type=list[str] | str),
    AfterValidator(check_paths),
]


class SplitRecipe(WholeRecordsRecipe):
    """What determines the splits of a dataset, together with the input files."""

    text_field: Annotated[str, as_written(TextField.parse)] | None = make_flag(
        None,
        _INPUT,
        "field of JSON lines, or column of rows, that holds a record's content, by which "
        "records count as equal. data.text is the field text inside data; a template such as "
        "'{title}\\n\\n{body}' joins several; '' is the whole record. By default text if the "
        "record has it, else the whole record. Records are always written whole",
        brief="field whose text is the record's content",
    )
    fractions: _Fractions | None = make_flag(
        None,
        _SPLIT,
        "splits, each as a fraction of the contents: train=0.98,validation=0.01,test=0.01. A "
        "hash of the content decides, so equal contents are always in one split, and added "
        "data moves no record. If train isn't named, it gets the rest",
        metavar="NAME=F,…",
        min_length=1,
        brief="shares: train=0.98,validation=0.01,test=0.01",
    )
    counts: _Counts | None = make_flag(
        None,
        _SPLIT,
        "splits, each as a number of records: train=1000,test=rest. With --by=identity the "
        "numbers are exact; by content they are maxima, as equal contents stay together. With "
        "--fractions too, the numbers are taken from what the fractions leave",
        metavar="NAME=N|rest,…",
        min_length=1,
        brief="numbers of records: test=1000,train=rest",
    )
    by: Literal["content", "identity"] = make_flag(
        "content",
        _SPLIT,
        "what decides the split. content keeps equal contents together. identity (source, file "
        "and position) decides for every record by itself, so duplicates may be separated; the "
        "run says how many are",
        brief="content (default) keeps duplicates together",
    )
    split_by: Names | None = make_flag(
        None,
        _SPLIT,
        "fields or columns whose values decide instead of the text, so that groups stay together",
        metavar="FIELD,FIELD",
        brief="fields that decide instead of the text",
    )
    stratify: str | None = make_flag(
        None,
        _SPLIT,
        "field or column of a label. Each split of --counts gets the same share of every label "
        "as the input has, by largest remainder",
        metavar="FIELD",
        min_length=1,
        brief="keep the shares of this label in each split",
    )
    split_seed: int = make_flag(
        0, _SPLIT, "another seed gives other splits; --seed doesn't affect them", ge=0, lt=2**64
    )
    like: _Patterns | None = make_flag(
        None,
        _LIKE,
        "files, folders or patterns of a test set without labels; repeatable. --weights_column "
        "weights the records, or --draw draws from them, to make them like the test set "
        "(docs/how-to/like.md). Needs pip install 'dovetail-data[like]'",
        metavar="PATTERN",
        min_length=1,
        brief="unlabeled test set: weigh or draw to be like it",
    )
    like_model: Annotated[str, AfterValidator(check_paths)] | None = make_flag(
        None,
        _LIKE,
        "like.json of an earlier dataset: score with its model instead of fitting one. With "
        "--like too, the report compares the result with that test set",
        metavar="FILE",
        min_length=1,
    )
    features: Names = make_flag(
        ["text"],
        _LIKE,
        "what the sets are compared by: text, and names of columns of rows or fields of JSON "
        "lines. These hold numbers, categories, or lists of numbers of one length (embeddings)",
        metavar="NAME,NAME",
    )
    fit_records: Count = make_flag(
        FIT_RECORDS,
        _LIKE,
        "maximum number of records of each set to fit the model on",
        metavar="N",
    )
    fit_bytes: Size = make_flag(
        FIT_BYTES,
        _LIKE,
        "maximum bytes of text and columns of each set to fit the model on",
        metavar="SIZE",
    )
    weights_column: str | None = make_flag(
        None,
        _LIKE,
        "add a column of this name (for JSON lines, a last key) to the splits of --fractions "
        "or --counts. It holds the record's weight; the mean weight is 1",
        metavar="NAME",
        min_length=1,
        brief="add each record's weight in this column",
    )
    max_weight: Number | None = make_flag(
        None,
        _LIKE,
        "clip weights at W times the mean, and report how many were clipped",
        metavar="W",
    )
    draw: Count | None = make_flag(
        None,
        _LIKE,
        f"instead of --fractions and --counts: {DRAWN_SPLIT} gets N records drawn by weight, with "
        f"replacement. {TRAIN} gets every record whose content wasn't drawn",
        metavar="N",
        brief="draw N records that are like the test set",
    )
    draw_column: str = make_flag(
        DRAW_COLUMN,
        _LIKE,
        "for --draw: name of the column (for JSON lines, the key) that says how often a record "
        "was drawn",
        metavar="NAME",
        min_length=1,
    )
    shuffle: bool = make_flag(
        False,
        _ORDER,
        "shuffle each split by --seed; by default each keeps the input's order",
        brief="shuffle each split (default: the input's order)",
    )
    seed: int = make_flag(
        0, _ORDER, "random seed of --shuffle; another seed gives another order", ge=0, lt=2**64
    )
    epoch: int = make_flag(
        0,
        _ORDER,
        "for --shuffle: a different, reproducible order for the same seed",
        ge=0,
        lt=2**63,
    )
    num_shards: int | None = make_flag(
        None,
        _OUTPUT,
        "approximate number of shards of the largest split. Other splits have as many as their "
        "size needs. By default set by --shard_size",
        ge=1,
        le=MOST_SHARDS,
    )
    shard_size: Size | None = make_flag(
        None,
        _OUTPUT,
        "approximate size of a shard, such as 512MiB (default 256MiB)",
        metavar="SIZE",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_split_recipe(dict(self))
        return self

    @property
    def split_plan(self) -> SplitPlan | None:
        """Which split each content falls to; None where ``--draw`` makes the splits."""
        if self.draw is not None:
            return None
        return plan_split(self.fractions, self.counts, seed=self.split_seed)

    @property
    def split_names(self) -> tuple[str, ...]:
        """All splits, the one of the rest first."""
        plan = self.split_plan
        return (TRAIN, DRAWN_SPLIT) if plan is None else plan.names

    @property
    def asked(self) -> dict[str, str | None]:
        """Of each split what was asked for, as one would write it; None of what has the rest.

        In the order in which they were named, one that wasn't first.
        """
        plan = self.split_plan
        if plan is None:
            return {TRAIN: None, DRAWN_SPLIT: f"{self.draw}"}
        found: dict[str, str | None] = {} if plan.rest is None else {plan.rest: None}
        found |= {part.name: part.asked for part in plan.parts}
        share = parse_fractions(self.fractions or {}).get(TRAIN)
        if share is not None:
            found[TRAIN] = Part(TRAIN, share=share).asked
        named = [*(self.fractions or ()), *(self.counts or ())]
        order = sorted(found, key=lambda name: named.index(name) if name in named else -1)
        return {name: found[name] for name in order}

    @property
    def most_labels(self) -> int:
        """How many labels counts tell apart, at most."""
        return 1 if self.stratify is None else MOST_LABELS

    @property
    def weighs(self) -> bool:
        """Whether records are scored for how like they are to a test set."""
        return self.like is not None or self.like_model is not None

    @property
    def added_column(self) -> str | None:
        """The column that is added to every record; None for none."""
        if self.draw is not None:
            return self.draw_column
        return self.weights_column

    @property
    def bytes_of_shard(self) -> int:
        """How many bytes a shard has, about, where ``num_shards`` doesn't say it."""
        return self.shard_size or SHARD_BYTES

    @property
    def reading(self) -> Recipe:
        """The recipe by which the input is looked at and read: whole records."""
        common: dict[str, Any] = {name: getattr(self, name) for name in CommonRecipe.model_fields}
        return Recipe(
            **common,
            output_format=self.output_format,
            compression=self.compression,
            check=self.check,
        )

    @property
    def reading_like(self) -> Recipe | None:
        """The recipe by which the test set is looked at and read; None where there is none."""
        if self.like is None:
            return None
        return self.reading.model_copy(update={"sources": {"like": self.like}})


SPLIT = RecipeKind(
    "split",
    SplitRecipe,
    Settings,
    instead={
        "draw": ("fractions", "counts", "stratify", "weights_column", "by"),
        "fractions": ("draw", "draw_column"),
        "counts": ("draw", "draw_column"),
        "num_shards": ("shard_size",),
        "shard_size": ("num_shards",),
        "like_model": ("features", "fit_records", "fit_bytes"),
    },
    groups=(_INPUT, _SPLIT, _LIKE, _ORDER, _OUTPUT),
    common=(
        *("sources", "output", "text_field", "fractions", "counts", "by", "split_by", "stratify"),
        *("like", "draw", "weights_column", "shuffle", "workers", "plan"),
    ),
)
