"""Megatron's files hold what the notes on its format say, by a reader that shares nothing with ours."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.trainers.megatron_oracle import read_indexed
from tests.transforms.trainers.support import (
    EOS,
    LENGTH,
    PAD,
    batches_of,
    dataset_of,
    facts_of,
    read,
    rows_for,
    write,
)
from transforms.errors import DataError, UsageError
from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.rows import Packing, Rows
from transforms.trainers import megatron_index
from transforms.trainers.contract import Dataset
from transforms.trainers.megatron import Megatron
from transforms.trainers.megatron_index import Index, SpooledLengths, write_index

FORM = Megatron()
DOCUMENTS = dataset_of("none", options={"megatron": "documents"})
ROWS = dataset_of("concat", options={"megatron": "rows"})


def _documents(texts: Sequence[Sequence[int]], dtype: Any = np.uint16) -> Rows:
    """Return documents as they are laid down, each a row of one piece."""
    lengths = np.array([len(one) for one in texts], np.int64)
    each = np.arange(len(texts) + 1, dtype=np.int64)
    ids = np.array([one for text in texts for one in text], dtype)
    return Rows(ids, offsets_of(lengths), lengths, each, np.zeros(len(texts), np.int64))


def _files(dataset: Dataset, batches: Sequence[Rows]) -> tuple[bytes, bytes]:
    files = write(FORM, dataset, batches)
    return files[".bin"], files[".idx"]


@given(
    st.lists(st.lists(st.integers(0, 999), max_size=5).map(lambda ids: [*ids, EOS]), max_size=30)
)
@settings(deadline=None)
def test_a_document_is_a_sequence_that_ends_in_eod(texts: list[list[int]]) -> None:
    found = read_indexed(*_files(DOCUMENTS, [_documents(texts)]))
    assert found.sequences == texts == found.documents
    assert found.boundaries == list(range(len(texts) + 1))
    assert found.offsets == [2 * end for end in offsets_of([len(one) for one in texts])[:-1]]
    assert all(sequence[-1] == EOS for sequence in found.sequences)


def test_documents_without_any_id_are_left_out() -> None:
    rows = _documents([[], [7, EOS], [], [], [8, 9, EOS], [EOS], []])
    for batches in ([rows], batches_of(rows, 1)):
        found = read_indexed(*_files(DOCUMENTS, batches))
        assert found.documents == [[7, EOS], [8, 9, EOS], [EOS]]
    assert read_indexed(*_files(DOCUMENTS, [_documents([[]])])).boundaries == [0]


@pytest.mark.parametrize("kind", ["concat", "best_fit", "pad"])
def test_rows_are_sequences_of_one_length_filled_up_with_eod(kind: Any) -> None:
    dataset = dataset_of(kind, options={"megatron": "rows"})
    rows = rows_for(FORM, dataset, count=50)
    found = read_indexed(*_files(dataset, batches_of(rows, 7)))
    assert found.lengths == [LENGTH] * 50
    assert found.boundaries == list(range(51))
    for at, sequence in enumerate(found.sequences):
        own = rows.ids[rows.offsets[at] : rows.offsets[at + 1]].tolist()
        assert sequence == own + [EOS] * (LENGTH - len(own))
    assert rows.filler.any()
    assert PAD != EOS


@pytest.mark.parametrize(
    ("ids", "code", "name"),
    [
        *((ids, 8, "uint16") for ids in (255, 256, 257, 65_499, 65_500, 65_535, 65_536)),
        (65_537, 4, "int32"),
    ],
)
@pytest.mark.parametrize("dataset", [DOCUMENTS, ROWS], ids=["documents", "rows"])
def test_the_type_follows_from_the_number_of_ids(
    dataset: Dataset, ids: int, code: int, name: str
) -> None:
    dataset = replace(dataset, ids=ids)
    found = read_indexed(*_files(dataset, [rows_for(FORM, dataset, count=9)]))
    assert found.code == code
    assert FORM.about(dataset)["dtype"] == name
    assert max(max(one) for one in found.sequences) == ids - 1


def test_ids_that_no_type_holds_are_refused_before_work() -> None:
    FORM.require(replace(DOCUMENTS, ids=2**31))
    with pytest.raises(
        UsageError, match=r"expected at most 2,147,483,648 ids, .* got 2,147,483,649"
    ):
        FORM.require(replace(DOCUMENTS, ids=2**31 + 1))


def test_what_it_needs_is_said_by_flag() -> None:
    for packing, what in (
        (Packing(end=None), "--output_format=megatron needs --document_end=eos, got None"),
        (Packing(end=9), "--document_end=eos, got 9: it finds the ends of documents only by EOD"),
    ):
        with pytest.raises(UsageError, match=what):
            FORM.require(replace(DOCUMENTS, packing=packing))
    with pytest.raises(UsageError, match="needs an EOS, and the tokenizer has none"):
        FORM.require(replace(DOCUMENTS, eos=None, packing=Packing()))
    buckets = dataset_of("buckets", options={"megatron": "rows"})
    with pytest.raises(UsageError, match="needs --packing=concat, best_fit or pad, got buckets"):
        FORM.require(buckets)
    none = dataset_of("none", options={"megatron": "rows"})
    with pytest.raises(UsageError, match="and --sequence_length, got none"):
        FORM.require(none)
    with pytest.raises(UsageError, match="--megatron: expected documents or rows, got row"):
        FORM.require(replace(none, options={"megatron": "row"}))


def test_rows_of_one_length_are_the_default_where_there_are_some() -> None:
    kinds = ("none", "concat", "best_fit", "pad", "buckets")
    units = [FORM.unit(dataset_of(kind)) for kind in kinds]
    assert units == ["documents", "rows", "rows", "rows", "documents"]
    assert FORM.unit(dataset_of("best_fit", options={"megatron": "documents"})) == "documents"


def test_filler_is_eod_for_rows_and_documents_have_none() -> None:
    assert FORM.filler(ROWS) == EOS == FORM.about(ROWS)["filler"]
    assert FORM.filler(DOCUMENTS) is None is FORM.about(DOCUMENTS)["filler"]


def test_a_row_of_another_length_is_refused() -> None:
    whole = _documents([[7] * LENGTH] * 3)
    short = _documents([[7] * (LENGTH - 1)])
    with pytest.raises(DataError, match=f"row 3 of the shard: expected {LENGTH} ids with filler"):
        write(FORM, ROWS, [whole, short])


@given(lengths=st.lists(st.integers(1, 23), max_size=40), chunk=st.sampled_from([1, 2, 7, 1000]))
@settings(deadline=None)
def test_long_documents_are_several_sequences(lengths: list[int], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(megatron_index, "LONGEST", 5)
        patch.setattr(megatron_index, "_CHUNK", chunk)
        texts = [[i % 900] * (length - 1) + [EOS] for i, length in enumerate(lengths)]
        rows = _documents(texts)
        dataset = replace(
            DOCUMENTS, packing=replace(DOCUMENTS.packing, end=None)
        )  # lone EODs count
        data, index = _files(dataset, [rows])
        found = read_indexed(data, index)
        assert found.documents == texts
        cut = [[5] * ((n - 1) // 5) + [n - (n - 1) // 5 * 5] for n in lengths]
        assert found.lengths == [one for each in cut for one in each]
        assert found.boundaries == offsets_of([len(each) for each in cut]).tolist()
        back = read(FORM, DOCUMENTS, {".bin": data, ".idx": index})
        assert [one for rows in back for one in np.diff(rows.offsets).tolist()] == lengths
        assert [one for rows in back for one in rows.ids.tolist()] == rows.ids.tolist()


def _index(lengths: Sequence[int]) -> bytes:
    spooled, file = SpooledLengths(), io.BytesIO()
    spooled.add(np.array(lengths, np.int64))
    write_index(file, spooled, np.uint16)
    return file.getvalue()


def test_a_document_of_two_to_the_31_ids_is_two_sequences() -> None:
    index = _index([3, 2**31 - 1, 2**31, 2**33, 1])
    sequences, boundaries = struct.unpack_from("<QQ", index, 18)
    assert (sequences, boundaries) == (1 + 1 + 2 + 5 + 1, 6)
    most = 2**31 - 1
    each = [3, most, most, 1, most, most, most, most, 4, 1]
    assert list(struct.unpack_from(f"<{sequences}i", index, 34)) == each
    ends = struct.unpack_from("<6q", index, 34 + 12 * sequences)
    assert ends == (0, 1, 2, 4, 9, 10)
    offsets = struct.unpack_from(f"<{sequences}q", index, 34 + 4 * sequences)
    assert list(offsets) == (2 * offsets_of(each)[:-1]).tolist()
    told = np.concatenate(list(Index(io.BytesIO(index), np.uint16).lengths()))
    assert told.tolist() == [3, most, 2**31, 2**33, 1]


def test_more_sequences_than_its_readers_number_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(megatron_index, "MOST", 3)
    _index([1, 1, 1])
    with pytest.raises(DataError, match=r"expected at most 3 sequences in a file, .* got 4"):
        _index([1, 1, 1, 1])


@pytest.mark.parametrize(
    ("at", "kind", "value", "what"),
    [
        (0, "<B", 78, "expected an index that begins"),
        (9, "<Q", 2, "got version 2 and type 8"),
        (17, "<B", 4, "got version 1 and type 4"),
        (18, "<Q", 4, "expected 114 bytes of 4 sequences"),
        (18, "<Q", 2**60, "expected [0-9,]+ bytes"),
        (34, "<i", 0, "sequence 0 has 0 ids"),
        (38, "<i", -1, "sequence 1 has -1 ids"),
        (34, "<i", 3, "sequence 1 begins at byte 4, not 6"),
        (46, "<q", 2, "sequence 0 begins at byte 2, not 0"),
        (70, "<q", 1, "the first document begins at sequence 1, not 0"),
        (78, "<q", 2, "boundaries don't rise after sequence 0"),
        (86, "<q", 0, "boundaries don't rise"),
        (94, "<q", 4, "the last document doesn't end with sequence 3"),
        (94, "<q", 2, "boundaries don't rise"),
    ],
)
def test_fields_that_are_wrong_are_named(at: int, kind: str, value: int, what: str) -> None:
    index = bytearray(_index([2, 5, 4]))
    struct.pack_into(kind, index, at, value)
    with pytest.raises(DataError, match=what):
        list(Index(io.BytesIO(bytes(index)), np.uint16).lengths())


def test_a_bin_of_another_size_is_refused() -> None:
    data, index = _files(DOCUMENTS, [_documents([[7, EOS], [8, 9, EOS]])])
    for wrong in (data[:-2], data + b"\0\0", b""):
        with pytest.raises(DataError, match=r"the file ends inside id|expected 10 bytes of ids"):
            read(FORM, DOCUMENTS, {".bin": wrong, ".idx": index})


def test_an_index_is_written_and_read_without_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is alive at once is some chunks long: 2 million documents in 64 KiB of lengths."""
    import tracemalloc

    monkeypatch.setattr(megatron_index, "_CHUNK", 1 << 13)
    monkeypatch.setattr(megatron_index, "_SPOOL", 1 << 16)
    spooled = SpooledLengths()
    for _ in range(20):
        spooled.add(np.ones(100_000, np.int64))
    tracemalloc.start()
    with open("/dev/null", "wb") as nowhere:
        assert write_index(nowhere, spooled, np.uint16) == (2_000_000, 2_000_001)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


def test_a_shard_of_no_documents_opens() -> None:
    files = write(FORM, DOCUMENTS, [], facts_of(rows_for(FORM, DOCUMENTS).slice(0, 0)))
    assert read_indexed(files[".bin"], files[".idx"]).boundaries == [0]
    assert read(FORM, DOCUMENTS, files) == []
