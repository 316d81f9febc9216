"""The recipe of prepare: what is understood, what is refused, and in which words."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.recipes import exact_yaml
from pipelines.recipes.flag_errors import validate
from pipelines.recipes.prepare_recipe import PREPARE, PrepareRecipe
from pipelines.recipes.recipe_file import as_content, json_schema, read_recipe
from pipelines.recipes.values import parse_count
from transforms.errors import UsageError

ONE: dict[str, Any] = {"sources": ["x"], "tokenizer": "model.json"}
TWO: dict[str, Any] = {"sources": ["web=x", "books=y"], "tokenizer": "model.json"}
ROWS: dict[str, Any] = {"sources": ["x"]}

STAGES = """\
sources: {web: a, books: b, code: c}
tokenizer: model.json
sequence_length: 2048
weigh_by: tokens
stages:
  - weights: {web: 0.9, books: 0.1, code: 0}
    until: {tokens: 1.5B}
  - weights: {web: 0.5, books: 0.3, code: 0.2}
    interleave: stratified
    stop: all_exhausted
"""


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("7", 7),
        ("500K", 500_000),
        ("20M", 20_000_000),
        ("100B", 10**11),
        ("100b", 10**11),
        ("1.5T", 1_500_000_000_000),
        (" 2 M ", 2_000_000),
        ("0.001K", 1),
        (12, 12),
    ],
)
def test_counts_have_units_of_a_thousand(text: Any, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "B", "1.5", "1G", "1KB", "-1", "1e9", "0.0001K", "1,000"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a whole number, or one such as"):
        parse_count(text)


def test_by_default_a_document_is_a_row_and_ends_in_eos() -> None:
    recipe = validate(PrepareRecipe, ONE)
    assert (recipe.packing_kind, recipe.document_end) == ("none", "eos")
    assert recipe.output_format == ["parquet"]
    assert (recipe.epoch, recipe.epochs, recipe.split_name) == (0, 1, "train")


def test_with_a_length_documents_are_joined_by_default() -> None:
    assert validate(PrepareRecipe, ONE | {"sequence_length": 2048}).packing_kind == "concat"


@pytest.mark.parametrize(
    ("length", "window"),
    [(512, 512 * 4096), (8192, 1 << 25), (1 << 20, 1 << 25), (1 << 22, 1 << 26)],
)
def test_a_window_is_some_thousand_rows_and_never_few(length: int, window: int) -> None:
    recipe = validate(PrepareRecipe, ONE | {"sequence_length": length, "packing": "best_fit"})
    assert recipe.window == window
    assert recipe.model_copy(update={"pack_window": length * 10}).window == length * 10


def test_formats_are_several_each_once() -> None:
    recipe = validate(PrepareRecipe, ONE | {"output_format": "Parquet, megatron,parquet"})
    assert recipe.output_format == ["parquet", "megatron"]


def test_splits_come_as_a_flag_and_as_a_mapping() -> None:
    flag = validate(PrepareRecipe, ONE | {"split": "validation=0.5%, test=1000"})
    file = validate(PrepareRecipe, ONE | {"split": {"validation": "0.5%", "test": 1000}})
    assert flag.split == file.split == {"validation": "0.5%", "test": "1000"}


REFUSED: list[tuple[dict[str, Any], str]] = [
    (ONE | {"add_eos": True}, "--add_eos: --document_end replaces this"),
    (ONE | {"packing": "pad"}, "--packing=pad: expected --sequence_length with it"),
    (
        ONE | {"packing": "none", "sequence_length": 8},
        ("--sequence_length=8 and --packing=none: with one document per row, rows have any length"),
    ),
    (ONE | {"long": "drop"}, "--long=drop and --packing=none: rows of any length hold every"),
    (
        ONE | {"long": "truncate", "sequence_length": 8},
        ("--long=truncate and --packing=concat: documents are joined and cut wherever a row ends"),
    ),
    (ONE | {"eos_at_cuts": True}, "--eos_at_cuts and --packing=none: no document is cut"),
    (
        ONE | {"eos_at_cuts": True, "document_end": "none", "sequence_length": 8},
        "--eos_at_cuts and --document_end=none: documents end with nothing",
    ),
    (
        ONE | {"pack_window": "1M", "sequence_length": 8},
        "--pack_window=1000000 and --packing=concat: expected --packing=best_fit",
    ),
    (
        ONE | {"pack_window": 7, "sequence_length": 8, "packing": "best_fit"},
        "--pack_window=7 and --sequence_length=8: expected at least --sequence_length",
    ),
    (ONE | {"layout": "megatron_bridge", "output_format": "arrow"}, "it is for parquet"),
    (ONE | {"header": "llmc"}, "--header=llmc and --output_format=parquet: it is for flat"),
    (
        ONE | {"megatron": "rows"},
        ("--megatron=rows and --output_format=parquet: it is for megatron"),
    ),
    (
        ONE | {"megatron": "rows", "output_format": "megatron"},
        "--megatron=rows: expected --sequence_length with it",
    ),
    (ONE | {"num_shards": 2, "shard_size": "1GiB"}, "--num_shards=2 and --shard_size=1073741824"),
    (
        ONE | {"keep_source": True, "sequence_length": 8},
        "--keep_source and --packing=concat: a packed row has several documents",
    ),
    (
        ONE | {"keep_fields": "id", "output_format": "flat"},
        "--keep_fields=id and --output_format=flat: only parquet and arrow have columns",
    ),
    (ONE | {"keep_fields": "text"}, "--keep_fields=text: text is the text that becomes tokens"),
    (ONE | {"keep_fields": "id", "text_field": ""}, "--keep_fields=id and --text_field=''"),
    (ONE | {"split_by": "id"}, "--split_by=id: expected --split with it"),
    (ONE | {"split_seed": 1}, "--split_seed=1: expected --split with it"),
    (ONE | {"sample_splits": True}, "--sample_splits: expected --split with it"),
    (
        ONE | {"split": "a=1%", "sample_splits": True},
        "--sample_splits: expected --sampling with it, got off",
    ),
    (ONE | {"document_end": ""}, "--document_end=: expected a value that isn't empty"),
    (ONE | {"split": "validation=0.5"}, "expected NAME=SHARE%"),
    (ONE | {"split": {"validation": 0.5}}, "did you mean validation=50%?"),
    (ONE | {"split": "a=1%,a=2%"}, "expected each split once, got a twice"),
    (ONE | {"split": "a=60%,b=40%"}, "shares that add up to less than 100%"),
    (ONE | {"split": "fit=1%", "split_name": "fit"}, "fit is the split of all the rest"),
    (ONE | {"split": "a=1%", "split_by": "id", "text_field": ""}, "whole lines have no fields"),
    (TWO | {"weigh_by": "tokens"}, "--weigh_by=tokens: expected --weights or --temperature with"),
    (
        TWO | {"weigh_by": "bytes", "weights": "web=1,books=2", "max_tokens": "1M"},
        ("--weigh_by=bytes and --max_tokens=1000000: one run counts bytes of text or tokens"),
    ),
    (
        ONE | {"max_bytes": "1GB"},
        "--max_bytes=1000000000: documents are counted by their tokens; pass --max_tokens",
    ),
    (
        ONE | {"rows": 100, "rows_multiple_of": 8},
        "--rows=100 and --rows_multiple_of=8: expected a multiple of 8, got 100",
    ),
    (TWO | {"weights": "web=1,books=2", "repeats": "web=1"}, "pass only one of them"),
    (ONE | {"vocab_size": 5}, "--vocab_size=5 and --tokenizer=model.json: the model says"),
    (ROWS | {"sampling": "exact"}, "--sampling=exact: expected --tokenizer with it"),
    (ROWS | {"text_field": "body"}, "--text_field=body: expected --tokenizer with it"),
    (ROWS | {"bytes": True}, "--bytes: expected --tokenizer with it"),
    (ONE | {"bos_token": "<s>"}, "--bos_token=<s>: expected --add_bos with it"),
    (ONE | {"output_format": "mds"}, "--output_format=mds"),
    (ONE | {"sequence_length": 1}, "--sequence_length=1: expected"),
    (ONE | {"max_tokens": "1e9"}, "--max_tokens=1e9: expected a whole number, or one such as"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_what_does_not_fit_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        validate(PrepareRecipe, values)
    assert message in str(raised.value)


def in_file(folder: Path, text: str, **flags: Any) -> tuple[PrepareRecipe, Any]:
    path = folder / "mix.yaml"
    path.write_text(text)
    values, origin = read_recipe(str(path), PREPARE, flags)
    fields = {k: v for k, v in values.items() if k in PrepareRecipe.model_fields}
    return validate(PrepareRecipe, fields, origin), origin


def test_stages_come_from_a_file(tmp_path: Path) -> None:
    recipe, _ = in_file(tmp_path, STAGES)
    assert recipe.stages is not None
    first, last = recipe.stages
    assert first.weights == {"web": Decimal("0.9"), "books": Decimal("0.1"), "code": Decimal(0)}
    assert first.until is not None
    assert first.until.given == {"tokens": 1_500_000_000}
    assert (last.interleave, last.stop, last.until) == ("stratified", "all_exhausted", None)


def test_a_recipe_that_is_printed_is_the_same_recipe(tmp_path: Path) -> None:
    text = STAGES + "split: {validation: 0.5%}\nsampling: exact\nadd_bos: true\nrows: 3M\n"
    recipe, origin = in_file(tmp_path, text)
    again, _ = in_file(tmp_path, exact_yaml.dump(as_content(recipe, {}, origin, PREPARE)))
    assert again == recipe
    assert again.sha256 == recipe.sha256
    # a manifest has it as JSON
    content = json.loads(json.dumps(recipe.model_dump(mode="json")))
    assert validate(PrepareRecipe, content) == recipe
    assert "add_eos" not in content


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "    until: {tokens: 1.5B}\n",
            "",
            ("mix.yaml: stages[0]: expected until (tokens, rows or records) or stop in stage 0"),
        ),
        ("{tokens: 1.5B}", "{tokens: 1, rows: 1}", "expected one of tokens, rows and records"),
        ("{tokens: 1.5B}", "{bytes: 1}", "mix.yaml: stages[0].until.bytes: unknown field (line 7)"),
        ("code: 0}", "cod: 0}", "stage 0: expected names of the sources web, books, code, got cod"),
        (", code: 0}", "}", "stage 0: expected a number for every source, got none for code"),
        (
            "weigh_by: tokens",
            "weigh_by: bytes",
            ("a stage ends by tokens, and one run counts bytes of text or"),
        ),
        ("stages:", "stop: all_exhausted\nstages:", "with stages, each stage has its own"),
        (
            "stages:",
            "weights: {web: 1, books: 1, code: 1}\nstages:",
            "with stages, each stage has its own",
        ),
    ],
)
def test_stages_that_do_not_fit_are_refused_with_their_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in STAGES
    with pytest.raises(UsageError) as raised:
        in_file(tmp_path, STAGES.replace(old, new, 1))
    assert message in str(raised.value).replace(str(tmp_path) + "/", "")


def test_flags_of_weights_take_the_place_of_stages(tmp_path: Path) -> None:
    recipe, _ = in_file(tmp_path, STAGES, weights="web=1,books=1,code=1")
    assert recipe.stages is None
    assert recipe.weights is not None


def test_a_flag_takes_the_place_of_what_says_the_same(tmp_path: Path) -> None:
    text = "sources: x\ntokenizer: m\nnum_shards: 4\n"
    recipe, _ = in_file(tmp_path, text, shard_size="1GiB")
    assert (recipe.num_shards, recipe.shard_size) == (None, 1 << 30)


def test_sources_that_no_stage_has_a_weight_for_are_left_out(tmp_path: Path) -> None:
    recipe, _ = in_file(tmp_path, STAGES.replace("code: 0.2", "code: 0").replace("all_", "first_"))
    left = recipe.without_zero_weights()
    assert set(left.sources) == {"web", "books"}
    assert all(set(stage.weights) == {"web", "books"} for stage in left.stages or ())
    kept, _ = in_file(tmp_path, STAGES)
    assert kept.without_zero_weights() is kept
    one = validate(PrepareRecipe, TWO | {"weights": "web=1,books=0"}).without_zero_weights()
    assert (set(one.sources), one.weights) == ({"web"}, {"web": Decimal(1)})
    split = validate(PrepareRecipe, TWO | {"weights": "web=1,books=0", "split": "test=5%"})
    assert split.without_zero_weights() is split  # test has records of both


def test_the_schema_describes_stages_and_every_flag() -> None:
    schema = json_schema(PREPARE)
    stages = schema["properties"]["stages"]
    reference = json.dumps(stages)
    assert "#/$defs/StageRecipe" in reference
    assert "weights" in schema["$defs"]["StageRecipe"]["properties"]
    assert all(one.get("description") for one in schema["properties"].values())
    assert "in_files_only" not in json.dumps(schema)
