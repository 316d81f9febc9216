"""Records of text as one buffer with offsets, and the segments in it that are segmented apart."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from transforms.errors import DataError
from transforms.kernels.arrays import I64, U8, offsets_of

CPM_NEWLINE = "\u2583"
"""What stands for a newline with CPM's white space; here, since recipes know it without any kernel."""

_NEWLINE = 0x0A
_CHUNK = 1 << 22  # bytes


class Texts(NamedTuple):
    """Records of text, one after another."""

    data: U8
    """uint8[m]."""

    offsets: I64
    """int64[r + 1]: record i is data[offsets[i]:offsets[i + 1]]; the first is 0, the last m."""


class Normalized(NamedTuple):
    """What a model segments: no edge crosses from one segment into the next."""

    data: U8
    """uint8[m]."""

    segments: I64
    """int64[s + 1]: segment j is data[segments[j]:segments[j + 1]]; none is empty."""

    records: I64
    """int64[r + 1]: record i is the segments records[i] to records[i + 1]; empty text has none."""

    def of_record(self, record: int) -> list[bytes]:
        """Return a record's segments as byte strings."""
        first, last = self.records[record : record + 2].tolist()
        bounds = self.segments[first : last + 1].tolist()
        return [self.data[a:b].tobytes() for a, b in pairwise(bounds)]


class Normalizer(abc.ABC):
    """From text to segments. Can be pickled; what it does to a record depends on that record alone."""

    @abc.abstractmethod
    def normalize(self, texts: Texts) -> Normalized:
        """Normalize records.

        Raises:
            DataError: a record isn't valid UTF-8 where the model needs text; says which and where.
        """

    def __call__(self, texts: Iterable[str | bytes]) -> Normalized:
        """Normalize records given one by one."""
        return self.normalize(pack(texts))


def pack(texts: Iterable[str | bytes]) -> Texts:
    """Lay records one after another.

    Raises:
        DataError: a str holds a lone surrogate, which UTF-8 can't say.
    """
    pieces = []
    for number, text in enumerate(texts):
        try:
            pieces.append(text.encode() if isinstance(text, str) else text)
        except UnicodeEncodeError as error:
            found = f"U+{ord(error.object[error.start]):04X}"
            raise DataError(
                f"record {number} of the batch, character {error.start}: {found} is half of a "
                "surrogate pair, which isn't text; fix or drop the record"
            ) from None
    return pack_bytes(pieces)


def pack_bytes(pieces: Sequence[bytes]) -> Texts:
    """Lay byte strings one after another."""
    return Texts(np.frombuffer(b"".join(pieces), np.uint8), offsets_of(list(map(len, pieces))))


def unpack(texts: Texts) -> list[bytes]:
    """Return the records as byte strings."""
    whole, bounds = texts.data.tobytes(), texts.offsets.tolist()
    return [whole[a:b] for a, b in pairwise(bounds)]


def take(texts: Texts, numbers: I64) -> Texts:
    """Return some of the records, by their numbers."""
    begins, ends = texts.offsets[:-1][numbers], texts.offsets[1:][numbers]
    parts = [texts.data[a:b] for a, b in zip(begins.tolist(), ends.tolist(), strict=True)]
    return Texts(np.concatenate([texts.data[:0], *parts]), offsets_of(ends - begins))


def replace_records(texts: Texts, changed: Mapping[int, bytes]) -> Texts:
    """Put other texts in the places of some records.

    Args:
        changed: by their numbers, which rise.
    """
    lengths = np.diff(texts.offsets)
    parts, done = [], 0
    for number, text in changed.items():
        parts += [texts.data[done : texts.offsets[number]], np.frombuffer(text, np.uint8)]
        done = int(texts.offsets[number + 1])
        lengths[number] = len(text)
    return Texts(np.concatenate([*parts, texts.data[done:]]), offsets_of(lengths))


def count_characters(text: U8) -> int:
    """Return how many characters UTF-8 holds."""
    return int(np.count_nonzero(text.view(np.int8) >= -0x40))  # 0x80 to 0xBF go on with one


def check_utf8(texts: Texts) -> None:
    """Make sure that all records are valid UTF-8.

    Raises:
        DataError: one isn't; names the first, and its first wrong byte.
    """
    from transforms.kernels.records.text_loops import are_utf8  # numba takes long to import

    if are_utf8(texts.data, texts.offsets):
        return
    for number, text in enumerate(unpack(texts)):
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"record {number} of the batch, byte {error.start}: 0x{text[error.start]:02X} is "
                f"not UTF-8 ({error.reason}), and this model needs text; fix the record, or pass "
                "a BytePiece model, which can take bytes"
            ) from None


def in_chunks(text: memoryview) -> Iterator[memoryview]:
    """Cut text into chunks of about 4 MiB, where neither a character nor a composition is cut.

    Nothing before an ASCII character or a CJK one (U+4000 to U+9FFF) combines with it, in Unicode's NFC.
    A str takes up to four times the room of its UTF-8.
    """
    begin = 0
    while begin < len(text):
        end = min(begin + _CHUNK, len(text))
        while end < len(text) and not (text[end] < 0x80 or 0xE4 <= text[end] <= 0xE9):
            end += 1
        yield text[begin:end]
        begin = end


def whole_records(texts: Texts) -> Normalized:
    """Take each record as one segment."""
    lengths = np.diff(texts.offsets)
    records = offsets_of(lengths > 0)
    segments = np.concatenate([texts.offsets[:-1][lengths > 0], texts.offsets[-1:]])
    return Normalized(texts.data, segments, records)


def cut_after_newlines(texts: Texts) -> Normalized:
    r"""Cut records after each run of newlines, which stays with the line before.

    As ``re.findall(rb".*\n+|.+", record)`` does: bytepiece's ``normalize``.
    """
    data, offsets = texts
    ends = np.flatnonzero(data == _NEWLINE) + 1
    ends = ends[ends < len(data)]
    ends = ends[data[ends] != _NEWLINE]
    bounds = np.insert(ends, np.searchsorted(ends, offsets), offsets)
    segments = bounds[np.diff(bounds, prepend=-1) > 0]  # those of empty records fall together
    return Normalized(data, segments, np.searchsorted(segments, offsets))


def lay_out(records: Sequence[Sequence[bytes]]) -> Normalized:
    """Lay down segments that are given record by record; empty ones are left out."""
    segments = [segment for record in records for segment in record if segment]
    counts = [sum(map(bool, record)) for record in records]
    return Normalized(*pack_bytes(segments), offsets_of(counts))
