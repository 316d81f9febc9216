"""Recipes in files: YAML, or the recipe inside a dataset's manifest; written, and described.

A file holds any field of a command's recipe and settings but the switches of the latter (``overwrite``,
``plan``, ``debug`` and such): those allow or ask something of one run, and no flag could take them back.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from pydantic.fields import FieldInfo

from pipelines.recipes import exact_yaml
from pipelines.recipes.flag_errors import FLAGS, FORMER, Origin, Path, flag_of, validate
from pipelines.recipes.mixture import WAYS
from pipelines.recipes.recipe import CommonRecipe, Recipe
from pipelines.recipes.settings import RunSettings, Settings
from pipelines.recipes.store_options import refuse_secrets
from transforms.datasets.manifest import require_versions
from transforms.errors import DataError, StoreError, UsageError, nearest
from transforms.formats.compressed import read_whole
from transforms.storage import layout

R = TypeVar("R", bound=CommonRecipe)
S = TypeVar("S", bound=RunSettings)


@dataclass(frozen=True)
class RecipeKind(Generic[R, S]):
    """What the recipes of one command are.

    Attributes:
        command: its name.
        recipe, settings: the models from whose fields it is made.
        instead: of which fields a flag stands, beside its own: by its name, or by name=value.
        groups: of flags, that the help begins with, in this order; others come as their fields do.
        common: the fields of the flags that most need, which the short help shows.
    """

    command: str
    recipe: type[R]
    settings: type[S]
    instead: Mapping[str, Sequence[str]] = field(default_factory=dict)
    groups: Sequence[str] = ()
    common: Sequence[str] = ()

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """The fields that a file may have."""
        how = self.settings.model_fields.items()
        return {**self.recipe.model_fields, **{k: v for k, v in how if v.annotation is not bool}}

    @property
    def switches(self) -> set[str]:
        """Fields that it may not have."""
        return self.settings.model_fields.keys() - self.fields.keys()


SHUFFLE = RecipeKind(
    "shuffle",
    Recipe,
    Settings,
    instead={
        **dict.fromkeys(WAYS, WAYS),
        "repeats": (*WAYS, "interleave", "weigh_by", "stop"),  # which only weights have
        "num_shards": ("shard_records",),
        "shard_records": ("num_shards",),
    },
    groups=("input", "mixture", "order", "output"),
    common=(
        *("sources", "output", "text_field", "weights", "weigh_by", "max_records", "seed"),
        *("num_shards", "output_format", "compression", "workers", "memory", "plan", "overwrite"),
    ),
)


def read_recipe(
    url: str, kind: RecipeKind[Any, Any], flags: Mapping[str, Any]
) -> tuple[dict[str, Any], Origin]:
    """Read a recipe, or a manifest's; of a store with the options that ``storage`` was given.

    Returns:
        As ``put_under``, which also raises.

    Raises:
        UsageError: it can't be read, or isn't YAML; a manifest of another version or command.
    """
    refuse_secrets(url, flag="--recipe")
    text = _read(url)
    manifest = _as_manifest(text)
    lines: dict[Path, int] = {}
    root: Path = ()
    model: dict[str, Any] = {}
    if manifest is not None:
        try:
            require_versions(manifest, url)
        except DataError as error:
            raise UsageError(str(error)) from None
        made_by = "shuffle"
        for field, command in (
            ("tokens", "tokenize"),
            ("splits", "split"),
            ("prepared", "prepare"),
        ):
            made_by = command if manifest.get(field) else made_by
        if made_by != kind.command:
            raise UsageError(
                f"--recipe={url}: dovetail {made_by} made this dataset; pass its manifest to "
                f"that command, or read the dataset as the --input of dovetail {kind.command}"
            )
        content, root = manifest.get("recipe"), ("recipe",)
        with contextlib.suppress(TypeError, KeyError, ValueError):  # written by hand
            model = dict((manifest if made_by == "prepare" else manifest["tokens"])["model"])
    else:
        content = exact_yaml.load(text, url, lines)
        if url.rpartition("/")[2] == layout.MANIFEST and "sources" not in (content or {}):
            raise UsageError(
                f'--recipe={url}: not a manifest of Dovetail (it has no "format": '
                f'"{layout.FORMAT}"), and not a recipe, which would have sources'
            )
    if not isinstance(content, dict):
        raise UsageError(f"{url}: expected a mapping of fields such as sources and seed")
    return put_under(flags, content, Origin(url, lines=lines, root=root, model=model), kind)


def put_under(
    flags: Mapping[str, Any],
    content: Mapping[str, Any],
    origin: Origin,
    kind: RecipeKind[Any, Any],
) -> tuple[dict[str, Any], Origin]:
    """Return a file's fields by their own names, with flags over them, and where each came from.

    A flag takes the place of its field, and of fields that say the same in another way: where the
    file has weights, --repeats is instead of them.

    Raises:
        UsageError: a field is unknown, double, or true in place of a number.
    """
    content, lines = dict(content), dict(origin.lines)
    for former, name in FORMER.items():
        if former in content:
            if name in content:
                raise UsageError(
                    f"{origin.file}: {name} and {former} mean the same; leave one of them out"
                )
            content[name] = content.pop(former)
            lines.update({(name,): lines[(former,)]} if (former,) in lines else {})
    origin = replace(origin, fields=frozenset(content), lines=lines)
    for name, value in content.items():
        if name not in kind.fields:
            raise origin.error(_about_unknown(name, kind), ((name,), None))
        refuse_truth(name, value, origin, kind)
    if isinstance(options := content.get("storage_options"), dict):
        content["storage_options"] = json.loads(json.dumps(options, default=float))
    keys = [key for name, value in flags.items() for key in (name, f"{name}={value}")]
    hidden = {*flags, *(other for key in keys for other in kind.instead.get(key, ()))}
    kept = {k: v for k, v in content.items() if k not in hidden}
    return {**kept, **flags}, replace(origin, fields=frozenset(kept))


def refuse_truth(name: str, value: Any, origin: Origin, kind: RecipeKind[Any, Any]) -> None:
    """Raise UsageError where a truth value is none of a field's: pydantic would take true for 1."""
    if isinstance(value, bool) and name in kind.fields and kind.fields[name].annotation is not bool:
        raise origin.error(
            f"expected a value other than true or false, got {value}", ((name,), None)
        )


