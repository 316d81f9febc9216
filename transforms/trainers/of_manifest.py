"""What a manifest of a prepared dataset says to its formats' readers."""

from __future__ import annotations

from typing import Any, get_args

from transforms.datasets.prepared import PreparedManifest
from transforms.errors import DataError
from transforms.kernels.packing.rows import Kind, Packing
from transforms.trainers.columns import schema_of_text
from transforms.trainers.contract import Dataset, Format
from transforms.trainers.formats import FORMATS

OPTIONS = ("layout", "megatron", "header")
"""Fields of the recipe that are a format's own."""


def format_of(name: str) -> Format:
    """Return a format that a manifest names; raise DataError where there is none of that name."""
    if name not in FORMATS:
        raise DataError(f"manifest: {name}: expected a format of {', '.join(FORMATS)}")
    return FORMATS[name]


def dataset_of(manifest: PreparedManifest, name: str) -> Dataset:
    """Return what is true of all files of one format.

    Args:
        manifest: of the dataset.
        name: of the format.

    Raises:
        DataError: the manifest says nothing of it, or what can't be.
    """
    about = manifest.formats.get(name)
    if about is None:
        raise DataError(f"manifest: expected a description of the format {name}, got none")
    if manifest.ids < 1 or (manifest.length is not None and manifest.length < 1):
        raise DataError(
            f"manifest: expected ids and a length of at least 1, got {manifest.ids}, {manifest.length}"
        )
    if manifest.packing not in get_args(Kind):
        raise DataError(f"manifest: packing: expected a known kind, got {manifest.packing!r:.40}")
    sources = about.get("sources") or []
    if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
        raise DataError(f"manifest: formats.{name}.sources: expected a list of names")
    kept = about.get("kept_schema")
    return Dataset(
        ids=manifest.ids,
        packing=Packing(
            kind=manifest.packing,  # type: ignore[arg-type]  # looked at above
            length=manifest.length,
            begin=_id_in(about, "document_begin", name),
            end=_id_in(about, "document_end", name),
            end_at_cuts=about.get("eos_at_cuts") is True,
        ),
        bos=_id_in(about, "bos", name),
        eos=_id_in(about, "eos", name),
        pad=_id_in(about, "pad", name),
        tokenizer=str(about.get("tokenizer_sha256") or ""),
        recipe=str(about.get("recipe_sha256") or ""),
        sources=tuple(sources),
        kept=None if kept is None else schema_of_text(str(kept)),
        options={
            option: manifest.recipe[option]
            for option in OPTIONS
            if manifest.recipe.get(option) is not None
        },
    )


def _id_in(about: dict[str, Any], field: str, name: str) -> int | None:
    value = about.get(field)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise DataError(
            f"manifest: formats.{name}.{field}: expected an id or null, got {value!r:.40}"
        )
    return value
