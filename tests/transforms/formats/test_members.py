"""Every codec under one contract: what is whole comes out, what is not is an error that says where.

The streams are made by the libraries' one-shot functions, never by our own encoder, save where it
is the encoder that is tested; and what the encoder makes is read by the libraries.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import random
import re
import tracemalloc
from collections.abc import Callable
from typing import Any

import lz4.frame
import pytest
from backports import zstd

from transforms.errors import DataError
from transforms.formats import members
from transforms.formats.codecs import (
    CODECS,
    WINDOW,
    codec_of_head,
)
from transforms.formats.compressed import reader, sample_ratio, writer
from transforms.storage import files as storage

CHECKSUM = zstd.CompressionParameter.checksum_flag
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": lambda data: zstd.compress(data, options={CHECKSUM: 1}),
    "lz4": lambda data: bytes(lz4.frame.compress(data, content_checksum=True)),
}
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
    "zstd": zstd.decompress,
    "lz4": lambda data: bytes(lz4.frame.decompress(data)),
}
SEED = 4
SKIPPABLE = b"\x5a\x2a\x4d\x18\x05\0\0\0hello"

codecs = pytest.mark.parametrize("codec", list(CODECS))


def noise(size: int, seed: int = SEED) -> bytes:
    return random.Random(seed).randbytes(size)


def text(lines: int) -> bytes:
    rng = random.Random(SEED)
    return b"".join(b'{"id": %d, "n": %d}\n' % (i, rng.randrange(10**6)) for i in range(lines))


CONTENTS = {
    "empty": b"",
    "one byte": b"x",
    "text": text(20_000),
    "incompressible": noise(3_000_001),
    "compressible": b"again and again\n" * 500_000,
}


class Trickle(io.BytesIO):
    """A file whose reads return from 1 to 9 bytes."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(1 + self.tell() % 9)


def decode(data: bytes, codec: str, file: type[io.BytesIO] = io.BytesIO) -> bytes:
    """Read to the end, and see that the end is the file's."""
    decoder = reader(file(data), CODECS[codec], "some/file")
    out = bytearray()
    target = memoryview(bytearray(300_000))
    while got := storage.read_into(decoder, target):
        out += target[:got]
    assert decoder.readinto(target) == 0
    assert decoder.consumed == len(data)
    assert decoder.produced == decoder.tell() == len(out)
    return bytes(out)


def error_of(data: bytes, codec: str) -> str:
    with pytest.raises(DataError) as caught:
        decode(data, codec)
    assert str(caught.value).startswith("some/file: ")
    return str(caught.value)


def encode(data: bytes, codec: str, cuts: list[int] | None = None, **options: Any) -> bytes:
    sink = io.BytesIO()
    encoder = writer(sink, CODECS[codec], **options)
    edges = [0, *sorted(cuts or []), len(data)]
    for begin, end in zip(edges, edges[1:], strict=False):
        encoder.write(memoryview(data)[begin:end])
    encoder.close()
    return sink.getvalue()


@codecs
@pytest.mark.parametrize("content", list(CONTENTS))
def test_reads_what_the_library_packs(codec: str, content: str) -> None:
    packed = PACK[codec](CONTENTS[content])
    assert codec_of_head(packed[:16]) is CODECS[codec]
    assert decode(packed, codec) == CONTENTS[content]


@codecs
@pytest.mark.parametrize("content", list(CONTENTS))
def test_the_library_reads_what_the_encoder_writes(codec: str, content: str) -> None:
    packed = encode(CONTENTS[content], codec)
    assert UNPACK[codec](packed) == CONTENTS[content]
    assert decode(packed, codec) == CONTENTS[content]
    assert codec_of_head(packed[:16]) is CODECS[codec]


@codecs
@pytest.mark.parametrize(
    "parts",
    [
        (b"one\n", b"two\n"),
        (b"one\n", b"", b"three\n"),
        (b"", b"", b""),
        (text(9000), noise(99999)),
    ],
)
def test_members_follow_one_another(codec: str, parts: tuple[bytes, ...]) -> None:
    packed = b"".join(map(PACK[codec], parts))
    assert decode(packed, codec) == b"".join(parts)
    assert decode(packed, codec, Trickle) == b"".join(parts)


