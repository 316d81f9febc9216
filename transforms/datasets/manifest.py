"""The manifest: what was read, what was written, and the proof that they are the same."""

from __future__ import annotations

import datetime
import platform
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from transforms.datasets.bad_records import MostBad, require_few
from transforms.datasets.files_read import DROPPED, FilesRead
from transforms.datasets.reports import Mapped, Mixed, ShardReports, add_up, digests_in
from transforms.datasets.token_counts import TokenCounts
from transforms.errors import DataError, LosslessError
from transforms.formats.detection import Kind
from transforms.formats.writing import RecordsAre, ShardFormat
from transforms.kernels.randomness import ORDER_VERSION
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import PARTS, Digest
from transforms.version import VERSION

FORMAT_VERSION = 4
MOST = 1000
"""Input files that the manifest itself lists."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DigestEntry(_Part):
    """A digest: records, their bytes without line ends, and two 64-bit sums as 32 hex digits."""

    records: int = Field(ge=0)
    bytes: int = Field(ge=0)
    hash: str = Field(pattern=r"^[0-9a-f]{32}$")


class FileEntry(_Part):
    """An input file: its name below the source's root, its size in bytes, what was read of it.

    ``records`` and ``digest`` are of what went on, ``dropped`` of bad records that did not.
    """

    name: str
    size: int
    records: int
    digest: DigestEntry
    dropped: DigestEntry | None = None


class SourceEntry(_Part):
    """A source and its files, sorted by name; in a listing of its own where they are many."""

    name: str
    digest: DigestEntry
    dropped: DigestEntry | None = None
    files: list[FileEntry]


class ShardEntry(_Part):
    """A shard: its path below the manifest's folder, and what it holds."""

    path: str
    records: int
    bytes: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ListingEntry(_Part):
    """The file that lists the sources' files, where they are many."""

    path: str
    files: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class QuarantineEntry(_Part):
    """A file of bad records: its path below the manifest's folder."""

    path: str
    records: int
    bytes: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class MixtureEntry(_Part):
    """What a mixture took of one source.

    ``asked`` is the share of the output that it was given, of records or of bytes as the recipe says;
    None where nothing was weighed. ``written`` is what is in the output, ``unused`` what was read
    for it and isn't: together they are the source's records ``passes_read`` times.
    """

    source: str
    asked: float | None = None
    share_of_records: float = Field(ge=0, le=1)
    share_of_bytes: float = Field(ge=0, le=1)
    passes_begun: int = Field(ge=0)
    passes_finished: int = Field(ge=0)
    passes_read: int = Field(ge=0)
    written: DigestEntry
    unused: DigestEntry


class EndEntry(_Part):
    """What is put before each record as its bos, or behind it as its eos; as of ``End``."""

    ids: list[int]
    tokens: list[str]
    found: str


def _check_model(model: dict[str, Any]) -> dict[str, Any]:
    for role in ("bos", "eos"):
        if role in model:
            EndEntry.model_validate(model[role])
    return model


_Model = Annotated[dict[str, Any], AfterValidator(_check_model)]


class TokensEntry(_Part):
    """What tokenizing came to. The digests of sources are of their texts, the shards' of the tokens.

    Attributes:
        model: URL, kind, number of ids and SHA-256 of the model, and its bos and eos where they are put.
        law, alpha, nbest_size: how segmentations were drawn.
        decoded: whether the tokens were read, and the texts written.
        records, bytes: texts, and their bytes.
        tokens: of them, without bos and eos.
        bytes_per_token: bytes over tokens.
        best_bytes_per_token: of the best segmentations, over a sample of the records; None where the
            law is ``off``, whose are the best.
        unknown: characters that the model doesn't know; of a model that isn't a unigram model, tokens.
        unknown_of: out of how many; 0 where none can be unknown.
        entropy_per_token: in nats, under the law; None where it isn't known.
        lengths: how many records have 0, 1, 2 to 3, 4 to 7, … tokens.
        collisions: how many records hold the symbols that CPM's white space becomes, and come back with
            white space in their place; None without it.
    """

    model: _Model
    law: str
    alpha: float | None = None
    nbest_size: int | None = None
    decoded: bool = False
    records: int = Field(ge=0)
    bytes: int = Field(ge=0)
    tokens: int = Field(ge=0)
    bytes_per_token: float = Field(ge=0)
    best_bytes_per_token: float | None = None
    unknown: int = Field(ge=0)
    unknown_of: int = Field(ge=0)
    entropy_per_token: float | None = None
    lengths: list[int]
    collisions: int | None = None


