"""What is encoded is decoded again before anybody sees it: an encoder at fault is caught."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import transforms.datasets.write
from tests.transforms.helpers import create, make_rows, make_runs, run, shuffle_runs
from transforms.datasets.write import WriteShards
from transforms.errors import LosslessError, from_traceback
from transforms.formats import parquet
from transforms.formats.read_back import shard_digest
from transforms.formats.schemas import TEXT
from transforms.formats.writing import ShardFormat, open_writer
from transforms.kernels.records import blocks
from transforms.kernels.records.rows import to_rows
from transforms.storage import files as storage
from transforms.storage import layout

FORMS = {
    "zstd": ShardFormat(compression="zstd"),
    "parquet": ShardFormat(kind="parquet", compression="zstd", schema=TEXT),
    "arrow": ShardFormat(kind="arrow", schema=TEXT),
    "stream": ShardFormat(kind="arrow_stream", schema=TEXT),
}
Writing = Callable[..., Any]


class _Loses:
    """Loses the first record of each block, or writes the second in its place."""

    def __init__(self, inner: Any, *, doubles: bool) -> None:
        self._inner, self._doubles = inner, doubles

    def write(self, block: Any) -> None:
        if self._doubles:
            self._inner.write(block.slice(1, 1))
        self._inner.write(block.slice(1))

    def close(self) -> None:
        self._inner.close()


class _Flips:
    """Flips a bit in the middle of each larger piece."""

    def __init__(self, sink: Any) -> None:
        self._sink, self.name = sink, "flips"
        self.closed = False

    def write(self, data: Any) -> int:
        piece = bytearray(data)
        if len(piece) > 200:
            piece[len(piece) // 2] ^= 1
        return int(self._sink.write(bytes(piece)))

    def tell(self) -> int:
        return int(self._sink.tell())

    def flush(self) -> None: ...


def lose(sink: Any, form: ShardFormat, *, path: str) -> Any:
    return _Loses(open_writer(sink, form, path=path), doubles=False)


def double(sink: Any, form: ShardFormat, *, path: str) -> Any:
    return _Loses(open_writer(sink, form, path=path), doubles=True)


def flip(sink: Any, form: ShardFormat, *, path: str) -> Any:
    return open_writer(_Flips(sink), form, path=path)


def write(output: Path | str, form: ShardFormat) -> None:
    run(
        lambda root: (
            shuffle_runs(
                root | create(make_runs(make_rows(400), 2)), ranges=1, folder=f"{output}/spill"
            )
            | WriteShards(output=str(output), form=form)
        )
    )


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("fault", [lose, double, flip])
def test_a_shard_that_reads_back_as_something_else_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: ShardFormat, fault: Writing
) -> None:
    monkeypatch.setattr(transforms.datasets.write, "open_writer", fault)
    with pytest.raises(Exception) as info:  # noqa: PT011  # Beam's, with ours in its text
        write(tmp_path, form)
    error = info.value
    if not isinstance(error, LosslessError):
        found = from_traceback(str(error))
        assert isinstance(found, LosslessError), error
        error = found
    assert "as soon as it was written" in str(error)
    assert not [path for path in tmp_path.rglob("data/*") if path.is_file()]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_sound_shard_is_published(tmp_path: Path, form: ShardFormat) -> None:
    write(tmp_path, form)
    assert len([path for path in tmp_path.rglob("data/*") if path.is_file()]) == 1


def test_on_a_store_a_shard_that_reads_back_as_something_else_goes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transforms.datasets.write, "open_writer", lose)
    output = "memory://read-back"
    with pytest.raises(Exception, match="as soon as it was written"):
        write(output, FORMS["zstd"])
    fs, path = storage.filesystem(f"{output}/data")
    assert fs.find(path) == []


def test_on_a_store_what_another_run_published_meanwhile_stays() -> None:
    output = "memory://taken-over"

    def taken_over(url: str) -> None:
        for name, data in (("_incomplete.json", b'{"id": "other"}'), ("data/x", b"theirs")):
            with storage.open_write(f"{output}/{name}") as file:
                file.write(data)
        raise LosslessError("not what was written")

    with storage.open_write(f"{output}/_incomplete.json") as marker:
        marker.write(b'{"id": "mine"}')
    with (
        pytest.raises(LosslessError),
        layout.publish(output, "data/x", run_id="mine", check=taken_over) as file,
    ):
        file.write(b"ours")
    assert storage.read_all(f"{output}/data/x") == b"theirs"


def test_rows_just_written_are_read_in_parts_of_a_group_without_a_look_at_them_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = pa.table({"text": [f"{number:010} of many" for number in range(1000)] * 1000})
    form = ShardFormat(kind="parquet", compression="zstd", schema=rows.schema, records_are="rows")
    sink, positions = io.BytesIO(), np.arange(len(rows), dtype=np.uint64)
    writer = open_writer(sink, form, path="s")
    (batch,) = rows.combine_chunks().to_batches()
    writer.write(blocks.from_rows(to_rows(batch), positions=positions))
    writer.close()
    size = len(sink.getvalue())
    want = shard_digest(sink, path="s", size=size, form=form)
    looked: list[int] = []
    monkeypatch.setattr(parquet, "first_rows", lambda *_, number, **__: looked.append(number))
    parts: list[int] = []
    found = shard_digest(
        sink,
        path="s",
        size=size,
        form=form,
        just_written=True,
        progress=lambda _, n: parts.append(n),
    )
    assert (found, looked) == (want, [])
    assert found.records == len(rows)
    assert max(parts) * found.bytes // found.records <= parquet.GROUP_BYTES // 2 + 100


def test_a_form_that_says_the_wrong_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        Exception, match=r"expected rows \(records_are of the ShardFormat\), got lines"
    ):
        write(tmp_path, ShardFormat(kind="parquet", schema=TEXT, records_are="rows"))
