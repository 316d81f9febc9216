"""What a file is: by its bytes, with its name as a hint; where the two differ, nobody guesses."""

from __future__ import annotations

import gzip
import io
import struct
from itertools import product

import pytest

from tests.transforms.formats.samples import PACK, SUFFIX, Sample, read, samples, write_plainly
from transforms.errors import DataError, InputError
from transforms.formats.detection import FileFormat, detect

SAMPLES = {sample.id: sample for sample in samples()}
DATA = {name: write_plainly(sample.head(20)) for name, sample in SAMPLES.items()}
NAMES = {
    **{f"lines-{codec}": f"d/x.txt{suffix}" for codec, suffix in SUFFIX.items()},
    "parquet-zstd": "d/x.parquet",
    "arrow-none": "d/x.arrow",
    "arrow_stream-none": "d/x.arrows",
}
TEXT = Sample("lines", "none", [], None)


def found(data: bytes, name: str) -> FileFormat:
    return detect(io.BytesIO(data), name=name, size=len(data))


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("call", ["x", "x.bin", "d.parquet/x", "odd.name-1"])
def test_a_name_that_says_nothing_leaves_it_to_the_content(name: str, call: str) -> None:
    sample = SAMPLES[name]
    fits = found(DATA[name], call)
    assert fits.kind == sample.kind
    codec = sample.compression if sample.kind == "lines" else "none"
    assert (fits.codec.name if fits.codec else "none") == codec


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", [str, str.upper])
def test_a_name_that_fits_is_accepted_in_any_case(name: str, change: type[str]) -> None:
    assert found(DATA[name], change(NAMES[name])).kind == SAMPLES[name].kind


ARROWS = {"arrow-none", "arrow_stream-none"}  # one kind of name for both


@pytest.mark.parametrize(
    ("content", "called"),
    [
        (content, called)
        for content, called in product(NAMES, NAMES)
        if content != called and {content, called} != ARROWS
    ],
)
def test_a_name_that_says_otherwise_is_an_error_that_names_file_and_byte(
    content: str, called: str
) -> None:
    with pytest.raises(InputError, match=r"byte 0") as caught:
        found(DATA[content], NAMES[called])
    assert str(caught.value).startswith(f"{NAMES[called]}: expected ")


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
def test_an_empty_file_is_nothing_but_lines(name: str) -> None:
    with pytest.raises(InputError, match=f"^{name}: expected .*empty.*byte 0"):
        found(b"", name)
    for call in ("x.txt", "x", "x.gz", "x.txt.zst", "x.bz2"):
        assert found(b"", call) == FileFormat("lines")


@pytest.mark.parametrize("name", ["x", "x.txt", "x.jsonl"])
@pytest.mark.parametrize(
    "text",
    [
        b"PAR1 is how Parquet begins\n",
        b"PAR1\nPAR1",
        b"BZh91 is a password\n",
        b"BZh",
        b"ARROW1 is a name\n",
        b"\x1f\x8b",
        b"FEA",
        b"\xff\xff\xff\xff\n",
        b"\xef\xbb\xbf{}\n",
        b"\x28\xb5\x2f",
    ],
)
def test_lines_may_begin_with_anything_that_is_no_whole_magic(text: bytes, name: str) -> None:
    assert found(text, name) == FileFormat("lines")
    line = text.removeprefix(b"\xef\xbb\xbf")  # a mark is no part of it
    sample = TEXT._replace(records=line.rstrip(b"\n").split(b"\n"))
    options = {"start": 0, "stop": len(text)}
    assert [line for _, line in read(sample, text, **options).found] == sample.records


@pytest.mark.parametrize("cut", [1, 3, 4, 100])
def test_parquet_without_its_end_is_truncated_whatever_its_name(cut: int) -> None:
    data = DATA["parquet-zstd"][:-cut]
    for name in ("x", "x.parquet", "x.bin"):
        with pytest.raises(InputError, match=f"^{name}: .*byte"):
            found(data, name)


@pytest.mark.parametrize("codec", [codec for codec in PACK if codec != "none"])
@pytest.mark.parametrize("inner", ["parquet-zstd", "arrow-none", "lines-gzip"])
def test_what_is_packed_twice_is_refused(codec: str, inner: str) -> None:
    data = PACK[codec](DATA[inner])
    sample = SAMPLES[f"lines-{codec}"]
    word = {"p": "Parquet", "a": "Arrow IPC", "l": "gzip"}[inner[0]]
    with pytest.raises((InputError, DataError), match=rf"some/file.*{word}.*unpack"):
        read(sample, data)


@pytest.mark.parametrize("name", DATA)
def test_what_is_said_to_be_lines_is_lines_compressed_or_not(name: str) -> None:
    sample, data = SAMPLES[name], DATA[name]
    codec = sample.compression if sample.kind == "lines" else "none"
    for call in ("x", NAMES.get(name, "x")):
        fits = detect(io.BytesIO(data), name=call, size=len(data), said="lines")
        assert (fits.kind, fits.codec.name if fits.codec else "none") == ("lines", codec)
    with pytest.raises(InputError, match="expected gzip"):
        detect(io.BytesIO(b"text\n"), name="x.gz", size=5, said="lines")


@pytest.mark.parametrize("name", [name for name in DATA if not name.startswith("lines")])
def test_rows_are_no_csv_whatever_is_said(name: str) -> None:
    data = DATA[name]
    for call in ("x", "x.csv", NAMES.get(name, "x")):
        with pytest.raises(
            InputError, match=r"expected CSV \(--format=csv\), got .*leave out --format"
        ):
            detect(io.BytesIO(data), name=call, size=len(data), said="csv")


@pytest.mark.parametrize(
    ("tail", "fine"), [(bytes(512), True), (b"\0\0more", False), (b"x", False)]
)
def test_after_a_gzip_member_come_zeros_or_another_member_or_an_error(
    tail: bytes, fine: bool
) -> None:
    lines = [b"one", b"two"]
    sample = Sample("lines", "gzip", lines, None)
    data = gzip.compress(b"one\ntwo\n") + tail
    if fine:
        assert [line for _, line in read(sample, data).found] == lines
    else:
        with pytest.raises(DataError, match=r"some/file\.txt\.gz: .* byte \d+"):
            read(sample, data)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
@pytest.mark.parametrize("sizes", [[3], [16], [32], [100], [500], [100, 0, 9000]], ids=str)
def test_skippable_frames_hide_no_codec(codec: str, sizes: list[int]) -> None:
    frames = b"".join(struct.pack("<II", 0x184D2A50, n) + b"z" * n for n in sizes)
    for name in ("x", f"x{SUFFIX[codec]}"):
        fits = found(frames + PACK[codec](b"a\n"), name)
        assert fits.codec is not None
        assert fits.codec.name == codec
    alone = found(frames, f"x{SUFFIX[codec]}").codec
    assert alone is not None
    assert alone.name == codec
    other = {"zstd": "lz4", "lz4": "zstd"}[codec]
    with pytest.raises(InputError, match=f"expected {other}"):
        found(frames + PACK[codec](b"a\n"), f"x{SUFFIX[other]}")