@codecs
def test_thousands_of_members(codec: str) -> None:
    member = PACK[codec](b"x\n")
    assert decode(member * 5000, codec) == b"x\n" * 5000


@codecs
def test_truncation_is_always_an_error(codec: str) -> None:
    parts = [PACK[codec](part) for part in (text(3000), b"", noise(70_000), text(100))]
    packed = b"".join(parts)
    ends = {0, *(sum(map(len, parts[:count])) for count in range(1, 5))}
    print("seed", SEED)
    rng = random.Random(SEED)
    places = set(rng.sample(range(len(packed)), 50)) | {end - 1 for end in ends if end}
    places |= {end + extra for end in ends for extra in (1, 3, 9) if end < len(packed)}
    for place in sorted(places - ends):
        message = error_of(packed[:place], codec)
        begin = max(end for end in ends if end < place)
        assert f"{codec} member" in message
        assert f"that begins at byte {begin} " in message, place
        assert "truncated" in message
        assert f"(file ends at byte {place})" in message


@codecs
@pytest.mark.parametrize("maker", ["library", "encoder"])
def test_a_flipped_bit_is_an_error_or_harmless(codec: str, maker: str) -> None:
    parts = [text(3000), b"", noise(70_000), text(100)]
    pack = PACK[codec] if maker == "library" else lambda part: encode(part, codec)
    packed = b"".join(map(pack, parts))
    print("seed", SEED)
    rng = random.Random(SEED)
    # headers and trailers are few bytes among many: a flip in every one of the small last member's
    places = rng.sample(range(len(packed)), 200) + list(range(len(packed) - 60, len(packed)))
    places += range(40)
    errors = 0
    for place in places:
        damaged = bytearray(packed)
        damaged[place] ^= 1 << rng.randrange(8)
        try:
            assert decode(bytes(damaged), codec) == b"".join(parts), place
        except DataError:
            errors += 1
    assert errors > 0.9 * len(places) - 20


def test_flips_without_checksums_crash_nothing() -> None:
    data = text(3000)
    for codec, packed in (
        ("zstd", zstd.compress(data)),
        ("lz4", bytes(lz4.frame.compress(data, content_checksum=False))),
        ("xz", lzma.compress(data, check=lzma.CHECK_NONE)),
    ):
        assert decode(packed, codec) == data
        rng = random.Random(SEED)
        for place in rng.sample(range(len(packed)), 200):
            damaged = bytearray(packed)
            damaged[place] ^= 1 << rng.randrange(8)
            with contextlib.suppress(DataError):
                decode(bytes(damaged), codec)


@codecs
@pytest.mark.parametrize("count", [1, 2])
def test_damage_names_the_member(codec: str, count: int) -> None:
    first, second = PACK[codec](text(3000)), PACK[codec](noise(70_000))
    damaged = bytearray((first + second)[: len(first) if count == 1 else None])
    place = len(damaged) - len((first, second)[count - 1]) // 2
    damaged[place : place + 8] = bytes(8)
    message = error_of(bytes(damaged), codec)
    begin = (0, len(first))[count - 1]
    assert re.search(rf"damaged: the {codec} member {count} that begins at byte {begin} ", message)


@codecs
@pytest.mark.parametrize("garbage", [b"x", b"\nx", b"garbage after the member", noise(100_000)])
def test_garbage_after_a_member_is_an_error(codec: str, garbage: bytes) -> None:
    packed = PACK[codec](b"one\n") * 2
    message = error_of(packed + garbage, codec)
    assert f"at byte {len(packed)}, after 2 members" in message


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "gzip"])
def test_a_newline_after_a_member_is_an_error_too(codec: str) -> None:
    packed = PACK[codec](b"one\n")
    assert f"at byte {len(packed)}" in error_of(packed + b"\n", codec)


@pytest.mark.parametrize("file", [io.BytesIO, Trickle])
@pytest.mark.parametrize("behind", [b"\n", b"\r\n", b"\0\0\n\0", b"\0" * 100_000, b"\n" * 100_000])
def test_newlines_and_zeros_after_gzip_are_left_out_and_counted(
    behind: bytes, file: type[io.BytesIO]
) -> None:
    packed = PACK["gzip"](b"one\n")
    decoder = reader(file(packed + behind), CODECS["gzip"], "some/file")
    assert decoder.read() == b"one\n"
    assert decoder.trailing == len(behind)
    message = error_of(packed + b"\n" + packed, "gzip")
    assert f"expected another gzip member or the file's end at byte {len(packed)}" in message


