"""What Parquet has and Arrow hasn't: said before it is lost; and what to do where Arrow can't read."""

from __future__ import annotations

import base64
import datetime
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from tests.pipelines.support import run
from transforms.errors import DataError, InputError
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import open_span
from transforms.formats.schemas import mend
from transforms.formats.writing import ShardFormat, open_writer
from transforms.kernels.records import blocks

FAR = [
    datetime.datetime(9999, 12, 31, 2),
    datetime.datetime(1, 1, 1),
    None,
    datetime.datetime(2021, 6, 9, 3, 2, 37, 999999),
    datetime.datetime(2300, 1, 1),
]


def write(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def read(data: bytes, *, text: str | None = None) -> list[Any]:
    options = ReadOptions(rows=text is None, text_field=text, chunk_bytes=1 << 10)
    reader = open_span(
        io.BytesIO(data), ReadTask(name="NAME", size=len(data), stop=len(data), options=options)
    )
    return [record for block, *_ in reader for record in block.column("record").to_pylist()]


def with_footer(data: bytes, old: bytes, new: bytes) -> bytes:
    """Replace something in a footer."""
    length = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - length : -8]
    assert footer.count(old) == 1
    footer = footer.replace(old, new)
    return data[: -8 - length] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def test_int96_holds_dates_beyond_those_of_nanoseconds() -> None:
    kind = pa.timestamp("us")
    table = pa.table(
        {
            "id": range(len(FAR)),
            "x": pa.array(FAR, kind),
            "l": pa.array([[value, None] for value in FAR], pa.list_(kind)),
            "s": pa.array([{"x": value} for value in FAR], pa.struct({"x": kind})),
        }
    )
    data = write(table, use_deprecated_int96_timestamps=True, row_group_size=3)
    assert read(data) == table.to_pylist()


@pytest.mark.parametrize("nested", [False, True])
def test_int96_that_microseconds_do_not_hold_is_refused_by_file_and_column(nested: bool) -> None:
    good = np.arange(40_000, dtype=np.int64) * 1000
    good[39_990] += 1
    values = pa.array(good).cast(pa.timestamp("ns"))
    if nested:
        values = pa.ListArray.from_arrays(pa.array([0, 39_900, 40_000], pa.int32()), values)
    data = write(pa.table({"a b": values}), use_deprecated_int96_timestamps=True)
    with pytest.raises(DataError, match=r"NAME: column a b: expected INT96 .* to 1 ns, 0 s after"):
        read(data)


def test_int96_in_a_year_that_wraps_around_is_refused() -> None:
    table = pa.table({"x": pa.array([datetime.datetime(1970, 1, 1)], pa.timestamp("us"))})
    day = bytes(8) + (2440588).to_bytes(4, "little")
    data = write(
        table, use_deprecated_int96_timestamps=True, use_dictionary=False, compression="none"
    )
    assert data.count(day) == 1
    far = data.replace(day, bytes(8) + (0x8000_0000).to_bytes(4, "little"))
    with pytest.raises(DataError, match=r"NAME: column x: .* a year beyond 290,000"):
        read(far)


ANNOTATED = {
    "GEOMETRY": (b"\x0c\x22\x00\x00", "Arrow drops GEOMETRY"),
    "GEOGRAPHY": (b"\x0c\x24\x00\x00", "Arrow drops GEOGRAPHY"),
    "one of the future": (b"\x0c\x3a\x00\x00", "older than this type"),
}
JSON = b"\xcc\x00\x00"  # a LogicalType of Parquet's thrift, as bytes


def annotated(new: bytes) -> bytes:
    table = pa.table({"t": ["text"], "j": pa.array(["{}"], pa.json_())})
    return with_footer(write(table, store_schema=False), JSON, new)


def interval() -> bytes:
    data = write(
        pa.table({"t": ["text"], "j": pa.array([bytes(12)], pa.binary(12))}), store_schema=False
    )
    return with_footer(data, b"\x18\x01j\x00", b"\x18\x01j\x25\x2a\x00")


def variant() -> bytes:
    inner = pa.struct(
        [pa.field("metadata", pa.binary(), False), pa.field("value", pa.binary(), False)]
    )
    rows = pa.array([{"metadata": b"\1\0\0", "value": b"\0"}], inner)
    outer = pa.StructArray.from_arrays([rows], names=["v"])
    data = write(pa.table({"t": ["text"], "j": outer}), store_schema=False)
    return with_footer(data, b"\x18\x01v\x15\x04\x00", b"\x18\x01v\x15\x04\x5c\x0c\x20\x00\x00\x00")


