"""Records, segments and UTF-8."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.tokenization.models.samples import TEXTS
from transforms.errors import DataError
from transforms.kernels.segmentation.nfc import KNOWN, cut_lines
from transforms.tokenization.models import texts
from transforms.tokenization.models.bytepiece import Nfc, RawBytes, settled_characters
from transforms.tokenization.models.texts import Normalized, pack, unpack

RECORDS = st.lists(st.one_of(TEXTS, st.text("a\n", max_size=6)), max_size=6)
RAW = st.lists(st.binary(max_size=8) | st.text("a\né", max_size=5).map(str.encode), max_size=6)


def segments(normalized: Normalized) -> list[list[bytes]]:
    found = [normalized.of_record(i) for i in range(len(normalized.records) - 1)]
    flat = [segment for record in found for segment in record]
    assert all(flat)
    assert b"".join(flat) == normalized.data.tobytes()
    assert normalized.segments.dtype == normalized.records.dtype == np.int64
    return found


@given(records=RAW)
def test_raw_bytes_are_cut_after_newlines(records: list[bytes]) -> None:
    expected = [re.findall(rb".*\n+|.+", record) for record in records]
    assert segments(RawBytes()(records)) == expected


@given(records=RECORDS)
def test_text_is_normalized_and_cut_as_bytepiece_does(records: list[str]) -> None:
    expected = [
        [line.encode() for line in re.findall(r".*\n+|.+", unicodedata.normalize("NFC", record))]
        for record in records
    ]
    assert segments(Nfc()(records)) == expected


# of each kind that composes: Latin, Bengali, Tamil, Sinhala, Burmese, jamo, Hangul, Balinese, Chakma
FIRSTS = "aAo\u09c7\u0bc6\u0dd9\u1025\u1100\uac00\u1b05\U00011131\U000114b9か"


def test_what_is_settled_neither_changes_nor_joins() -> None:
    settled = np.unpackbits(settled_characters(), bitorder="little")
    characters = [
        chr(number) for number in np.flatnonzero(settled) if not 0xD800 <= number < 0xE000
    ]
    assert {*"a\n\xe9水。，가😀"} <= {*characters}
    assert not {*"\u0301\u212b\u0958\u09be\u1161\u11a8\u3099\uf900"} & {*characters}
    assert len(characters) > 180_000
    for first in FIRSTS:
        joined = first + first.join(characters)
        assert unicodedata.normalize("NFC", joined) == joined


@pytest.mark.parametrize("behind", ["", "水水水", "abcdefgh"])
def test_every_character_that_is_not_settled_is_seen(behind: str) -> None:
    settled = np.unpackbits(settled_characters(), bitorder="little")
    numbers = [number for number in range(0x110000) if not 0xD800 <= number < 0xE000]
    packed = pack(chr(number) + behind for number in numbers)
    found = cut_lines(packed.data, packed.offsets, settled_characters())
    assert found is not None
    seen = [numbers[record] for record in found.unsettled.tolist()]
    assert seen == [number for number in numbers if number >= KNOWN or not settled[number]]


LONG = ["a" * 30 + "\u0301" * (i % 7 == 0) + "\n\n" * (i % 3) + "水。" * i for i in range(40)]


@pytest.mark.parametrize("pad", range(9))
def test_some_records_of_many_are_normalized(pad: int) -> None:
    records = ["", "b" * pad, *LONG, "\n" * 50, "a\u0301"]
    expected = [
        [line.encode() for line in re.findall(r".*\n+|.+", unicodedata.normalize("NFC", record))]
        for record in records
    ]
    assert segments(Nfc()(records)) == expected
    assert any(record != unicodedata.normalize("NFC", record) for record in records)


@given(records=RECORDS, chunk=st.integers(1, 7))
def test_long_texts_are_normalized_chunk_by_chunk_to_the_same(
    records: list[str], chunk: int
) -> None:
    whole = segments(Nfc()(records))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_CHUNK", chunk)
        assert segments(Nfc()(records)) == whole


@given(records=RAW, chunk=st.integers(1, 7))
def test_what_is_not_utf8_is_found(records: list[bytes], chunk: int) -> None:
    bad = []
    for number, record in enumerate(records):
        try:
            record.decode()
        except UnicodeDecodeError:
            bad.append(number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_CHUNK", chunk)
        if bad:
            for refuse in (texts.check_utf8, Nfc().normalize):
                with pytest.raises(DataError, match=f"record {bad[0]} of the batch"):
                    refuse(pack(records))
        else:
            texts.check_utf8(pack(records))


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([b"a", b"b\xff"], "record 1 of the batch, byte 1: 0xFF is not UTF-8"),
        ([b"\xc3", b"\xa9"], "record 0 of the batch, byte 0: 0xC3 is not UTF-8"),  # é, together
        ([b"", b"\xed\xa0\x80"], "record 1 of the batch, byte 0: 0xED is not UTF-8"),
    ],
)
def test_what_is_not_utf8_is_named(records: list[bytes], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Nfc()(records)
    assert segments(RawBytes()(records)) == [[record] if record else [] for record in records]


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(DataError, match=r"record 1 of the batch, character 2: U\+D83D is half of"):
        pack(["fine", "ab\ud83d"])


def test_no_records_and_empty_ones() -> None:
    for records in ([], [""], ["", "", "a", ""]):
        for normalized in (Nfc()(records), texts.whole_records(pack(records))):
            assert segments(normalized) == [[r.encode()] if r else [] for r in records]
        assert unpack(pack(records)) == [record.encode() for record in records]
