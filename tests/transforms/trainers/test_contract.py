"""Every format writes rows that it reads back as they were, or refuses them by name."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.transforms.trainers.support import (
    KINDS,
    accepts,
    batches_of,
    dataset_of,
    digest_of,
    facts_of,
    read,
    rows_for,
    write,
)
from transforms.errors import DataError, UsageError
from transforms.kernels.packing.rows import Kind, Rows
from transforms.trainers.contract import Dataset, Format, Seeking
from transforms.trainers.formats import FORMATS, format_named

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "parquet": [{}, {"layout": "megatron_bridge"}],
    "flat": [{}, {"header": "llmc"}],
    "megatron": [{"megatron": "documents"}, {"megatron": "rows"}],
}
VOCABULARIES = (255, 256, 257, 65_499, 65_500, 65_535, 65_536, 65_537)


def _cases() -> Iterator[Any]:
    """Each format with each of its flags and each packing that it takes."""
    for name, form in FORMATS.items():
        for options in OPTIONS.get(name, [{}]):
            for kind in KINDS:
                if accepts(form, dataset_of(kind, options=options)):
                    yield pytest.param(
                        form, options, kind, id="-".join([name, *options.values(), kind])
                    )


CASES = pytest.mark.parametrize(("form", "options", "kind"), list(_cases()))
SEEKING = pytest.mark.parametrize(
    ("form", "options", "kind"),
    [
        case
        for case in _cases()
        for form, options, kind in [case.values]
        if isinstance(form, Seeking) and form.keeps(dataset_of(kind, options=options)).rows
    ],
)


def _shown(rows: list[Rows], dataset: Dataset, form: Format) -> dict[str, Any]:
    """Return what of rows is read back, as lists."""
    keeps = form.keeps(dataset)
    ends = [np.diff(one.offsets) for one in rows]
    return {
        "ids": [one for each in rows for one in each.ids.tolist()],
        "rows": [one for each in ends for one in each.tolist()] if keeps.rows else None,
        "pieces": [one for each in rows for one in each.lengths.tolist()] if keeps.pieces else None,
        "counts": [n for each in rows for n in np.diff(each.piece_offsets).tolist()]
        if keeps.pieces
        else None,
    }


@CASES
def test_what_is_read_is_what_was_written(
    form: Format, options: dict[str, Any], kind: Kind
) -> None:
    dataset = dataset_of(kind, options=options)
    rows = rows_for(form, dataset)
    seen = form.seen(rows, dataset)
    back = read(form, dataset, write(form, dataset, [rows]))
    assert _shown(back, dataset, form) == _shown([seen], dataset, form)
    assert digest_of(form, dataset, back) == digest_of(form, dataset, [seen])
    assert all(one.ids.dtype == dataset.ids_type for one in back)
    assert len(seen) == len(rows) - form.left_out(rows, dataset).sum()


class _Counted(io.BytesIO):
    """A file that counts what is read of it."""

    counted = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.counted += len(data)
        return data


@SEEKING
def test_one_row_is_read_without_the_others(form: Any, options: dict[str, Any], kind: Kind) -> None:
    dataset = dataset_of(kind, options=options)
    rows = rows_for(form, dataset)
    written = write(form, dataset, batches_of(rows, 7, 30))
    files = {suffix: _Counted(data) for suffix, data in written.items()}
    opened = cast("dict[str, BinaryIO]", files)
    every = [
        some.slice(i, i + 1) for some in read(form, dataset, written) for i in range(len(some))
    ]
    for number in (0, 1, len(every) // 2, len(every) - 1):
        found = form.read_row(opened, dataset, number)
        assert _shown([found], dataset, form) == _shown([every[number]], dataset, form)
    if ".bin" in files:
        header = 1024 if options.get("header") == "llmc" else 0
        assert files[".bin"].counted <= 4 * (header + 4 * 40), "four times the header and a row"
    for number in (-1, len(every)):
        with pytest.raises(DataError, match=rf"expected a (row|document) {number}"):
            form.read_row(opened, dataset, number)


@CASES
@pytest.mark.parametrize("ids", VOCABULARIES)
def test_the_largest_id_of_each_vocabulary_is_exact(
    form: Format, options: dict[str, Any], kind: Kind, ids: int
) -> None:
    dataset = dataset_of(kind, options=options, ids=ids)
    rows = rows_for(form, dataset, count=12)
    seen = form.seen(rows, dataset)
    back = read(form, dataset, write(form, dataset, [rows]))
    assert max(int(one.ids.max()) for one in back) == ids - 1
    assert digest_of(form, dataset, back) == digest_of(form, dataset, [seen])


@CASES
@pytest.mark.parametrize("count", [0, 1, 2])
def test_shards_of_few_rows(form: Format, options: dict[str, Any], kind: Kind, count: int) -> None:
    dataset = dataset_of(kind, options=options)
    rows = rows_for(form, dataset, count=count) if count else rows_for(form, dataset).slice(0, 0)
    for batches in ([rows], [rows.slice(0, 0), rows], [] if not count else [rows]):
        back = read(form, dataset, write(form, dataset, batches, facts_of(rows)))
        assert digest_of(form, dataset, back) == digest_of(
            form, dataset, [form.seen(rows, dataset)]
        )


@CASES
def test_batches_change_no_byte(form: Format, options: dict[str, Any], kind: Kind) -> None:
    dataset = dataset_of(kind, options=options)
    rows = rows_for(form, dataset, count=3000)
    whole = write(form, dataset, [rows])
    assert write(form, dataset, batches_of(rows, 1, 300, 7, 1100)) == whole
    back = read(form, dataset, whole)
    again = [form.seen(one, dataset) for one in batches_of(rows, 5, 999)]
    assert digest_of(form, dataset, back) == digest_of(form, dataset, again)


@CASES
def test_damage_is_refused_or_changes_the_digest(
    form: Format, options: dict[str, Any], kind: Kind
) -> None:
    dataset = dataset_of(kind, options=options)
    rows = rows_for(form, dataset, count=40)
    files = write(form, dataset, [rows])
    right = digest_of(form, dataset, read(form, dataset, files))
    for suffix, data in files.items():
        places = _of_ids(suffix, data, rows)
        damaged = [
            data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            for at in places[:: max(len(places) // 60, 1)]
        ]
        cut = [data[:-1], data[: len(data) // 2], b"", data + data[:1], data + b"\0" * 4]
        for wrong in (*damaged, *cut):
            try:
                found = digest_of(form, dataset, read(form, dataset, files | {suffix: wrong}))
            except DataError:
                continue
            assert found != right, f"{suffix}: damage went unseen"


def _of_ids(suffix: str, data: bytes, rows: Rows) -> range:
    """Return where damage is looked for: all of a file, or its ids where readers leave some unused."""
    if suffix.endswith(".parquet"):
        column = pq.read_metadata(io.BytesIO(data)).row_group(0).column(0)
        end = column.data_page_offset + column.total_compressed_size
        return range(column.data_page_offset + 64, end)  # behind the page's header
    if suffix == ".arrow":
        ids = rows.ids.astype("<i4").tobytes()
        return range(data.index(ids), data.index(ids) + len(ids))
    return range(
        10 if suffix.endswith(".gz") else 0, len(data)
    )  # gzip's header says when and where


@CASES
def test_an_id_that_is_not_of_the_vocabulary_is_named(
    form: Format, options: dict[str, Any], kind: Kind
) -> None:
    dataset = dataset_of(kind, options=options, ids=256)
    rows = rows_for(form, dataset, count=30)
    ids = rows.ids.astype(np.uint32)
    at = int(rows.offsets[17])
    ids[at] = 70_000
    with pytest.raises(DataError, match=r"row 17 .*expected ids below 256.* got 70000 at place 0"):
        write(form, dataset, batches_of(replace(rows, ids=ids), 10))


@CASES
def test_a_shard_that_is_not_what_was_said_is_refused(
    form: Format, options: dict[str, Any], kind: Kind
) -> None:
    dataset = dataset_of(kind, options=options)
    rows = rows_for(form, dataset, count=30)
    with pytest.raises(DataError, match="expected a shard of 30 rows"):
        write(form, dataset, [rows.slice(0, 29)], facts_of(rows))


@pytest.mark.parametrize("name", FORMATS)
def test_special_ids_beyond_the_vocabulary_are_refused(name: str) -> None:
    for kind in KINDS:
        for options in OPTIONS.get(name, [{}]):
            right = dataset_of(kind, options=options)
            if accepts(format_named(name), right):
                with pytest.raises(UsageError, match=r"expected an id below 3, .* for EOS, got 3"):
                    format_named(name).require(replace(right, ids=3))


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(UsageError, match="got flatt; did you mean flat"):
        format_named("flatt")


@CASES
def test_the_small_json_says_what_a_trainer_has_to_know(
    form: Format, options: dict[str, Any], kind: Kind
) -> None:
    dataset = dataset_of(kind, options=options, tokenizer="ab" * 32, recipe="cd" * 32)
    said = form.about(dataset)
    assert (said["format"], said["vocab_size"], said["eos"], said["pad"]) == (form.name, 1000, 3, 2)
    assert (said["tokenizer_sha256"], said["recipe_sha256"]) == ("ab" * 32, "cd" * 32)
    assert said["order_version"] >= 1
    assert np.dtype(said["dtype"]).itemsize == form.id_bytes(dataset)
    for split in ("train", "web"):  # as --split_name has it
        line = form.how_to_open(dataset, "DIR", split)
        files = {*re.findall(r"DIR/data/[^\"]*", line)}
        assert all(name.startswith(f"DIR/data/{split}-") for name in files)
        assert files or form.name == "megatron"