@pytest.mark.parametrize("count", [1, 100, members._READ - 50, members._READ])
def test_no_member_follows_newlines_wherever_a_read_ends(count: int) -> None:
    packed = PACK["gzip"](b"one\n")
    behind = b"\n" * (members._READ - len(packed))  # a read ends with them
    for newlines in (behind, behind + b"\n" * count):
        message = error_of(packed + newlines + packed, "gzip")
        assert "expected another gzip member or the file's end" in message


@codecs
@pytest.mark.parametrize("zeros", [1, 4, 100_003, 200_000])
def test_zeros_after_a_member(codec: str, zeros: int) -> None:
    packed = PACK[codec](b"one\n")
    for more in (b"", packed):
        if codec == "gzip" or (codec == "xz" and zeros % 4 == 0):
            expected = b"one\n" * (2 if more else 1)
            assert decode(packed + bytes(zeros) + more, codec) == expected
            assert decode((packed + bytes(zeros) + more)[:1000], codec, Trickle)
        else:
            assert f"at byte {len(packed)}" in error_of(packed + bytes(zeros) + more, codec)


@codecs
def test_an_empty_file_is_an_error(codec: str) -> None:
    assert f"expected {codec}, got an empty file" in error_of(b"", codec)


@codecs
@pytest.mark.parametrize("other", [*CODECS, "text"])
def test_another_kind_of_file_is_an_error(codec: str, other: str) -> None:
    if codec != other:
        message = error_of(PACK[other](b"one\n") if other != "text" else b"one\n", codec)
        found = f"those of {other}" if other != "text" else "b'one\\n'"
        assert f"expected {codec}, but its first bytes are {found}" in message.replace(
            "\\x0a", "\\n"
        )


@codecs
def test_another_codec_in_a_later_member_is_an_error(codec: str) -> None:
    other = "gzip" if codec != "gzip" else "zstd"
    packed = PACK[codec](b"one\n")
    assert f"at byte {len(packed)}" in error_of(packed + PACK[other](b"two\n"), codec)


@codecs
def test_an_error_of_the_storage_is_not_taken_for_damage(codec: str) -> None:
    class Refuses(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        reader(Refuses(), CODECS[codec], "some/file").read(1)


@codecs
def test_a_bomb_is_held_in_small_parts(codec: str) -> None:
    unit = bytes(1 << 24)
    repeats = 4 if codec in {"xz", "bzip2"} else 16
    packed = PACK[codec](unit) * repeats
    decoder = reader(io.BytesIO(packed), CODECS[codec], "bomb")
    target = bytearray(1 << 16)
    produced = 0
    tracemalloc.start()
    try:
        while got := decoder.readinto(target):
            produced += got
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert produced == len(unit) * repeats
    # Python's and the libraries' buffers; bzip2 holds a block of 900 kB four times beside
    assert peak < 6 << 20, peak


def test_a_zstd_bomb_of_single_repeated_bytes() -> None:
    # by hand: a frame whose every block is 4 bytes that stand for 128 KiB
    block = ((1 << 17) << 3 | 1 << 1).to_bytes(3, "little") + b"x"
    last = ((1 << 17) << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"x"
    packed = b"\x28\xb5\x2f\xfd\x00\x58" + block * 2000 + last
    decoder = reader(io.BytesIO(packed), CODECS["zstd"], "bomb")
    tracemalloc.start()
    try:
        assert decoder.seek(1 << 40) == 2001 << 17
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20, peak


def long_zstd(bits: int) -> bytes:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: bits})
    return packer.compress(b"x" * 100) + packer.flush()


def read_within(data: bytes, codec: str, window: int) -> bytes:
    return reader(io.BytesIO(data), CODECS[codec], "some/file", window=window).read()


