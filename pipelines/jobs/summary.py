"""What is said when a run is done."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.inputs.made_by import describe
from pipelines.jobs.plan_report import table
from pipelines.jobs.split_lines import split_lines, split_warnings
from pipelines.recipes.cli import LOG
from pipelines.recipes.recipe import RunSettings
from pipelines.recipes.values import write_count
from pipelines.runners.clusters import CLUSTERS
from transforms.datasets.manifest import Manifest
from transforms.datasets.prepared import PreparedManifest
from transforms.storage import layout

MANY_UNKNOWN = 0.1
"""More of the text that is unknown is warned of."""


_SHOWN = 5  # control strings

MANY_UNUSED = 0.75
"""More of the records that a mixture leaves unused is warned of, where no length was asked for."""


def summarize(manifest: Manifest, settings: RunSettings, *, seconds: float, peak: int) -> None:
    """Log what was written, how long it took, and how to check it."""
    LOG.info(
        "done: %s, %s in %s; %.1f s, %s, peak memory %d MiB%s",
        write_count(manifest.records, "record"),
        write_count(manifest.bytes, "byte"),
        write_count(len(manifest.shards), "shard"),
        seconds,
        _rate(manifest, seconds),
        peak >> 20,
        " of the launcher" if settings.runner in CLUSTERS else "",
    )
    if not manifest.records:
        LOG.warning("the dataset is empty: no record of the input was to be written")
    for line in bad_records(manifest):
        LOG.warning("%s", line)
    for line in beside_records(manifest):
        LOG.info("%s", line)
    if ends_with_a_source(manifest.recipe):
        parts = manifest.mixture or []
        have = [(part.written.records + part.unused.records) / part.passes_read for part in parts]
        used = [part.written.records for part in parts]
        for line in unused_warning([part.source for part in parts], have, used):
            LOG.warning("%s", line)
    for line in token_warnings(manifest):
        LOG.warning("%s", line)
    for line in split_warnings(manifest):
        LOG.warning("%s", line)
    made = describe(manifest.tokenizers or ())
    for line in (*split_lines(manifest), *mixture_lines(manifest), *token_lines(manifest), *made):
        LOG.info("%s", line)
    LOG.info("digest %s, seed %d, epoch %d", manifest.digest.hash, manifest.seed, manifest.epoch)
    modules = manifest.recipe.get("codec_module")
    flags = [f"--codec_module={','.join(modules)}"] if modules else []
    LOG.info(
        "verify it with: %s", shlex.join([*command_words(), "verify", settings.output, *flags])
    )


def bad_records(manifest: Manifest | PreparedManifest) -> list[str]:
    """Return how many records were bad, if any."""
    dropped = [source.dropped for source in manifest.sources if source.dropped]
    if not dropped:
        return []
    records, size = sum(d.records for d in dropped), sum(d.bytes for d in dropped)
    kept = f"; kept in {layout.QUARANTINE}/" if manifest.quarantine else ""
    return [f"bad records left out: {records}, of {size} bytes{kept}"]


def beside_records(manifest: Manifest | PreparedManifest) -> list[str]:
    """Return what of the input is in no record."""
    lines = []
    if marks := manifest.byte_order_marks:
        files = write_count(marks, "file")
        lines.append(f"byte order marks left out, at the beginning of {files}")
    if blank := manifest.blank_lines:
        lines.append(f"blank lines left out: {blank:,}; in JSON lines they are no records")
    if trailing := manifest.trailing_bytes:
        lines.append(
            f"behind compressed files' last members: {trailing:,} bytes of zeros or newlines, left out"
        )
    return lines


def _rate(manifest: Manifest, seconds: float) -> str:
    """Say how fast it went, by what went in: of tokens, text."""
    tokens = manifest.tokens
    if tokens is None:
        return f"{manifest.digest.bytes / seconds / 1e6:.0f} MB/s"
    return (
        f"{tokens.bytes / seconds / 1e6:.1f} MB of text and {tokens.tokens / seconds:,.0f} tokens a "
        "second"
    )


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
        takes = f", which takes {name} about {times:,.0f} times"
    line = (
        f"{about}{out:,.0f} of {about}{there:,.0f} records are used, {out / there:.1%}: the mixture "
        f"ends when {name} is used up, which has {about}{have[first]:,.0f}; give --stop=all_exhausted "
        f"to use all{takes}, or give {name} less weight"
    )
    return [line]


def mixture_lines(manifest: Manifest) -> list[str]:
    """Return what was asked of each source and what it came to, as lines of a table."""
    if manifest.mixture is None:
        return []
    by_tokens = any(part.tokens is not None for part in manifest.mixture)
    words = ("tokens", "share") if by_tokens else ()
    rows: list[tuple[str, ...]] = [
        (
            "source",
            "asked",
            "records",
            "share",
            "bytes",
            "share",
            *words,
            "passes",
            "unused records",
        )
    ]
    rows += [
        (
            part.source,
            "" if part.asked is None else f"{part.asked:.4%}",
            f"{part.written.records:,}",
            f"{part.share_of_records:.4%}",
            f"{part.written.bytes:,}",
            f"{part.share_of_bytes:.4%}",
            *((f"{part.tokens or 0:,}", f"{part.share_of_tokens or 0:.4%}") if by_tokens else ()),
            f"{part.passes_finished} of {part.passes_begun} begun",
            f"{part.unused.records:,}",
        )
        for part in manifest.mixture
    ]
    lines = list(table(rows))
    counted = manifest.counted
    if counted is not None:
        asked = manifest.recipe.get("max_tokens")
        of = f" of {asked:,} asked for" if isinstance(asked, int) else ""
        lines.append(f"{counted.tokens:,} tokens in {counted.column}{of}")
    return lines


def token_warnings(manifest: Manifest | PreparedManifest) -> list[str]:
    """Return what is likely not to be meant: a model of another language, texts that don't come back."""
    tokens = manifest.tokens
    if tokens is None or tokens.decoded:
        return []
    lines = []
    share = tokens.unknown / max(tokens.unknown_of, 1)
    if share > MANY_UNKNOWN:
        lines.append(
            f"the model doesn't know {share:.1%} of the text ({tokens.unknown:,} of "
            f"{tokens.unknown_of:,}): is it made for this language, and --text_field the right one?"
        )
    if tokens.collisions:
        lines.append(
            f"{tokens.collisions:,} texts hold the symbols that white space becomes (--whitespace=cpm): "
            "decoded, they have white space in the place of them"
        )
    return lines


