"""The recipe of preparing: from sources of text, or rows of ids, to what a trainer reads."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipelines.recipes.check_prepare import check_prepare, packing_of
from pipelines.recipes.fields import Count, Size, make_flag
from pipelines.recipes.mixture import WAYS, check_mixture
from pipelines.recipes.model_recipe import INSTEAD, MODEL, MODEL_FILE, SAMPLING, ModelRecipe, Token
from pipelines.recipes.recipe import CommonRecipe, MixtureRecipe, Recipe
from pipelines.recipes.recipe_file import RecipeKind
from pipelines.recipes.settings import Settings
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.recipes.values import (
    Names,
    as_written,
    check_paths,
    check_split,
    parse_kinds,
    parse_parts,
)
from transforms.formats.text_field import TextField
from transforms.splitting.parse_splits import parse_splits

_INPUT, _MIXTURE, _SPLIT, _PACKING, _OUTPUT = "input", "mixture", "split", "packing", "output"


_Parts = Annotated[
    dict[str, str],
    BeforeValidator(parse_parts, json_schema_input_type=dict[str, str | int] | str),
    as_written(parse_splits),
]
PACKINGS = Literal["none", "concat", "best_fit", "pad", "buckets"]
LONG = Literal["split", "truncate", "drop", "fail"]
FORMAT_NAMES = Literal["parquet", "arrow", "megatron", "flat", "olmo"]

WINDOW_ROWS, MOST_WINDOW, LEAST_WINDOW_ROWS = 4096, 1 << 25, 16
"""A window of best_fit has so many rows' tokens, or so many tokens; never fewer rows than the last."""


