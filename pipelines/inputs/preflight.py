"""What is looked at before any work starts."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines.inputs.csv_headers import header_warning
from pipelines.inputs.made_by import tokenizers_of
from pipelines.inputs.survey import Contents, look_into
from pipelines.outputs.claim import Claim
from pipelines.recipes.cli import LOG
from pipelines.recipes.flag_errors import flag_of
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.settings import RunSettings
from pipelines.recipes.wording import write_count
from pipelines.runners.choose_workers import choose_workers
from pipelines.runners.clusters import CLUSTERS
from transforms.datasets.dataset_inputs import manifest_beside
from transforms.datasets.listing import fixed_folder, list_sources
from transforms.datasets.manifest import TokenizerEntry
from transforms.datasets.sieve import NO_EXTENSION, Sieve, count_kinds, kinds_of, most_common
from transforms.datasets.source_files import Files, fingerprint
from transforms.errors import InputError, UsageError
from transforms.kernels.planning.plan import Workers
from transforms.storage import files as storage
from transforms.storage.layout import DATA
from transforms.storage.patterns import alternatives

_WITH_FIELDS = {".parquet", ".arrow", ".jsonl"}
"""Kinds of file whose texts may go together; a look into them says whether more may."""


@dataclass(frozen=True)
class Inputs:
    """The files to be read, as they are now.

    Attributes:
        patterns: by source.
        size: bytes of all files, as they lie there.
        contents: what they hold.
        fingerprint: of the listing.
        tokenizers: which made the ids in their rows.
        ignored: how many files beside them are not read, such as those whose names begin with a dot.
        repeated: how many times a source's patterns name a file again, which is read once.
    """

    patterns: dict[str, list[str]]
    files: Files
    size: int
    contents: Contents
    fingerprint: str
    tokenizers: list[TokenizerEntry]
    ignored: int = 0
    repeated: int = 0

    @property
    def empty(self) -> int:
        """How many files have no bytes."""
        sizes = (table.column("size").to_numpy() for table in self.files.tables())
        return sum(int((size == 0).sum()) for size in sizes)


def spool_stdin(recipe: Recipe, settings: RunSettings, claim: Claim) -> Recipe:
    """Write standard input to a file, if it is a source; return the recipe with that file in it.

    Raises:
        UsageError: - stands beside other patterns of its source, or in two sources; no room.
    """
    users = [name for name, patterns in recipe.sources.items() if "-" in patterns]
    if not users:
        return recipe
    if len(users) > 1 or len(recipe.sources[users[0]]) > 1:
        raise UsageError("--input=-: expected standard input once, for one source")
    # a pipe can't be read again: look at all else first
    others = {name: patterns for name, patterns in recipe.sources.items() if name != users[0]}
    inspect_inputs(recipe.model_copy(update={"sources": others}), settings, claim)
    choose_workers(settings, 0)
    if settings.plan:
        raise UsageError("--plan can't read standard input; pass a file as --input")
    if settings.runner in CLUSTERS:
        raise UsageError(
            f"--input=-: the workers of {settings.runner} can't read this machine's standard "
            "input; put the data on a store first"
        )
    if sys.stdin is None:
        raise UsageError("--input=-: there is no standard input")
    local = [spill for spill in claim.spills if storage.is_local(spill)]
    if not local:
        raise UsageError(
            "--input=-: standard input is first saved to a file on this machine; pass a "
            "local --temp_location"
        )
    path = os.path.join(local[0], "stdin")
    try:
        with open(path, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
    except OSError as error:
        raise UsageError(f"--input=-: can't be saved in {local[0]}: {error}") from None
    return recipe.model_copy(update={"sources": {**recipe.sources, users[0]: [path]}})


def inspect_inputs(
    recipe: Recipe,
    settings: RunSettings,
    claim: Claim,
    *,
    keep: Sequence[str] = (),
    text: str | None = None,
    whole: bool = False,
) -> Inputs:
    """List inputs and look at their beginnings; ``keep``, ``text`` and ``whole`` as of ``look_into``.

    Raises:
        InputError: nothing found, twins, an input in the output or the temporary folder, headers
            that differ.
    """
    sources = {
        name: [one for pattern in patterns for one in alternatives(pattern)]
        for name, patterns in recipe.sources.items()
    }
    recipe = recipe.model_copy(update={"sources": sources})
    _refuse_overlap(recipe, settings, claim)
    sieves: list[Sieve] = []
    files = list_sources(
        recipe.sources,
        extensions=recipe.extension or (),
        apart=settings.output,
        sifted=sieves.append,
    )
    for sieve in sieves:
        _require_one_kind(sieve, recipe)
        if sieve.held:
            LOG.info("%s", sieve.said)
    _warn_of_kinds(sieves, recipe)
    _refuse_inputs_in_output(settings, files, claim)
    contents = look_into(files, recipe, keep=keep, text=text, whole=whole)
    for note in () if settings.plan else contents.notes:  # a plan says them itself
        LOG.info("%s", note)
    if (headers := header_warning(files, recipe)) is not None:
        LOG.warning("%s", headers)
    _refuse_other_lines(recipe, len(contents.line_format.header))
    repeated = _count_repeated(sieves, contents)
    return Inputs(
        patterns=sources,
        files=files,
        size=files.size,
        contents=contents,
        fingerprint=fingerprint(files),
        tokenizers=tokenizers_of(files, contents.schema),
        ignored=sum(sieve.held for sieve in sieves),
        repeated=repeated,
    )


def _count_repeated(sieves: Sequence[Sieve], contents: Contents) -> int:
    """Return how many times files are named again, and say so."""
    again = Counter[str]()
    for sieve in sieves:
        again[sieve.source] += sieve.matched
    for source, amount in contents.amounts.items():
        again[source] -= amount.files
    for source in sorted(+again):
        files = write_count(again[source], "file")
        LOG.info("source %s: %s named more than once, but read once", source, files)
    return (+again).total()


def _require_one_kind(sieve: Sieve, recipe: Recipe) -> None:
    """Raise InputError where a folder holds files of several kinds, and nobody said which."""
    if recipe.extension is not None or recipe.format == "lines" or not sieve.mixed:
        return
    if kinds_of(sieve.kinds) <= _WITH_FIELDS:
        return

    def flag(kinds: Iterable[str]) -> str:
        return f"--extension={','.join(sorted(kind or NO_EXTENSION for kind in kinds))}"

    raise InputError(
        f"--input={sieve.pattern}: matches files of several kinds: "
        f"{count_kinds(sieve.kinds)}; choose one with {flag(most_common(sieve.kinds))}, take "
        f"all with {flag(sieve.kinds)}, or pass narrower patterns"
    )


def _warn_of_kinds(sieves: Sequence[Sieve], recipe: Recipe) -> None:
    """Warn of files that may not be meant: given by name, as a shell's pattern may have taken a README
    with it, or together with others of a source.
    """
    if recipe.extension is not None:
        unasked = [sieve.pattern for sieve in sieves if sieve.unasked]
        if unasked:
            LOG.warning(
                "%s%s: read although --extension=%s doesn't match, because files passed by "
                "name are always read; quote the pattern so that --extension chooses",
                unasked[0],
                f" and {len(unasked) - 1} more" if len(unasked) > 1 else "",
                ",".join(recipe.extension),
            )
        return
    if recipe.format == "lines":
        return
    of: dict[str, Counter[str]] = defaultdict(Counter)
    for sieve in sieves:
        of[sieve.source] += sieve.kinds
    for source, kinds in of.items():
        found = kinds_of(kinds)
        if len(found) > 1 and not found <= _WITH_FIELDS:
            LOG.warning(
                "source %s has files of several kinds, and all are read: %s",
                *(source, count_kinds(kinds)),
            )


_READ_ONLY = ("hf", "http", "https")


def check_stores(recipe: Recipe, settings: RunSettings) -> None:
    """Raise UsageError where a store can't be used as it shall be; asks none of them anything."""
    for flag, url in _written(settings):
        protocol = url.partition("://")[0]
        if protocol in _READ_ONLY:
            raise UsageError(
                f"{flag}={url}: {protocol}:// is for reading only; write to a local folder or to a "
                "bucket, and upload from there"
            )
    for flag, url in urls_of(recipe, settings):
        try:
            storage.filesystem(url)
        except UsageError as error:
            raise UsageError(f"{flag}={error}") from None
        name = url.rpartition("://")[2].strip("/")
        if flag != "--input" and not storage.is_local(url) and not name:
            raise UsageError(f"{flag}={url}: expected the name of a bucket behind ://")