@pytest.mark.parametrize("bits", [28, 30, 31])
def test_a_window_is_held_where_it_may_be_else_refused(bits: int) -> None:
    packed = long_zstd(bits)
    assert read_within(packed, "zstd", 1 << bits) == b"x" * 100
    with pytest.raises(DataError, match=r"needs a window of more than 128 MiB.*zstd --long=27"):
        read_within(packed, "zstd", WINDOW)


def test_so_is_a_zstd_frame_of_one_segment_to_the_byte() -> None:
    size = (129 << 20) + 1
    cut = b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little")  # by hand: the header alone
    with pytest.raises(DataError, match="truncated"):
        read_within(cut, "zstd", size)
    with pytest.raises(DataError, match="needs a window of more than 129 MiB"):
        read_within(cut, "zstd", size - 1)


def test_so_is_the_dictionary_of_xz() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 256 << 20}]
    packed = lzma.compress(b"x" * 100, filters=filters)
    assert read_within(packed, "xz", 256 << 20) == b"x" * 100
    with pytest.raises(DataError, match="needs a window of more than 128 MiB"):
        read_within(packed, "xz", WINDOW)


@pytest.mark.parametrize("known", [True, False])
def test_a_dictionary_that_zstd_needs_is_named(*, known: bool) -> None:
    dictionary = zstd.train_dict([b'{"text":"sample %d of it"}' % i for i in range(2000)], 1024)
    options = {zstd.CompressionParameter.content_size_flag: int(known)}
    frame = zstd.compress(b"sample", options=options, zstd_dict=dictionary)
    message = error_of(PACK["zstd"](b"one\n") + frame, "zstd")
    assert "zstd member 2 that begins at byte" in message
    assert f"dictionary {dictionary.dict_id}, which isn't in the file; decompress it" in message
    assert "damaged" not in message


def test_windows_of_zstd_long_and_the_best_xz_are_read() -> None:
    assert decode(long_zstd(27), "zstd") == b"x" * 100
    assert decode(lzma.compress(b"x" * 100, preset=9 | lzma.PRESET_EXTREME), "xz") == b"x" * 100


@pytest.mark.parametrize("known", [True, False], ids=["size in header", "size unknown"])
@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("size", [0, 1, 255, 256, 65791, 65792, 131072, 131073, 3_000_000])
def test_zstd_headers_of_all_lengths(*, known: bool, checksum: bool, size: int) -> None:
    data = noise(size // 2) + bytes(size - size // 2)
    packer = zstd.ZstdCompressor(options={CHECKSUM: int(checksum)})
    packer.set_pledged_input_size(size if known else None)
    packed = packer.compress(data) + packer.flush()
    assert decode(packed, "zstd") == data
    if size < 1000:
        assert decode(packed * 3, "zstd", Trickle) == data * 3


def test_zstd_blocks_as_small_as_lines() -> None:
    packer = zstd.ZstdCompressor(options={CHECKSUM: 1})
    data = text(5000)
    packed = b"".join(
        packer.compress(line, mode=packer.FLUSH_BLOCK) for line in data.splitlines(keepends=True)
    )
    assert decode(packed + packer.flush(), "zstd") == data


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_skippable_frames_hold_no_records(codec: str) -> None:
    packed = PACK[codec](b"one\n")
    whole = SKIPPABLE + packed + SKIPPABLE + SKIPPABLE + packed + SKIPPABLE
    for file in (io.BytesIO, Trickle):
        assert decode(whole, codec, file) == b"one\n" * 2
        assert decode(SKIPPABLE, codec, file) == b""
    assert "skippable frame that begins at byte 0 has no end" in error_of(SKIPPABLE[:-1], codec)
    assert codec_of_head(whole[:32]) is CODECS[codec]
    assert codec_of_head(SKIPPABLE) is CODECS["zstd"]


# of all levels, gzip's 0 is the one where the library's bytes depend on how its input is cut
@pytest.mark.parametrize(("codec", "level"), [*((name, None) for name in CODECS), ("gzip", 0)])
def test_equal_streams_give_equal_bytes_however_written(codec: str, level: int | None) -> None:
    data = text(60_000) + noise(200_000)
    expected = encode(data, codec, level=level)
    assert UNPACK[codec](expected) == data
    print("seed", SEED)
    rng = random.Random(SEED)
    assert encode(data, codec, list(range(0, len(data), 1000)), level=level) == expected
    for pieces in (1, 3, 300):
        cuts = [rng.randrange(len(data)) for _ in range(pieces)]
        assert encode(data, codec, cuts, level=level) == expected
        assert encode(data, codec, [(cut >> 18) << 18 for cut in cuts], level=level) == expected


@codecs
def test_a_level_is_taken(codec: str) -> None:
    data = text(20_000)
    low, high = (encode(data, codec, level=level) for level in (1, 9))
    assert low != high
    assert decode(low, codec) == decode(high, codec) == data


def test_an_empty_zstd_shard_is_the_frame_that_says_so() -> None:
    assert encode(b"", "zstd") == PACK["zstd"](b"") == bytes.fromhex("28b52ffd240001000099e9d851")


def test_the_encoder_writes_checksums_and_no_time() -> None:
    assert encode(b"x", "gzip")[3:8] == bytes(5)  # no flags (so no name), no time
    assert encode(b"x", "zstd")[4] & 0b100  # of the frame's header descriptor
    assert lz4.frame.get_frame_info(encode(b"x", "lz4"))["content_checksum"]
    assert encode(b"x", "xz")[7] == lzma.CHECK_CRC64


@codecs
def test_an_encoder_takes_any_buffer_and_a_sink_that_takes_little(codec: str) -> None:
    class Narrow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data[:7]))

    sink = Narrow()
    encoder = writer(sink, CODECS[codec])
    encoder.write(memoryview(b"abcdefgh").cast("Q"))
    encoder.write(b"")
    encoder.write(bytearray(b"i"))
    encoder.close()
    assert not sink.closed
    assert UNPACK[codec](sink.getvalue()) == b"abcdefghi"


