"""Formats that can't be written from the same rows are refused together, before work."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from transforms.errors import UsageError
from transforms.trainers.checks import one_of
from transforms.trainers.contract import Dataset, Format


def require_together(formats: Sequence[Format], dataset: Dataset) -> None:
    """Raise a UsageError where formats can't be written in one run, naming two of them or one.

    Rows carry their filler as a count, so that each format fills them up with an id of its own. What
    can't be shared are kinds of packing, and documents that packing makes shorter than they were.

    Args:
        formats: that are asked for.
        dataset: what is asked of all their files.
    """
    for pair in combinations(formats, 2):
        _require_packing(*pair, dataset)
        _require_whole(*pair, dataset)
    for form in formats:
        form.require(dataset)


def _require_packing(one: Format, other: Format, dataset: Dataset) -> None:
    """Raise a UsageError where no packing is taken by both."""
    needs = [form.needs(dataset) for form in (one, other)]
    if needs[0].packings & needs[1].packings:
        return
    said = [
        f"{form.name} needs --packing={one_of(own.packings)} ({own.because['packings']})"
        for form, own in zip((one, other), needs, strict=True)
    ]
    raise _apart(one, other, "; ".join(said))


def _require_whole(one: Format, other: Format, dataset: Dataset) -> None:
    """Raise a UsageError where one holds documents whole of which the other lacks tokens."""
    packing = dataset.packing
    loses = packing.kind not in ("none", "concat") and packing.long in ("truncate", "drop")
    whole = [form for form in (one, other) if form.unit(dataset) == "documents"]
    if loses and len(whole) == 1:
        rows = other if whole[0] is one else one
        raise _apart(
            one,
            other,
            f"{whole[0].name} holds whole documents, but --long={packing.long} drops some of "
            f"their tokens from {rows.name}; pass --long=split or --long=fail",
        )


def _apart(one: Format, other: Format, why: str) -> UsageError:
    return UsageError(
        f"--output_format={one.name},{other.name} can't be written from the same rows: {why}; or "
        "write them in two runs"
    )
