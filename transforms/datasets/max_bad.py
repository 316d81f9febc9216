"""Bad records: what ends a run, in words that lead to the record, and how many may be left out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import pyarrow as pa

from transforms.datasets.source_files import SourceFile
from transforms.errors import DataError
from transforms.formats.compressed import reader
from transforms.formats.detection import detect
from transforms.formats.line_format import line_number
from transforms.formats.readers import ReadOptions
from transforms.formats.text_field import LACKS
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.storage import files as storage

_SHOWN = 80  # characters of a bad record
_MOST = re.compile(r"(\d+)|(\d+(?:\.\d*)?|\.\d+)\s*%")


@dataclass(frozen=True)
class MostBad:
    """How many bad records may be left out: a number, or a share of all.

    >>> MostBad.parse("0.1%").is_exceeded(2, of=1000), MostBad.parse("2").is_exceeded(2, of=3)
    (True, False)
    """

    text: str
    count: int | None = None
    share: Fraction | None = None

    @classmethod
    def parse(cls, text: str) -> MostBad:
        """Read ``10`` or ``0.1%``; raise ValueError where it is neither."""
        match = _MOST.fullmatch(text.strip())
        if match is None:
            raise ValueError("expected a number of records, such as 10, or a share, such as 0.1%")
        if match[1]:
            return cls(text, count=int(match[1]))
        share = Fraction(match[2]) / 100
        if share > 1:
            raise ValueError("expected a share of at most 100%")
        return cls(text, share=share)

    def is_exceeded(self, bad: int, *, of: int) -> bool:
        """Say whether ``bad`` records of so many are too many."""
        return bad > (self.count or 0 if self.share is None else self.share * of)

    def require(self, bad: int, *, name: str) -> None:
        """Raise DataError where those of one file are too many by themselves."""
        if self.count is not None and bad > self.count:
            raise DataError(
                f"{name}: {bad:,} bad records so far, more than --max_bad={self.text} allows; "
                "fix the input, or raise --max_bad"
            )


def require_few(dropped: Digest, kept: Digest, most: MostBad | None) -> None:
    """Raise DataError where too many of the records read were bad, or all of them."""
    bad, of = dropped.records, dropped.records + kept.records
    if bad and not kept.records:
        raise DataError(
            f"all {bad:,} records of the input are bad and were left out, so the dataset would "
            "be empty; run without --on_bad_record to see what is wrong with the first"
        )
    if most is not None and most.is_exceeded(bad, of=of):
        raise DataError(
            f"{bad:,} of {of:,} records are bad, more than --max_bad={most.text} allows; fix the "
            "input, or raise --max_bad"
        )


def refusal(
    bad: pa.RecordBatch,
    reasons: tuple[str, ...],
    *,
    file: SourceFile,
    options: ReadOptions,
    first: bool,
) -> DataError:
    """Return the error that names the first of some bad records.

    Args:
        bad: as they stand in the file.
        reasons: of each.
        file: that they are in.
        options: by which it is read.
        first: no record of the file stands before.
    """
    position, reason = int(blocks.column(bad, "position")[0]), reasons[0]
    place = f"row {position}"
    if not blocks.is_rows(bad):
        place = f"the line at byte {position}{_line_number(file, options, position)}"
    says = f"{file.url}: {place} is a bad record: {reason}; it begins {beginning(bad)}"
    if first and LACKS in reason:
        field = options.text_field if options.beside is None else options.beside.text_field
        return DataError(
            f"{says}; check that --text_field={field} names the field that holds the text; if "
            "other records have this field, fix this record, or pass --on_bad_record=skip or "
            "quarantine"
        )
    return DataError(f"{says}; fix it, or pass --on_bad_record=skip or quarantine")


def _line_number(file: SourceFile, options: ReadOptions, position: int) -> str:
    """Return the number of the line, where it isn't too far to count, by reading up to there again."""
    with storage.open_read(file.url) as opened:
        found = file.format or detect(opened, name=file.url, size=file.size, said=options.format)
        opened.seek(0)
        stream = opened if found.codec is None else reader(opened, found.codec, file.url)
        number = line_number(stream, position, separator=options.line_format.separator)
    return "" if number is None else f" (line {number})"


def beginning(bad: pa.RecordBatch) -> str:
    """Return a record's first characters, escaped."""
    value = bad.column("record").slice(0, 1)
    if blocks.is_rows(bad):
        values = [shown_text(value.field(i)) for i in range(value.type.num_fields)]
        return ", ".join(values)[:_SHOWN]
    return shown_text(blocks.bare(bad.slice(0, 1)))


def shown_text(values: pa.Array) -> str:
    """Return the first characters of the first value, escaped; bytes, where it isn't text."""
    if values.slice(0, 1).null_count:
        return "null"
    try:
        value = values.cast(pa.large_binary())[0].as_py()
    except pa.ArrowException:  # as Arrow writes it: Python may have no such value, or no room
        shown = " ".join(values.slice(0, 1).to_string(indent=0).split())
        value = shown.removeprefix("[ ").removesuffix(" ]").encode()
    text = value[: 4 * _SHOWN].decode(errors="backslashreplace")[:_SHOWN]
    escaped = [c if c.isprintable() else c.encode("unicode_escape").decode() for c in text]
    return f"'{''.join(escaped)}'"
