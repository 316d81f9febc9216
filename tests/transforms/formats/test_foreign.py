"""Files of other kinds are known by their first bytes, whatever they are called; lines are not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import struct
import tarfile
import wave
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import orc

from tests.transforms.formats.samples import PACK, Sample, read
from transforms.errors import DataError, InputError
from transforms.formats.detection import FileFormat, detect
from transforms.formats.foreign import foreign

REST = bytes(range(256)) * 3


def _zip() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        file.writestr("a.txt", "x\ny\n")
    return sink.getvalue()


def _tar(form: int) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as file:
        entry = tarfile.TarInfo("a.jsonl")
        entry.size = 15
        file.addfile(entry, io.BytesIO(b'{"text":"one"}\n'))
    return sink.getvalue()


def _old_tar() -> bytes:
    """Return a tar as of before POSIX, without a magic but with a sum."""
    head = bytearray(_tar(tarfile.USTAR_FORMAT))
    head[257:512] = bytes(255)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head[:512])
    return bytes(head)


def _saved(save: object, suffix: str = "") -> bytes:
    sink = io.BytesIO()
    save(sink)  # type: ignore[operator]
    return sink.getvalue()


def _sqlite(tmp: Path) -> bytes:
    path = tmp / "x.db"
    with sqlite3.connect(path) as base:
        base.executescript("create table t(a);")
    return path.read_bytes()


def _wave(sink: io.BytesIO) -> None:
    with wave.open(sink, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(100))


TABLE = pa.table({"a": [1, 2]})
TFRECORD = struct.pack("<QI", 5, 0x3E04B2EA) + b"hello" + bytes(4)
MADE = {
    "zip": _zip(),
    "tar archive": _tar(tarfile.USTAR_FORMAT),
    "tar archive ": _tar(tarfile.GNU_FORMAT),
    "tar archive  ": _old_tar(),
    "lzma": lzma.compress(b"x\n" * 50, format=lzma.FORMAT_ALONE),
    "NumPy": _saved(lambda sink: np.save(sink, np.arange(3))),
    "zip ": _saved(lambda sink: np.savez(sink, a=np.arange(3))),
    "ORC": _saved(lambda sink: orc.write_table(TABLE, sink)),
    "Feather": b"FEA1" + REST,
    "pickle": pickle.dumps({"a": [1, "x"]}, protocol=2),
    "pickle ": pickle.dumps({"a": [1, "x"]}, protocol=5),
    "RIFF": _saved(_wave),
    "UTF-16": "alpha\n".encode("utf-16"),
    "UTF-16 ": b"\xfe\xff" + "alpha\n".encode("utf-16-be"),
    "UTF-32": "alpha\n".encode("utf-32"),
    "UTF-32 ": b"\0\0\xfe\xff" + "alpha\n".encode("utf-32-be"),
    "UTF-16LE": "hello\nworld\n".encode("utf-16-le"),
    "UTF-16BE": "caf\u00e9 \u201cnoir\u201d\r\nau lait\n".encode("utf-16-be"),
    "UTF-32LE": "hello\nworld\n".encode("utf-32-le"),
    "UTF-32BE": ('{"text": "one"}\n' * 40).encode("utf-32-be"),
    "safetensors": struct.pack("<Q", 20) + b'{"a":{"dtype":"F32"}' + REST,
    "TFRecord": TFRECORD,
    "WARC": b"WARC/1.0\r\nWARC-Type: response\r\n",
    "7z": b"7z\xbc\xaf'\x1c" + REST,
    "rar": b"Rar!\x1a\x07\x01\0" + REST,
    "lzip": b"LZIP\x01\x0c" + REST,
    "compress": b"\x1f\x9d\x90" + REST,
    "lz4's legacy": b"\x02\x21\x4c\x18" + REST,
    "Avro": b"Obj\x01" + REST,
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + REST,
    "encrypted Parquet": b"PARE" + REST,
    "HDF5": b"\x89HDF\r\n\x1a\n" + REST,
    "PNG": b"\x89PNG\r\n\x1a\n" + REST,
    "JPEG": b"\xff\xd8\xff\xe0" + REST,
    "MP4": b"\0\0\0\x18ftypmp42" + REST,
    "ELF": b"\x7fELF\x02" + REST,
    "Java class": b"\xca\xfe\xba\xbe\0\0\0\x41" + REST,
    "git": b"PACK\0\0\0\x02" + REST,
    "GGUF": b"GGUF\x03\0\0\0" + REST,
    "Office": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + REST,
}


def found(data: bytes, name: str, **options: str) -> FileFormat:
    return detect(io.BytesIO(data), name=name, size=len(data), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", MADE)
def test_a_file_of_another_kind_is_refused_whatever_its_name(kind: str) -> None:
    data = MADE[kind]
    for name in ("x", "x.txt", "x.jsonl", "x.odd"):
        with pytest.raises(InputError, match=rf"^{name}: .*{kind.strip()}.*--format=lines"):
            found(data, name)
    assert found(data, "x.txt", said="lines") == FileFormat("lines")
    with pytest.raises(InputError, match=kind.strip()):
        found(data, "x.csv", said="csv")


@pytest.mark.parametrize("kind", ["tar archive", "zip", "NumPy", "UTF-16"])
@pytest.mark.parametrize("codec", [codec for codec in PACK if codec != "none"])
def test_so_is_what_a_compressed_file_holds(kind: str, codec: str) -> None:
    sample = Sample("lines", codec, [], None)
    with pytest.raises((InputError, DataError), match=rf"some/file.*{kind}.*--format=lines"):
        read(sample, PACK[codec](MADE[kind]))


def test_a_database_of_sqlite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SQLite"):
        found(_sqlite(tmp_path), "x.txt")


@pytest.mark.parametrize(
    "text",
    [
        b"PK\x03",
        b"PACK your bags\n",
        b"ORCHESTRA\n",
        b"ORC\n",
        b"RIFF and RAFF\tWAVE\n",
        b"RIFFraffXWAVE\x01",
        b"BM 5\n",
        b"MZ\n",
        b"GIF89a is a format\n",
        b"the ftyp box\n",
        b"GGUF is a format\n",
        b"%PDF-files\n",
        b"ID3 tags\n",
        b"FEA1 and PARE\n",
        b"PAREnthesis\n",
        b"hsqs\n",
        b"Obj\n",
        b"7z x a.7z\n",
        b"Rar!\n",
        b"LZIP\n",
        b"]\0\0\n",
        b"\x80\n",
        b"\x80abc\x02\n",
        b"WARC/1.0 is a format\n",
        b'{"a":1}\n',
        b"\xff\n\xfe\n",
        b"\xef\xbb\xbf{}\n",
        bytes(600),
        b"\n" * 600,
        b"\0\x01\x02" * 300,
        b"a" * 257 + b"star" + b"b" * 300,
        b"./a file\0./b file\0./c\0./dd\0" * 30,  # as find -print0 writes
        b"a\0b\0c\0d\0e\0f\0g\0h\0i\0j\0",
        b"a b\0c d\0e\nf\0" * 40,
        np.arange(300, dtype="<u2").tobytes(),
        np.arange(300, dtype=">u4").tobytes(),
        "a b\n".encode("utf-16-le"),
        b"",
    ],
)
def test_lines_that_begin_alike_are_lines(text: bytes) -> None:
    assert foreign(text[:512], len(text)) is None


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_no_known_kind(seed: int) -> None:
    data = np.random.Generator(np.random.PCG64(seed)).bytes(512)
    assert foreign(data, 512) is None


def test_text_and_its_compressed_forms_are_none() -> None:
    text = b"some text\n" * 100
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        assert foreign(pack(text)[:512], None) is None
