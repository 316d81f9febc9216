"""What the fields of recipes and settings are made of: flags, and the types of their values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipelines.recipes.store_options import parse_storage_options
from pipelines.recipes.values import Number, parse_count, parse_names, parse_numbers, parse_size

INPUT, OUTPUT, RUN = "input", "output", "how it runs"
"""Groups of flags that several commands have."""

Modules = Annotated[list[str], BeforeValidator(parse_names, json_schema_input_type=list[str] | str)]
Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=int | str), Field(ge=1)]
Count = Annotated[
    int,
    BeforeValidator(parse_count, json_schema_input_type=int | str),
    Field(ge=1, lt=2**63),
]
StorageOptions = Annotated[dict[str, Any], BeforeValidator(parse_storage_options)]
Numbers = Annotated[
    dict[str, Number],
    BeforeValidator(parse_numbers, json_schema_input_type=dict[str, float | str] | str),
]


class RecipePart(BaseModel):
    """Fields that check themselves, and take no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def make_flag(default: Any, group: str, help_: str, **constraints: Any) -> Any:
    """Return a field that is a flag: its default, group and help text, and what constrains it.

    ``brief`` is the text in a few words, for the short help of the commands that name the field among
    their ``common`` ones. With ``in_files_only`` it is a recipe file's alone.
    """
    extra = {"group": group, "metavar": constraints.pop("metavar", None)}
    extra["brief"] = constraints.pop("brief", "")
    if constraints.pop("in_files_only", False):
        extra["in_files_only"] = True
    return Field(default, description=help_, json_schema_extra=extra, **constraints)