class TokenizerEntry(_Part):
    """Which tokenizer made the ids in rows that were read, as the manifest beside them says.

    Attributes:
        sources: whose rows.
        column: of ids.
        model, law, alpha, nbest_size: as of TokensEntry.
    """

    sources: list[str]
    column: str
    model: _Model
    law: str
    alpha: float | None = None
    nbest_size: int | None = None


class Manifest(_Part):
    """``manifest.json``.

    Attributes:
        bytes: of the shard files.
        quoted: lines are rows of CSV, which quotes keep whole.
        blank_lines: of JSON lines, those that held nothing; they are no records.
        byte_order_marks: files at whose beginning one was taken off.
        trailing_bytes: zeros and ends of lines behind the last members of compressed files, left out.
        tokens: what tokenizing came to.
        tokenizers: which made the ids in rows that were read.
    """

    format: Literal["dovetail-manifest"] = "dovetail-manifest"
    format_version: int = FORMAT_VERSION
    order_version: int = ORDER_VERSION
    run_id: str
    started: str
    ended: str
    seed: int
    epoch: int
    records: int
    bytes: int
    digest: DigestEntry
    recipe: dict[str, Any]
    kind: Kind
    compression: str
    records_are: RecordsAre
    separator: int = Field(ge=0, le=255)
    header_bytes: int = Field(ge=0, le=17 << 20)  # a longer one is refused when it is read
    quoted: bool = False
    blank_lines: int = Field(0, ge=0)
    byte_order_marks: int = Field(0, ge=0)
    trailing_bytes: int = Field(0, ge=0)
    quarantine: list[QuarantineEntry]
    shards: list[ShardEntry]
    sources: list[SourceEntry]
    mixture: list[MixtureEntry] | None = None
    tokens: TokensEntry | None = None
    tokenizers: list[TokenizerEntry] | None = None
    files_listing: ListingEntry | None = None
    versions: dict[str, str]


def now() -> str:
    """Return the time as ISO 8601, in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Return the versions of what shapes the output."""
    return {
        "dovetail": VERSION,
        "python": platform.python_version(),
        **{
            name: version(name)
            for name in ("apache-beam", "backports.zstd", "fsspec", "lz4", "numpy", "pyarrow")
        },
    }


def token_versions() -> dict[str, str]:
    """Return the versions of what shapes tokens beside; of Unicode too, by which NFC goes."""
    names = ("numba", "sentencepiece", "tokenizers", "jieba")
    found = {name: version(name) for name in names if find_spec(name)}
    return {**found, "unicode": unicodedata.unidata_version}


def require_versions(content: dict[str, Any], url: str) -> None:
    """Raise DataError where a manifest, read as JSON, is of another format or order version."""
    expected = {"format_version": FORMAT_VERSION, "order_version": ORDER_VERSION}
    for name, ours in expected.items():
        if content.get(name) != ours:
            versions = content.get("versions")
            writer = versions.get("dovetail") if isinstance(versions, dict) else None
            raise DataError(
                f"{url}: expected {name.replace('_', ' ')} {ours}, got {content.get(name)}; use "
                f"the Dovetail that wrote it ({writer})"
            )


def make_manifest(
    files: FilesRead,
    reports: ShardReports,
    *,
    sources: Sequence[str],
    recipe: dict[str, Any],
    seed: int,
    epoch: int,
    started: str,
    form: ShardFormat,
    run_id: str,
    mixed: Mixed | None = None,
    mapped: Sequence[Mapped] | None = None,
    max_bad: MostBad | None = None,
) -> Manifest:
    """Compare what was read with what was written, and sum up; arguments as of WriteManifest.

    The files that were read are in it where they are MOST at most.

    Raises:
        LosslessError: a shard is missing or double, or a source's digests differ.
        DataError: too many records were bad.
    """
    shards = sorted(reports.shards, key=lambda shard: shard.number)
    of = shards[0].of if shards else 0
    if [shard.number for shard in shards] != list(range(of)) or not shards:
        raise LosslessError(
            f"expected shards 0 to {of - 1}, got {[shard.number for shard in shards]}; this is a "
            "fault of Dovetail or of the runner: please report it"
        )
    read, dropped = files.digests(), files.digests(dropped=True)
    entries: dict[str, list[FileEntry]] = {name: [] for name in sources}
    if len(files) <= MOST:
        for name, entry in file_entries(files):
            entries[name].append(entry)
    require_few(Digest.total(dropped.values()), Digest.total(read.values()), max_bad)
    written = digests_in(reports.digests)
    mixture = None
    if mapped is not None:
        _require_mapped(mapped, read, written)
    elif mixed is None:
        blocks.compare_digests(
            written, list(read.values()), what=f"the sources {', '.join(read)}, counted from 0"
        )
    else:
        unused = digests_in(reports.unused)
        mixture = mixture_entries(mixed, read, written=written, unused=unused)
    total = Digest.total(written)
    return Manifest(
        run_id=run_id,
        started=started,
        ended=now(),
        seed=seed,
        epoch=epoch,
        records=total.records,
        bytes=sum(shard.bytes for shard in shards),
        digest=_entry(total),
        recipe=recipe,
        kind=form.kind,
        compression=form.compression,
        records_are=form.records_are,
        separator=form.line_format.separator,
        header_bytes=len(form.line_format.header),
        quoted=form.line_format.quoted,
        blank_lines=files.left_out["blank"],
        byte_order_marks=files.left_out["marks"],
        trailing_bytes=files.left_out["trailing"],
        shards=[
            ShardEntry(path=s.path, records=s.records, bytes=s.bytes, sha256=s.sha256)
            for s in shards
        ],
        sources=[
            SourceEntry(
                name=name,
                digest=_entry(read[name]),
                dropped=_entry(dropped[name]) if dropped[name].records else None,
                files=entries[name],
            )
            for name in read
        ],
        mixture=mixture,
        quarantine=[QuarantineEntry(**kept._asdict()) for kept in sorted(files.quarantine)],
        versions=versions(),
    )


