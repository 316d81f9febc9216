"""Looking at the input files before any work starts: formats, schemas, headers, sizes."""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import pyarrow as pa

from pipelines.kept_fields import Fields, fields_in, settle
from pipelines.recipe import Recipe
from transforms import layout, storage
from transforms.errors import DataError, InputError, UsageError
from transforms.formats import arrow, arrow_messages, codecs, lines, parquet
from transforms.formats.codecs import CODECS, Decoder
from transforms.formats.detection import EXTENSIONS, FileFormat, Kind, detect
from transforms.formats.kept import Kept, text_and_kept
from transforms.formats.lines import LineFormat
from transforms.formats.reading import Buffered
from transforms.formats.tables import TEXT, require_schema
from transforms.formats.texts import EXTENSION as TEXT_EXTENSION
from transforms.formats.texts import form_of
from transforms.formats.windows import window_of
from transforms.formats.writing import RecordsAre, ShardFormat
from transforms.listing import SourceFile, extension

_MAY_BE_EMPTY = 1024  # bytes of a compressed file that may hold no record, for all that
_MOST = 1000  # files that are looked at beforehand; the others are when they are read
_SAMPLES = 16  # files whose records are looked at, for estimates
_SAMPLE_BYTES, _SAMPLE_ROWS = 1 << 16, 32
WINDOW_COUNTED = 8 << 20  # of a decoder's window, in what a process takes anyway
_PLACES = 8  # of a line file that are looked at
_COMPRESSIONS: dict[Kind, tuple[str, ...]] = {
    "lines": ("none", *CODECS),
    "parquet": parquet.COMPRESSIONS,
    "arrow": arrow_messages.COMPRESSIONS,
    "arrow_stream": arrow_messages.COMPRESSIONS,
}
_CONVERTED: dict[Kind, str] = {
    "lines": "none",
    "parquet": "zstd",
    "arrow": "none",
    "arrow_stream": "none",
}


@dataclass(frozen=True)
class Look:
    """What one file looks like.

    Attributes:
        format: what it is.
        compression: of a Parquet or Arrow file, or the codec of lines; None where that is not known.
        schema: of rows.
        header: of lines.
        records: how many it has, where that is known.
        record_bytes: logical bytes of a record, line end included, over those of a sample of
            records; None where none was taken.
        expansion: bytes when decompressed over bytes of the file, of the sample.
        window: bytes that a decoder holds, beyond the usual.
        kept: of rows, the columns that are to be kept beside their text.
        fields: of JSON lines whose fields are to be kept, those of a sample of records; None where
            none was taken.
    """

    format: FileFormat
    compression: str | None
    schema: pa.Schema | None = None
    header: bytes = b""
    records: int | None = None
    record_bytes: float | None = None
    expansion: float = 1.0
    window: int = 0
    kept: pa.Schema | None = None
    fields: Fields | None = None


@dataclass(frozen=True)
class Amount:
    """How much a source holds: bytes of its files, and records and their bytes, exactly or about."""

    files: int
    stored: int
    records: int
    bytes: int
    exact_records: bool
    exact_bytes: bool


@dataclass(frozen=True)
class Contents:
    """What the files hold together.

    Attributes:
        line_format: of lines, with the header that all files share.
        schema: of rows, that of the first file; None where the records are lines or texts.
        amounts: by source.
        form, extension: of the shards to be written.
        window: bytes that a decoder of one of the files holds, beyond the usual.
        kept: what is kept beside the texts.
    """

    line_format: LineFormat
    schema: pa.Schema | None
    amounts: dict[str, Amount]
    form: ShardFormat
    extension: str
    window: int = 0
    kept: Kept | None = None

    @property
    def records(self) -> int:
        """How many records there are, about."""
        return sum(amount.records for amount in self.amounts.values())

    @property
    def bytes(self) -> int:
        """How many bytes they have, about."""
        return sum(amount.bytes for amount in self.amounts.values())


