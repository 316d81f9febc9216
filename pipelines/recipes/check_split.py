"""What a split asks for, checked: its fields with each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.recipes.flag_errors import Misfit, Path
from transforms.formats.kept import EVERY
from transforms.splitting.parse_splits import plan_split

Fields = Mapping[str, Any]
"""Fields of a SplitRecipe, read already."""

FIT_RECORDS, FIT_BYTES, DRAW_COLUMN = 100_000, 8 << 20, "drawn"
_DEFAULTS = {
    **{"features": ["text"], "fit_records": FIT_RECORDS, "fit_bytes": FIT_BYTES},
    "draw_column": DRAW_COLUMN,
}
_MOST_SHUFFLED = 32
"""Splits that are shuffled: each is a branch of its own, and what a runner holds of them grows as the
square of their number (31 splits took 347 MiB, 255 took 3 GB, of 200 records)."""
_EXAMPLE = "--fractions=train=0.98,validation=0.01,test=0.01"


def check_split_recipe(fields: Fields) -> None:
    """Check what can be known before inputs are looked at.

    Raises:
        Misfit: one field is impossible, or two of them together.
    """
    _check_splits(fields)
    _check_what_decides(fields)
    _check_like(fields)
    _check_whole(fields)
    _check_output(fields)


def _check_splits(fields: Fields) -> None:
    """Check that the splits are said, in one way."""
    asked = [name for name in ("fractions", "counts") if fields[name] is not None]
    if fields["draw"] is not None:
        if asked:
            raise Misfit(
                "--draw makes the splits itself: validation gets the drawn records, and "
                "train every record whose content wasn't drawn; leave one of them out",
                _place(fields, "draw"),
                _place(fields, asked[0]),
            )
        return
    if not asked:
        raise Misfit(
            f"expected the splits: pass {_EXAMPLE}, or --counts=train=1000,test=rest, or --like with "
            "--draw",
            (("fractions",), None),
        )
    try:
        plan_split(fields["fractions"], fields["counts"])
    except ValueError as error:
        raise Misfit(str(error), *(_place(fields, name) for name in asked)) from None


def _check_whole(fields: Fields) -> None:
    """Check that whole lines aren't asked for their fields."""
    if fields["text_field"] == "" and "text" in fields["features"]:
        for name in ("like", "like_model"):
            if fields[name] is not None:
                raise Misfit(
                    "the sets are compared by their texts; name the text's field, or pass "
                    "columns as --features",
                    (("text_field",), "''"),
                    _place(fields, name),
                )


def _check_what_decides(fields: Fields) -> None:
    """Check by what records are split: contents, groups, identities, labels."""
    groups = fields["split_by"]
    if groups is not None and tuple(groups) == EVERY:
        raise Misfit(
            "expected the names of fields; without --split_by the whole text decides",
            _place(fields, "split_by"),
        )
    if fields["by"] == "identity":
        if groups is not None:
            raise Misfit(
                "--split_by keeps the records of a group in one split, but --by=identity "
                "splits every record by itself; leave one of them out",
                _place(fields, "split_by"),
                _place(fields, "by"),
            )
        if fields["draw"] is not None:
            raise Misfit(
                "train gets every record whose content wasn't drawn; leave out --by",
                _place(fields, "by"),
                _place(fields, "draw"),
            )
    if fields["stratify"] is None:
        return
    if fields["counts"] is None:
        raise Misfit(
            "fractions are taken by a hash of each content, so a label's share in a split is "
            "only about right; for exact numbers of each label, pass "
            "--counts=train=1000,test=rest",
            _place(fields, "stratify"),
        )
    if fields["like"] is not None or fields["like_model"] is not None:
        raise Misfit(
            "--like looks only at inputs, and --stratify needs labels; make the stratified "
            "splits first, then weight the one you need in another run",
            _place(fields, "stratify"),
            _place(fields, "like" if fields["like"] is not None else "like_model"),
        )


def _check_like(fields: Fields) -> None:
    """Check what goes with a test set, or a model that knows one."""
    fits, weighs = fields["like"] is not None, fields["like_model"] is not None
    if not fits and not weighs:
        for name in (
            "weights_column",
            "max_weight",
            "draw",
            "features",
            "fit_records",
            "fit_bytes",
        ):
            if fields[name] != _DEFAULTS.get(name):
                also = " (or --like_model=FILE)" if name[:3] not in ("fea", "fit") else ""
                raise Misfit(
                    f"expected --like=FILES{also} with it: the test set that records are compared with",
                    _place(fields, name),
                )
    elif fields["weights_column"] is None and fields["draw"] is None:
        raise Misfit(
            "expected --weights_column=weight or --draw=N with it: the first adds weights to "
            "the records of --fractions or --counts, the second draws a validation set by "
            "weight",
            _place(fields, "like" if fits else "like_model"),
        )
    if weighs:
        for name in ("features", "fit_records", "fit_bytes"):
            if fields[name] != _DEFAULTS[name]:
                raise Misfit(
                    "this model is fitted already and names its own features; leave it out",
                    _place(fields, name),
                    _place(fields, "like_model"),
                )
    if fields["weights_column"] is not None and fields["draw"] is not None:
        raise Misfit(
            "records that are drawn by weight need no weights; leave one of them out",
            _place(fields, "weights_column"),
            _place(fields, "draw"),
        )
    if fields["draw_column"] != DRAW_COLUMN and fields["draw"] is None:
        raise Misfit("expected --draw with it", _place(fields, "draw_column"))
    if fields["max_weight"] is not None and fields["max_weight"] < 1:
        raise Misfit(
            f"expected 1 or more, because the mean weight is 1; got {fields['max_weight']}",
            _place(fields, "max_weight"),
        )
    if "-" in (fields["like"] or ()):
        raise Misfit(
            "expected files; standard input is read once, and a test set twice", (("like",), "-")
        )
    if tuple(fields["features"]) == EVERY:
        raise Misfit(
            "expected text, or names of columns; * isn't possible, because a column such as "
            "an id can tell the sets apart by itself",
            _place(fields, "features"),
        )


def _check_output(fields: Fields) -> None:
    for name in ("seed", "epoch"):
        if fields[name] and not fields["shuffle"]:
            raise Misfit(
                "expected --shuffle with it: without --shuffle, each split keeps the input's "
                "order; --split_seed changes which records are in which split",
                _place(fields, name),
            )
    if fields["shuffle"] and fields["draw"] is None:
        names = plan_split(fields["fractions"], fields["counts"]).names
        if len(names) > _MOST_SHUFFLED:
            raise Misfit(
                f"expected at most {_MOST_SHUFFLED} splits, because each is shuffled by "
                f"itself; got {len(names)}. Leave out --shuffle, and shuffle the ones you "
                "need",
                (("shuffle",), None),
            )
    if fields["num_shards"] is not None and fields["shard_size"] is not None:
        raise Misfit(
            "pass only one of them", _place(fields, "num_shards"), _place(fields, "shard_size")
        )


def _place(fields: Fields, field: str) -> tuple[Path, str]:
    """Return a field's path and its value as a flag has it."""
    value = fields[field]
    if isinstance(value, Mapping):
        value = ",".join(f"{name}={size}" for name, size in value.items())
    elif isinstance(value, list):
        value = ",".join(value)
    return (field,), str(value)
