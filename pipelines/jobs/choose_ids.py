"""Where a prepared dataset's ids come from: a model that tokenizes texts, or rows that have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.inputs.preflight import Inputs
from pipelines.jobs.load_model import load_model
from pipelines.jobs.sample_tokens import Sampled, count_rows
from pipelines.jobs.special_ids import (
    SpecialIds,
    of_model,
    refuse_doubled,
    without_model,
)
from pipelines.recipes.prepare_recipe import PrepareRecipe
from pipelines.recipes.settings import RunSettings
from transforms.datasets.manifest import TokenizerEntry
from transforms.errors import UsageError

if TYPE_CHECKING:
    from transforms.tokenization.tokenize import BlockTokenizer

_COST_OF_ROWS = 12  # in memory, of a byte of a row of ids


@dataclass(frozen=True, kw_only=True)
class Ids:
    """What is known of the ids before work.

    Attributes:
        size: how many there can be.
        special: EOS, BOS and pad.
        work, eval_work: as of Job; None for rows of ids.
        model: what the manifest says of it; None where nobody knows it.
        cost: in memory, of a byte of a record.
        sampled: what some records of each source come to.
    """

    size: int
    special: SpecialIds
    work: BlockTokenizer | None = None
    eval_work: BlockTokenizer | None = None
    model: dict[str, Any] | None = None
    cost: int = _COST_OF_ROWS
    sampled: Mapping[str, Sampled] = field(default_factory=dict)


def of_texts(recipe: PrepareRecipe, settings: RunSettings) -> Ids:
    """Load the model, which stays loaded in this process and in those that are forked from it."""
    from transforms.tokenization.sampling import OFF
    from transforms.tokenization.tokenize import BlockTokenizer

    found = load_model(recipe, settings)
    special = of_model(found.tokenizer, recipe)
    work = BlockTokenizer(
        **found.common,
        **found.encoding,
        seed=recipe.seed,
        epoch=recipe.epoch,
        column=recipe.token_column,
        dtype=found.tokenizer.dtype.name,
    )
    alike = work if recipe.sample_splits else replace(work, sampling=OFF)
    return Ids(
        size=found.tokenizer.model.size,
        special=special,
        work=work,
        eval_work=replace(alike, epoch=0),
        model=found.entry,
        cost=found.cost,
    )


def of_rows(
    recipe: PrepareRecipe,
    settings: RunSettings,
    inputs: Inputs,
    lists: Mapping[str, Sequence[pa.Array]],
    asked: Ids | None,
) -> Ids:
    """Say what is known of rows of ids.

    Args:
        recipe: what is asked.
        settings: how the work is done.
        inputs: what is read.
        lists: of some rows of each source, their ids.
        asked: by the model that ``--tokenizer`` names, where it does.

    Raises:
        UsageError: something is asked of texts; different models made them; it isn't known how many
            ids there can be, or what ends documents; rows begin or end already as packing would have
            them once more.
    """
    _refuse_what_is_of_texts(recipe)
    made = [entry for entry in inputs.tokenizers if entry.column == recipe.token_column]
    _refuse_different(made, asked)
    one = made[0] if made else None
    if asked is None and one is not None and _lacks_end(recipe, one):
        asked = _by_its_model(recipe, settings, one)
    if asked is not None:
        found = replace(asked, work=None, eval_work=None, cost=_COST_OF_ROWS)
    else:
        size = recipe.vocab_size or (one.model.get("ids") if one is not None else None)
        if not isinstance(size, int):
            raise UsageError(
                "--vocab_size is missing: the input is rows of ids, and no manifest of "
                "Dovetail says which model made them; pass --tokenizer, or --vocab_size and "
                "--eos_token"
            )
        special = without_model(recipe, one, size)
        found = Ids(size=size, special=special, model=None if one is None else dict(one.model))
    sampled = count_rows(
        lists,
        None if found.special.begin is None else found.special.begin.ids[0],
        None if found.special.end is None else found.special.end.ids[0],
    )
    for name, sample in sampled.items():
        if sample.largest >= found.size:
            raise UsageError(
                f"source {name}: expected ids below {found.size}, got {sample.largest}; pass the "
                "--tokenizer that made them, or a larger --vocab_size"
            )
    refuse_doubled(found.special, made, sampled)
    return replace(found, sampled=sampled)


def _refuse_what_is_of_texts(recipe: PrepareRecipe) -> None:
    for name in ("sampling", "special_tokens"):
        if getattr(recipe, name) != PrepareRecipe.model_fields[name].default:
            raise UsageError(
                f"--{name}={getattr(recipe, name)}: the input is rows of ids, which are "
                "taken as they are; leave it out, or name the text's field with --text_field"
            )


def _refuse_different(made: Sequence[TokenizerEntry], asked: Ids | None) -> None:
    """Raise UsageError where rows of ids come from several models, or not from the one that is named."""
    by = {entry.model["sha256"]: entry for entry in made}
    if len(by) > 1:
        told = "; ".join(
            f"{', '.join(entry.sources)} by {entry.model['url']} (SHA-256 {sha[:12]}…)"
            for sha, entry in by.items()
        )
        raise UsageError(
            "--input: the same id means different tokens in different models, and these rows "
            f"were made by {len(by)} models: {told}; prepare them in separate runs, or "
            "tokenize all texts with one model"
        )
    if asked is not None and asked.model is not None and by and asked.model["sha256"] not in by:
        (entry,) = by.values()
        raise UsageError(
            f"--tokenizer={asked.model['url']}: its SHA-256 is "
            f"{asked.model['sha256'][:12]}…, but the rows of {', '.join(entry.sources)} were "
            f"made by {entry.model['url']}, SHA-256 {entry.model['sha256'][:12]}…; pass that "
            "model, or leave out --tokenizer"
        )


def _lacks_end(recipe: PrepareRecipe, made: TokenizerEntry) -> bool:
    asked = recipe.document_end not in ("eos", "none") and not recipe.document_end.isdigit()
    missing = recipe.document_end == "eos" and recipe.eos_token is None and "eos" not in made.model
    return asked or missing


def _by_its_model(recipe: PrepareRecipe, settings: RunSettings, made: TokenizerEntry) -> Ids | None:
    """Ask the model that a manifest names, where it is still there and the same."""
    try:
        found = of_texts(recipe.model_copy(update={"tokenizer": made.model["url"]}), settings)
    except UsageError:
        return None
    same = found.model is not None and found.model["sha256"] == made.model["sha256"]
    return found if same else None
