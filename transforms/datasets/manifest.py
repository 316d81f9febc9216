"""The manifest: what was read, what was written, and by what."""

from __future__ import annotations

import datetime
import platform
import unicodedata
from importlib.metadata import version
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from transforms.errors import DataError
from transforms.formats.detection import Kind
from transforms.formats.writing import RecordsAre
from transforms.kernels.randomness import ORDER_VERSION
from transforms.version import VERSION

FORMAT_VERSION = 4
MOST = 1000
"""Input files that the manifest itself lists."""


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DigestEntry(_Part):
    """A digest of records, the same in any order.

    Attributes:
        records: how many.
        bytes: their bytes, without ends of lines.
        hash: two 64-bit sums of the records' hashes, as 32 hex digits.
    """

    records: int = Field(ge=0)
    bytes: int = Field(ge=0)
    hash: str = Field(pattern=r"^[0-9a-f]{32}$")


class FileEntry(_Part):
    """An input file, and what was read of it.

    Attributes:
        name: its path below the source's root.
        size: in bytes.
        records: read from it, without bad records that were left out.
        digest: of these records.
        dropped: of the bad records that were left out.
    """

    name: str
    size: int
    records: int
    digest: DigestEntry
    dropped: DigestEntry | None = None


class SourceEntry(_Part):
    """A source and its files.

    Attributes:
        name: of the source.
        digest: of all records that were read from it.
        dropped: of its bad records that were left out.
        files: sorted by name; empty if a listing of its own holds them, since they are many.
    """

    name: str
    digest: DigestEntry
    dropped: DigestEntry | None = None
    files: list[FileEntry]


class ShardEntry(_Part):
    """A shard.

    Attributes:
        path: below the manifest's folder.
        records: in it.
        bytes: of the file.
        sha256: of the file.
    """

    path: str
    records: int
    bytes: int
    sha256: Sha256


class ListingEntry(_Part):
    """The file that lists the sources' files, if there are more than a thousand.

    Attributes:
        path: below the manifest's folder.
        files: how many it lists.
        sha256: of the file.
    """

    path: str
    files: int
    sha256: Sha256


class PartedEntry(_Part):
    """Contents that stand in several splits, as records were split by identity.

    Attributes:
        contents: distinct ones.
        records: that have them.
    """

    contents: int = Field(ge=0)
    records: int = Field(ge=0)


class SplitEntry(_Part):
    """A split of a dataset that has several.

    Attributes:
        name: of the split; its shards are those whose files begin with it.
        asked: its share or count, as one would write it; None of what has the rest.
        records, bytes, digest: of its shards, together.
        read: records of the input that it holds, each once, however often it is written.
    """

    name: str
    asked: str | None = None
    records: int = Field(ge=0)
    bytes: int = Field(ge=0)
    digest: DigestEntry
    read: DigestEntry


class LikeFileEntry(_Part):
    """A file that ``--like`` wrote beside the manifest.

    Attributes:
        path: below the manifest's folder.
        sha256: of the file.
    """

    path: Literal["like.json", "like.svg"]
    sha256: Sha256


def _check_like(like: dict[str, Any]) -> dict[str, Any]:
    for file in like.get("files", []):
        LikeFileEntry.model_validate(file)
    return like


class QuarantineEntry(_Part):
    """A file of bad records.

    Attributes:
        path: below the manifest's folder.
        records: in it.
        bytes: of the file.
        sha256: of the file.
    """

    path: str
    records: int
    bytes: int
    sha256: Sha256


class MixtureEntry(_Part):
    """What a mixture took of one source.

    Attributes:
        source: its name.
        asked: the requested share of the output, of records, bytes or tokens as ``weigh_by`` says; None
            without weights.
        share_of_records, share_of_bytes, share_of_tokens: the actual shares of the output.
        tokens: in the output; None if the recipe doesn't count tokens, or all sources were shuffled as
            one.
        tokens_read: in one pass of the source; None as for ``tokens``.
        passes_begun, passes_finished: of the source, in the output.
        passes_read: how often the source was read; written and unused together are so many passes.
        written: what the output holds of it.
        unused: what was read and isn't in the output.
    """

    source: str
    asked: float | None = None
    share_of_records: float = Field(ge=0, le=1)
    share_of_bytes: float = Field(ge=0, le=1)
    share_of_tokens: float | None = Field(None, ge=0, le=1)
    tokens: int | None = Field(None, ge=0)
    tokens_read: int | None = Field(None, ge=0)
    passes_begun: int = Field(ge=0)
    passes_finished: int = Field(ge=0)
    passes_read: int = Field(ge=0)
    written: DigestEntry
    unused: DigestEntry


class CountedEntry(_Part):
    """All tokens of a mixture by tokens.

    Attributes:
        column: whose lists' lengths were counted.
        tokens: in the output.
    """

    column: str
    tokens: int = Field(ge=0)


class EndEntry(_Part):
    """What is put before each record as its BOS, or after it as its EOS.

    Attributes:
        ids: of the tokens.
        tokens: as the model writes them.
        found: what said so: a flag, or a place in the model's file.
    """

    ids: list[int]
    tokens: list[str]
    found: str


def _check_model(model: dict[str, Any]) -> dict[str, Any]:
    for role in ("bos", "eos"):
        if role in model:
            EndEntry.model_validate(model[role])
    return model


