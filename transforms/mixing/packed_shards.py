"""What the shards of a mixture are made of, as bytes in a file: pages, and what of the schedule counts.

What all shards have in common, the schedule without its counts, lies there once; each shard has the few
rows of counts that its own positions need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from transforms.kernels.schedules.random_schedule import RandomSchedule
from transforms.kernels.schedules.repeats_schedule import RepeatsSchedule
from transforms.kernels.schedules.schedule import Known, Schedule
from transforms.kernels.schedules.staged_schedule import StagedSchedule
from transforms.kernels.schedules.stratified_schedule import StratifiedSchedule
from transforms.shuffling.packed import Malformed, int_of, pack, require, unpack
from transforms.shuffling.references import FILES, Pages, files_of, joined, pages_of
from transforms.shuffling.spill_pages import TABLE
from transforms.shuffling.streams import Streams

MOST_POSITIONS = 1 << 17
"""That are laid down at a time, at most."""

_SHARES = np.dtype(
    [
        ("source", "<u4"),
        ("first", "<i8"),
        ("last", "<i8"),
        ("records", "<i8"),
        ("cuts", "<u4"),
        ("small", "?"),
        ("ends", "?"),
    ]
)
_CUTS = np.dtype([("files", "<u4"), ("buckets", "<u4")])
_BUCKETS = np.dtype([("number", "<u4"), ("skip", "<i8"), ("take", "<i8"), ("footprint", "<i8")])
_KINDS = (_SHARES, _CUTS, _BUCKETS, FILES, TABLE, np.dtype("<i8"))


class Bucket(NamedTuple):
    """What a shard needs of one bucket: the records after the first ``skip``, ``take`` of them."""

    number: int
    skip: int
    take: int
    footprint: int  # of the whole bucket


class Cut(NamedTuple):
    """Records of one stream that a shard needs.

    Attributes:
        pages: per spill file.
        buckets: in order.
    """

    pages: list[Pages]
    buckets: list[Bucket]


class Share(NamedTuple):
    """What a shard needs of one source.

    Attributes:
        source: its index.
        first: rank of the first record, over all passes.
        last: rank after the last one.
        records: of the source.
        cuts: of its passes, in order; for a small source one, of its first pass, whole.
        small: whether every pass is made of the first one's records, held in memory.
        ends: whether nothing after it is used.
    """

    source: int
    first: int
    last: int
    records: int
    cuts: list[Cut]
    small: bool
    ends: bool


class Content(NamedTuple):
    """What a shard holds: positions [begin, end), laid down ``chunk`` at a time, and of what."""

    begin: int
    end: int
    chunk: int
    shares: list[Share]


def pack_content(content: Content, known: Known, folders: Sequence[str]) -> bytes:
    """Return a shard's content, whose pages lie in some folders, with what it needs of the counts."""
    shares = content.shares
    cuts = [cut for share in shares for cut in share.cuts]
    pages = [part for cut in cuts for part in cut.pages]
    return pack(
        [content.begin, content.end, content.chunk, known.first],
        np.array([(*share[:4], len(share.cuts), *share[5:]) for share in shares], _SHARES),
        np.array([(len(cut.pages), len(cut.buckets)) for cut in cuts], _CUTS),
        np.array([bucket for cut in cuts for bucket in cut.buckets], _BUCKETS),
        files_of(pages, folders),
        joined(pages),
        known.table.ravel().astype("<i8"),
    )


