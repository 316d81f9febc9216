"""Read a dataset again, whole, and check it against its manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from pydantic import BaseModel, ValidationError

from pipelines.jobs.job import mixture_of
from pipelines.jobs.watch import watching
from pipelines.recipes.cli import LOG, leave, make_parser, run_main
from pipelines.recipes.flag_errors import validate
from pipelines.recipes.recipe import RUN, Modules, Recipe, StorageOptions, make_flag
from pipelines.recipes.store_options import refuse_secrets
from pipelines.recipes.values import write_count
from pipelines.runners.machine import cores_available
from transforms.datasets.manifest import (
    DigestEntry,
    Manifest,
    ShardEntry,
    TokensEntry,
    require_versions,
)
from transforms.datasets.manifest_files import FileSums, sum_files
from transforms.errors import DataError, InputError, LosslessError, StoreError, UsageError
from transforms.formats import compressed
from transforms.formats.codecs import CODECS
from transforms.formats.detection import FileFormat
from transforms.formats.line_format import LineFormat
from transforms.formats.read_back import shard_digest
from transforms.formats.reading import first_bytes
from transforms.formats.writing import ShardFormat
from transforms.kernels.records.digest import Digest
from transforms.kernels.schedules.mixture import Amounts, asked_shares
from transforms.storage import files as storage
from transforms.storage import layout
from transforms.workers.progress import Progress

EXAMPLES = """\
examples:
  dovetail verify shuffled

