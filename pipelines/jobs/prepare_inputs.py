"""What prepare reads: texts or rows of ids, and the fields that are kept beside them or split by."""

from __future__ import annotations

import pyarrow as pa

from pipelines.inputs.kept_fields import named_by_flags
from pipelines.inputs.preflight import Inputs, inspect_inputs
from pipelines.outputs.claim import Claim
from pipelines.recipes.prepare_recipe import PrepareRecipe
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.settings import Settings
from transforms.errors import InputError
from transforms.formats.kept import EVERY, Kept
from transforms.splitting.groups import check_groups


def inspect(recipe: PrepareRecipe, reading: Recipe, settings: Settings, claim: Claim) -> Inputs:
    """Look at the inputs, and at what is kept of them or decides how they are split.

    Raises:
        InputError: as of ``inspect_inputs``; a column isn't there, or can't decide.
    """
    if reading.text_field is None:
        inputs = inspect_inputs(reading, settings, claim)
        schema = inputs.contents.schema
        if schema is not None:
            _require_columns(recipe, schema)
        return inputs
    only = only_to_split(recipe)
    keep = (*(recipe.keep_fields or ()), *only)
    try:
        inputs = inspect_inputs(reading, settings, claim, keep=keep)
    except InputError as error:
        raise InputError(named_by_flags(str(error), dict.fromkeys(only, "--split_by"))) from None
    if recipe.split_by is not None and inputs.contents.kept is not None:
        check_groups([recipe.split_by], inputs.contents.kept)
    return inputs


def only_to_split(recipe: PrepareRecipe) -> tuple[str, ...]:
    """Return the field that is read beside the text only to split by it."""
    kept = recipe.keep_fields or []
    if recipe.split_by is None or recipe.split_by in kept or tuple(kept) == EVERY:
        return ()
    return (recipe.split_by,)


def _require_columns(recipe: PrepareRecipe, schema: pa.Schema) -> None:
    """Raise InputError where rows of ids lack a column that is asked for."""
    asked = [("keep_fields", name) for name in recipe.keep_fields or () if name not in EVERY]
    asked += [] if recipe.split_by is None else [("split_by", recipe.split_by)]
    for flag, name in asked:
        if name not in schema.names:
            raise InputError(
                f"--{flag}={name}: the rows have no such column; they have "
                f"{', '.join(schema.names[:8])}"
            )
        if name == recipe.token_column:
            raise InputError(f"--{flag}={name}: it is the column of ids; leave it out")
    if recipe.split_by is not None:
        check_groups([recipe.split_by], Kept(names=(recipe.split_by,), schema=schema))


def kept_columns(recipe: PrepareRecipe, inputs: Inputs) -> pa.Schema | None:
    """Return the schema of what is kept beside the ids; None for nothing."""
    if not recipe.keep_fields:
        return None
    rows, kept = inputs.contents.schema, inputs.contents.kept
    if rows is not None:
        names = set(recipe.keep_fields)
        every = tuple(recipe.keep_fields) == EVERY
        of = [f for f in rows if f.name != recipe.token_column and (every or f.name in names)]
        return pa.schema(of)
    if kept is None or kept.schema is None:
        return None
    only = only_to_split(recipe)
    return pa.schema([field for field in kept.schema if field.name not in only])
