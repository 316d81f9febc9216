"""Which codec heads and names show, and windows, as the tools that write them were told to make them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma

import pytest
from backports import zstd

from transforms.formats.codecs import CODECS, codec_of_head, codec_of_name, strip_suffix
from transforms.formats.detection import behind_skippable

TEXT = b"some text that is long enough\n" * 100


def window_of(head: bytes) -> int:
    begin = behind_skippable(io.BytesIO(head), head, len(head))
    codec = codec_of_head(begin)
    return 0 if codec is None else codec.window_of(begin)


@pytest.mark.parametrize("bits", [10, 21, 23, 27])
def test_the_window_of_a_zstd_frame_of_unknown_size(bits: int) -> None:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: bits})
    data = packer.compress(TEXT) + packer.flush()
    assert window_of(data[:64]) == 1 << bits


def test_a_zstd_frame_of_known_size_needs_that_size() -> None:
    assert window_of(zstd.compress(TEXT, level=19)[:64]) == len(TEXT)


@pytest.mark.parametrize(
    ("preset", "size"), [(0, 1 << 18), (3, 1 << 22), (6, 1 << 23), (9, 1 << 26)]
)
def test_the_dictionary_of_an_xz_preset(preset: int, size: int) -> None:
    assert window_of(lzma.compress(TEXT, preset=preset)[:64]) == size


def test_the_dictionary_of_an_xz_block_with_a_filter_before() -> None:
    filters = [
        {"id": lzma.FILTER_DELTA, "dist": 1},
        {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 3 << 24},
    ]
    assert window_of(lzma.compress(TEXT, filters=filters)[:64]) == 4 << 24  # a power of two


OTHERS = b"", b"plain", gzip.compress(TEXT), bz2.compress(TEXT)


@pytest.mark.parametrize("data", OTHERS, ids=("nothing", "plain", "gzip", "bzip2"))
def test_other_files_have_none_worth_counting(data: bytes) -> None:
    assert window_of(data[:64]) == 0


@pytest.mark.parametrize("data", [zstd.compress(TEXT), lzma.compress(TEXT)])
def test_a_file_that_is_cut_has_no_larger_window_and_no_error(data: bytes) -> None:
    for size in range(64):
        assert window_of(data[:size]) <= window_of(data[:64])


def test_a_frame_that_is_skipped_hides_no_window() -> None:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    frame = packer.compress(TEXT) + packer.flush()
    assert window_of(
        (b"\x50\x2a\x4d\x18" + (8).to_bytes(4, "little") + b"whatever" + frame)[:64]
    ) == (1 << 27)


def test_heads_that_show_no_codec() -> None:
    for head in (b"", b"B", b"BZh9 is no bzip2", b"plain text\n", b"PAR1", bytes(16)):
        assert codec_of_head(head) is None


def test_names_show_codecs() -> None:
    names = {"a.gz": "gzip", "b/a.txt.BZ2": "bzip2", "a.xz": "xz", "a.jsonl.zst": "zstd"}
    names |= {"a.zstd": "zstd", "s3://b/a.lz4": "lz4"}
    for name, codec in names.items():
        assert codec_of_name(name) is CODECS[codec]
    for name in ("a", "a.txt", "a.gz/b", ".gz", "b/.gz", "agz", "a.gz.txt"):
        assert codec_of_name(name) is None
        assert strip_suffix(name) == name
    assert strip_suffix("b.gz/a.jsonl.gz") == "b.gz/a.jsonl"
    assert strip_suffix("a.gz.gz") == "a.gz"
