"""Pairs of formats that can't share rows are named; all others are written from the same ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from tests.transforms.trainers.support import (
    KINDS,
    accepts,
    dataset_of,
    digest_of,
    make_rows,
    read,
    write,
)
from transforms.errors import UsageError
from transforms.trainers.checks import KINDS as KNOWN
from transforms.trainers.compatible import require_together
from transforms.trainers.contract import Needs, Unit
from transforms.trainers.flat import Flat
from transforms.trainers.formats import FORMATS
from transforms.trainers.olmo import Olmo
from transforms.trainers.parquet import Parquet

KEPT = pa.schema([("title", pa.string())])


class Documents(Flat):
    """A format made of documents."""

    name = "documents"

    def unit(self, dataset: Any) -> Unit:
        return "documents"

    def needs(self, dataset: Any) -> Needs:
        return Needs(packings=frozenset(KNOWN))


@pytest.mark.parametrize("kind", KINDS)
def test_formats_that_take_a_packing_are_written_from_the_same_rows(kind: Any) -> None:
    dataset = dataset_of(kind)
    forms = [form for form in FORMATS.values() if accepts(form, dataset)]
    assert len(forms) >= 2
    require_together(forms, dataset)
    rows = make_rows(dataset, count=60)
    for form in forms:
        if form.unit(dataset) == "rows":
            seen = digest_of(form, dataset, [form.seen(rows, dataset)])
            assert (
                digest_of(form, dataset, read(form, dataset, write(form, dataset, [rows]))) == seen
            )


@pytest.mark.parametrize("more", [{"kept": KEPT}, {"sources": ("a", "b")}])
def test_kept_columns_and_rows_of_one_length_are_named_together(more: dict[str, Any]) -> None:
    for kind in ("none", "concat"):
        dataset = dataset_of(kind, **more)  # type: ignore[arg-type]
        with pytest.raises(UsageError) as refused:
            require_together([Flat(), Parquet(), Olmo()], dataset)
        said = str(refused.value)
        assert "--output_format=parquet,olmo can't be written from the same rows" in said
        assert "parquet needs --packing=none (the kept columns of a document" in said
        assert (
            "olmo needs --packing=concat, best_fit or pad (OLMo-core reads rows of one length"
            in said
        )


@pytest.mark.parametrize("kind", ["best_fit", "pad", "buckets"])
@pytest.mark.parametrize("long", ["truncate", "drop"])
def test_whole_documents_and_rows_that_lost_some_are_named_together(kind: Any, long: Any) -> None:
    dataset = dataset_of(kind)
    dataset = replace(dataset, packing=replace(dataset.packing, long=long))
    with pytest.raises(
        UsageError, match=f"documents,parquet can't .*holds whole documents, but --long={long}"
    ):
        require_together([Documents(), Parquet()], dataset)
    require_together([Documents()], dataset)
    require_together([Parquet(), Flat()] if kind != "buckets" else [Parquet()], dataset)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_documents_beside_rows_that_lose_none(kind: Any) -> None:
    require_together([Documents(), Parquet()], dataset_of(kind))


def test_one_format_by_itself_is_refused_as_before() -> None:
    with pytest.raises(
        UsageError, match="--output_format=olmo needs --packing=concat, best_fit or pad"
    ):
        require_together([Parquet(), Olmo()], dataset_of("buckets"))
