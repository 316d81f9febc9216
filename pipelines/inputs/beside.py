"""What is looked at beside whole records: settled, the same for all files, before any work starts."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.inputs.kept_fields import named_by_flags
from pipelines.inputs.preflight import Inputs, inspect_inputs
from pipelines.outputs.claim import Claim
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.settings import RunSettings
from transforms.errors import InputError
from transforms.formats.readers import Beside
from transforms.splitting.groups import check_groups


def inspect_beside(
    reading: Recipe,
    settings: RunSettings,
    claim: Claim,
    *,
    text_field: str | None = None,
    groups: Sequence[str] = (),
    label: str | None = None,
    features: Sequence[str] = (),
) -> tuple[Inputs, Beside]:
    """Look at the inputs, and say what is read beside their records.

    Args:
        reading: by which whole records are read.
        settings, claim: as of ``inspect_inputs``.
        text_field: where the text is, as of ``Beside``.
        groups: fields of ``--split_by``.
        label: the field of ``--stratify``.
        features: fields of ``--features``, the text not among them.

    Raises:
        InputError: as of ``inspect_inputs``; a field isn't there, or can't decide.
    """
    asked = [("--split_by", name) for name in groups]
    asked += [] if label is None else [("--stratify", label)]
    asked += [("--features", name) for name in features]
    flags: dict[str, str] = {}
    for flag, name in asked:
        flags.setdefault(name, flag)
    try:
        inputs = inspect_inputs(
            reading, settings, claim, keep=list(flags), text=text_field, whole=True
        )
    except InputError as error:
        raise InputError(named_by_flags(str(error), flags)) from None
    kept = inputs.contents.kept
    if kept is not None and inputs.contents.records:  # of nothing no kind is known
        check_groups(groups, kept)
        check_groups([] if label is None else [label], kept, flag="--stratify")
    return inputs, Beside(text_field=text_field, fields=kept)