_Model = Annotated[dict[str, Any], AfterValidator(_check_model)]


class ControlEntry(_Part):
    """How often texts hold a control string.

    Attributes:
        records: how many records hold it.
        times: how often they hold it, in all.
    """

    records: int = Field(ge=0)
    times: int = Field(ge=0)


class TokensEntry(_Part):
    """What tokenizing came to. The digests of sources are of their texts, the shards' of the tokens.

    Attributes:
        model: URL, kind, number of ids and SHA-256 of the model, its bos and eos where they are put, the
            engine that encoded by a BPE model, and ``unknown_as`` where a unigram model writes unknown
            characters as ``bytes``.
        law, alpha, nbest_size, dropout, proportion: how segmentations were drawn.
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
        checked_records, checked_bytes: how many records, of how many bytes, a BPE model's own package
            encoded too, to the same ids as the engine; None where it is the engine, or no BPE model.
        special_tokens: what a control string in a text became, that is the text of a token that the
            model's file calls special: ``text`` or ``tokens``; with ``fail`` no record has any.
        control_strings: those that the texts hold, each with how many ``records`` hold it, and how often
            in all (``times``), by the bytes of the texts before they are normalized.
    """

    model: _Model
    law: str
    alpha: float | None = None
    nbest_size: int | None = None
    dropout: float | None = None
    proportion: float | None = None
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
    checked_records: int | None = None
    checked_bytes: int | None = None
    special_tokens: str | None = None
    control_strings: dict[str, ControlEntry] | None = None


class TokenizerEntry(_Part):
    """Which tokenizer made the ids in rows that were read, as the manifest beside them says.

    Attributes:
        sources: whose rows.
        column: of ids.
        model, law, alpha, nbest_size, dropout, proportion: as of TokensEntry.
    """

    sources: list[str]
    column: str
    model: _Model
    law: str
    alpha: float | None = None
    nbest_size: int | None = None
    dropout: float | None = None
    proportion: float | None = None


class Manifest(_Part):
    """``manifest.json``.

    Attributes:
        format: always ``dovetail-manifest``.
        format_version: of the manifest's fields; another version is refused.
        order_version: of the order of records; the same recipe gives the same order while it stays.
        run_id: of the run that wrote it.
        started, ended: when the run did, in UTC.
        seed, epoch: of the recipe.
        records: in all shards.
        digest: of all records in the shards.
        recipe: everything that determined the dataset; ``--recipe=manifest.json`` makes it again.
        kind: of the shards.
        compression: of the shards.
        records_are: what a record is.
        separator: the byte that ends a line.
        header_bytes: of the header on top of every shard.
        quarantine: files of bad records that were kept.
        shards: in the order of the dataset.
        sources: what was read.
        counted: the tokens of a mixture by tokens.
        mixture: what each source gave.
        files_listing: the file that lists input files, if they are many.
        versions: of Dovetail, Python and the packages that shape the output.
        bytes: of the shard files.
        quoted: lines are rows of CSV, which quotes keep whole.
        blank_lines: of JSON lines, those that held nothing; they are no records.
        byte_order_marks: files at whose beginning one was taken off.
        trailing_bytes: zeros and ends of lines behind the last members of compressed files, left out.
        tokens: what tokenizing came to.
        tokenizers: which made the ids in rows that were read.
        splits: of ``dovetail split``, in the order of their shards; their shards are numbered apart.
        parted: what stands in several of them.
        left_out: records of the input that are in no split, as it was asked for.
        like: what ``--like`` found; its ``files`` are those that it wrote beside the manifest, each as
            of LikeFileEntry.
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
    counted: CountedEntry | None = None
    mixture: list[MixtureEntry] | None = None
    tokens: TokensEntry | None = None
    tokenizers: list[TokenizerEntry] | None = None
    files_listing: ListingEntry | None = None
    splits: list[SplitEntry] | None = None
    left_out: DigestEntry | None = None
    parted: PartedEntry | None = None
    like: Annotated[dict[str, Any], AfterValidator(_check_like)] | None = None
    versions: dict[str, str]


def now() -> str:
    """Return the time as ISO 8601, in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def versions(*, of_tokens: bool) -> dict[str, str]:
    """Return the versions of what shapes the output, and tokens: of Unicode too, by which NFC goes."""
    names = ["apache-beam", "backports.zstd", "fsspec", "lz4", "numpy", "pyarrow"]
    if of_tokens:
        names += filter(
            find_spec, ("numba", "sentencepiece", "tokenizers", "tiktoken", "gigatoken", "jieba")
        )
    found = {"dovetail": VERSION, "python": platform.python_version()}
    found |= {name: version(name) for name in names}
    return found | ({"unicode": unicodedata.unidata_version} if of_tokens else {})


def require_versions(content: dict[str, Any], url: str) -> None:
    """Raise DataError where a manifest, read as JSON, is of another format or order version."""
    expected = {"format_version": FORMAT_VERSION, "order_version": ORDER_VERSION}
    for name, ours in expected.items():
        if content.get(name) != ours:
            versions = content.get("versions")
            writer = versions.get("dovetail") if isinstance(versions, dict) else None
            raise DataError(
                f"{url}: expected {name.replace('_', ' ')} {ours}, got {content.get(name)}; use "
                f"the version of Dovetail that wrote it ({writer})"
            )