Exits with 1 where anything differs, naming each shard that does.
"""
_EXTRA = ": extra: the manifest doesn't list it"
_SAME = 1e-9  # by which a share may differ that was computed anew


class _Flags(BaseModel):
    storage_options: StorageOptions | None = make_flag(
        None, RUN, "options of fsspec for the stores, as JSON, as for shuffle", metavar="JSON"
    )
    codec_module: Modules | None = make_flag(
        None,
        RUN,
        "Python modules that register codecs of yours, as for shuffle",
        metavar="MODULE,MODULE",
    )
    quiet: bool = make_flag(False, RUN, "say nothing but warnings and errors")
    debug: bool = make_flag(False, RUN, "show tracebacks")


def read_manifest(folder: str) -> Manifest:
    """Read a dataset's manifest.

    Raises:
        UsageError: there is none, or the store doesn't give it.
        DataError: it can't be read, or is of another format version.
    """
    url = storage.join(folder, layout.MANIFEST)
    if (why := layout.why_not_read(folder, layout.MANIFEST)) is not None:
        raise DataError(f"{url}: {why}")
    try:
        with storage.open_read(url) as file:
            text = file.read() or b""
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise UsageError(
            f"{folder}: expected a folder with a {layout.MANIFEST}; without one there is no complete "
            "dataset"
        ) from None
    except StoreError as error:  # before any work, so it is the user's to mend
        raise UsageError(str(error)) from error
    except OSError as error:
        raise DataError(f"{url}: can't be read: {error}") from None
    try:
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("format") != layout.FORMAT:
            raise DataError(
                f'{url}: not a manifest of Dovetail (it has no "format": "{layout.FORMAT}"), but '
                "another program's; there is nothing in it to verify"
            )
        require_versions(content, url)  # first: another version may have other fields
        manifest = Manifest.model_validate(content)
        FileFormat.told(manifest.kind, manifest.compression)
    except (ValueError, RecursionError) as error:
        if not isinstance(error, ValidationError):
            raise DataError(f"{url}: not a manifest that can be read: {error}") from None
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise DataError(
            f"{url}: not a manifest that can be read: {where}: {first['msg']}"
        ) from None
    return manifest


def verify(folder: str, *, live: bool = False) -> tuple[Manifest, list[str]]:
    """Check a dataset; return its manifest and what is wrong, a line each.

    Args:
        live: show a bar, where there is a terminal.

    Raises:
        DovetailError: the manifest itself can't be read.
    """
    manifest = read_manifest(folder)
    try:
        sums = sum_files(manifest, folder)
    except DataError as error:
        return manifest, [str(error)]
    problems = _check_sums(manifest, sums) + _check_quarantine(manifest, folder, sums)
    problems += _extra(folder, layout.DATA, {shard.path for shard in manifest.shards})
    shas = {shard.sha256: shard.path for shard in manifest.shards}
    with (
        tempfile.TemporaryDirectory(prefix="dovetail-") as counts,
        watching(counts, {"verify": manifest.bytes}, live=live) as watch,
    ):
        progress = Progress.open(counts)
        pool = ThreadPoolExecutor(cores_available())  # hashing releases the interpreter's lock
        try:
            futures = [
                pool.submit(check_shard, folder, shard, manifest, shas, progress)
                for shard in manifest.shards
            ]
            for future in futures:
                while not wait([future], timeout=0.25).done:
                    watch.tick()
            results = [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)  # when interrupted: not all that is left
    total = Digest()
    for digest, problem in results:
        total += digest
        if problem:
            problems.append(problem)
    if not problems and total != _digest_of(manifest.digest):
        problems.append(
            f"all shards together: digest {total.to_json()['hash']}, the manifest says "
            f"{manifest.digest.hash}"
        )
    return manifest, problems


def check_shard(
    folder: str,
    shard: ShardEntry,
    manifest: Manifest,
    shas: dict[str, str],
    progress: Progress,
) -> tuple[Digest, str | None]:
    """Read one shard; return its digest, and what is wrong with it, if anything.

    Args:
        shas: paths of all shards by SHA-256, to tell a swapped one.
        progress: counts what is read.
    """
    total, problem = Digest(), None
    try:
        with progress.doing(f"reading {shard.path}"), _opened(folder, shard.path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            sha = _sha256(file)
            try:
                total = _digest(file, shard.path, size=size, manifest=manifest, progress=progress)
            except (DataError, InputError) as error:
                problem = str(error)
    except DataError as error:
        return total, str(error)
    if sha != shard.sha256 and (other := shas.get(sha)):
        return total, f"{shard.path}: holds what {other} should hold"
    if size != shard.bytes:
        how = "truncated" if size < shard.bytes else "too long"
        return total, f"{shard.path}: {how}: {size} bytes, the manifest says {shard.bytes}"
    if sha != shard.sha256:
        return total, f"{shard.path}: its bytes differ (SHA-256)"
    if problem is None and total.records != shard.records:
        problem = f"{shard.path}: {total.records} records, the manifest says {shard.records}"
    return total, problem


@contextlib.contextmanager
def _opened(folder: str, path: str) -> Iterator[Any]:
    """Open one of a dataset's files; raise DataError where it can't be read."""
    if (why := layout.why_not_read(folder, path)) is not None:
        raise DataError(f"{path}: {why}")
    url = storage.join(folder, path)
    fs, place = storage.filesystem(url)
    try:
        if fs.exists(place) and not fs.isfile(place):
            raise OSError("not a file")
        with storage.open_read(url) as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: missing") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error}") from None


def _extra(folder: str, inner: str, listed: Set[str]) -> list[str]:
    """Say which files of an inner folder nobody listed."""
    fs, path = storage.filesystem(storage.join(folder, inner))
    names = fs.ls(path, detail=False) if fs.isdir(path) else []
    found = sorted(f"{inner}/{os.path.basename(name)}" for name in names)
    return [f"{name}{_EXTRA}" for name in found if name not in listed]


def _sha256(file: Any) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(file: Any, path: str, *, size: int, manifest: Manifest, progress: Progress) -> Digest:
    """Digest a shard's records as they were digested when they were read."""
    file.seek(0)
    header = b""
    if manifest.header_bytes:
        codec = CODECS.get(manifest.compression)
        header = first_bytes(file, manifest.header_bytes, name=path, codec=codec)
        file.seek(0)
        if len(header) < manifest.header_bytes:
            raise DataError(f"{path}: truncated: its header has more bytes than are there")
    form = ShardFormat(
        kind=manifest.kind,
        compression=manifest.compression,
        line_format=LineFormat(separator=manifest.separator, header=header, quoted=manifest.quoted),
        records_are=manifest.records_are,
    )
    return shard_digest(
        file,
        path=path,
        size=size,
        form=form,
        progress=lambda read, records: progress.add("verify", bytes=read, records=records),
    )


