"""Groups: fields by whose values records are split, in the place of their texts (``--split_by``)."""

from __future__ import annotations

from collections.abc import Sequence

from transforms.errors import InputError
from transforms.formats.kept import Kept
from transforms.kernels.records.contents import can_group
from transforms.kernels.records.rows import carried_type


def check_groups(groups: Sequence[str], kept: Kept, *, flag: str = "--split_by") -> None:
    """Raise InputError where records can't be split by fields that are kept beside their texts.

    Whatever files hold them, equal values have to be seen to be equal: so numbers that aren't integers
    can't be, and no fields of JSON lines whose values are of several kinds.

    Args:
        groups: names of fields, all of them kept.
        kept: as it was settled, with its schema.
        flag: that asks for them.
    """
    for name in groups:
        asked = f"{flag}={name}: expected text, integers or booleans, of one type in all files"
        kind = None if kept.kinds is None else kept.kinds[kept.names.index(name)]
        if kind == "json":
            raise InputError(
                f"{asked}, got JSON lines in which it is missing or null everywhere, an "
                "object, an array, or of several kinds"
            )
        if kept.schema is None or not can_group(carried_type(kept.schema.field(name).type)):
            got = "none" if kept.schema is None else kept.schema.field(name).type
            raise InputError(f"{asked}, got {got}")
