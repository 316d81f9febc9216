"""Looking at the input files before any work starts: formats, schemas, headers, sizes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.inputs.kept_fields import require_text, required_text, settle
from pipelines.inputs.one_file import Look, look_at, shared_field
from pipelines.recipes.recipe import Recipe
from transforms.datasets.source_files import Files, SourceFile, extension
from transforms.errors import DataError, InputError, UsageError
from transforms.formats import arrow_messages, compressed, parquet
from transforms.formats.codecs import CODECS, codec_of_name
from transforms.formats.detection import EXTENSIONS, FileFormat, Kind
from transforms.formats.kept import Kept
from transforms.formats.line_format import LineFormat
from transforms.formats.schemas import LINE, TEXT, unify_files
from transforms.formats.texts import EXTENSION as TEXT_EXTENSION
from transforms.formats.writing import RecordsAre, ShardFormat
from transforms.kernels.records.common_schema import describe as describe_unified
from transforms.storage import files as storage

_MOST = 1000  # files that are looked at beforehand; the others are when they are read
_SAMPLES = 16  # files whose records are looked at, for estimates
_COMPRESSIONS: dict[Kind, tuple[str, ...]] = {
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
class Amount:
    """How much a source holds: bytes of its files, and records and their bytes, exactly or about.

    Tokens are there, about, where a mixture counts them.
    """

    files: int = 0
    stored: int = 0
    records: int = 0
    bytes: int = 0
    tokens: int = 0
    exact_records: bool = True
    exact_bytes: bool = True

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            files=self.files + other.files,
            stored=self.stored + other.stored,
            records=self.records + other.records,
            bytes=self.bytes + other.bytes,
            tokens=self.tokens + other.tokens,
            exact_records=self.exact_records and other.exact_records,
            exact_bytes=self.exact_bytes and other.exact_bytes,
        )


@dataclass(frozen=True)
class Contents:
    """What the files hold together.

    Attributes:
        line_format: of lines, with the header that all files share.
        schema: of rows, one that holds those of all files; None where the records are lines or texts.
        amounts: by source.
        form, extension: of the shards to be written.
        window: bytes that a decoder of one of the files holds, beyond the usual.
        kept: what is kept beside the texts, or beside whole records.
        notes: what of the input is read as something else than the files say, in lines.
    """

    line_format: LineFormat
    schema: pa.Schema | None
    amounts: dict[str, Amount]
    form: ShardFormat
    extension: str
    window: int = 0
    kept: Kept | None = None
    notes: tuple[str, ...] = ()

    @property
    def records(self) -> int:
        """How many records there are, about."""
        return sum(amount.records for amount in self.amounts.values())

    @property
    def bytes(self) -> int:
        """How many bytes they have, about."""
        return sum(amount.bytes for amount in self.amounts.values())


def look_into(
    files: Files,
    recipe: Recipe,
    *,
    keep: Sequence[str] = (),
    text: str | None = None,
    whole: bool = False,
) -> Contents:
    """Look at input files, all of them unless they are very many.

    Args:
        files: the listing.
        recipe: what is asked of them.
        keep: names of what is kept beside the texts, or beside whole records.
        text: where the text beside whole records is; None where nobody named it.
        whole: records are written whole whatever names their text.

    Raises:
        InputError: a file isn't what its name says or can't be read, or files don't go together.
        UsageError: what is asked of the output doesn't go with the input.
    """
    chosen = files.every(-(-len(files) // _MOST)) if files else []
    sampled = set(chosen[:: -(-len(chosen) // _SAMPLES)]) if chosen else set()
    local = all(storage.is_local(file.url) for file in chosen)
    found = storage.in_parallel(
        lambda file: look_at(file, recipe, keep, sample=file in sampled, text=text),
        chosen,
        limit=1 if local else 16,
    )
    looks = dict(zip(chosen, found, strict=True))
    _refuse_empty_alone(chosen)
    schemas = {file.url: look.schema for file, look in looks.items() if look.schema is not None}
    schema = None
    if recipe.text_field is None:
        # an empty file is of no kind
        if len({look.format.is_rows for file, look in looks.items() if file.size}) > 1:
            raise _rows_and_lines(looks, whole=whole)
        try:
            schema = unify_files(schemas) if schemas else None
        except DataError as error:
            raise InputError(str(error)) from error
    header = _common_header(looks, recipe)
    line_format = LineFormat(
        separator=ord(recipe.separator),
        header_lines=recipe.header_lines,
        header=header,
        quoted=recipe.format == "csv",
    )
    form = _choose_form(looks, recipe, schema, line_format)
    if form.kind == "lines":
        shard_extension = extension(files) if form.records_are == "lines" else TEXT_EXTENSION
        if any(look.layout != "lines" for look in looks.values()):
            shard_extension = TEXT_EXTENSION  # lines, whatever they came of
        if form.compression != "none":
            shard_extension += CODECS[form.compression].suffixes[0]
    else:
        shard_extension = EXTENSIONS[form.kind]
    window = max((look.window for look in looks.values()), default=0)
    amounts = _amounts(files, looks)
    if recipe.text_field is not None:  # of which texts are a part, only reading says how large
        amounts = {name: replace(amount, exact_bytes=False) for name, amount in amounts.items()}
    kept = None
    fields = {file.url: look.fields for file, look in looks.items() if look.fields is not None}
    if named := text or required_text(recipe):
        require_text(named, fields, everywhere=recipe.on_bad_record == "fail")
    if keep:
        rows = {file.url: look.kept for file, look in looks.items() if look.kept is not None}
        kept = settle(keep, rows=rows, lines=fields)
    notes = [] if schema is None else describe_unified(schemas, schema)
    if kept is not None and kept.schema is not None and rows:
        notes = describe_unified(rows, kept.schema)
    if empty := [file.url for file in chosen if not file.size and codec_of_name(file.url)]:
        more = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
        notes.append(f"{empty[0]}: an empty file (0 bytes), which holds no records{more}")
    notes += dict.fromkeys(note for look in looks.values() for note in look.notes)
    return Contents(line_format, schema, amounts, form, shard_extension, window, kept, tuple(notes))


def _refuse_empty_alone(files: Sequence[SourceFile]) -> None:
    """Raise InputError where nothing holds a byte, and a file should, by its name."""
    empty = next((file for file in files if codec_of_name(file.url)), None)
    if empty is not None and not any(file.size for file in files):
        raise InputError(
            f"{empty.url}: expected compressed lines, by its name, got an empty file (0 "
            "bytes), and the other files are empty too; fetch it again"
        )


def _rows_and_lines(looks: dict[SourceFile, Look], *, whole: bool) -> InputError:
    """Say which files hold rows and which lines, how many of each, and what can be done."""
    told = []
    for rows in (False, True):
        of = [
            (file, look)
            for file, look in looks.items()
            if file.size and look.format.is_rows == rows
        ]
        what = f"rows ({of[0][1].format.word})" if rows else "lines"
        more = f" and {len(of) - 1} more hold" if len(of) > 1 else " holds"
        told.append(f"{of[0][0].url}{more} {what}")
    field = None if whole else shared_field(looks)
    together = f", or --text_field={field} to mix only their texts" if field else ""
    return InputError(
        f"{' and '.join(told)}: one run reads lines, or rows of one schema; choose with "
        f"--extension, as in --extension=.parquet{together}"
    )


def _common_header(looks: dict[SourceFile, Look], recipe: Recipe) -> bytes:
    """Return the header of the first file that has one; the others' lines may end in another way."""
    first: tuple[str, bytes] | None = None
    for file, look in looks.items():
        if not look.header:  # nor a record
            continue
        if first is None:
            first = file.url, look.header
        elif look.header.replace(b"\r\n", b"\n") != first[1].replace(b"\r\n", b"\n"):
            raise InputError(
                f"--header_lines={recipe.header_lines}: the headers of {first[0]} and "
                f"{file.url} differ: {first[1][:80]!r} and {look.header[:80]!r}; process "
                "such files in separate runs"
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
    possible = _COMPRESSIONS.get(kind, ("none", *CODECS))
    if compression not in possible:
        if recipe.compression is None:
            compression = _CONVERTED[kind]
        else:
            raise UsageError(
                f"--compression={compression}: expected one of {', '.join(possible)} for {kind}"
            )
    records_are: RecordsAre = "texts" if as_text else "lines" if schema is None else "rows"
    if as_rows:
        schema = LINE if any(look.json for look in looks.values()) else TEXT
    if kind == "parquet" and schema is not None:
        parquet.check_writable(schema)
    return ShardFormat(
        kind=kind,
        compression=compression,
        codec_modules=compressed.with_installed(recipe.codec_module),
        line_format=LineFormat() if as_text else line_format,
        schema=schema,
        records_are=records_are,
    )


def _amounts(files: Files, looks: dict[SourceFile, Look]) -> dict[str, Amount]:
    found: dict[str, _Estimate] = {}
    for table in files.tables():  # most of them were not looked at: never an object for each
        names = table.column("source")
        for source in pc.unique(names).to_pylist():
            if source not in found:
                found[source] = _Estimate(source, looks)
            found[source].add(table.filter(pc.equal(names, source)))
    return {source: estimate.amount for source, estimate in found.items()}


class _Estimate:
    """Adds up what the files of a source hold, from what some of them look like, else some of others."""

    def __init__(self, source: str, looks: dict[SourceFile, Look]) -> None:
        sampled = [pair for pair in looks.items() if pair[1].record_bytes]
        known = [pair for pair in sampled if pair[0].source == source] or sampled
        stored = sum(file.size for file, _ in known)
        plain = sum(file.size * look.expansion for file, look in known)
        self._expansion = plain / stored if stored else 1
        means = [look.record_bytes for _, look in known if look.record_bytes]
        self._mean = sum(means) / len(means) if means else 1.0
        counted = [pair for pair in looks.items() if pair[1].record_tokens is not None]
        counted = [pair for pair in counted if pair[0].source == source] or counted
        tokens = [look.record_tokens or 0.0 for _, look in counted]
        self._mean_tokens = sum(tokens) / len(tokens) if tokens else 0.0
        mine = {
            file.url: (file.size, look) for file, look in looks.items() if file.source == source
        }
        self._looked_at = pa.array(mine, pa.large_string())
        self.amount = Amount()
        for size, look in mine.values():
            self._add_look(size, look)

    def add(self, table: pa.RecordBatch) -> None:
        """Add files of the source."""
        rest = table.filter(pc.invert(pc.is_in(table.column("url"), self._looked_at)))
        sizes = (rest.column("size").to_numpy() * self._expansion).astype(np.int64)
        # where there are bytes, a record is
        records = np.maximum(sizes // self._mean, np.minimum(sizes, 1)).astype(np.int64)
        self.amount += Amount(
            files=len(table),
            stored=int(table.column("size").to_numpy().sum()),
            records=int(records.sum()),
            bytes=int(sizes.sum()),
            tokens=int(records.sum() * self._mean_tokens),
            exact_records=not sizes.any(),
            exact_bytes=not len(rest),
        )

    def _add_look(self, stored: int, look: Look) -> None:
        plain = look.format == FileFormat("lines")
        size = stored if plain else int(stored * self._expansion)
        records = max(int(size // self._mean), min(size, 1))
        exact_records = not size
        if look.records is not None:
            records, exact_records, plain = look.records, True, False
            size = int(look.records * (look.record_bytes or self._mean))
        mean = self._mean_tokens if look.record_tokens is None else look.record_tokens
        self.amount += Amount(
            records=records,
            bytes=size,
            tokens=round(records * mean),
            exact_records=exact_records,
            exact_bytes=plain,
        )
