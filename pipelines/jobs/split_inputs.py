"""What split reads: whole records, what decides of them beside, and the test set of ``--like``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.inputs.beside import inspect_beside
from pipelines.inputs.preflight import Inputs, refuse_in_output
from pipelines.inputs.sample_records import sample_records
from pipelines.outputs.claim import Claim
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.settings import Settings
from pipelines.recipes.split_recipe import SplitRecipe
from transforms.datasets.source_files import Files, SourceFile
from transforms.errors import DataError, InputError, UsageError
from transforms.formats.detection import detect
from transforms.formats.kept import kinds_of
from transforms.formats.line_format import LineFormat
from transforms.formats.line_kinds import line_kind_of
from transforms.formats.readers import Beside
from transforms.kernels.records import blocks
from transforms.kernels.records.contents import TEXT
from transforms.storage import files as storage

_NAMED = 8  # fields, in a message
_LOOKED_AT = 64  # files of lines, of which is found out what lines they hold


@dataclass(frozen=True)
class LikeInputs:
    """The test set of ``--like``, and what is looked at beside its records."""

    inputs: Inputs
    beside: Beside


@dataclass(frozen=True)
class SplitInputs:
    """What is read.

    Attributes:
        inputs: that are split.
        beside: what is looked at beside their records.
        like: the test set; None for none.
    """

    inputs: Inputs
    beside: Beside
    like: LikeInputs | None


def inspect_split(
    recipe: SplitRecipe, reading: Recipe, settings: Settings, claim: Claim
) -> SplitInputs:
    """Look at the inputs, at the fields that decide, and at the test set.

    Args:
        recipe: what is asked.
        reading: by which the input is read; standard input is a file already.
        settings, claim: where is written.

    Raises:
        InputError: as of ``inspect_beside``, of either; a column can't be added; the test set is
            empty, or among the input.
        UsageError: a column that is to be added is there already; counts are larger than what is there;
            there is no such model.
    """
    if recipe.like_model is not None:
        given = f"--like_model={recipe.like_model}"
        refuse_in_output(given, recipe.like_model, settings, claim)
    features = _features_of(recipe)
    columns = [name for name in features if name != TEXT]
    inputs, beside = inspect_beside(
        reading,
        settings,
        claim,
        text_field=recipe.text_field,
        groups=recipe.split_by or (),
        label=recipe.stratify,
        features=columns,
    )
    _require_enough(recipe, inputs)
    _check_added(recipe, reading, inputs)
    by_text = TEXT in features and recipe.text_field is None
    if by_text:
        _require_text(inputs, reading, "--input")
    reading_like = recipe.reading_like
    like = None
    if reading_like is not None:
        like = _inspect_like(recipe, reading_like, settings, claim, columns=columns)
        flag = _flag_of_like(recipe)
        _refuse_shared(inputs, like.inputs, flag)
        if by_text:
            _require_text(like.inputs, reading_like, flag)
    return SplitInputs(inputs, beside, like)


def warning_of_whole_records(recipe: SplitRecipe, reading: Recipe, inputs: Inputs) -> str | None:
    """Say that whole records are the contents where that may not be meant; None where it is.

    Records that have a number of their own are all different then, whatever their texts are.
    """
    by_text = recipe.by == "content" and recipe.text_field is None and recipe.split_by is None
    have = _fields_of(inputs, reading) if by_text else []
    if not have or TEXT in have:
        return None
    return (
        "no record that was looked at has a field text, so only equal whole records count as "
        f"equal: the same text beside another {have[0]} may be in two splits; name the "
        "text's field with --text_field, or pass --text_field='' if this is intended; the "
        f"records have {', '.join(have[:_NAMED])}"
    )


def _features_of(recipe: SplitRecipe) -> Sequence[str]:
    """Return what records are compared by: the text, and columns; of a model that is given, its own."""
    if not recipe.weighs:
        return ()
    if recipe.like_model is None:
        return recipe.features
    from transforms.likeness.model import LikeModel  # late: few need it

    flag = f"--like_model={recipe.like_model}"
    try:
        model = LikeModel.of_json(storage.read_all(recipe.like_model), what=flag)
    except IsADirectoryError:
        raise UsageError(f"{flag}: expected a file, like.json of a dataset; got a folder") from None
    except OSError as error:
        raise UsageError(f"{flag}: can't be read: {error.strerror or error}") from None
    except UsageError as error:
        raise UsageError(f"--like_model={error}") from None
    except DataError as error:
        raise UsageError(str(error)) from None
    return (*([TEXT] if model.features.has_text else []), *model.features.columns)


def _require_enough(recipe: SplitRecipe, inputs: Inputs) -> None:
    """Raise UsageError where counts are larger than what is there, as far as that is known."""
    amounts = inputs.contents.amounts.values()
    asked = sum(recipe.split_plan.counts) if recipe.split_plan is not None else 0
    if asked > inputs.contents.records and all(amount.exact_records for amount in amounts):
        counts = ",".join(f"{name}={count}" for name, count in (recipe.counts or {}).items())
        raise UsageError(
            f"--counts={counts}: expected at most the {inputs.contents.records:,} records of the input, "
            f"got {asked:,}"
        )


def _check_added(recipe: SplitRecipe, reading: Recipe, inputs: Inputs) -> None:
    """Raise where a column can't be added to the records, or one of its name is there."""
    name = recipe.added_column
    if name is None:
        return
    flag = f"--{'draw_column' if recipe.draw is not None else 'weights_column'}={name}"
    if inputs.contents.schema is None:
        plain = next(_plain_files(inputs.files), None)
        if plain is not None:
            raise InputError(
                f"{plain.url}: plain lines have no place for a column, and {flag} adds one; expected "
                "JSON lines (.jsonl) or rows (Parquet, Arrow)"
            )
    if name in _fields_of(inputs, reading):
        raise UsageError(
            f"{flag}: the records have a field of this name already; choose another name"
        )


