"""The formats, by the names that ``--output_format`` takes."""

from __future__ import annotations

from transforms.errors import UsageError, nearest
from transforms.trainers.contract import Format
from transforms.trainers.flat import Flat

FORMATS: dict[str, Format] = {form.name: form for form in (Flat(),)}
# Parquet(), Arrow(), Megatron() and Olmo() take their places as they come


def format_named(name: str) -> Format:
    """Return a format.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in FORMATS:
        raise UsageError(
            f"--output_format: expected some of {', '.join(FORMATS)}, got {name}"
            + nearest(name, FORMATS)
        )
    return FORMATS[name]