def look_into(files: list[SourceFile], recipe: Recipe, *, keep: Sequence[str] = ()) -> Contents:
    """Look at input files, all of them unless they are very many.

    Args:
        files: the listing.
        recipe: what is asked of them.
        keep: names of what is kept beside the texts.

    Raises:
        InputError: a file isn't what its name says or can't be read, or files don't go together.
        UsageError: what is asked of the output doesn't go with the input.
    """
    chosen = files[:: -(-len(files) // _MOST)] if files else []
    sampled = set(chosen[:: -(-len(chosen) // _SAMPLES)]) if chosen else set()
    local = all(storage.is_local(file.url) for file in chosen)
    found = storage.in_parallel(
        lambda file: _look(file, recipe, keep, sample=file in sampled),
        chosen,
        limit=1 if local else 16,
    )
    looks = dict(zip(chosen, found, strict=True))
    schema = _common_schema(looks) if recipe.text_field is None else None
    header = _common_header(looks, recipe)
    line_format = LineFormat(
        separator=ord(recipe.separator), header_lines=recipe.header_lines, header=header
    )
    form = _choose_form(looks, recipe, schema, line_format)
    if form.kind == "lines":
        shard_extension = extension(files) if form.records_are == "lines" else TEXT_EXTENSION
        if form.compression != "none":
            shard_extension += CODECS[form.compression].suffixes[0]
    else:
        shard_extension = EXTENSIONS[form.kind]
    window = max((look.window for look in looks.values()), default=0)
    amounts = _amounts(files, looks)
    if recipe.text_field is not None:  # of which texts are a part, only reading says how large
        amounts = {name: replace(amount, exact_bytes=False) for name, amount in amounts.items()}
    kept = None
    if keep:
        rows = {file.url: look.kept for file, look in looks.items() if look.kept is not None}
        fields = {file.url: look.fields for file, look in looks.items() if look.fields is not None}
        kept = settle(keep, rows=rows, lines=fields)
    return Contents(line_format, schema, amounts, form, shard_extension, window, kept)


def _look(file: SourceFile, recipe: Recipe, keep: Sequence[str], *, sample: bool) -> Look:
    with storage.open_read(file.url) as opened:
        _refuse_parts_of_datasets(opened, file)
        found = file.format or detect(opened, name=file.url, size=file.size)
        if not found.is_rows:
            return _look_at_lines(opened, file, found, recipe, keep, sample=sample)
        if recipe.header_lines:
            raise InputError(
                f"{file.url}: expected lines, as --header_lines says, got {found.word}"
            )
        buffered = Buffered(opened, file.size)
        look_at = _look_at_parquet if found.kind == "parquet" else _look_at_arrow
        kept = Kept(names=tuple(keep)) if keep else None
        try:
            return look_at(buffered, file, found, recipe.text_field, kept, sample=sample)
        except DataError as error:
            raise InputError(str(error)) from error


def _look_at_lines(
    opened: Any,
    file: SourceFile,
    found: FileFormat,
    recipe: Recipe,
    keep: Sequence[str],
    *,
    sample: bool,
) -> Look:
    separator, wanted = ord(recipe.separator), recipe.header_lines
    codec = found.codec
    expansion, record_bytes, header, records = 1.0, None, b"", None
    fields: Fields | None = None
    window = 0 if codec is None else max(window_of(opened.read(64) or b"") - WINDOW_COUNTED, 0)
    opened.seek(0)
    stream = opened if codec is None else Decoder(opened, codec, file.url)
    try:
        if wanted:
            header = lines.header_of(stream, lines=wanted, separator=separator, name=file.url)
        if codec is not None and file.size <= _MAY_BE_EMPTY:
            opened.seek(0)
            stream = Decoder(opened, codec, file.url)
            begin = storage.read_into(stream, memoryview(bytearray(len(header) + 1)))
            records = 0 if begin <= len(header) else None
        if sample:
            if keep:
                form = LineFormat(separator=separator, header_lines=wanted, header=header)
                if form_of(opened, name=file.url, codec=codec, line_format=form) == "plain":
                    raise InputError(
                        f"{file.url}: expected JSON lines or rows, of which "
                        f"--keep_fields={','.join(keep)} could be taken, got other lines"
                    )
            opened.seek(0)
            if codec is not None:
                expansion = codecs.sample_ratio(opened, codec, file.url)
                opened.seek(0)
                stream = Decoder(opened, codec, file.url)
            places = 1 if codec is not None or file.size <= _PLACES * _SAMPLE_BYTES else _PLACES
            pieces = _pieces(stream, [file.size * i // places for i in range(places)])
            record_bytes = _mean_line(pieces, separator)
            if keep:
                fields = fields_in(stream, pieces, skip=len(header), separator=separator)
    except DataError as error:
        raise InputError(str(error)) from error
    return Look(
        found,
        compression=codec.name if codec else "none",
        header=header,
        records=records,
        record_bytes=record_bytes,
        expansion=expansion,
        window=window,
        fields=fields,
    )


def _pieces(stream: Any, places: list[int]) -> dict[int, bytes]:
    """Return what lies at some places of a line file."""
    found = {}
    for place in places:
        stream.seek(place)
        sample = bytearray(_SAMPLE_BYTES)
        found[place] = bytes(sample[: storage.read_into(stream, memoryview(sample))])
    return found


def _mean_line(pieces: dict[int, bytes], separator: int) -> float | None:
    """Return the mean bytes of the lines in pieces, ends included; None where there are none."""
    seen = sum(map(len, pieces.values()))
    ended = sum(piece.count(bytes([separator])) for piece in pieces.values())
    return seen / max(ended, 1) if seen else None


def _look_at_parquet(
    opened: Any,
    file: SourceFile,
    found: FileFormat,
    column: str | None,
    kept: Kept | None,
    *,
    sample: bool,
) -> Look:
    opened_parquet = parquet.open_file(opened, name=file.url)
    schema = opened_parquet.schema_arrow
    if column is not None:
        schema = text_and_kept(schema, column, kept, name=file.url)
    return Look(
        found,
        compression=parquet.compression_of(opened_parquet, name=file.url) or "zstd",
        schema=opened_parquet.schema_arrow,
        records=opened_parquet.metadata.num_rows,
        record_bytes=parquet.mean_bytes(
            opened_parquet,
            rows=_SAMPLE_ROWS,
            name=file.url,
            columns=None if column is None else schema.names,
        )
        if sample
        else None,
        kept=None if kept is None else pa.schema(list(schema)[1:]),
    )


def _look_at_arrow(
    opened: Any,
    file: SourceFile,
    found: FileFormat,
    column: str | None,
    kept: Kept | None,
    *,
    sample: bool,
) -> Look:
    stream = found.kind == "arrow_stream"
    reader = arrow.Reader(
        opened, name=file.url, size=file.size, stream=stream, column=column, kept=kept
    )
    record_bytes, expansion, compression = None, 1.0, None
    if sample:  # a batch has to be read whole to learn how it is compressed
        record_bytes, expansion = reader.sample()
        compression = arrow_messages.first_batch(opened, stream=stream, name=file.url).compression
    return Look(
        found,
        compression=compression,
        schema=reader.schema,
        record_bytes=record_bytes,
        expansion=expansion,
        kept=None if kept is None else pa.schema(list(reader.schema)[1:]),
    )


def _refuse_parts_of_datasets(opened: BinaryIO | io.RawIOBase, file: SourceFile) -> None:
    """Raise InputError where a file isn't records but says what a dataset of ours holds."""
    name = os.path.basename(file.url)
    if name == layout.MARKER or (
        name == layout.MANIFEST and layout.is_our_manifest(opened.read(200) or b"")
    ):
        raise InputError(
            f"{file.url}: a dataset lies among the inputs; give its folder an --input of its own, "
            "or patterns that leave this file out"
        )


def _common_schema(looks: dict[SourceFile, Look]) -> pa.Schema | None:
    """Return the schema of the first file, None for lines; all files have to agree."""
    first: tuple[SourceFile, Look] | None = None
    for file, look in looks.items():
        if first is None:
            first = file, look
        elif look.format.is_rows != first[1].format.is_rows:
            raise InputError(
                f"{first[0].url} holds {_records_of(first[1])} and {file.url} {_records_of(look)}: "
                "lines are shuffled with lines, rows with rows of one schema; --text_field=NAME mixes "
                "their texts alone"
            )
        elif look.schema is not None:
            try:
                require_schema(look.schema, first[1].schema, name=file.url, other=first[0].url)
            except DataError as error:
                raise InputError(str(error)) from error
    return first[1].schema if first else None


def _records_of(look: Look) -> str:
    return f"rows ({look.format.word})" if look.format.is_rows else "lines"


def _common_header(looks: dict[SourceFile, Look], recipe: Recipe) -> bytes:
    first: tuple[str, bytes] | None = None
    for file, look in looks.items():
        if first is None:
            first = file.url, look.header
        elif look.header != first[1]:
            raise InputError(
                f"--header_lines={recipe.header_lines}: the headers of {first[0]} and {file.url} "
                f"differ: {first[1][:80]!r} and {look.header[:80]!r}; shuffle such files separately"
            )
    return first[1] if first else b""


def _choose_form(
    looks: dict[SourceFile, Look], recipe: Recipe, schema: pa.Schema | None, line_format: LineFormat
) -> ShardFormat:
    """Choose what shards are: as the inputs, by bytes where they differ, unless it was asked."""
    weights: dict[tuple[Kind, str], int] = defaultdict(int)
    for file, look in looks.items():
        if look.compression is not None:
            weights[look.format.kind, look.compression] += file.size
    most = max(weights, key=lambda found: (weights[found], found), default=("lines", "none"))
    as_text = recipe.text_field is not None
    kind: Kind = recipe.output_format or ("lines" if as_text else most[0])
    if kind == "lines" and schema is not None:
        raise UsageError(
            f"--output_format=lines: the input holds rows ({', '.join(schema.names[:8])}), which can't "
            "be written as lines; expected parquet, arrow or arrow_stream"
        )
    all_rows = bool(looks) and all(look.format.is_rows for look in looks.values())
    if all_rows and (recipe.check != "none" or recipe.separator != "\n"):
        flag = "--check" if recipe.check != "none" else "--separator"
        raise UsageError(f"{flag} is for lines, and the input holds rows; leave it out")
    as_rows = kind != "lines" and schema is None  # lines or texts
    if as_rows and not as_text and (line_format.header or recipe.separator != "\n"):
        raise UsageError(
            f"--output_format={kind}: lines with --header_lines or --separator can't be written as "
            "rows; expected lines"
        )
    same = {found: weight for found, weight in weights.items() if found[0] == kind}
    fallback = max(same, key=lambda f: (same[f], f))[1] if same else _CONVERTED[kind]
    compression = recipe.compression or fallback
    if compression not in _COMPRESSIONS[kind]:
        if recipe.compression is None:
            compression = _CONVERTED[kind]
        else:
            raise UsageError(
                f"--compression={compression}: expected one of {', '.join(_COMPRESSIONS[kind])} for "
                f"{kind}"
            )
    records_are: RecordsAre = "texts" if as_text else "lines" if schema is None else "rows"
    if as_rows:
        schema = TEXT
    if kind == "parquet" and schema is not None:
        parquet.check_writable(schema)
    return ShardFormat(
        kind=kind,
        compression=compression,
        line_format=LineFormat() if as_text else line_format,
        schema=schema,
        records_are=records_are,
    )


def _amounts(files: list[SourceFile], looks: dict[SourceFile, Look]) -> dict[str, Amount]:
    out = {}
    by_source: dict[str, list[SourceFile]] = defaultdict(list)
    for file in files:
        by_source[file.source].append(file)
    sampled = [pair for pair in looks.items() if pair[1].record_bytes]
    for source, mine in by_source.items():
        known = [pair for pair in sampled if pair[0].source == source] or sampled
        records = stored = decoded = 0
        exact_records = exact_bytes = True
        stored_known = sum(file.size for file, _ in known)
        expansion = (
            sum(file.size * look.expansion for file, look in known) / stored_known
            if stored_known
            else 1.0
        )
        means = [look.record_bytes for _, look in known if look.record_bytes]
        mean = sum(means) / len(means) if means else 1.0
        for file in mine:
            look = looks.get(file)
            stored += file.size
            plain = look is not None and look.format == FileFormat("lines")
            if look is not None and look.records is not None:
                records += look.records
                decoded += int(look.records * (look.record_bytes or mean))
                exact_bytes = False
                continue
            size = file.size if plain else int(file.size * expansion)
            decoded += size
            records += max(int(size // mean), min(size, 1))  # where there are bytes, a record is
            exact_records = exact_records and not size
            exact_bytes = exact_bytes and plain
        out[source] = Amount(len(mine), stored, records, decoded, exact_records, exact_bytes)
    return out