def uses_stores(recipe: Recipe, settings: RunSettings) -> bool:
    """Return whether anything lies elsewhere than on this machine's disks."""
    return not all(storage.is_local(url) for _, url in urls_of(recipe, settings))


def refuse_memory(recipe: Recipe, settings: RunSettings, workers: Workers, **more: str) -> None:
    """Raise UsageError where several processes would each have a memory:// of their own.

    ``more`` are URLs of other flags.
    """
    if not workers.processes:
        return
    why = (
        f"this run has {workers.processes} worker processes; pass --workers=1, or use another store"
    )
    if settings.runner in CLUSTERS:
        why = "a cluster's workers can't see it; use another store"
    others = [(flag_of(name), url) for name, url in more.items()]
    for flag, url in (*urls_of(recipe, settings), *others):
        if url.startswith("memory://"):
            raise UsageError(f"{flag}={url}: memory:// is the memory of one process, and {why}")


def _written(settings: RunSettings) -> list[tuple[str, str]]:
    locations = [("--temp_location", url) for url in settings.temp_location or ()]
    return [("--output", settings.output), *locations]


def urls_of(recipe: Recipe, settings: RunSettings) -> list[tuple[str, str]]:
    """Return (flag, value) of all that is read and written."""
    inputs = [url for urls in recipe.sources.values() for url in urls if url != "-"]
    return [*_written(settings), *(("--input", url) for url in inputs)]