def token_lines(manifest: Manifest | PreparedManifest) -> list[str]:
    """Return what tokenizing came to."""
    tokens = manifest.tokens
    if tokens is None:
        return []
    if tokens.decoded:
        return [f"{tokens.tokens:,} tokens became {tokens.bytes:,} bytes of text"]
    numbers = {name: getattr(tokens, name) for name in ("alpha", "dropout", "proportion")}
    best = tokens.best_bytes_per_token
    # of what is prepared less may be used, and another line says how much
    made = "tokenized: " if isinstance(manifest, PreparedManifest) else ""
    lines = [
        f"{made}{tokens.tokens:,} tokens of {tokens.bytes:,} bytes of text, "
        f"{write_law(tokens.law, numbers)}: "
        f"{tokens.bytes_per_token:.3f} bytes a token"
        + (f" ({best:.3f} in the best segmentations of a sample)" if best else ""),
        f"unknown characters: {tokens.unknown:,}",
        *end_lines(tokens.model),
    ]
    if found := tokens.control_strings:
        words = [
            f"{string!r} {write_count(count.times, 'time')} in {write_count(count.records, 'record')}"
            for string, count in sorted(found.items(), key=lambda each: -each[1].times)
        ]
        more = f", and {len(words) - _SHOWN:,} others" if len(words) > _SHOWN else ""
        lines.append(
            f"control strings in texts, taken for {tokens.special_tokens}: "
            f"{', '.join(words[:_SHOWN])}{more}"
        )
    if tokens.entropy_per_token is not None:
        lines.append(f"entropy: {tokens.entropy_per_token:.4f} nats a token")
    counts = [
        f"{1 << power >> 1}{f'-{(1 << power) - 1}' if power > 1 else ''}: {count:,}"
        for power, count in enumerate(tokens.lengths)
        if count
    ]
    if counts:
        lines.append(f"records by how many tokens they have: {', '.join(counts)}")
    return lines


def write_law(law: str, numbers: Mapping[str, float | None]) -> str:
    """Return a law and its numbers, those that there are, in words."""
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