def _check_quarantine(manifest: Manifest, folder: str, sums: dict[str, FileSums]) -> list[str]:
    """Check that the files of bad records are what was written, and hold what was dropped."""
    problems = []
    for entry in manifest.quarantine:
        try:
            with _opened(folder, entry.path) as file:
                if _sha256(file) != entry.sha256:
                    problems.append(f"{entry.path}: its bytes differ (SHA-256)")
        except DataError as error:
            problems.append(str(error))
    problems += _extra(folder, layout.QUARANTINE, {entry.path for entry in manifest.quarantine})
    kept = sum(entry.records for entry in manifest.quarantine)
    dropped = sum(source.dropped.records for source in manifest.sources if source.dropped)
    asked = manifest.recipe.get("on_bad_record") == "quarantine"
    if (asked or manifest.quarantine) and kept != dropped:
        problems.append(f"manifest: {dropped} records were dropped, {kept} are in quarantine")
    for source in manifest.sources:
        files = sums[source.name].dropped
        if files.records != (source.dropped.records if source.dropped else 0):
            problems.append(
                f"manifest: what the files of source {source.name} dropped doesn't add up to its sum"
            )
    return problems


def _check_sums(manifest: Manifest, sums: dict[str, FileSums]) -> list[str]:
    """Check that the manifest agrees with itself."""
    problems = []
    shards = manifest.shards
    if sum(s.records for s in shards) != manifest.records:
        problems.append("manifest: its shards' records don't add up to its total")
    if sum(s.bytes for s in shards) != manifest.bytes:
        problems.append("manifest: its shards' bytes don't add up to its total")
    for name in ("seed", "epoch"):
        if manifest.recipe.get(name, getattr(manifest, name)) != getattr(manifest, name):
            problems.append(f"manifest: its {name} is not that of its recipe")
    for number, shard in enumerate(shards):
        if not layout.is_shard_path(shard.path, number=number, of=len(shards)):
            problems.append(
                f"manifest: {shard.path} stands at place {number} of {len(shards)}, counted from 0"
            )
    total = Digest()
    for source in manifest.sources:
        problems += [
            f"manifest: {source.name}: {name}: two different numbers of records"
            for name in sums[source.name].unequal
        ]
        mine = _digest_of(source.digest)
        if sums[source.name].digest != mine:
            problems.append(
                f"manifest: the files of source {source.name} don't add up to its digest"
            )
        total += mine
    if manifest.mixture is not None:
        problems += _check_mixture(manifest)
        total = Digest.total(_digest_of(part.written) for part in manifest.mixture)
    if manifest.tokens is not None:  # what was written is of another kind than what was read
        tokens = manifest.tokens
        texts = manifest.digest if tokens.decoded else total
        for what, have, want in (
            ("records", tokens.records, total.records),
            ("bytes", tokens.bytes, texts.bytes),
            ("rows", manifest.digest.records, total.records),
            ("lengths", sum(tokens.lengths), total.records),
            ("tokens", tokens.tokens, _tokens_in(manifest, tokens)),
        ):
            if have != want:
                problems.append(f"manifest: tokens have {have} {what}, read were {want}")
    elif total != _digest_of(manifest.digest):
        problems.append("manifest: what was read is not what was written, by its own account")
    return problems


def _tokens_in(manifest: Manifest, tokens: TokensEntry) -> int:
    """Return how many tokens shards hold by their bytes; what the manifest says where more is kept."""
    recipe = manifest.recipe
    if tokens.decoded or recipe.get("keep_fields") is not None:
        return tokens.tokens
    ids = tokens.model.get("ids")  # whoever wrote it
    large = isinstance(ids, int) and ids > 1 << 16
    dtype = recipe.get("token_dtype") or ("uint32" if large else "uint16")
    # by a manifest of before it said which they are, one each
    around = sum(
        len(tokens.model.get(role, {}).get("ids", [0]))
        for role in ("bos", "eos")
        if recipe.get(f"add_{role}")
    )
    held = manifest.digest.bytes // (2 if dtype == "uint16" else 4)
    return held - around * manifest.digest.records


