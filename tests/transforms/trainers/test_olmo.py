"""OLMo-core's files, read as it reads them: by numpy, and by looking for EOS."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.transforms.trainers.support import (
    EOS,
    LENGTH,
    PAD,
    dataset_of,
    digest_of,
    make_rows,
    read,
    write,
)
from transforms.errors import DataError, UsageError
from transforms.kernels.packing.rows import Packing, Rows
from transforms.trainers.contract import Dataset
from transforms.trainers.olmo import Olmo

OLMO = Olmo()


def as_olmo_guesses(ids: int) -> np.dtype[Any]:
    """``NumpyDatasetConfig.get_dtype``: the first that holds the vocabulary's size less one."""
    kinds = map(np.dtype, ("u1", "u2", "u4", "u8"))
    return next(kind for kind in kinds if ids - 1 <= np.iinfo(kind).max)


def scanned(ids: Any) -> list[tuple[int, int]]:
    """``iter_document_indices`` on a local disk: what ends in EOS, the rest swallowed."""
    ends = (np.flatnonzero(ids == EOS) + 1).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def table_of(data: bytes) -> list[tuple[int, int]]:
    """``iter_document_indices`` by the table."""
    lines = gzip.decompress(data).decode().splitlines()
    return [(int(line.split(",")[0]), int(line.split(",")[1])) for line in lines]


@pytest.mark.parametrize("ids", [255, 256, 257, 65_535, 65_536, 65_537])
def test_the_type_is_the_one_that_olmo_core_guesses(ids: int) -> None:
    dataset = dataset_of("best_fit", ids=ids)
    rows = make_rows(dataset, count=9)
    files = write(OLMO, dataset, [rows])
    found = np.frombuffer(files[".npy"], as_olmo_guesses(ids)).reshape(-1, LENGTH)
    for row in range(9):
        own = rows.ids[rows.offsets[row] : rows.offsets[row + 1]].tolist()
        assert found[row].tolist() == own + [PAD] * (LENGTH - len(own))


def test_documents_are_the_same_by_eos_and_by_the_table_where_nothing_is_filled() -> None:
    dataset = dataset_of("concat", pad=None)
    rows = make_rows(dataset, count=60)
    files = write(OLMO, dataset, [rows])
    ids = np.frombuffer(files[".npy"], np.uint16)
    assert table_of(files[".csv.gz"]) == scanned(ids)
    assert len(ids) == 58 * LENGTH  # the short rows, in the middle and at the end, were dropped
    assert ".mask" not in files


def test_each_row_of_filled_rows_holds_the_documents_of_its_own() -> None:
    dataset = dataset_of("best_fit")
    rows = make_rows(dataset, count=60)
    files = write(OLMO, dataset, [rows])
    ids, mask = np.frombuffer(files[".npy"], np.uint16), np.frombuffer(files[".mask"], np.bool_)
    pieces = table_of(files[".csv.gz"])
    assert [end - begin for begin, end in pieces] == rows.lengths.tolist()
    assert all(
        ids[end - 1] == EOS and begin // LENGTH == (end - 1) // LENGTH for begin, end in pieces
    )
    assert ids[mask].tolist() == rows.ids.tolist()
    assert set(ids[~mask].tolist()) == {PAD}
    assert len(ids) == 60 * LENGTH == len(mask)


@pytest.mark.parametrize("pad", [None, EOS])
def test_short_rows_without_a_pad_are_dropped_wherever_they_stand(pad: int | None) -> None:
    dataset = dataset_of("concat", pad=pad)
    rows = make_rows(dataset, count=41)
    short = int((rows.filler > 0).sum())
    assert short == 2
    seen = OLMO.seen(rows, dataset)
    assert len(rows) - len(seen) == short
    assert OLMO.left_out(rows, dataset).tolist() == (rows.filler > 0).tolist()
    back = read(OLMO, dataset, write(OLMO, dataset, [rows.slice(0, 21), rows.slice(21, 41)]))
    assert digest_of(OLMO, dataset, back) == digest_of(OLMO, dataset, [seen])
    assert OLMO.about(dataset)["short_rows"] == "dropped"


def test_the_table_is_the_same_whenever_it_is_written_and_however_batches_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = dataset_of("best_fit")
    rows = make_rows(dataset, count=500)
    first = write(OLMO, dataset, [rows])
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert write(OLMO, dataset, [rows.slice(0, 3), rows.slice(3, 500)]) == first
    assert gzip.decompress(first[".csv.gz"]).splitlines()[-1].endswith(b",,500")


def _changed(rows: Rows, place: int, value: int) -> Rows:
    ids = rows.ids.copy()
    ids[place] = value
    return replace(rows, ids=ids)


def test_eos_inside_of_a_document_is_named() -> None:
    dataset = dataset_of("best_fit")
    rows = make_rows(dataset, count=30)
    row = next(row for row in range(12, 30) if rows.lengths[rows.piece_offsets[row]] > 2)
    with pytest.raises(
        DataError, match=f"row {row} of the shard, place 1: expected EOS .* got one inside"
    ):
        write(OLMO, dataset, [_changed(rows, int(rows.offsets[row]) + 1, EOS)])


