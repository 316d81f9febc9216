"""What is said when a run is done."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.inputs.made_by import describe
from pipelines.jobs.plan_report import table
from pipelines.jobs.split_lines import split_lines, split_warnings
from pipelines.recipes.cli import LOG
from pipelines.recipes.settings import RunSettings
from pipelines.recipes.wording import (
    write_bytes,
    write_count,
    write_memory,
    write_rate,
    write_seconds,
    write_share,
)
from pipelines.runners.clusters import CLUSTERS
from transforms.datasets.manifest import Manifest, TokensEntry
from transforms.datasets.prepared import PreparedManifest
from transforms.storage import layout

MANY_UNKNOWN = 0.1
"""More of the text that is unknown is warned of."""


_SHOWN = 5  # control strings

MANY_UNUSED = 0.75
"""More of the records that a mixture leaves unused is warned of, where no length was asked for."""


def summarize(manifest: Manifest, settings: RunSettings, *, seconds: float, peak: int) -> None:
    """Log what was written, what came of what was asked, where it is, how to check it, and warnings."""
    LOG.info(
        "done: %s in %s (%s); %s",
        write_count(manifest.records, "record"),
        write_count(len(manifest.shards), "shard"),
        write_bytes(manifest.bytes),
        ", ".join([write_seconds(seconds), *_rates(manifest, seconds), said_peak(settings, peak)]),
    )
    made = describe(manifest.tokenizers or ())
    lines = (
        *split_lines(manifest, warned=True),
        *mixture_lines(manifest),
        *token_lines(manifest),
        *made,
    )
    for line in (*lines, *beside_records(manifest)):
        LOG.info("%s", line)
    LOG.info(
        "written to %s (seed %d, epoch %d, digest %s)",
        *(settings.output, manifest.seed, manifest.epoch, manifest.digest.hash),
    )
    LOG.info("verify it with: %s", command_line("verify", settings.output, manifest.recipe))
    for line in warnings(manifest):
        LOG.warning("%s", line)


def warnings(manifest: Manifest) -> Iterator[str]:
    """Yield what is likely not to be meant."""
    if not manifest.records:
        yield f"the output is empty: {_why_empty(manifest)}"
    yield from bad_records(manifest)
    if ends_with_a_source(manifest.recipe):
        parts = manifest.mixture or []
        have = [(part.written.records + part.unused.records) / part.passes_read for part in parts]
        used = [part.written.records for part in parts]
        yield from unused_warning([part.source for part in parts], have, used)
    yield from token_warnings(manifest)
    yield from split_warnings(manifest)


def _why_empty(manifest: Manifest) -> str:
    """Say why no record was written."""
    if not any(source.digest.records or source.dropped for source in manifest.sources):
        return "the input has no records"
    for name, what in (("max_bytes", "record"), ("max_tokens", "row")):
        if (most := manifest.recipe.get(name)) is not None:
            return f"the first {what} exceeds --{name}={most}"
    return "every input record was dropped"


def said_peak(settings: RunSettings, peak: int) -> str:
    """Say how much memory was taken at most."""
    of = " of the launcher" if settings.runner in CLUSTERS else ""
    return f"peak memory{of} {write_memory(peak)}"


def command_line(command: str, output: str, recipe: Mapping[str, Any]) -> str:
    """Return the command that looks at a dataset, as it can be pasted."""
    modules = recipe.get("codec_module") if command == "verify" else None
    flags = [f"--codec_module={','.join(modules)}"] if modules else []
    return shlex.join([*command_words(), command, output, *flags])


def bad_records(manifest: Manifest | PreparedManifest) -> list[str]:
    """Return how many records were bad, if any."""
    dropped = [source.dropped for source in manifest.sources if source.dropped]
    if not dropped:
        return []
    records, size = sum(d.records for d in dropped), sum(d.bytes for d in dropped)
    kept = f"; they are kept in {layout.QUARANTINE}/" if manifest.quarantine else ""
    return [f"{write_count(records, 'bad record')} left out ({write_bytes(size)}){kept}"]


def beside_records(manifest: Manifest | PreparedManifest) -> list[str]:
    """Return what of the input is in no record."""
    lines = []
    if marks := manifest.byte_order_marks:
        files = write_count(marks, "file")
        lines.append(f"byte order mark removed at the beginning of {files}")
    if blank := manifest.blank_lines:
        lines.append(
            f"{write_count(blank, 'blank line')} skipped: in JSON lines they are no records"
        )
    if trailing := manifest.trailing_bytes:
        lines.append(
            f"{write_bytes(trailing)} of zeros or newlines ignored at the end of compressed files"
        )
    return lines


def _rates(manifest: Manifest, seconds: float) -> list[str]:
    """Say how fast it went, by what went in: of tokens, text."""
    tokens = manifest.tokens
    if tokens is None:
        return list(filter(None, [write_rate(manifest.digest.bytes / seconds)]))
    if not tokens.tokens:
        return []
    return [
        f"{write_rate(tokens.bytes / seconds)} of text",
        f"{tokens.tokens / seconds:,.0f} tokens/s",
    ]


def command_words() -> list[str]:
    """Return the words by which the commands are called here."""
    if shutil.which("dovetail"):
        return ["dovetail"]
    beside = Path(sys.executable).with_name("dovetail")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "dovetail"]


def ends_with_a_source(recipe: Mapping[str, Any]) -> bool:
    """Say whether a recipe's weights make the mixture end when the first source is used up."""
    weighted = recipe.get("weights") or recipe.get("temperature") is not None
    asked = [recipe.get(name) for name in ("max_records", "max_bytes", "max_tokens")]
    stop = recipe.get("stop") or "first_exhausted"
    return bool(weighted) and not any(asked) and stop == "first_exhausted"