class PrepareRecipe(MixtureRecipe, ModelRecipe):
    """What determines a prepared dataset, together with the input files and the model."""

    seed: int = make_flag(
        0,
        "order",
        "random seed; another seed gives another order and other segmentations",
        ge=0,
        lt=2**64,
        brief="another seed gives another order",
    )
    epoch: int = make_flag(
        0,
        "order",
        "a different, reproducible order of train for the same seed, with segmentations drawn "
        "again. With --epochs, number of the first epoch",
        ge=0,
        lt=2**62,
    )
    num_shards: int | None = make_flag(
        None,
        _OUTPUT,
        "number of shards of train, in each format; by default set by --shard_size. Other splits "
        "have as many as their size needs",
        ge=1,
        le=200_000,
    )
    split_name: Annotated[str, AfterValidator(check_split)] = make_flag(
        "train",
        _OUTPUT,
        "name of the split that gets what no other split gets. Its file names begin with it",
    )
    text_field: Annotated[str, as_written(TextField.parse)] | None = make_flag(
        None,
        _INPUT,
        "field of JSON lines, or column of rows, that holds the text. data.text is the field "
        "text inside data; a template such as '{title}\\n\\n{body}' joins several; '' takes "
        "whole lines. The default is text; without this flag, rows that have --token_column "
        "are read as ids",
        brief="field with the text (default text; '': the line)",
    )
    tokenizer: Annotated[str, AfterValidator(check_paths)] | None = make_flag(
        None,
        MODEL,
        f"{MODEL_FILE}. For rows of ids: the model that made them",
        metavar="FILE",
        min_length=1,
        brief="tokenizer.json, .model, .tiktoken or BytePiece",
    )
    add_bos: bool = make_flag(False, MODEL, "start every document with the model's BOS token")
    add_eos: bool = make_flag(False, MODEL, "--document_end takes its place", deprecated=True)
    eos_token: Token | None = make_flag(
        None,
        MODEL,
        "EOS token: what --document_end=eos adds, and what the output names as EOS. Its text "
        "in the model, or its id. By default the one that the model's file names, or the "
        "tokenizer_config.json beside it",
        metavar="TEXT|ID",
    )
    pad_token: Token | None = make_flag(
        None,
        MODEL,
        "token that pads rows in formats whose rows all have one length: its text in the "
        "model, or its id. By default the model's padding token",
        metavar="TEXT|ID",
    )
    vocab_size: int | None = make_flag(
        None,
        MODEL,
        "for rows of ids without --tokenizer: number of possible ids, added tokens included, "
        "such as 50257. The largest id is one less",
        ge=1,
        le=2**32,
    )
    token_column: str = make_flag(
        "input_ids", _INPUT, "for rows of ids: the column that holds them", min_length=1
    )
    weigh_by: Literal["records", "bytes", "tokens"] = make_flag(
        "records",
        _MIXTURE,
        "unit of the shares: documents, bytes of text, or tokens, not counting special tokens and "
        "padding",
        brief="weigh by records (default), bytes or tokens",
    )
    max_bytes: Size | None = make_flag(
        None, _MIXTURE, "--max_tokens takes its place", deprecated=True
    )
    max_tokens: Count | None = make_flag(
        None,
        _MIXTURE,
        "stop before the first document that would exceed N tokens, such as 500M or 100B (B is "
        "10^9). Special tokens and padding don't count",
        metavar="N",
        brief="stop before exceeding N tokens, such as 100B",
    )
    rows: Count | None = make_flag(
        None, _MIXTURE, "exact number of rows in train, such as 2M", metavar="N"
    )
    rows_multiple_of: int | None = make_flag(
        None,
        _MIXTURE,
        "end train at a multiple of N rows, such as the batch size. The remaining rows are left "
        "out and counted",
        ge=1,
        lt=2**31,
    )
    stages: list[StageRecipe] | None = make_flag(
        None,
        _MIXTURE,
        "in recipe files only: parts of train in order, each with its own weights. Each ends at "
        "until, a number of tokens, rows or records; the last stage needs no until",
        min_length=1,
        in_files_only=True,
    )
    split: _Parts | None = make_flag(
        None,
        _SPLIT,
        "splits beside train, each as a share of the contents or a number of records: "
        "validation=0.5%,test=1000. A hash of the text decides, so equal texts are always in "
        "one split. Added data may change a split that is a number, but never moves a record "
        "between splits that are shares",
        metavar="NAME=P%|N,…",
        min_length=1,
        brief="other splits: validation=0.5%,test=1000",
    )
    split_by: str | None = make_flag(
        None,
        _SPLIT,
        "field or column whose value decides the split instead of the text, so that groups stay "
        "together",
        metavar="FIELD",
        min_length=1,
    )
    split_seed: int = make_flag(
        0, _SPLIT, "another seed gives other splits; --seed doesn't affect them", ge=0, lt=2**64
    )
    sample_splits: bool = make_flag(
        False,
        _SPLIT,
        "sample the segmentations of all splits; by default only those of train",
    )
    packing: PACKINGS | None = make_flag(
        None,
        _PACKING,
        "how documents become rows. none: one document per row. concat: joins documents and cuts "
        "them every --sequence_length tokens. best_fit: packs whole documents, and cuts only "
        "longer ones. pad: one document per row, padded to --sequence_length. buckets: the same, "
        "padded to the smallest power of two that holds it. By default concat with "
        "--sequence_length, else none",
        brief="concat, best_fit, pad, buckets or none",
    )
    sequence_length: int | None = make_flag(
        None,
        _PACKING,
        "tokens per row, with special tokens and padding, such as 4096. Some trainers read one "
        "token more than they predict: see docs/reference/trainers.md",
        ge=2,
        lt=2**31,
        metavar="L",
        brief="tokens per row, such as 4096",
    )
    document_end: Token = make_flag(
        "eos",
        _PACKING,
        "what ends every document. eos: the EOS token of the model or of --eos_token. none: "
        "nothing. Else a token: its text in the model, or its id",
        metavar="eos|none|TEXT|ID",
    )
    eos_at_cuts: bool = make_flag(
        False,
        _PACKING,
        "end each piece of a cut document with the token of --document_end too, inside its row",
    )
    long: LONG | None = make_flag(
        None,
        _PACKING,
        "what happens to documents longer than a row. split keeps them whole, in several rows "
        "(default). truncate keeps the beginning. drop keeps nothing. fail ends the run. "
        "Truncated and dropped documents are counted",
    )
    pack_window: Annotated[Count, Field(le=2**40)] | None = make_flag(
        None,
        _PACKING,
        "size in tokens of the windows of the order that best_fit packs one by one, such as "
        "16M. By default 4,096 rows, at most 2^25 tokens",
        metavar="N",
    )
    output_format: Annotated[
        list[FORMAT_NAMES],
        BeforeValidator(parse_kinds, json_schema_input_type=list[FORMAT_NAMES] | str),
        Field(min_length=1),
    ] = make_flag(
        ["parquet"],
        _OUTPUT,
        "what trainers read; several formats are written from the same rows "
        "(docs/reference/trainers.md): parquet, arrow, megatron (.bin and .idx), flat (nanoGPT, "
        "llm.c), olmo (.npy)",
        metavar="NAME,NAME",
        brief="parquet (default), arrow, megatron, flat, olmo",
    )
    layout: Literal["plain", "megatron_bridge"] = make_flag(
        "plain",
        _OUTPUT,
        "columns of parquet. plain: input_ids and seq_lengths. megatron_bridge: input_ids, "
        "seq_start_id and loss_mask",
    )
    megatron: Literal["documents", "rows"] | None = make_flag(
        None,
        _OUTPUT,
        "what a sequence is in megatron files: documents before packing, which Megatron packs "
        "itself, or rows of --sequence_length. By default rows with --sequence_length, else "
        "documents",
    )
    header: Literal["none", "llmc"] = make_flag(
        "none", _OUTPUT, "header of flat files: none for nanoGPT, llmc for llm.c and modded-nanogpt"
    )
    keep_fields: Names | None = make_flag(
        None,
        _OUTPUT,
        "fields of the records to keep as columns of parquet and arrow, with --packing=none: "
        "NAME,NAME, or * for all columns of rows except the text",
        metavar="NAME,NAME",
    )
    keep_source: bool = make_flag(
        False,
        _OUTPUT,
        "keep the name of each document's source as a column of parquet and arrow, with "
        "--packing=none",
    )
    shard_size: Size | None = make_flag(
        None,
        _OUTPUT,
        "approximate size of a shard's main file, such as 512MiB. By default 256MiB; for "
        "megatron 10GiB",
        metavar="SIZE",
    )
    epochs: int = make_flag(
        1,
        "order",
        "number of epochs of train, from --epoch on, each in its own folder. Other splits are the "
        "same in all epochs, and written once",
        ge=1,
        le=10_000,
    )

    @model_validator(mode="after")
    def _mixes(self) -> Self:
        if self.stages is None:
            check_mixture(dict(self))
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_prepare(dict(self))
        return self

    def _without_say(self) -> set[str]:
        return super()._without_say() | {"add_eos", "max_bytes"}

    @property
    def packing_kind(self) -> PACKINGS:
        """How documents become rows."""
        return packing_of(dict(self))  # type: ignore[return-value]

    @property
    def window(self) -> int:
        """Tokens that best_fit packs together."""
        if self.pack_window is not None or self.sequence_length is None:
            return self.pack_window or MOST_WINDOW
        length = self.sequence_length
        return max(min(WINDOW_ROWS * length, MOST_WINDOW), LEAST_WINDOW_ROWS * length)

    @property
    def sha256(self) -> str:
        """SHA-256 of the recipe, by which formats' files name it."""
        from transforms.datasets.prepared import recipe_sha256  # late: few need it

        return recipe_sha256(self.model_dump(mode="json"))

    @property
    def of_text(self) -> bool:
        """Whether the input is text by what was asked; else rows of ids it may be."""
        return self.bytes or self.text_field is not None

    def without_zero_weights(self) -> PrepareRecipe:
        """Return the recipe without the sources that no stage has a weight for.

        Where there are other splits than train all stay: weights are train's alone.
        """
        if self.split is not None:
            return self
        weights = [stage.weights for stage in self.stages or ()]
        if self.weights is not None:
            weights = [self.weights]
        kept = {
            name: urls
            for name, urls in self.sources.items()
            if not weights or any(one[name] for one in weights)
        }
        if len(kept) == len(self.sources):
            return self

        def left(given: dict[str, Decimal]) -> dict[str, Decimal]:
            return {name: weight for name, weight in given.items() if name in kept}

        update: dict[str, Any] = {"sources": kept}
        if self.weights is not None:
            update["weights"] = left(self.weights)
        if self.stages is not None:
            update["stages"] = [
                stage.model_copy(update={"weights": left(stage.weights)}) for stage in self.stages
            ]
        return self.model_copy(update=update)

    @property
    def reading(self) -> Recipe:
        """The recipe by which the input is looked at and read, where it is text."""
        field = "text" if self.text_field is None else self.text_field
        return self._reading(None if self.bytes else field or None)

    @property
    def reading_ids(self) -> Recipe:
        """The recipe by which the input is looked at and read, where it is rows of ids."""
        return self._reading(None, output_format="arrow")

    def _reading(self, text_field: str | None, **more: Any) -> Recipe:
        common: dict[str, Any] = {name: getattr(self, name) for name in CommonRecipe.model_fields}
        if self.bytes and self.format == "auto":
            common["format"] = "lines"
        return Recipe(**common, text_field=text_field, **more)


PREPARE = RecipeKind(
    "prepare",
    PrepareRecipe,
    Settings,
    instead={
        **INSTEAD,
        **dict.fromkeys(WAYS, (*WAYS, "stages")),
        "repeats": (*WAYS, "interleave", "weigh_by", "stop", "stages"),  # which only weights have
        "stages": (*WAYS, "interleave", "stop"),
        "num_shards": ("shard_size",),
        "shard_size": ("num_shards",),
        "tokenizer": ("vocab_size",),
        "vocab_size": ("tokenizer",),
    },
    groups=(_INPUT, MODEL, _MIXTURE, _SPLIT, _PACKING, _OUTPUT, "order", SAMPLING),
    common=(
        *("sources", "output", "tokenizer", "text_field", "weights", "weigh_by", "max_tokens"),
        *("split", "packing", "sequence_length", "output_format", "plan"),
    ),
)
