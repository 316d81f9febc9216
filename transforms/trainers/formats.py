"""The formats, by the names that ``--output_format`` takes."""

from __future__ import annotations

from transforms.errors import UsageError, nearest
from transforms.trainers.arrow import Arrow
from transforms.trainers.contract import Format
from transforms.trainers.flat import Flat
from transforms.trainers.megatron import Megatron
from transforms.trainers.olmo import Olmo
from transforms.trainers.parquet import Parquet

_ALL: tuple[Format, ...] = (
    Parquet(),
    Arrow(),
    Megatron(),
    Flat(),
    Olmo(),
)
FORMATS: dict[str, Format] = {form.name: form for form in _ALL}


def format_named(name: str) -> Format:
    """Return a format.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in FORMATS:
        raise UsageError(
            f"--output_format: expected one or more of {', '.join(FORMATS)}, got {name}"
            + nearest(name, FORMATS)
        )
    return FORMATS[name]
