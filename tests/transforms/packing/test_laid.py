"""Documents in files, cut into windows, and read as rows: against packing all of them at once."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import DataError, LosslessError, RunError
from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.counts import Counts
from transforms.kernels.packing.fill import fill
from transforms.kernels.packing.pack import pack
from transforms.kernels.packing.rows import Packing
from transforms.packing import parts as parts_module
from transforms.packing.document_files import DocumentFile, DocumentIndex, DocumentWriter
from transforms.packing.documents import Documents
from transforms.packing.laid import LaidSplit, PackedPart
from transforms.packing.lay_documents import LaidChunk
from transforms.packing.pack_documents import (
    Begun,
    Budget,
    count_one,
    cut_part,
    end_split,
    files_of,
    in_order,
    packed_part,
)
from transforms.packing.parts import Part, PartKey

KEY = PartKey(seed=3, epoch=1, split="train")
EOS, BOS = 1, 2


def make_documents(lengths: list[int], first: int = 0) -> Documents:
    count = sum(lengths)
    keys = np.arange(first, first + len(lengths), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return Documents(
        (np.arange(count) % 60_000 + 3).astype(np.uint16),
        offsets_of(lengths),
        keys,
        np.zeros(len(lengths), np.uint16),
        np.zeros(len(lengths), np.uint32),
    )


def lay(
    folder: Path, lengths: list[int], cuts: list[int], page_bytes: int = 24
) -> list[DocumentFile]:
    """Lay documents down in files that end where cuts say, pages of some."""
    whole = make_documents(lengths)
    edges = sorted({0, len(lengths), *(min(cut, len(lengths)) for cut in cuts)})
    return [
        DocumentWriter(f"file://{folder}", page_bytes=page_bytes).write(
            iter([whole.slice(begin, end)])
        )
        for begin, end in pairwise(edges)
    ]


def make_part(
    files: list[DocumentFile], packing: Packing, documents: int | None = None
) -> PackedPart:
    every = sum(file.documents for file in files)
    part = Part(
        files, documents=every if documents is None else documents, packing=packing, key=KEY
    )
    return packed_part(part, [count_one(part, number) for number in range(part.windows)])


def read_all(laid: LaidSplit, edges: list[int]) -> list[list[int]]:
    """Return all rows, read in ranges that end where edges say, by readers of their own."""
    found, total = [], 0
    bounds = sorted({0, laid.rows, *(min(edge, laid.rows) for edge in edges)})
    for begin, end in [*pairwise(bounds)] or [(0, 0)]:
        reader = LaidSplit(laid.parts)
        for rows in reader.read_rows(begin, end):
            found += [rows.ids[a:b].tolist() for a, b in pairwise(rows.offsets.tolist())]
        total += reader.hash
    used = sum(part.part.index.hash(0, part.part.documents) for part in laid.parts)
    assert total % (1 << 64) == used % (1 << 64), "the hash of rows and of what stands in none"
    return found


lengths_ = st.lists(st.sampled_from([0, 1, 2, 6, 7, 8, 9, 15, 16, 17, 30]), max_size=30)
PACKINGS = [
    Packing(kind="none", end=EOS),
    Packing(kind="none"),
    Packing(kind="concat", length=8, end=EOS),
    Packing(kind="concat", length=8),
    Packing(kind="concat", length=8, begin=BOS, end=EOS, end_at_cuts=True),
    Packing(kind="best_fit", length=8, end=EOS, window=140),
    Packing(kind="best_fit", length=8, end=EOS, end_at_cuts=True, window=60),
    Packing(kind="best_fit", length=8, end=EOS, long="drop", window=60),
    Packing(kind="pad", length=8, begin=BOS, end=EOS, window=60),
    Packing(kind="pad", length=8, end=EOS, long="truncate", window=140),
    Packing(kind="buckets", length=16, end=EOS, window=140),
    Packing(kind="buckets", length=8, end=EOS, long="drop", window=60),
]


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "_CONCAT", 16)


@pytest.mark.parametrize("packing", PACKINGS, ids=lambda p: f"{p.kind}-{p.long}-{p.end_at_cuts}")
@settings(max_examples=25, deadline=None)
@given(
    lengths=lengths_,
    cuts=st.lists(st.integers(0, 30), max_size=3),
    edges=st.lists(st.integers(0, 60), max_size=4),
)
def test_windows_files_pages_and_ranges_of_rows_make_the_rows_of_packing_each_window(
    packing: Packing,
    lengths: list[int],
    cuts: list[int],
    edges: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    files = lay(tmp_path_factory.mktemp("laid"), lengths, cuts)
    packed = make_part(files, packing)
    laid = LaidSplit([packed])
    assert read_all(laid, edges) == brute_force(lengths, packing)
    assert laid.documents == len(lengths)


def brute_force(lengths: list[int], packing: Packing) -> list[list[int]]:
    whole, found = make_documents(lengths), []
    for number, (begin, end) in enumerate(windows_of(lengths, packing)):
        mine = whole.slice(begin, end)
        key = KEY.of_window(number)
        pieces = pack(np.diff(mine.offsets), packing, key=key)
        rows = fill(mine.ids, mine.offsets, pieces, packing)
        found += [rows.ids[a:b].tolist() for a, b in pairwise(rows.offsets.tolist())]
    return found


def windows_of(lengths: list[int], packing: Packing) -> list[tuple[int, int]]:
    """Say which documents each window has: of concat all, which is cut everywhere alike."""
    if packing.kind == "concat":
        return [(0, len(lengths))] if sum(lengths) else []
    begins = offsets_of([n + packing.special + 16 for n in lengths])
    found = []
    for place in range(0, int(begins[-1]), packing.window):
        edges = np.searchsorted(begins[:-1], [place, place + packing.window])
        found.append((int(edges[0]), int(edges[1])))
    return found


@settings(max_examples=40, deadline=None)
@given(lengths=lengths_, cuts=st.lists(st.integers(0, 30), max_size=3), at=st.integers(0, 500))
def test_an_index_finds_documents_by_place_and_by_number(
    lengths: list[int], cuts: list[int], at: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = lay(tmp_path_factory.mktemp("index"), lengths, cuts)
    index = DocumentIndex(files, special=2, skip_empty=True)
    streams = [n + 2 if n else 0 for n in lengths]
    begins = offsets_of(streams)
    assert (index.documents, index.places) == (len(lengths), begins[-1])
    place = at % (int(begins[-1]) + 1)
    document, begin = index.first_from(place)
    assert all(b < place for b, n in zip(begins[:document], streams, strict=False) if n)
    assert begin == begins[document] >= place
    for number in range(len(lengths) + 1):
        assert index.place_of(number) == begins[number]
        assert index.tokens_before(number) == sum(lengths[:number])
        assert index.empty_before(number) == sum(1 for n in lengths[:number] if not n)
    whole = make_documents(lengths)
    low, high = sorted((at % (len(lengths) + 1), at // 3 % (len(lengths) + 1)))
    read = [id_ for part in index.read(low, high) for id_ in part.ids.tolist()]
    assert read == whole.slice(low, high).ids.tolist()
    assert index.hash(low, high) == whole.slice(low, high).hash % (1 << 64)
    assert index.lengths(low, high).tolist() == lengths[low:high]


@pytest.mark.parametrize("packing", PACKINGS, ids=lambda p: f"{p.kind}-{p.long}-{p.end_at_cuts}")
@settings(max_examples=15, deadline=None)
@given(lengths=lengths_, most=st.integers(0, 40), edges=st.lists(st.integers(0, 60), max_size=3))
def test_a_part_that_is_cut_has_the_first_rows_and_accounts_for_the_rest(
    packing: Packing,
    lengths: list[int],
    most: int,
    edges: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    files = lay(tmp_path_factory.mktemp("cut"), lengths, [7])
    packed = make_part(files, packing)
    cut = cut_part(packed, most)
    expected = read_all(LaidSplit([packed]), [])[:most]
    laid = LaidSplit([cut])
    assert read_all(laid, edges) == expected
    assert cut.rows == len(expected) == cut.used.rows
    assert laid.facts(0, cut.rows)[0] == sum(map(len, expected)) == cut.used.ids
    middle = cut.rows // 2
    assert laid.facts(middle, cut.rows)[0] == sum(map(len, expected[middle:]))


def test_rows_never_cross_parts_and_parts_without_rows_are_accounted_for(tmp_path: Path) -> None:
    packing = Packing(kind="best_fit", length=8, end=EOS, long="drop", window=16)
    first = make_part(lay(tmp_path, [3, 3, 3], []), packing)
    nothing = make_part(lay(tmp_path, [30, 30], []), packing)
    last = make_part(lay(tmp_path, [2, 30, 5], []), packing)
    assert nothing.rows == 0
    for parts in ([first, nothing, last], [nothing, first], [first, nothing], [nothing]):
        laid = LaidSplit(parts)
        for edges in ([], [1], [first.rows], [1, 2, 3]):
            rows = read_all(laid, edges)
            assert len(rows) == laid.rows


def test_rows_end_at_a_multiple_across_parts_and_missing_ones_are_an_error(tmp_path: Path) -> None:
    packing = Packing(kind="pad", length=8, end=EOS, window=16)
    parts = tuple(make_part(lay(tmp_path, [3] * n, []), packing) for n in (5, 4, 2))
    begun = Begun(parts, (5, 4, 2))
    for multiple, rows in ((1, 11), (4, 8), (6, 6), (11, 11), (12, 0)):
        ended = end_split(begun, Budget(multiple=multiple))
        assert ended.rows == rows
        assert sum(ended.records) == rows
    with pytest.raises(RunError, match="--rows=12"):
        end_split(begun, Budget(rows=12))


def test_behind_the_last_row_no_part_has_documents(tmp_path: Path) -> None:
    """A stage whose documents all are dropped, behind one that ends early: it took what came later."""
    packing = Packing(kind="pad", length=8, end=EOS, long="drop", window=16)
    parts = tuple(make_part(lay(tmp_path, lengths, []), packing) for lengths in ([3] * 5, [30, 30]))
    ended = end_split(Begun(parts, (5, 2)), Budget(multiple=4))
    assert (ended.rows, ended.records) == (4, (4, 0))
    assert [part.part.documents for part in ended.parts] == [4, 0]


def test_a_part_travels_without_its_files_being_read(tmp_path: Path) -> None:
    """A worker that gets one may not know yet how to read them."""
    packing = Packing(kind="pad", length=8, end=EOS, window=16)
    cut = cut_part(make_part(lay(tmp_path, [3, 4, 5], []), packing), 2)
    packed = pickle.dumps(cut)
    for path in tmp_path.iterdir():
        path.unlink()
    assert pickle.loads(packed).rows == 2


def test_a_document_that_must_not_be_long_is_named(tmp_path: Path) -> None:
    packing = Packing(kind="best_fit", length=8, end=EOS, long="fail", window=16)
    with pytest.raises(DataError, match=r"document 4 of train: expected at most 8 ids.*got 10"):
        make_part(lay(tmp_path, [3, 3, 3, 3, 9, 1], []), packing)


def test_damage_to_a_document_file_is_found(tmp_path: Path) -> None:
    files = lay(tmp_path, [5, 0, 9, 30], [])
    packed = make_part(files, Packing(kind="concat", length=8, end=EOS))
    path = Path(files[0].url.removeprefix("file://"))
    data = path.read_bytes()
    seen = 0
    for place in range(0, files[0].table.offset, 97):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        try:
            rows = read_all(LaidSplit([packed]), [])
        except (RunError, LosslessError):
            seen += 1
        else:
            path.write_bytes(data)
            assert rows == read_all(LaidSplit([packed]), [])
    assert seen


def test_damage_to_lengths_is_found_when_windows_are_counted(tmp_path: Path) -> None:
    """Or a window would be thought to have fewer rows than it has, and its last be left out."""
    files = lay(tmp_path, [5, 0, 9, 30, 4, 4, 4, 4], [])
    path = Path(f"{files[0].url.removeprefix('file://')}.lengths")
    data = path.read_bytes()
    for place in range(0, len(data), 4):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(LosslessError, match=r"lengths of page \d aren't those written"):
            make_part(files, Packing(kind="best_fit", length=8, end=EOS))


def test_documents_are_read_whole_and_those_without_ids_left_out(tmp_path: Path) -> None:
    files = lay(tmp_path, [3, 0, 9, 1], [2])
    packing = Packing(kind="concat", length=8, begin=BOS, end=EOS)
    laid = LaidSplit([make_part(files, packing)])
    rows: Any = [row for part in laid.read_documents(0, 4) for row in pairwise(part.offsets)]
    assert [int(b - a) for a, b in rows] == [5, 11, 3]
    assert laid.streams_between(0, 4) == 3
    assert laid.places_before(4) == 19
    assert laid.hash % (1 << 64) == laid.parts[0].part.index.hash(0, 4)
    kept = LaidSplit([make_part(files, replace(packing, kind="none", length=None))])
    assert kept.streams_between(0, 4) == 4


def test_a_window_holds_few_documents_however_short_they_are(tmp_path: Path) -> None:
    """Memory goes with documents, too: there may be millions of one id, or of none."""
    for kind in ("none", "best_fit", "pad", "buckets"):
        length = None if kind == "none" else 8
        packing = Packing(kind=kind, length=length, window=1600)  # type: ignore[arg-type]
        part = make_part(lay(tmp_path, [0, 1] * 500, []), packing).part
        sizes = [len(part.lengths(number)[1]) for number in range(part.windows)]
        assert sum(sizes) == 1000
        assert max(sizes) <= 100


def test_a_window_that_nobody_counted_or_two_did_is_missed(tmp_path: Path) -> None:
    packing = Packing(kind="best_fit", length=8, end=EOS, window=60)
    packed = make_part(lay(tmp_path, [5] * 9, []), packing)
    counts = list(enumerate(packed.counts))
    assert in_order(packed.part, counts[::-1]) == list(packed.counts)
    for wrong in (counts[:-1], counts[1:], [*counts, counts[0]], []):
        with pytest.raises(LosslessError, match="expected counts of windows 0 to"):
            in_order(packed.part, wrong)


def test_a_chunk_that_is_lost_or_laid_twice_is_missed(tmp_path: Path) -> None:
    files = lay(tmp_path, [5] * 9, [3, 6])
    chunks = [LaidChunk(number, 3, file, [], [], []) for number, file in enumerate(files)]
    assert files_of(chunks[::-1]) == files
    for wrong in (chunks[:-1], chunks[1:], [*chunks, chunks[1]], []):
        with pytest.raises(LosslessError, match="expected chunks 0 to"):
            files_of(wrong)


def test_counts_add_up() -> None:
    assert sum([Counts(rows=1, ids=5), Counts(rows=2)], start=Counts()) == Counts(rows=3, ids=5)