@codecs
def test_seeks_forward_and_to_the_beginning(codec: str) -> None:
    data = text(60_000)
    cut = len(data) // 3
    decoder = reader(
        io.BytesIO(PACK[codec](data[:cut]) + PACK[codec](data[cut:])), CODECS[codec], "some/file"
    )
    assert decoder.readable()
    assert decoder.read(10) == data[:10]
    for place in (10, 11, cut - 1, cut, cut + 1, len(data) - 5):
        assert decoder.seek(place) == decoder.tell() == place
        assert decoder.read(1) == data[place : place + 1]
    with pytest.raises(io.UnsupportedOperation, match="forward only"):
        decoder.seek(cut)
    assert decoder.seek(len(data) + 100) == len(data)
    assert decoder.read(1) == b""
    assert decoder.seek(0) == 0
    assert decoder.readall() == data


@codecs
def test_a_sample_of_a_small_file_is_exact(codec: str) -> None:
    data = text(20_000)
    packed = PACK[codec](data) * 2
    ratio = sample_ratio(io.BytesIO(packed), CODECS[codec], "x")
    assert ratio == 2 * len(data) / len(packed)
    assert sample_ratio(io.BytesIO(PACK[codec](b"")), CODECS[codec], "x") == 0


@codecs
def test_a_sample_is_near_and_reads_little(codec: str) -> None:
    data = text(300_000)
    packed = PACK[codec](data)
    limit = len(packed) // 2
    true = len(data) / len(packed)
    file = io.BytesIO(packed)
    assert sample_ratio(file, CODECS[codec], "x", limit=limit) == pytest.approx(true, rel=0.15)
    assert file.tell() < len(packed)
    head = io.BytesIO(packed[:limit])  # what a plan may have fetched
    assert sample_ratio(head, CODECS[codec], "x") == pytest.approx(true, rel=0.25)


@codecs
def test_a_sample_of_bad_files_is_an_error(codec: str) -> None:
    for data in (b"", b"plain text\n", PACK[codec](b"one\n") + b"garbage"):
        with pytest.raises(DataError):
            sample_ratio(io.BytesIO(data), CODECS[codec], "x")


@codecs
def test_a_sample_of_a_bomb_ends(codec: str) -> None:
    packed = PACK[codec](bytes(1 << 24))
    file = io.BytesIO(packed * 50)
    assert sample_ratio(file, CODECS[codec], "x", limit=1 << 18) > 64
    assert file.tell() <= 1 << 17