def file_entries(files: FilesRead) -> Iterator[tuple[str, FileEntry]]:
    """Yield the name of its source and the entry of each file; not of very many."""
    numbers = (files.numbers[name].tolist() for name in ("size", *PARTS, *DROPPED))
    for source, name, size, *parts in zip(
        files.source.tolist(), files.name.to_pylist(), *numbers, strict=True
    ):
        digest, dropped = Digest(*parts[: len(PARTS)]), Digest(*parts[len(PARTS) :])
        yield (
            files.sources[source],
            FileEntry(
                name=name,
                size=size,
                records=digest.records,
                digest=_entry(digest),
                dropped=_entry(dropped) if dropped.records else None,
            ),
        )


def _require_mapped(
    mapped: Sequence[Mapped], read: Mapping[str, Digest], written: list[Digest]
) -> None:
    """Raise LosslessError where not all that was read was changed, or not all of that written."""
    total = {part.source: part for part in add_up(mapped)}
    for i, name in enumerate(read):
        mine = total.get(name, Mapped(name, Digest(), Digest(), TokenCounts()))
        for what, have, want in (
            ("what was worked on", mine.read, read[name]),
            ("what was written", written[i], mine.written),
        ):
            if have != want:
                raise LosslessError(
                    f"source {name}: {what} is {have.records} records of {have.bytes} bytes, expected "
                    f"{want.records} of {want.bytes}; check memory and disk, then run again"
                )


def mixture_entries(
    mixed: Mixed, read: Mapping[str, Digest], *, written: list[Digest], unused: list[Digest]
) -> list[MixtureEntry]:
    """Check that each stream's records were written or left unused, and sum up by source.

    Args:
        mixed: what the mixture came to.
        read: of each source, one pass.
        written, unused: of each source, as the writers of shards report it.

    Raises:
        LosslessError: a stream doesn't add up.
    """
    union = mixed.union
    streams = [", ".join(read)] if union else list(read)
    for i, name in enumerate(streams):
        have = Digest.total(written) if union else written[i]
        rest = mixed.unused[i] + (Digest.total(unused) if union else unused[i])
        want = (Digest.total(read.values()) if union else read[name]).times(mixed.accounted[i])
        if have.records != mixed.records[i]:
            raise LosslessError(
                f"source {name}: the schedule takes {mixed.records[i]} records, {have.records} were "
                "written; check memory and disk, then run again"
            )
        if have + rest != want:
            raise LosslessError(
                f"source {name}: {mixed.accounted[i]} passes have {want.records} records of "
                f"{want.bytes} bytes, written and unused are {(have + rest).records} of "
                f"{(have + rest).bytes}; check memory and disk, then run again"
            )
    total = Digest.total(written)
    entries = []
    for i, (name, once) in enumerate(read.items()):
        stream = 0 if union else i
        entries.append(
            MixtureEntry(
                source=name,
                asked=mixed.asked[i] if mixed.asked else None,
                share_of_records=written[i].records / max(total.records, 1),
                share_of_bytes=written[i].bytes / max(total.bytes, 1),
                passes_begun=mixed.passes[stream],
                passes_finished=written[i].records // once.records if once.records else 0,
                passes_read=mixed.accounted[stream],
                written=_entry(written[i]),
                unused=_entry(once.times(mixed.accounted[stream]) - written[i]),
            )
        )
    return entries


def _entry(digest: Digest) -> DigestEntry:
    return DigestEntry(**digest.to_json())