def _check_mixture(manifest: Manifest) -> list[str]:
    """Check that what a mixture took of its sources adds up, and is what it says."""
    problems = []
    parts = manifest.mixture or []
    if [part.source for part in parts] != [source.name for source in manifest.sources]:
        return ["manifest: the mixture's sources are not those that were read"]
    total = Digest.total(_digest_of(part.written) for part in parts)
    whole = sum(source.digest.records for source in manifest.sources)
    for part, source in zip(parts, manifest.sources, strict=True):
        read = _digest_of(source.digest)
        if _digest_of(part.written) + _digest_of(part.unused) != read.times(part.passes_read):
            problems.append(
                f"manifest: of source {part.source}, what was written and unused isn't what "
                f"{part.passes_read} passes read"
            )
        shares = (
            ("records", part.share_of_records, part.written.records / max(total.records, 1)),
            ("bytes", part.share_of_bytes, part.written.bytes / max(total.bytes, 1)),
        )
        for what, says, has in shares:
            if abs(says - has) > _SAME:
                problems.append(
                    f"manifest: source {part.source} has {has:.6f} of the {what}, not {says:.6f}"
                )
        have = read.records or 1
        begun = {-(-part.written.records // have)}
        if part.asked is None:  # of sources that were shuffled as one, all that is begun is all
            begun.add(-(-total.records // max(whole, 1)))
        if part.passes_finished != part.written.records // have or part.passes_begun not in begun:
            problems.append(f"manifest: source {part.source}: its passes don't fit its records")
    return problems + _check_asked(manifest)


def _check_asked(manifest: Manifest) -> list[str]:
    """Check that the shares that were asked for are those of the recipe, if it is one of ours."""
    if "sources" not in manifest.recipe:
        return []
    try:
        mixture = mixture_of(validate(Recipe, manifest.recipe))
    except UsageError as error:
        return [f"manifest: its recipe is none that could be run: {error}"]
    read = [source.digest for source in manifest.sources]
    amounts = Amounts(tuple(d.records for d in read), tuple(d.bytes for d in read))
    asked = asked_shares(mixture, amounts) or [None] * len(read)
    return [
        f"manifest: source {part.source} was asked for as {part.asked}, by the recipe {share}"
        for part, share in zip(manifest.mixture or [], asked, strict=False)
        if (part.asked is None) != (share is None)
        or abs((part.asked or 0.0) - (share or 0.0)) > _SAME
    ]


def _digest_of(entry: DigestEntry) -> Digest:
    return Digest.from_json(entry.model_dump())


def _printable(text: str) -> str:
    """Return a text with what a terminal would obey escaped: a manifest's paths may hold anything."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def run(argv: Sequence[str], **given: Any) -> Manifest:
    """Run the command; return the manifest.

    Args:
        argv: the dataset's folder, and flags.
        given: values that count as flags.

    Raises:
        LosslessError: the dataset is not what its manifest says.
        DovetailError: there is none, or it can't be read.
    """
    parser = make_parser(_Flags, prog="dovetail verify", description=__doc__ or "", epilog=EXAMPLES)
    parser.add_argument("folder", metavar="DIR", help="the dataset's folder")
    args, rest = parser.parse_known_args(list(argv))
    if rest:
        raise UsageError(f"{rest[0]}: unknown; expected one DIR, see --help")
    given = {**{k: v for k, v in vars(args).items() if k in _Flags.model_fields}, **given}
    flags = validate(_Flags, given)
    refuse_secrets(args.folder, flag="DIR")
    begin = time.monotonic()
    with (
        storage.configured(flags.storage_options),
        compressed.having(compressed.with_installed(flags.codec_module)),
    ):
        manifest, problems = verify(args.folder, live=not (flags.debug or flags.quiet))
    problems = [_printable(problem) for problem in problems]
    for problem in problems:
        LOG.error("%s", problem)
    if problems:
        alone = len(problems) == 1
        differ = "1 thing differs" if alone else f"{len(problems)} things differ"
        remedy = "make the dataset again"
        if all(problem.endswith(_EXTRA) for problem in problems):
            remedy = f"remove {'it' if alone else 'them'}: all that the manifest lists is as it was"
        raise LosslessError(
            f"{args.folder}: {differ} from the manifest, the first: {problems[0]}; {remedy}"
        )
    seconds = time.monotonic() - begin
    LOG.info(
        "%s is what its manifest says: %s, %s in %s, digest %s (%.1f s, %.0f MB/s)",
        args.folder,
        write_count(manifest.records, "record"),
        write_count(manifest.bytes, "byte"),
        write_count(len(manifest.shards), "shard"),
        manifest.digest.hash,
        seconds,
        manifest.bytes / max(seconds, 1e-9) / 1e6,
    )
    return manifest


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a person does; return the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    leave(main())
