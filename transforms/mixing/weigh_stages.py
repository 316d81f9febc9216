"""Weighing stages: their schedules, and how much of each source all of them together may need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from transforms.datasets.reports import SpanReports, Tally
from transforms.errors import RunError, UsageError
from transforms.kernels.arrays import I64
from transforms.kernels.packing.enough import Filling, documents_for
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.schedules.mixture import Amounts, Draft, Item, asked_shares
from transforms.kernels.schedules.staged import (
    Stage,
    Until,
    counted,
    draft_stages,
    expect_stages,
    items_of,
    shares_of_law,
)
from transforms.mixing.counted import Counted, by_stream, needed_buckets, passes_begun
from transforms.mixing.mean_tokens import LEVELS, level_for, tokens_of
from transforms.mixing.ordering import Bounds, Ordering, Weighed, count_of, read_once
from transforms.mixing.spill_tokens import Made, add_made


def weigh_stages(
    _: None,
    spans: Iterable[SpanReports],
    made: list[Made],
    ordering: Ordering,
) -> Weighed:
    """Make the schedules of all stages, once it is known what the sources hold.

    Raises:
        RunError: a source that is to be drawn is empty.
    """
    read = read_once(spans, ordering.streams.sources)
    found = add_made(made)
    stages = [_until_rows(ordering, stage) for stage in ordering.stages]
    try:
        amounts = _amounts(ordering, read, found, stages)
        enough = [_without_rows(ordering, stage, amounts, found) for stage in stages]
        return Weighed(tuple(draft_stages(enough, amounts)), amounts)
    except UsageError as error:  # found out in the work, when the sources had been counted
        raise RunError(str(error)) from None


def _amounts(
    ordering: Ordering,
    read: Mapping[str, Digest],
    made: Mapping[tuple[str, int], Made],
    stages: Sequence[Stage],
) -> Amounts:
    """Return how much the sources hold; of tokens as much as their means say, as of ``mean_tokens``."""
    streams = ordering.streams
    digests = list(read.values())
    records = tuple(digest.records for digest in digests)
    none = np.zeros((LEVELS, 2), np.int64)
    levels = [made[name, 0].levels if (name, 0) in made else none for name in read]
    whole = streams.sure or (1 << 64,) * streams.count
    whole = whole * len(records) if streams.union else whole

    def amounts(used: Sequence[float]) -> Amounts:
        tokens = tuple(
            tokens_of(count, mine, level=level_for(count, many), tokenized=most)
            for count, mine, many, most in zip(records, levels, used, whole, strict=True)
        )
        return Amounts(records, tuple(digest.bytes for digest in digests), tokens)

    if streams.union:
        return amounts(records).together()
    first = amounts([0.0] * len(records))
    if not all(first.records):  # weighing says what is wrong
        return first
    length, joined = ordering.packing.length, ordering.packing.is_joined
    used = expect_stages(stages, first, row_tokens=length, joined=joined)
    return amounts([sum(each) for each in zip(*used, strict=True)])


def _until_rows(ordering: Ordering, stage: Stage) -> Stage:
    """Return a stage that ends by all rows too, where no other unit ends it."""
    rows = [n for n in (count_of(stage, "rows"), ordering.budget.rows) if n is not None]
    if not rows or (stage.until is not None and stage.until.unit != "rows"):
        return stage
    return replace(stage, until=Until("rows", min(rows)))


def _without_rows(
    ordering: Ordering, stage: Stage, amounts: Amounts, made: Mapping[tuple[str, int], Made]
) -> Stage:
    """Return a stage that ends by rows as one that surely has them: by tokens, or by records."""
    rows = count_of(stage, "rows")
    if rows is None:
        return stage
    if ordering.row_tokens is not None:
        return replace(stage, until=Until("tokens", rows * ordering.row_tokens))
    some = [
        made[name, 0].filling if (name, 0) in made else Filling()
        for name in ordering.streams.sources
    ]
    some = [sum(some, start=Filling())] if ordering.streams.union else some
    shares = shares_of_law(stage.mixture, amounts)
    records = documents_for(rows, ordering.packing, zip(shares, some, strict=True))
    # where none of them makes a row, one pass shows that, and packing says it
    return replace(stage, until=Until("records", records or max(sum(amounts.records), 1)))


def find_bounds(
    _: None,
    weighed: Weighed,
    counts: list[tuple[tuple[int, int, int, int], I64]],
    tallies: list[Tally],
    made: list[Made],
    ordering: Ordering,
) -> Bounds:
    """Find how much of each source may be needed for all stages together.

    Args:
        weighed: the stages' schedules, not counted yet.
        counts: (stage, source, begin, end) and what was counted there.
        tallies: records by bucket, of what was spilled.
        made: documents and tokens, of what was tokenized.
        ordering: what is asked.
    """
    rows = ((key[0], Item(*key[1:]), row) for key, row in counts)
    amounts, ended = weighed.amounts, []
    used = np.zeros(ordering.streams.count, np.int64)
    found_made = add_made(made)
    for uncounted in counted(weighed.drafts, rows):
        found, length = _within_spilled(uncounted, found_made).ended()
        ended.append(found)
        used += found.schedule.counts_before(length)
    repeats = any(
        found.mixture.repeats_as_needed
        or found.mixture.stop == "all_exhausted"
        or found.mixture.repeats is not None
        for found in ended
    )
    most = used.tolist()
    if not repeats:
        most = [min(n, have) for n, have in zip(most, amounts.records, strict=True)]
    streams = ordering.streams
    costs = dict.fromkeys(streams.sources, 0)
    for (name, pass_number), one in found_made.items():
        if pass_number == 0:
            costs[name] += blocks.footprint(one.made.records, one.payload)
    footprints = (
        (sum(costs.values()),) if streams.union else tuple(costs[n] for n in streams.sources)
    )
    passes = passes_begun(most, amounts.records)
    small = [
        not ordering.sampled and many > 1 and 2 * cost <= limit
        for many, cost, limit in zip(passes, footprints, streams.limits, strict=True)
    ]
    if not ordering.repeats and any(
        many > 1 and not fits for many, fits in zip(passes, small, strict=True)
    ):
        raise RunError(
            "a source repeats, and there are no files to read it from again; pass weights and a "
            "stop that use it once"
        )
    first = by_stream(tallies, streams)
    needed, reread = needed_buckets(most, small, first, streams, bounded=True)
    spilled = Counted(
        replace(ended[0], amounts=amounts),
        0,
        (),
        footprints,
        tuple(small),
        tuple(passes),
        asked_shares(ended[0].mixture, amounts),
        needed,
        reread,
    )
    return Bounds(tuple(ended), amounts, spilled)


def _within_spilled(draft: Draft, made: Mapping[tuple[str, int], Made]) -> Draft:
    """Return a draft that ends with what is spilled, where that has more tokens than are asked for.

    Of all sources shuffled as one, that is: a budget of tokens ends no schedule of theirs, and the rest
    needs neither be read again nor tokenized.
    """
    mixture = draft.mixture
    if not mixture.is_union or mixture.max_tokens is None:
        return draft
    first = [found for (_, number), found in made.items() if number == 0]
    if sum(found.counts.tokens for found in first) <= mixture.max_tokens:
        return draft
    records = sum(found.made.records for found in first)
    most = records if mixture.max_records is None else min(records, mixture.max_records)
    return replace(draft, mixture=replace(mixture, max_records=most))


def list_items(weighed: Weighed) -> Iterator[tuple[int, tuple[int, Item]]]:
    """Number what has to be counted of the schedules."""
    yield from enumerate(items_of(weighed.drafts))


def count_items(
    numbered: tuple[int, Iterable[tuple[int, Item]]], weighed: Weighed
) -> Iterator[tuple[tuple[int, int, int, int], I64]]:
    """Count some of it."""
    for number, item in numbered[1]:
        one = weighed.drafts[number]
        source, begin, end = one.added_as(item)
        yield (number, source, begin, end), one.count(item)
