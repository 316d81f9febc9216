"""Flat files, read as nanoGPT and llm.c read them: by numpy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.transforms.trainers.support import (
    EOS,
    LENGTH,
    PAD,
    dataset_of,
    make_rows,
    read,
    write,
)
from transforms.errors import DataError, UsageError
from transforms.kernels.packing.rows import Kind, Packing
from transforms.trainers.contract import ShardFacts
from transforms.trainers.flat import Flat

FLAT = Flat()
LLMC = {"header": "llmc"}


@pytest.mark.parametrize(("ids", "kind"), [(65_536, "<u2"), (65_537, "<u4")])
def test_documents_are_ids_and_nothing_else(ids: int, kind: str) -> None:
    dataset = dataset_of("none", ids=ids)
    rows = make_rows(dataset, count=50)
    assert np.frombuffer(write(FLAT, dataset, [rows])[".bin"], kind).tolist() == rows.ids.tolist()


@pytest.mark.parametrize(("pad", "filler"), [(PAD, PAD), (None, EOS)])
@pytest.mark.parametrize("kind", ["concat", "best_fit", "pad"])
def test_rows_are_windows_also_behind_a_short_one(kind: Kind, pad: int | None, filler: int) -> None:
    dataset = dataset_of(kind, pad=pad)
    rows = make_rows(dataset, count=30)
    windows = np.frombuffer(write(FLAT, dataset, [rows])[".bin"], "<u2").reshape(30, LENGTH)
    for row in range(30):
        own = rows.ids[rows.offsets[row] : rows.offsets[row + 1]].tolist()
        assert windows[row].tolist() == own + [filler] * int(rows.filler[row])


@pytest.mark.parametrize(
    ("ids", "head", "kind"), [(65_536, [20240520, 1], "<u2"), (65_537, [20240801, 7], "<u4")]
)
def test_llmc_finds_its_header_and_as_many_ids_as_it_says(
    ids: int, head: list[int], kind: str
) -> None:
    dataset = dataset_of("best_fit", ids=ids, options=LLMC)
    rows = make_rows(dataset, count=30)
    data = write(FLAT, dataset, [rows])[".bin"]
    header = np.frombuffer(data[:1024], "<i4").tolist()
    assert header == [*head, 30 * LENGTH, *[0] * 253]
    assert len(data) == 1024 + 30 * LENGTH * np.dtype(kind).itemsize  # llm.c asserts it


def test_a_file_that_its_header_cannot_count_is_refused_before_a_byte() -> None:
    dataset = dataset_of("none", options=LLMC)
    facts = ShardFacts(rows=1, ids=2**31)
    with pytest.raises(
        DataError, match=r"at most 2,147,483,647 ids .* got 2,147,483,648; pass a larger --num"
    ):
        write(FLAT, dataset, [], facts)
    assert FLAT.most_ids(dataset) == 2**31 - 1
    assert FLAT.most_ids(dataset_of("none")) is None


def test_a_header_of_the_other_kind_is_named() -> None:
    small, large = (dataset_of("none", ids=ids, options=LLMC) for ids in (1000, 70_000))
    files = write(FLAT, small, [make_rows(small, count=8)])
    with pytest.raises(DataError, match=r"which begins \(20240801, 7\), got \(20240520, 1\)"):
        read(FLAT, large, files)


def test_what_cannot_be_written_is_refused_by_the_flag() -> None:
    with pytest.raises(UsageError, match="--header: expected none or llmc, got yes"):
        FLAT.require(dataset_of(options={"header": "yes"}))
    with pytest.raises(
        UsageError, match="needs --packing=none, concat, best_fit or pad, got buckets"
    ):
        FLAT.require(dataset_of("buckets"))
    bare = dataset_of(packing=Packing(kind="concat", length=16), eos=None, pad=None)
    with pytest.raises(UsageError, match="needs a pad token, or an EOS as filler of rows"):
        FLAT.require(bare)