def unused_warning(
    sources: Sequence[str], have: Sequence[float], used: Sequence[float], *, about: str = ""
) -> list[str]:
    """Say that a mixture leaves most of its records unused, and what would use more.

    Args:
        sources: names.
        have, used: records of each source, and those that come out.
        about: stands before numbers that are estimated.
    """
    there, out = sum(have), sum(used)
    if not out or out >= (1 - MANY_UNUSED) * there:
        return []
    first = max(range(len(sources)), key=lambda i: used[i] / max(have[i], 1))
    name, takes = sources[first], ""
    if all(used):  # else nobody knows from this how long it would get
        length = max(out * h / u for h, u in zip(have, used, strict=True))
        times = length * used[first] / out / max(have[first], 1)
        takes = f", which repeats {name} about {times:,.0f} times"
    line = (
        f"only {about}{out:,.0f} of {about}{there:,.0f} records are used "
        f"({out / there:.1%}): the mixture ends when {name} runs out, which has "
        f"{about}{write_count(round(have[first]), 'record')}; pass --stop=all_exhausted to "
        f"use all{takes}, or lower the weight of {name}"
    )
    return [line]


def mixture_lines(manifest: Manifest, *, most: int | None = None) -> list[str]:
    """Return the shares requested and actual of each source (of ``most``), as lines of a table."""
    if manifest.mixture is None:
        return []
    by_tokens = any(part.tokens is not None for part in manifest.mixture)
    # what a share is one of, where shares were requested; else each is told by records
    of = manifest.recipe.get("weigh_by") or "records"
    weighed = any(part.asked is not None for part in manifest.mixture)
    rows: list[tuple[str, ...]] = [
        (
            "source",
            *(("requested",) if weighed else ()),
            f"actual, of {of}" if weighed else "share of records",
            "records",
            "bytes",
            *(("tokens",) if by_tokens else ()),
            "passes",
            "unused records",
        )
    ]
    for part in manifest.mixture:
        share = {"bytes": part.share_of_bytes, "tokens": part.share_of_tokens}.get(of)
        rows.append(
            (
                part.source,
                *(("" if part.asked is None else write_share(part.asked),) if weighed else ()),
                write_share(part.share_of_records if share is None else share),
                f"{part.written.records:,}",
                write_bytes(part.written.bytes),
                *((f"{part.tokens or 0:,}",) if by_tokens else ()),
                write_passes(part.passes_finished, part.passes_begun),
                f"{part.unused.records:,}",
            )
        )
    lines = list(table(rows, most=most, word="source"))
    counted = manifest.counted
    if counted is not None:
        asked = manifest.recipe.get("max_tokens")
        of = f" of {asked:,} requested" if isinstance(asked, int) else ""
        lines.append(f"{write_count(counted.tokens, 'token')} in {counted.column}{of}")
    return lines


def write_passes(finished: int, begun: int) -> str:
    """Say how often a source was passed.

    >>> write_passes(8, 9), write_passes(1, 1), write_passes(0, 1), write_passes(0, 0)
    ('8 full, 9th partial', '1 full', '1st partial', 'none')
    """
    full = [f"{finished:,} full"] if finished else []
    partial = [f"{_ordinal(begun)} partial"] if begun > finished else []
    return ", ".join([*full, *partial]) or "none"