def _plain_files(files: Files) -> Iterator[SourceFile]:
    """Yield files, of some, whose lines are no JSON."""
    for file in files.every(max(1, len(files) // _LOOKED_AT)):
        with storage.open_read(file.url) as opened:
            found = file.format or detect(opened, name=file.url, size=file.size)
            if found.is_rows or not file.size:
                continue
            kind = line_kind_of(opened, name=file.url, codec=found.codec, line_format=LineFormat())
        if kind == "plain":
            yield file


def _fields_of(inputs: Inputs, reading: Recipe) -> list[str]:
    """Return the names of columns, or of fields in some of the JSON lines; none of plain lines."""
    if inputs.contents.schema is not None:
        return list(inputs.contents.schema.names)
    found = sample_records(inputs, reading)
    lines = (line for several in found.values() for one in several for line in blocks.records(one))
    return list(kinds_of(lines))


def _flag_of_like(recipe: SplitRecipe) -> str:
    return f"--like={','.join(recipe.like or ())}"


def _inspect_like(
    recipe: SplitRecipe,
    reading: Recipe,
    settings: Settings,
    claim: Claim,
    *,
    columns: Sequence[str],
) -> LikeInputs:
    """Look at the test set."""
    for url in recipe.like or ():
        try:
            storage.filesystem(url)
        except UsageError as error:
            raise UsageError(f"--like={error}") from None
    try:
        like, beside = inspect_beside(
            reading, settings, claim, text_field=recipe.text_field, features=columns
        )
    except (InputError, UsageError) as error:
        said = str(error).replace("--input=", "--like=").partition("; like was read as")[0]
        said = said.replace(
            "no record that was looked", "no record of the test set that was looked"
        )
        raise type(error)(said) from None
    if not like.contents.records or not any(sample_records(like, reading).values()):
        raise InputError(
            f"{_flag_of_like(recipe)}: expected records of a test set, but its files hold none"
        )
    return LikeInputs(like, beside)


def _require_text(inputs: Inputs, reading: Recipe, flag: str) -> None:
    """Raise InputError where rows or JSON lines have no text to be compared by."""
    have = _fields_of(inputs, reading)
    if have and TEXT not in have:
        what, they = (
            ("column", "rows") if inputs.contents.schema is not None else ("field", "lines")
        )
        raise InputError(
            f"{flag}: expected a {what} text to compare the sets by; name another with "
            f"--text_field, or {what}s with --features; the {they} have "
            f"{', '.join(have[:_NAMED])}"
        )


def _refuse_shared(inputs: Inputs, like: Inputs, flag: str) -> None:
    """Raise InputError where a file of the test set is among the input, under whatever name."""
    test = {mark for file in like.files if file.size for mark in _marks(file.url)}
    for file in inputs.files:
        if file.size and not test.isdisjoint(_marks(file.url)):
            raise InputError(
                f"{flag}: {file.url} is in the input too, which is compared with the test "
                "set; remove it from one of them"
            )


def _marks(url: str) -> Iterator[str | tuple[int, int]]:
    """Yield what a file is known by, whatever it is called: its real path or URL, and its number."""
    path = storage.canonical(url)
    yield path
    if storage.is_local(url):
        with contextlib.suppress(OSError):  # it went: who reads it says so
            found = os.stat(path)
            yield found.st_dev, found.st_ino
