"""A page for each command: every flag, from the models that the command line is made from."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from deploy.site.markdown import anchored, code, plain, table
from pipelines.__main__ import COMMANDS
from pipelines.recipes.flag_parser import as_flag
from pipelines.recipes.settings import RecipeFlags


def names() -> list[str]:
    """Return the commands' names."""
    return list(COMMANDS)


def models(name: str) -> tuple[list[type[BaseModel]], list[type[BaseModel]]]:
    """Return the models of a command's flags: those that determine the dataset, and the others."""
    module: Any = importlib.import_module(f"pipelines.{name}")
    if not hasattr(module, "COMMAND"):
        return [], [module._Flags]
    kind = module.COMMAND.kind
    return [kind.recipe], [kind.settings, RecipeFlags]


def page(name: str) -> str:
    """Return the page of a command."""
    module: Any = importlib.import_module(f"pipelines.{name}")
    recipe, settings = models(name)
    argument = "" if recipe else " DIR"
    parts = [
        f"# dovetail {name}",
        plain(f"{COMMANDS[name].capitalize()}."),
        f"```text\ndovetail {name}{argument} [flags]\n```",
        f"In Python: [`dovetail.{name}`](../python.md#{name}).",
        (
            "Flags may have dashes in place of underscores: `--codec-module` is `--codec_module`. "
            f"`dovetail {name} --help` shows the most used flags, `--help-all` shows all of them."
        ),
        "## Examples",
        f"```sh\n{module.EXAMPLES.strip()}\n```",
        plain(" ".join(module.NOTES.split())),
    ]
    if recipe:
        parts += [
            "[Recipe files](../../how-to/recipes.md) use the same names, but `sources` for `--input`.",
            "## Flags that determine the dataset",
            "The same values of these flags give the same bytes. The manifest records all of them.",
            *_tables(recipe),
            "## Flags that change how the work is done",
            "None of these flags changes a byte of a shard.",
        ]
    else:
        parts += ["## Flags"]
    return "\n\n".join([*parts, *_tables(settings)]) + "\n"


def _tables(of: list[type[BaseModel]]) -> Iterator[str]:
    groups: dict[str, list[tuple[str, FieldInfo]]] = {}
    for model in of:
        for name, field in model.model_fields.items():
            extra: Any = field.json_schema_extra
            if not field.deprecated:
                groups.setdefault(extra["group"], []).append((name, field))
    for title, fields in groups.items():
        yield f"### {title[0].upper()}{title[1:]}"
        yield table(
            ("flag", "value", "default", "what it does"),
            [_row(name, field) for name, field in fields],
        )


def _row(name: str, field: FieldInfo) -> tuple[str, str, str, str]:
    extra: Any = field.json_schema_extra
    flag = as_flag(name, field)
    if "in_files_only" in extra:
        shown = f"{anchored(name, name)}, in recipe files only"
    else:
        *short, long = flag.names.split(", ")
        shown = ", ".join([anchored(long, name), *map(code, short)])
    return (
        shown,
        code(flag.metavar) if flag.metavar else "",
        "required" if field.is_required() else code(flag.default) if flag.default else "",
        plain(flag.text),
    )
