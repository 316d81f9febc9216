"""Token ids that were just written, read back by us: as Arrow reads them, and nothing wrong passes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.formats.test_parquet_ids import LISTS, TYPES, written
from transforms.errors import DataError
from transforms.formats import parquet_ids, read_back_ids
from transforms.formats.parquet import COMPRESSIONS
from transforms.formats.read_back import shard_digest
from transforms.formats.read_back_ids import ids_digest
from transforms.formats.writing import ShardFormat
from transforms.kernels.records import compiling, id_pages
from transforms.kernels.records.digest import Digest

Pages = Callable[[pa.Array], Any]


def form_of(kind: pa.DataType, compression: str = "zstd") -> ShardFormat:
    schema = pa.schema([pa.field("input_ids", kind)])
    return ShardFormat(kind="parquet", compression=compression, schema=schema, records_are="rows")


def digest_of(data: bytes, kind: pa.DataType, compression: str = "zstd") -> Digest | None:
    schema = form_of(kind).schema
    assert schema is not None
    size = len(data)
    return ids_digest(
        io.BytesIO(data), schema=schema, compression=compression, path="shard", size=size
    )


def by_arrow(data: bytes, kind: pa.DataType, compression: str = "zstd") -> Digest:
    form = form_of(kind, compression)
    return shard_digest(io.BytesIO(data), path="shard", size=len(data), form=form)


@given(rows=LISTS, kind=st.sampled_from(TYPES), page=st.sampled_from([1, 5, 1 << 18]))
@settings(deadline=None)
def test_the_digest_is_that_of_arrows_reader(rows: list[Any], kind: pa.DataType, page: int) -> None:
    array = pa.array([[7], *rows, [8, 9]], kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_pages, "PAGE_IDS", page)
        data = written([array.slice(1), array])
    found = digest_of(data, kind)
    if None in rows or any(None in row for row in rows if row is not None):
        assert found is None
    else:
        assert found == by_arrow(data, kind)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_compression_is_read_back(compression: str) -> None:
    rows = pa.array([[1, 2, 3] * 40, [], [70_000, 2**32 - 1]], TYPES[1])
    data = written([rows], compression=compression)
    assert digest_of(data, TYPES[1], compression) == by_arrow(data, TYPES[1], compression)


def test_a_file_without_rows_has_the_digest_of_nothing() -> None:
    file = io.BytesIO()
    schema = form_of(TYPES[0]).schema
    assert schema is not None
    parquet_ids.IdsWriter(file, schema, compression="zstd").close()
    assert digest_of(file.getvalue(), TYPES[0]) == Digest()


ROWS = pa.array([[5, 6, 7, 60_000], [], [8] * 40, [9]], TYPES[0])


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_bit_that_flips_in_any_byte_of_the_pages_is_found(compression: str) -> None:
    data = written([ROWS, ROWS], compression=compression)
    want = digest_of(data, TYPES[0], compression)
    assert want is not None
    end = len(data) - 8 - pq.read_metadata(io.BytesIO(data)).serialized_size
    for place in range(4, end):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(DataError, match=r"row group [01] can't be read"):
            digest_of(bytes(damaged), TYPES[0], compression)


@pytest.mark.parametrize("cut", [1, 8, 60])
def test_a_truncated_file_is_found(cut: int) -> None:
    with pytest.raises(DataError, match="shard"):
        digest_of(written([ROWS])[:-cut], TYPES[0])


def _flips_id(pages: Pages, lists: pa.Array) -> Any:
    for page in pages(lists):
        page.body[-1 - page.body[-8:].argmax()] ^= 4
        yield page


def _swaps_ids(pages: Pages, lists: pa.Array) -> Any:
    for page in pages(lists):
        planes = page.body[-4 * 45 :].reshape(4, 45)
        planes[:, [0, 3]] = planes[:, [3, 0]]
        yield page


def _loses_page(pages: Pages, lists: pa.Array) -> Any:
    yield from pages(lists[1:])


def _doubles_row(pages: Pages, lists: pa.Array) -> Any:
    yield from pages(pa.concat_arrays([lists[:1], lists]))


def _moves_an_end(pages: Pages, lists: pa.Array) -> Any:
    offsets = lists.offsets.to_numpy().copy()
    offsets[1] += 1
    offsets[2] += 1
    yield from pages(pa.ListArray.from_arrays(pa.array(offsets), lists.values))


def _says_empty_lists_hold_ids(pages: Pages, lists: pa.Array) -> Any:
    for page in pages(lists):
        body = page.body.tobytes()
        levels = np.frombuffer(body, np.uint8).copy()
        at = body.index(b"\x0d", 9) + 1  # behind the header of definition levels
        levels[at : at + 12] = 0xFF
        yield page._replace(body=levels)


@pytest.mark.parametrize(
    "fault",
    [
        _flips_id,
        _swaps_ids,
        _loses_page,
        _doubles_row,
        _moves_an_end,
        _says_empty_lists_hold_ids,
    ],
)
def test_an_encoder_at_fault_is_found(
    fault: Callable[[Pages, pa.Array], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    want = digest_of(written([ROWS]), TYPES[0])
    pages = parquet_ids.id_pages
    monkeypatch.setattr(
        parquet_ids, "id_pages", lambda pieces: fault(lambda lists: pages([lists]), pieces[0])
    )
    try:
        found = digest_of(written([ROWS]), TYPES[0])
    except DataError:
        return
    assert found is not None
    assert found != want


def test_what_arrow_reads_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    read = read_back_ids.read_page

    def shifted(body: Any, levels: int) -> Any:
        found = read(body, levels)
        assert found is not None
        return found[0] + np.uint32(1), found[1]

    monkeypatch.setattr(read_back_ids, "read_page", shifted)
    with pytest.raises(DataError, match="Arrow reads other ids"):
        digest_of(written([ROWS]), TYPES[0])


def test_an_id_of_more_bits_than_the_column_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_back_ids, "_require_same", lambda *_: None)
    data = written([pa.array([[70_000]], TYPES[1])])
    with pytest.raises(DataError, match="expected ids of 16 bits, got 70000"):
        digest_of(data, TYPES[0])


@pytest.mark.parametrize("ids", [[], [1], [0x01020304, 2**32 - 1, 0, 80_000] * 9])
def test_compiled_loops_do_what_numpy_does(ids: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    values, loops = np.array(ids, np.uint32), compiling.use_loops()
    for found in (loops, None):
        monkeypatch.setattr(id_pages, "loops_for", lambda _, found=found: found)
        out = np.empty((4, len(ids)), np.uint8)
        id_pages._split(values, out)
        assert np.array_equal(out, values.view(np.uint8).reshape(-1, 4).T)
        assert np.array_equal(id_pages._join(out), values)
