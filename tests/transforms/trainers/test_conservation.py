"""Documents that were packed, written and read back are put together again: each id of each, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.trainers.support import EOS, LENGTH, dataset_of, read, write
from tests.transforms.trainers.test_contract import CASES
from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.fill import fill
from transforms.kernels.packing.pack import pack
from transforms.kernels.packing.rows import Kind, Pieces
from transforms.trainers.contract import Dataset, Format
from transforms.trainers.olmo import Olmo

SIZES = st.sampled_from(
    [0, 1, 2, LENGTH - 2, LENGTH - 1, LENGTH, LENGTH + 1, 2 * LENGTH, 3 * LENGTH - 1]
)
KEY = (np.uint64(1), np.uint64(2))


def rows_read(
    form: Format, dataset: Dataset, files: dict[str, bytes], lengths: Any
) -> Iterator[list[int]]:
    """Yield rows as they stand in the files; of flat documents by their lengths."""
    back = read(form, dataset, files)
    ids = [one for rows in back for one in rows.ids.tolist()]
    if form.keeps(dataset).rows:
        lengths = [one for rows in back for one in np.diff(rows.offsets).tolist()]
    assert sum(lengths) == len(ids)
    at = 0
    for size in lengths:
        yield ids[at : at + size]
        at += size


def put_together(rows: list[list[int]], pieces: Pieces, streams: list[int]) -> list[list[int]]:
    """Return the streams that pieces of rows make, -1 where nothing of them was found.

    Args:
        rows: ids of each, filler behind them where there is any.
        pieces: of the rows.
        streams: how long each is.
    """
    found = [[-1] * size for size in streams]
    for row, ids in enumerate(rows):
        at = 0
        for piece in range(pieces.row_offsets[row], pieces.row_offsets[row + 1]):
            document, begin = int(pieces.document[piece]), int(pieces.begin[piece])
            size = int(pieces.length[piece])
            for place in range(size):
                assert found[document][begin + place] == -1, "an id stands in two places"
                found[document][begin + place] = ids[at + place]
            at += size
            if pieces.cut_end[piece]:
                assert ids[at] == EOS
                at += 1
    return found


OF_ROWS = pytest.mark.parametrize(
    ("form", "options", "kind"),
    [
        case
        for case in CASES.args[1]
        if case.values[0].unit(dataset_of(case.values[2], options=case.values[1])) == "rows"
    ],
)


@OF_ROWS
@given(sizes=st.lists(SIZES, max_size=12), ids=st.sampled_from([256, 1000, 65_537]))
@settings(deadline=None, max_examples=25)
def test_every_id_of_every_document_is_read_back_once(
    form: Format, options: dict[str, Any], kind: Kind, sizes: list[int], ids: int
) -> None:
    dataset = dataset_of(kind, ids=ids, options=options)
    lengths = np.array(sizes, np.int64)
    documents = (
        np.random.default_rng(7).integers(4, ids, int(lengths.sum())).astype(dataset.ids_type)
    )
    pieces = pack(lengths, dataset.packing, key=KEY)
    rows = fill(documents, offsets_of(lengths), pieces, dataset.packing)
    files = write(form, dataset, [rows])
    back = list(rows_read(form, dataset, files, np.diff(rows.offsets).tolist()))
    found = put_together(back, pieces, [size + 1 for size in sizes])
    whole = (
        [part.tolist() for part in np.split(documents, np.cumsum(lengths)[:-1])] if sizes else []
    )
    for stream, document in zip(found, whole, strict=True):
        if document or kind == "none":
            assert stream == [*document, EOS]


@given(sizes=st.lists(SIZES, min_size=1, max_size=12))
@settings(deadline=None, max_examples=50)
def test_olmo_without_a_pad_lacks_the_ids_of_the_rows_that_it_left_out_and_no_other(
    sizes: list[int],
) -> None:
    form, dataset = Olmo(), dataset_of(pad=None)
    lengths = np.array(sizes, np.int64)
    documents = np.random.default_rng(7).integers(4, 1000, int(lengths.sum())).astype(np.uint16)
    pieces = pack(lengths, dataset.packing, key=KEY)
    rows = fill(documents, offsets_of(lengths), pieces, dataset.packing)
    out = form.left_out(rows, dataset)
    assert not out[:-1].any()  # of one stage, the last row alone
    back = list(rows_read(form, dataset, write(form, dataset, [rows]), []))
    assert len(back) == len(rows) - out.sum()
    found = put_together(back, pieces, [size + 1 for size in sizes])
    lost = sum(
        one == -1 for stream, size in zip(found, sizes, strict=True) if size for one in stream
    )
    cut_ends = int(pieces.cut_end[pieces.row_offsets[-2] :].sum()) if out.any() else 0
    assert lost == int(np.diff(rows.offsets)[out].sum()) - cut_ends
