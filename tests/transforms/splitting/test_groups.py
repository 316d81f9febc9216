"""Fields by which records can be split."""

from __future__ import annotations

import pyarrow as pa
import pytest

from transforms.errors import InputError
from transforms.formats.kept import JsonKind, Kept
from transforms.splitting.groups import check_groups


def kept(kind: pa.DataType | None, *kinds: JsonKind) -> Kept:
    schema = None if kind is None else pa.schema([("n", pa.int64()), ("site", kind)])
    return Kept(names=("n", "site"), schema=schema, kinds=kinds or None)


@pytest.mark.parametrize(
    "good",
    [
        kept(pa.string(), "integer", "text"),
        kept(pa.int32()),
        kept(pa.bool_()),
        kept(pa.dictionary(pa.int8(), pa.large_string())),
        kept(pa.string_view()),
    ],
)
def test_text_integers_and_booleans_can_be_split_by(good: Kept) -> None:
    check_groups(["site"], good)
    check_groups(["site", "n"], good)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (
            kept(pa.string(), "integer", "json"),
            "missing or null everywhere, an object, an array, or of several kinds",
        ),
        (kept(pa.float64(), "integer", "number"), "got double"),
        (kept(pa.list_(pa.int8())), "got list"),
        (kept(None), "got none"),
    ],
)
def test_other_fields_are_refused_by_name(bad: Kept, says: str) -> None:
    with pytest.raises(InputError, match=f"--split_by=site: expected text, .*{says}"):
        check_groups(["site"], bad)
