"""What a Flex template starts: one of Dovetail's pipelines, by name.

Dataflow's launcher runs this file with the template's parameters as flags, and with its own
(--runner, --project, --region, --job_name, --temp_location, --template_location, ...). A parameter is
text, so a switch comes as --overwrite=true. The pipelines themselves can't stand here: their folder
would be the first in which Python looks, where tokenize.py hides the standard library's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pydantic import BaseModel

from pipelines.__main__ import main as run_command
from pipelines.recipes.cli import leave
from pipelines.recipes.flag_errors import flag_of
from pipelines.recipes.prepare_recipe import PrepareRecipe
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.settings import RecipeFlags, RunSettings, Settings
from pipelines.recipes.split_recipe import SplitRecipe
from pipelines.recipes.tokenize_recipe import TokenizeRecipe

PIPELINES: dict[str, tuple[type[BaseModel], ...]] = {
    "shuffle": (Recipe, Settings, RecipeFlags),
    "tokenize": (TokenizeRecipe, RunSettings, RecipeFlags),
    "prepare": (PrepareRecipe, Settings, RecipeFlags),
    "split": (SplitRecipe, Settings, RecipeFlags),
}
"""The pipelines that have a template, and the models of their flags."""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of what is this file's own."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False, add_help=False)
    parser.add_argument("--pipeline", choices=sorted(PIPELINES), required=True)
    return parser


def switches(models: Sequence[type[BaseModel]]) -> set[str]:
    """Return the flags that take no value on a command line."""
    return {
        flag_of(name)
        for model in models
        for name, field in model.model_fields.items()
        if field.annotation is bool
    }


def to_command(argv: Sequence[str]) -> list[str]:
    """Return the words of ``dovetail`` for the launcher's.

    >>> to_command(["--pipeline=shuffle", "--overwrite=true", "--input=gs://b/a.txt"])
    ['shuffle', '--overwrite', '--input=gs://b/a.txt']
    >>> to_command(["--pipeline=prepare", "--eos-at-cuts=true"])
    ['prepare', '--eos_at_cuts']
    """
    own, rest = make_parser().parse_known_args(list(argv))
    known = switches(PIPELINES[own.pipeline])
    words = [own.pipeline]
    for word in rest:
        name, _, value = word.partition("=")
        flag = f"--{name.removeprefix('--').replace('-', '_')}"
        if flag in known and value.lower() in ("true", "false"):
            if value.lower() == "true":
                words.append(flag)
        else:
            words.append(word)
    return words


if __name__ == "__main__":
    leave(run_command(to_command(sys.argv[1:])))