def test_a_document_without_eos_is_named() -> None:
    dataset = dataset_of("best_fit")
    rows = make_rows(dataset, count=30)
    place = int(rows.offsets[13]) - 1
    with pytest.raises(DataError, match=r"row 12 of the shard, .*expected EOS .* got 9"):
        write(OLMO, dataset, [_changed(rows, place, 9)])


def test_rows_of_another_length_are_named() -> None:
    dataset = dataset_of("best_fit")
    rows = make_rows(dataset, count=30)
    short = replace(rows, filler=rows.filler - (np.arange(30) == 7))
    with pytest.raises(DataError, match="row 7 of the shard: expected 16 ids with filler, got 15"):
        write(OLMO, dataset, [short])


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (
            dataset_of("none"),
            "needs --packing=concat, best_fit or pad, and --sequence_length, got none",
        ),
        (dataset_of("buckets"), "needs --packing=concat, best_fit or pad, got buckets"),
        (dataset_of("concat", eos=None), "needs an EOS, and the tokenizer has none"),
        (
            dataset_of("concat", packing=Packing(kind="concat", length=16)),
            "needs --document_end=eos",
        ),
        (
            dataset_of("concat", packing=Packing(kind="concat", length=16, end=EOS)),
            "needs --eos_at_cuts: OLMo-core finds documents by EOS",
        ),
        (dataset_of("best_fit", pad=None), "needs a pad token that isn't EOS .*pass --pad_token"),
        (dataset_of("pad", pad=EOS), "needs a pad token that isn't EOS .*pass --pad_token"),
    ],
)
def test_what_cannot_be_written_is_refused_by_the_flag(dataset: Dataset, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        OLMO.require(dataset)


def test_where_nothing_is_cut_eos_at_cuts_is_not_needed() -> None:
    packing = Packing(kind="best_fit", length=16, end=EOS, long="drop")
    OLMO.require(dataset_of("best_fit", packing=packing))


@pytest.mark.parametrize(
    ("line", "wrong", "said"),
    [
        (2, "-16,16,2,,3", "each inside a row, one right after another"),
        (2, "30,34,2,,3", "each inside a row, one right after another"),
        (2, "33,40,2,,3", "each inside a row, one right after another"),
        (2, "32,39,3,,3", "pieces aren't counted one by one"),
        (2, "32,x,2,,3", "after piece 0: expected lines of start, end, number"),
        (2, "32,39,2", "after piece 0: expected lines of start, end, number"),
        (3, "48,99,3,,4", "each inside a row, one right after another"),
        (3, "{}\n64,70,4,,5", "got more: the files aren't of one shard"),
        (3, "48,57,3,,4\n5", "its last line isn't complete"),
    ],
)
def test_a_table_that_is_not_of_its_ids_is_refused(line: int, wrong: str, said: str) -> None:
    dataset = dataset_of("pad")
    rows = make_rows(dataset, count=4)
    files = write(OLMO, dataset, [rows])
    lines = gzip.decompress(files[".csv.gz"]).decode().splitlines()
    lines[line] = wrong.format(lines[line])
    table = "\n".join(lines) + ("" if "isn't complete" in said else "\n")
    with pytest.raises(DataError, match=said):
        read(OLMO, dataset, files | {".csv.gz": gzip.compress(table.encode())})


def test_a_row_that_lacks_one_id_without_a_pad_ends_in_an_eos_of_its_own() -> None:
    """As ``concat`` leaves it where no cut piece has room."""
    dataset = dataset_of("concat", pad=None)
    rows = make_rows(dataset, count=10)
    whole = rows.slice(0, 4)
    cut = int(whole.offsets[3]) - 2  # the third row's last id but one
    shorter = replace(
        whole,
        ids=np.delete(np.where(np.arange(len(whole.ids)) == cut, EOS, whole.ids), cut + 1),
        offsets=whole.offsets - (np.arange(5) >= 3),
        lengths=_less_one(whole, 2),
        filler=np.array([0, 0, 1, 0]),
    )
    seen = OLMO.seen(shorter, dataset)
    assert len(seen) == 4
    files = write(OLMO, dataset, [shorter])
    ids = np.frombuffer(files[".npy"], np.uint16).reshape(4, LENGTH)
    assert ids[2].tolist() == [*shorter.ids[shorter.offsets[2] : shorter.offsets[3]].tolist(), EOS]
    assert table_of(files[".csv.gz"]) == scanned(ids.ravel())
    back = read(OLMO, dataset, files)
    assert digest_of(OLMO, dataset, back) == digest_of(OLMO, dataset, [seen])


def _less_one(rows: Rows, row: int) -> Any:
    """Return the pieces' lengths, a row's last one shorter by one."""
    lengths = rows.lengths.copy()
    lengths[rows.piece_offsets[row + 1] - 1] -= 1
    return lengths