def unpack_content(
    data: bytes | memoryview, *, streams: Streams, folders: Sequence[str]
) -> tuple[Content, Known]:
    """Return what was packed.

    Raises:
        Malformed: it is nothing that is ever written.
    """
    values, (shares, cuts, buckets, files, table, counts) = unpack(data, *_KINDS)
    require(isinstance(values, list) and len(values) == 4, "other values than those of a shard")
    begin, end, chunk, first = map(int_of, values)
    require(begin <= end and 0 < chunk <= MOST_POSITIONS, "positions outside any shard")
    _require_shares(shares, streams)
    held = sum(last - first for _, first, last, *_ in shares.tolist())
    require(held == end - begin, f"{held} records for {end - begin} positions")
    require(
        shares["cuts"].sum(dtype=np.int64) == len(cuts),
        "another number of cuts than the shares have",
    )
    require(
        cuts["files"].sum(dtype=np.int64) == len(files),
        "another number of files than the cuts have",
    )
    require(
        cuts["buckets"].sum(dtype=np.int64) == len(buckets),
        "another number of buckets than the cuts have",
    )
    require((buckets["skip"] >= 0).all() and (buckets["take"] >= 0).all(), "negative ranks")
    require((buckets["footprint"] >= 0).all(), "a bucket of a negative size")
    require(len(counts) % streams.count == 0, "counts of other sources")
    pages = iter(pages_of(files, table, folders))
    each = map(Bucket._make, buckets.tolist())
    made = (
        Cut(_take(pages, some_files), _take(each, some_buckets))
        for some_files, some_buckets in cuts.tolist()
    )
    found = []
    for source, low, high, records, many, small, ends in shares.tolist():
        mine = _take(made, many)
        require(
            all(b.number < streams.buckets[source] for cut in mine for b in cut.buckets)
            and (not small or many == 1),
            f"buckets that aren't those of source {source}",
        )
        require(small or any(cut.buckets for cut in mine), f"nothing of source {source}")
        found.append(Share(source, low, high, records, mine, small, ends))
    known = Known(first, counts.reshape(-1, streams.count))
    return Content(begin, end, chunk, found), known


def _require_shares(shares: Any, streams: Streams) -> None:
    source = shares["source"].astype(np.int64)
    require((np.diff(source) > 0).all() and (source < streams.count).all(), "sources out of order")
    ranks = (shares["first"] >= 0) & (shares["first"] < shares["last"]) & (shares["records"] > 0)
    require(ranks.all(), "ranks outside any source")


def _take(items: Iterator[Any], count: int) -> list[Any]:
    return [next(items) for _ in range(count)]


_SCHEDULES: dict[str, tuple[type[Schedule], list[str]]] = {
    "random": (RandomSchedule, ["weights", "seed", "epoch", "stage"]),
    "repeats": (RepeatsSchedule, ["totals", "seed", "epoch", "range_slots"]),
    "stratified": (StratifiedSchedule, ["weights"]),
}
"""What each kind of schedule is made of: a number per source, and some more."""


def pack_schedule(schedule: Schedule) -> bytes:
    """Return a schedule without its counts."""
    return pack(_values_of(schedule))


def _values_of(schedule: Schedule) -> list[Any]:
    if isinstance(schedule, StagedSchedule):
        return ["staged", schedule.lengths, *map(_values_of, schedule.schedules)]
    for kind, (made, names) in _SCHEDULES.items():
        if isinstance(schedule, made):
            return [kind, *(getattr(schedule, name) for name in names)]
    raise TypeError(f"expected a schedule, got {schedule!r}")


def unpack_schedule(data: bytes | memoryview, *, sources: int) -> Schedule:
    """Return what was packed.

    Raises:
        Malformed: it is no schedule of so many sources.
    """
    values, _ = unpack(data)
    try:
        if values[0] == "staged":
            _, lengths, *stages = values
            made_of = [_schedule_of(stage, sources=sources) for stage in stages]
            return StagedSchedule(made_of, [*map(int_of, lengths)])
        return _schedule_of(values, sources=sources)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise Malformed(f"no schedule: {error}") from error


def _schedule_of(values: Any, *, sources: int) -> Schedule:
    kind, numbers, *rest = values
    require(len(numbers) == sources, f"{len(numbers)} sources instead of {sources}")
    made, (_, *names) = _SCHEDULES[kind]
    more = dict(zip(names, map(_int_of, rest), strict=True))
    require(more.get("range_slots") != 0, "ranges without slots")
    return made([*map(_int_of, numbers)], **more)  # type: ignore[call-arg]


def _int_of(value: Any) -> int:
    return int_of(value, below=1 << 65)  # a seed or a weight may be as large as 2**64


def counted(schedule: Schedule, known: Known, content: Content) -> Schedule:
    """Return a schedule with what was packed of its counts.

    Raises:
        Malformed: they don't hold the content's positions.
    """
    try:
        found = schedule.knowing(known)
        found.sources_of(content.begin, content.begin)
        found.sources_of(content.end, content.end)
    except (ValueError, IndexError) as error:
        raise Malformed(f"other counts than its positions need: {error}") from error
    return found