def _ordinal(number: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"}
    teen = number % 100 in (11, 12, 13)
    return f"{number:,}{'th' if teen else endings.get(number % 10, 'th')}"


def token_warnings(manifest: Manifest | PreparedManifest) -> list[str]:
    """Return what is likely not to be meant: a model of another language, texts that don't come back."""
    tokens = manifest.tokens
    if tokens is None or tokens.decoded:
        return []
    lines = []
    share = tokens.unknown / max(tokens.unknown_of, 1)
    if share > MANY_UNKNOWN:
        of = f"({tokens.unknown:,} of {tokens.unknown_of:,})"
        said = f"{share:.1%} of the text is unknown to the model {of}"
        if _as_bytes(tokens):
            said = f"{share:.1%} of the characters have no token of their own {of}"
        lines.append(f"{said}: check that the model fits the language, and check --text_field")
    if tokens.collisions:
        lines.append(
            f"{write_count(tokens.collisions, 'text')} already held the symbols that --whitespace=cpm "
            "uses for white space: decoding turns these symbols into white space"
        )
    return lines


def token_lines(manifest: Manifest | PreparedManifest) -> list[str]:
    """Return what tokenizing came to."""
    tokens = manifest.tokens
    if tokens is None:
        return []
    if tokens.decoded:
        return [
            f"{write_count(tokens.tokens, 'token')} decoded to {write_bytes(tokens.bytes)} of text"
        ]
    numbers = {name: getattr(tokens, name) for name in ("alpha", "dropout", "proportion")}
    best = tokens.best_bytes_per_token
    lines = [
        f"tokenized {write_bytes(tokens.bytes)} of text to {write_count(tokens.tokens, 'token')}: "
        f"{tokens.bytes_per_token:.2f} bytes per token"
        + (f" ({best:.2f} in the best segmentations of a sample)" if best else ""),
        f"sampling: {write_law(tokens.law, numbers)}",
    ]
    if tokens.unknown:
        line = f"unknown to the model: {write_count(tokens.unknown, _unknown_are(tokens))}"
        if _as_bytes(tokens):
            line = f"characters without a token of their own, written as bytes: {tokens.unknown:,}"
        lines.append(line)
    lines += end_lines(tokens.model)
    if found := tokens.control_strings:
        words = [
            f"{string!r} {write_count(count.times, 'time')} in {write_count(count.records, 'record')}"
            for string, count in sorted(found.items(), key=lambda each: -each[1].times)
        ]
        more = f", and {len(words) - _SHOWN:,} others" if len(words) > _SHOWN else ""
        lines.append(
            f"control strings found in texts, treated as {tokens.special_tokens}: "
            f"{', '.join(words[:_SHOWN])}{more}"
        )
    if tokens.entropy_per_token is not None:
        lines.append(
            f"entropy of the drawn segmentations: {tokens.entropy_per_token:.2f} nats per token"
        )
    counts = [
        f"{1 << power >> 1:,}{f'-{(1 << power) - 1:,}' if power > 1 else ''}: {count:,}"
        for power, count in enumerate(tokens.lengths)
        if count
    ]
    if counts:
        lines.append(f"documents by length in tokens: {', '.join(counts)}")
    return lines


def _unknown_are(tokens: TokensEntry) -> str:
    """Say what is counted as unknown: a unigram model knows characters, another one tokens."""
    return "character" if "unigram" in str(tokens.model.get("kind")).lower() else "token"


def _as_bytes(tokens: TokensEntry) -> bool:
    """Say whether characters that a model doesn't know became tokens of bytes, and no unknown token."""
    return tokens.model.get("unknown_as") == "bytes"


def write_law(law: str, numbers: Mapping[str, float | None]) -> str:
    """Return how segmentations are drawn, and its numbers, those that there are, in words."""
    return law + "".join(f", {name} {n:g}" for name, n in numbers.items() if n is not None)


def end_lines(model: Mapping[str, Any]) -> list[str]:
    """Return what is put around each record, by what the manifest says of a model."""
    lines = []
    for role in ("bos", "eos"):
        if end := model.get(role):
            named = zip(end["ids"], end["tokens"], strict=True)
            words = (f"{token} (id {id_})" if token else f"id {id_}" for id_, token in named)
            lines.append(f"{role}: {' '.join(words)}, by {end['found']}")
    return lines
