"""Whether a dataset of records, shuffled, tokenized or split, is what its manifest says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from pipelines.datasets.check_sources import check_quarantine, check_sources, digest_of
from pipelines.datasets.check_splits import check_like, check_splits
from pipelines.datasets.shard_files import Each, extra, line_format_of, opened, sha256
from pipelines.jobs.job import mixture_of
from pipelines.recipes.flag_errors import validate
from pipelines.recipes.recipe import Recipe
from transforms.datasets.manifest import Manifest, ShardEntry, TokensEntry
from transforms.datasets.manifest_files import FileSums, sum_files
from transforms.errors import DataError, InputError, UsageError
from transforms.formats.read_back import shard_digest
from transforms.formats.writing import ShardFormat
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.schedules.mixture import Amounts, asked_shares
from transforms.storage import layout
from transforms.workers.progress import Progress

_SAME = 1e-9  # by which a share may differ that was computed anew


def check_records(manifest: Manifest, folder: str, each: Each) -> list[str]:
    """Return what is wrong with a dataset, a line each.

    Args:
        manifest: what it should be.
        folder: where it lies.
        each: does the work for each of its shards.
    """
    try:
        sums = sum_files(manifest, folder)
    except DataError as error:
        return [str(error)]
    problems = _check_sums(manifest, sums) + check_quarantine(manifest, folder, sums)
    problems += check_like(manifest, folder)
    problems += extra(folder, layout.DATA, {shard.path for shard in manifest.shards})
    shas = {shard.sha256: shard.path for shard in manifest.shards}
    digests, tokens, intact = [], 0, True
    results = each(
        lambda shard, progress: check_shard(folder, shard, manifest, shas, progress),
        manifest.shards,
    )
    for digest, found, problem in results:
        digests.append(digest)
        tokens += found
        if problem:
            problems.append(problem)
            intact = False
    if not problems:
        problems += _check_together(manifest, digests)
    counted = manifest.counted
    if intact and counted is not None and tokens != counted.tokens:
        problems.append(
            f"all shards together: {tokens} tokens in {counted.column}, the manifest says "
            f"{counted.tokens}"
        )
    return problems


def _check_together(manifest: Manifest, digests: Sequence[Digest]) -> Iterator[str]:
    """Check that the shards, each of which has the bytes it should, hold the records they should.

    Args:
        manifest: as for ``check_records``.
        digests: of the shards.
    """
    groups = [("all shards together", digests, manifest.digest)]
    for split in manifest.splits or ():
        own = [
            digest
            for shard, digest in zip(manifest.shards, digests, strict=True)
            if layout.split_of(shard.path) == split.name
        ]
        groups.append((f"all shards of {split.name} together", own, split.digest))
    for what, some, says in groups:
        total = Digest.total(some)
        if total != digest_of(says):
            yield f"{what}: digest {total.to_json()['hash']}, the manifest says {says.hash}"


def check_shard(
    folder: str,
    shard: ShardEntry,
    manifest: Manifest,
    shas: dict[str, str],
    progress: Progress,
) -> tuple[Digest, int, str | None]:
    """Read one shard; return its digest, its tokens where they are counted, and what is wrong with it.

    Args:
        shas: paths of all shards by SHA-256, to tell a swapped one.
        progress: counts what is read.
    """
    total, problem = Digest(), None
    lengths = [0]

    def seen(block: pa.RecordBatch) -> None:
        if manifest.counted is not None:
            lengths.append(_tokens_of(block, manifest.counted.column))

    try:
        with progress.doing(f"reading {shard.path}"), opened(folder, shard.path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            sha = sha256(file)
            try:
                total = _digest(
                    file, shard.path, size=size, manifest=manifest, progress=progress, seen=seen
                )
            except (DataError, InputError) as error:
                problem = str(error)
    except DataError as error:
        return total, 0, str(error)
    tokens = sum(lengths)
    if sha != shard.sha256 and (other := shas.get(sha)):
        return total, tokens, f"{shard.path}: holds what {other} should hold"
    if size != shard.bytes:
        how = "truncated" if size < shard.bytes else "too long"
        return total, tokens, f"{shard.path}: {how}: {size} bytes, the manifest says {shard.bytes}"
    if sha != shard.sha256:
        return total, tokens, f"{shard.path}: its bytes differ (SHA-256)"
    if problem is None and total.records != shard.records:
        problem = f"{shard.path}: {total.records} records, the manifest says {shard.records}"
    return total, tokens, problem


def _tokens_of(block: pa.RecordBatch, column: str) -> int:
    """Return the tokens of a block's rows.

    Raises:
        DataError: they have no such lists.
    """
    try:
        return int(blocks.measures(block, column).sum())
    except (KeyError, pa.ArrowException, pa.ArrowNotImplementedError, AttributeError):
        raise DataError(
            f"its rows have no column {column} of lists, which the manifest counts as tokens"
        ) from None


def _digest(
    file: Any,
    path: str,
    *,
    size: int,
    manifest: Manifest,
    progress: Progress,
    seen: Callable[[pa.RecordBatch], None],
) -> Digest:
    """Digest a shard's records as they were digested when they were read."""
    form = ShardFormat(
        kind=manifest.kind,
        compression=manifest.compression,
        line_format=line_format_of(file, path, manifest),
        records_are=manifest.records_are,
    )
    return shard_digest(
        file,
        path=path,
        size=size,
        form=form,
        progress=lambda read, records: progress.add("verify", bytes=read, records=records),
        seen=seen,
    )


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
            problems.append(f"manifest: its {name} differs from that of its recipe")
    splits = None if manifest.splits is None else [split.name for split in manifest.splits]
    problems += [
        f"manifest: {wrong}" for wrong in layout.misplaced([s.path for s in shards], splits)
    ]
    problems += check_sources(manifest, sums)
    total = Digest.total(digest_of(source.digest) for source in manifest.sources)
    if manifest.mixture is not None:
        problems += _check_mixture(manifest)
        total = Digest.total(digest_of(part.written) for part in manifest.mixture)
    if manifest.splits is not None:
        problems += check_splits(manifest.splits, manifest, total)
    elif manifest.tokens is not None:  # what was written is of another kind than what was read
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
                problems.append(f"manifest: its tokens have {have} {what}, but {want} were read")
    elif total != digest_of(manifest.digest):
        problems.append("manifest: by its own counts, what was written differs from what was read")
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
    total = Digest.total(digest_of(part.written) for part in parts)
    whole = sum(source.digest.records for source in manifest.sources)
    tokens = sum(part.tokens or 0 for part in parts)
    counted = manifest.counted
    if any(part.tokens is not None for part in parts) and (
        counted is None or tokens != counted.tokens
    ):
        problems.append("manifest: its sources' tokens don't add up to its count of tokens")
    for part, source in zip(parts, manifest.sources, strict=True):
        read = digest_of(source.digest)
        if digest_of(part.written) + digest_of(part.unused) != read.times(part.passes_read):
            problems.append(
                f"manifest: source {part.source}: written and unused records aren't what "
                f"{part.passes_read} passes read"
            )
        shares: tuple[tuple[str, float, float], ...] = (
            ("records", part.share_of_records, part.written.records / max(total.records, 1)),
            ("bytes", part.share_of_bytes, part.written.bytes / max(total.bytes, 1)),
        )
        if part.tokens is not None:
            shares += (("tokens", part.share_of_tokens or 0.0, part.tokens / max(tokens, 1)),)
        for what, says, has in shares:
            if abs(says - has) > _SAME:
                problems.append(
                    f"manifest: source {part.source} has {has:.6f} of the {what}, the "
                    f"manifest says {says:.6f}"
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
        return [f"manifest: its recipe can't be run: {error}"]
    read = [source.digest for source in manifest.sources]
    tokens = tuple(part.tokens_read or 0 for part in manifest.mixture or [])
    amounts = Amounts(tuple(d.records for d in read), tuple(d.bytes for d in read), tokens)
    asked = asked_shares(mixture, amounts) or [None] * len(read)
    return [
        (
            f"manifest: source {part.source}: the requested share is {part.asked}, its recipe "
            f"says {share}"
        )
        for part, share in zip(manifest.mixture or [], asked, strict=False)
        if (part.asked is None) != (share is None)
        or abs((part.asked or 0.0) - (share or 0.0)) > _SAME
    ]