def _about_unknown(name: str, kind: RecipeKind[Any, Any]) -> str:
    if name in kind.switches:
        return f"{flag_of(name)} is for the command line only"
    renamed = {flag: field for field, flag in FLAGS.items()}.get(name)
    return f"unknown field{f'; did you mean {renamed}?' if renamed else nearest(name, kind.fields)}"


def _read(url: str) -> bytes:
    try:
        return read_whole(url)
    except (UsageError, DataError) as error:
        raise UsageError(f"--recipe={error}") from None
    except StoreError as error:
        raise UsageError(str(error)) from error
    except IsADirectoryError:
        raise UsageError(
            f"--recipe={url}: expected a file; the recipe of a dataset is in its manifest.json"
        ) from None
    except OSError as error:
        raise UsageError(f"--recipe={url}: can't be read: {error.strerror or error}") from None


def _as_manifest(text: bytes) -> dict[str, Any] | None:
    """Return a manifest, quicker than YAML could be read; None where it is none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_one = isinstance(content, dict) and content.get("format") == layout.FORMAT
    return content if is_one else None


def as_content(
    recipe: R, settings: Mapping[str, Any], origin: Origin, kind: RecipeKind[R, Any]
) -> dict[str, Any]:
    """Return a recipe, defaults and all, and the settings that were given, as a file's content.

    Raises:
        UsageError: a setting can't be.
    """
    checked = validate(kind.settings, {"output": ".", **settings}, origin)
    return {
        **recipe.model_dump(exclude_none=True),
        **checked.model_dump(include=settings.keys() & kind.fields.keys(), exclude_none=True),
    }


def json_schema(kind: RecipeKind[Any, Any]) -> dict[str, Any]:
    """Return the JSON Schema of recipe files, for editors; every field with its description."""
    fields: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for model in (kind.recipe, kind.settings):
        schema = model.model_json_schema()
        fields |= schema["properties"]
        parts |= schema.get("$defs", {})
    own = ("group", "metavar", "brief", "in_files_only")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Recipe of dovetail {kind.command}",
        "type": "object",
        "properties": {
            name: {k: v for k, v in fields[name].items() if k not in own} for name in kind.fields
        }
        | {
            former: {"description": f"{name} is its name now", "deprecated": True}
            for former, name in FORMER.items()
        },
        "additionalProperties": False,
        **({"$defs": parts} if parts else {}),
    }
