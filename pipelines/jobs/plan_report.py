"""What ``--plan`` prints: what a run would read, write and need."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from pipelines.inputs import made_by
from pipelines.inputs.survey import Amount
from pipelines.jobs.disk_room import Need
from pipelines.jobs.job import Job, streams_of
from pipelines.recipes.wording import write_bytes, write_count, write_memory, write_share
from pipelines.runners.clusters import CLUSTERS
from transforms.kernels.planning.plan import (
    FORK_SERVER_BASE,
    FORKED_BASE,
    LAUNCHER_BASE,
    WORKER_BASE,
    Workers,
)
from transforms.kernels.schedules.mixture import asked_shares
from transforms.storage import layout

_MOST_NAMES = 5  # of sources in a line


def describe(job: Job, needs: Sequence[Need]) -> str:
    """Return the plan as text; figures with ~ are estimated from samples."""
    return "\n".join(
        line
        for part in (
            describe_sources(job.inputs.contents.amounts),
            (f"unified     {note}" for note in job.inputs.contents.notes),
            (f"ids         {line}" for line in made_by.describe(job.inputs.tokenizers)),
            _mixture(job),
            _output(job),
            _memory(job),
            _exchange(job),
            describe_room(needs),
        )
        for line in part
    )


def describe_sources(amounts: Mapping[str, Amount]) -> Iterator[str]:
    """Yield what is read, as lines of a table."""
    rows: list[tuple[str, ...]] = [("source", "files", "size", "records", "decompressed")]
    rows += [(name, *_amount(amount)) for name, amount in sorted(amounts.items())]
    if len(amounts) > 1:
        rows.append(("all", *_amount(sum(amounts.values(), Amount()))))
    yield from table(rows)


def describe_workers(workers: Workers) -> str:
    """Say who does the work."""
    each = " each" if workers.count > 1 else ""
    return (
        f"workers     {workers.count:,}, {write_memory(workers.payload)} of memory{each} for data"
    )


def _mixture(job: Job) -> Iterator[str]:
    """Say what is asked of each source and what is to be expected."""
    if job.mixture.is_whole:
        return
    expected = job.expected_records
    total, total_bytes = sum(expected) or 1.0, sum(job.expected_bytes) or 1.0
    asked = asked_shares(job.mixture, job.amounts)
    by_tokens = job.mixture.measure == "tokens"
    tokens = job.expected_tokens
    total_tokens = sum(tokens) or 1.0
    rows: list[tuple[str, ...]] = [
        (
            "mixture",
            "requested",
            "of records",
            "of bytes",
            *(("of tokens",) if by_tokens else ()),
            "records",
            "bytes",
            *(("tokens",) if by_tokens else ()),
            "passes",
            "unused records",
        )
    ]
    for i, (name, have) in enumerate(zip(job.mixture.sources, job.amounts.records, strict=True)):
        count, size = expected[i], job.expected_bytes[i]
        passes = count / max(have, 1)
        begun = max(math.ceil(round(passes, 6)), 1)  # 1.0000000002 is one, of floats
        rows.append(
            (
                name,
                write_share(asked[i]) if asked else "",
                f"~{write_share(count / total)}",
                f"~{write_share(size / total_bytes)}",
                *((f"~{write_share(tokens[i] / total_tokens)}",) if by_tokens else ()),
                f"~{count:,.0f}",
                f"~{write_bytes(int(size))}",
                *((f"~{tokens[i]:,.0f}",) if by_tokens else ()),
                f"~{passes:.2f}",
                f"~{max(begun * have - count, 0.0):,.0f}",
            )
        )
    yield from table(rows)


def table(
    rows: Sequence[Sequence[str]], *, most: int | None = None, word: str = "row"
) -> Iterator[str]:
    """Yield rows as lines, the first column to the left, the others to the right.

    Args:
        rows: the head, and what is below it.
        most: rows below the head that are shown; how many more there are is said. None for all.
        word: what a row tells of.
    """
    more = 0 if most is None else len(rows) - 1 - most
    if more > 0:
        rows = rows[:-more]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        yield "  ".join(cells)
    if more > 0:
        yield f"and {write_count(more, f'more {word}')}"


def _amount(amount: Amount) -> tuple[str, ...]:
    return (
        f"{amount.files:,}",
        write_bytes(amount.stored),
        "~"[amount.exact_records :] + f"{amount.records:,}",
        "~"[amount.exact_bytes :] + write_bytes(amount.bytes),
    )


def _output(job: Job) -> Iterator[str]:
    contents, shards = job.inputs.contents, job.shards
    form = contents.form
    about = "" if job.shards_known else "~"
    first = layout.shard_path(
        split=job.recipe.split_name, number=0, of=shards, extension=contents.extension
    )
    yield (
        f"output      {form.kind}, compression {form.compression}; {about}{write_count(shards, 'shard')}"
        f" of about {write_bytes(int(sum(job.expected_bytes)) // shards)} before compression, the first "
        f"{first}"
    )


def _memory(job: Job) -> Iterator[str]:
    workers, plan = job.workers, job.plan
    base = FORKED_BASE if workers.forked else WORKER_BASE
    total = workers.payload * workers.count + LAUNCHER_BASE + workers.processes * base
    window, windows = job.inputs.contents.window, ""
    if window:
        total += window * workers.count
        windows = f"{write_memory(window)} for each decompressor, "
    processes = ""
    if workers.processes:
        processes = f"{write_memory(base)} {_for_each(workers.processes, 'worker process', 'es')}, "
    if workers.forked:
        total += FORK_SERVER_BASE
        processes += f"{write_memory(FORK_SERVER_BASE)} shared by them, "
    if job.settings.runner in CLUSTERS:
        total, launcher = total - LAUNCHER_BASE, "on the cluster, "
    else:
        launcher = f"{write_memory(LAUNCHER_BASE)} for the launcher, "
    yield (
        f"memory      {write_memory(total)}: {launcher}{processes}{windows}"
        f"{write_memory(workers.payload)} of data {_for_each(workers.count, 'worker')}; "
        f"spill runs and buckets of up to {write_memory(plan.run_bytes)}, records of up to "
        f"{write_memory(plan.record_limit)}"
    )


def _for_each(count: int, word: str, plural: str = "s") -> str:
    return f"for {'' if count == 1 else 'each of '}{write_count(count, word, plural=plural)}"


def _exchange(job: Job) -> Iterator[str]:
    held, streams = job.read_bytes, streams_of(job)
    cuts = list(zip(streams.partitions, streams.buckets, strict=True))
    runs = max(math.ceil(held / job.plan.run_bytes), 1)
    buckets = sum(count for _, count in cuts)
    segments, levels = runs * buckets, ""
    if streams.levels == 2:
        twice = [streams.name(i) for i, (first, _) in enumerate(cuts) if first > 1]
        named = ", ".join(twice) if len(twice) <= _MOST_NAMES else f"{len(twice)} sources"
        who = f" of {named}" if len(twice) < len(cuts) else ""
        first = sum(first for first, _ in cuts if first > 1)
        once = sum(count for first, count in cuts if first == 1)
        again = sum(-(-count // first) for first, count in cuts if first > 1)
        segments = runs * max(first + once, again)
        levels = f"two levels{who}, by {first:,} partitions first; "
    yield (
        f"exchange    {levels}{write_count(buckets, 'bucket')}, ~{write_count(runs, 'run')}, "
        f"at most {write_count(segments, 'segment')}{' a level' if levels else ''} of "
        f"about {write_bytes(held // segments)}"
    )


def describe_room(needs: Sequence[Need]) -> Iterator[str]:
    """Yield what has to fit where."""
    for need in needs:
        have = "free room on the store is unknown"
        if need.free is not None:  # less than nothing, where something else fills the disk already
            have = write_bytes(max(need.free, 0))
        word = " left after the above" if need.shared else "" if need.free is None else " free"
        fits = "" if need.free is None or need.free >= need.bytes else "  DOES NOT FIT"
        yield f"room        {need.flag}: ~{write_bytes(need.bytes)} for {need.what}, {have}{word}{fits}"