@pytest.mark.parametrize(
    ("data", "column", "why"),
    [
        *((annotated(new), "j", why) for new, why in ANNOTATED.values()),
        (interval(), "j", "INTERVAL"),
        (variant(), r"j\.v", "VARIANT"),
    ],
    ids=[*ANNOTATED, "INTERVAL", "VARIANT"],
)
def test_an_annotation_that_arrow_drops_is_refused_before_any_work(
    tmp_path: Path, data: bytes, column: str, why: str
) -> None:
    with pytest.raises(DataError, match=rf"NAME: column {column} can't be kept: .*{why}"):
        read(data)
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(InputError, match=rf"a.parquet: column {column} can't be kept: .*{why}"):
        run(f"--input={tmp_path / 'a.parquet'}", f"--output={tmp_path / 'o'}", "--plan")
    assert len(read(data, text="t")) == 1  # no other column is looked at


@pytest.mark.parametrize(("new", "word"), [(b"\x4c\x00\x00", "ENUM"), (b"\xdc\x00\x00", "BSON")])
def test_an_annotation_of_bytes_that_goes_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], new: bytes, word: str
) -> None:
    data = annotated(new)
    assert read(data) == [{"t": "text", "j": b"{}"}]
    (tmp_path / "a.parquet").write_bytes(data)
    flags = (f"--input={tmp_path / 'a.parquet'}", f"--output={tmp_path / 'o'}", "--plan")
    run(*flags)
    assert f"column j: Parquet's {word} is read as binary" in capsys.readouterr().out
    run(*flags, "--text_field=t")
    assert word not in capsys.readouterr().out


def test_json_and_uuid_are_kept() -> None:
    columns = {"j": pa.array(["{}"], pa.json_()), "u": pa.array([bytes(16)], pa.uuid())}
    data = write(pa.table(columns), store_schema=False)
    options = ReadOptions(rows=True)
    reader = open_span(
        io.BytesIO(data), ReadTask(name="NAME", size=len(data), stop=len(data), options=options)
    )
    sink = io.BytesIO()
    form = ShardFormat(kind="parquet", schema=pq.read_schema(io.BytesIO(data)), records_are="rows")
    writer = open_writer(sink, form, path="NAME")
    for block, *_ in reader:
        assert blocks.is_rows(block)
        writer.write(block)
    writer.close()
    schema = pq.ParquetFile(sink).schema
    assert [str(schema.column(i).logical_type) for i in range(2)] == ["JSON", "UUID"]


class _Keys(pe.KmsClient):  # type: ignore[misc]  # pyarrow is untyped
    def __init__(self, config: Any) -> None:
        pe.KmsClient.__init__(self)

    def wrap_key(self, key: bytes, master: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, key: bytes, master: str) -> bytes:
        return base64.b64decode(key)


@pytest.mark.parametrize("plain_footer", [False, True])
def test_an_encrypted_file_is_to_be_decrypted_not_made_again(plain_footer: bool) -> None:
    asked = pe.EncryptionConfiguration(
        footer_key="f", column_keys={"c": ["a"]}, plaintext_footer=plain_footer
    )
    keys = pe.CryptoFactory(_Keys).file_encryption_properties(pe.KmsConnectionConfig(), asked)
    data = write(pa.table({"a": ["x"]}), encryption_properties=keys)
    with pytest.raises((DataError, InputError), match=r"NAME: .*decrypt it first") as caught:
        read(data)
    assert "make the file again" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            pa.ArrowNotImplementedError(
                "Nested data conversions not implemented for chunked array outputs"
            ),
            "more than 2 GiB",
        ),
        (pa.ArrowInvalid("Map keys must be annotated as required."), "required keys"),
        (
            pa.ArrowNotImplementedError("Unhandled type for Arrow to Parquet"),
            "Arrow can't read this",
        ),
        (pa.ArrowInvalid("Unexpected end of stream"), "fetch or make the file again"),
    ],
)
def test_what_to_do_follows_from_what_is_wrong(error: Exception, words: str) -> None:
    assert words in mend(error)