def _refuse_overlap(recipe: Recipe, settings: RunSettings, claim: Claim) -> None:
    """Raise InputError where what is written would lie inside an input, and be read as one."""
    patterns = [url for urls in recipe.sources.values() for url in urls]
    for pattern in patterns:
        refuse_in_output(f"--input={pattern}", pattern, settings, claim)
    for pattern in patterns:
        deep = fixed_folder(pattern)
        for flag, value in _written(settings)[1:]:  # of the output nothing is read
            if deep is not None and _is_below(storage.canonical(value), storage.canonical(deep)):
                raise InputError(
                    f"{flag}={value} is inside --input={pattern}, so what is written would "
                    "be read as input; choose another folder"
                )


def refuse_in_output(given: str, url: str, settings: RunSettings, claim: Claim) -> None:
    """Raise InputError where what is read lies where is written, and may be removed before.

    Args:
        given: the flag with its value.
        url: of a file, or a pattern.
        settings, claim: where is written.
    """
    path = storage.canonical(url)
    if _is_below(path, storage.canonical(settings.output)) and not _is_spilled(path, claim):
        raise InputError(
            f"{given} is inside --output={settings.output}, which is for the output alone; "
            "choose another folder"
        )


def _is_spilled(path: str, claim: Claim) -> bool:
    return any(_is_below(path, storage.canonical(spill)) for spill in claim.spills)


def _refuse_inputs_in_output(settings: RunSettings, files: Files, claim: Claim) -> None:
    folder = storage.canonical(claim.folder)
    places: dict[str, str] = {}  # canonical names of folders, which cost much
    for url in (url for table in files.tables() for url in table.column("url").to_pylist()):
        above, _, name = url.rpartition("/")
        if above not in places:
            places[above] = storage.canonical(above)
        path = f"{places[above]}/{name}"
        if os.path.islink(path):  # also of a URL, which is no link
            path = storage.canonical(url)
        if _is_below(path, folder) and not _is_spilled(path, claim):
            raise InputError(
                f"--output={settings.output}: the input {url} is inside this folder, which "
                "is for the output alone; choose another folder"
            )


def _refuse_other_lines(recipe: Recipe, header_bytes: int) -> None:
    """Raise InputError where a dataset among the inputs has another separator, or a header."""
    for pattern in (pattern for patterns in recipe.sources.values() for pattern in patterns):
        dataset = manifest_beside(storage.join(pattern, DATA))
        if dataset is None or "prepared" in dataset or dataset.get("kind", "lines") != "lines":
            continue
        separator = dataset.get("separator", ord("\n"))
        if separator != ord(recipe.separator):
            raise InputError(
                f"--input={pattern}: its manifest says that records end in "
                f"{chr(separator)!r}, but --separator is {recipe.separator!r}; pass the "
                "separator of the dataset"
            )
        has = dataset.get("header_bytes", 0)
        if has != header_bytes:
            raise InputError(
                f"--input={pattern}: its manifest says that shards have a header of {has} "
                f"bytes, but with --header_lines={recipe.header_lines} it would be "
                f"{header_bytes}; pass the --header_lines that made the dataset"
            )


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
