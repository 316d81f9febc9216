"""Preparing in plain Python: one record, one draw, one id at a time, to be trusted and not to be quick.

What it takes of the code under test are keys and draws (``transforms.kernels.randomness``), the ids that
the tokenizer gives (``Tokenizer.encode_keyed``), and which split a content falls to by its share
(``SplitPlan``). Orders, passes, schedules, stops, budgets, stages, counted splits and packing are
written here anew.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from dovetail import Sampling, Tokenizer
from tests.pipelines.support import split
from tests.transforms.kernels import oracles
from tests.transforms.kernels.schedules import schedule_oracles
from transforms.kernels.packing.rows import Packing
from transforms.kernels.randomness import derive, file_key, pass_key
from transforms.kernels.records import blocks
from transforms.kernels.records.contents import content_hashes
from transforms.kernels.schedules.weights import scale
from transforms.kernels.splitting.plan import SplitPlan
from transforms.tokenization.encoded import identity_keys
from transforms.tokenization.models.texts import pack as pack_texts

OFF = Sampling(law="off")


class Record(NamedTuple):
    """A record as it is read: its position in its file, and its text, or its ids where it has them."""

    position: int
    text: str
    ids: tuple[int, ...] | None = None


Files = Mapping[str, Sequence[Record]]


def of_lines(data: bytes) -> list[Record]:
    """Return the records of JSON lines with a field ``text``."""
    found, position = [], 0
    for line in split(data):
        found.append(Record(position, json.loads(line)["text"]))
        position += len(line) + 1
    return found


def of_rows(texts: Sequence[str]) -> list[Record]:
    """Return the records of rows."""
    return [Record(number, text) for number, text in enumerate(texts)]


class Document(NamedTuple):
    """A document where it stands: which record in which pass of its source, and its ids there."""

    source: str
    pass_number: int
    key: int
    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of train; without weights or repeats all records of all sources, shuffled as one."""

    weights: Mapping[str, Fraction] | None = None
    repeats: Mapping[str, Fraction] | None = None
    interleave: str = "random"
    stop: str | None = None
    records: int | None = None
    tokens: int | None = None
    rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked, as the flags of the same names say it.

    Attributes:
        stages: one where there are none; its budget is the dataset's.
    """

    stages: Sequence[Stage] = (Stage(),)
    weigh_by: str = "records"
    seed: int = 0
    epoch: int = 0
    sampling: Sampling = OFF
    split: SplitPlan | None = None
    sample_splits: bool = False
    packing: Packing = field(default_factory=Packing)
    rows_multiple_of: int = 1


class Row(NamedTuple):
    """A row: its ids, the lengths of its pieces, and how much filler it needs."""

    ids: tuple[int, ...]
    lengths: tuple[int, ...]
    filler: int


class Prepared(NamedTuple):
    """A split: the documents of each stage, all rows, and how many of them each stage has."""

    stages: list[list[Document]]
    rows: list[Row]
    rows_of: list[int]

    @property
    def documents(self) -> list[Document]:
        """Return those of all stages."""
        return list(itertools.chain.from_iterable(self.stages))


# ----------------------------------------------------------------------------------------- documents


def encode(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    keys: Sequence[int],
    *,
    sampling: Sampling,
    seed: int,
    epoch: int,
) -> list[tuple[int, ...]]:
    """Return the ids of each text in the pass that gave it its key."""
    if not texts:
        return []
    draws = identity_keys(np.array(keys, np.uint64), seed=seed, epoch=epoch)
    found = tokenizer.encode_keyed(pack_texts(list(texts)), draws, sampling=sampling)
    return [tuple(ids) for ids in found.lists()]


def pass_of(
    tokenizer: Tokenizer | None, source: str, files: Files, number: int, *, asked: Asked
) -> list[Document]:
    """Return one pass of a source, in its order."""
    of_pass = pass_key(seed=asked.seed, epoch=asked.epoch, source=source, pass_number=number)
    records, keys = [], []
    for name, found in files.items():
        pair = file_key(
            seed=asked.seed, epoch=asked.epoch, source=source, pass_number=0, file_name=name
        )
        for record in found:
            key = oracles.record_key(*pair, record.position)
            records.append(record)
            keys.append(oracles.record_key(*of_pass, key) if number else key)
    if tokenizer is None:
        every = [record.ids or () for record in records]
    else:
        texts = [record.text for record in records]
        seeds = {"seed": asked.seed, "epoch": asked.epoch}
        every = encode(tokenizer, texts, keys, sampling=asked.sampling, **seeds)
    documents = [
        Document(source, number, key, record.text, ids)
        for key, record, ids in zip(keys, records, every, strict=True)
    ]
    return sorted(documents, key=lambda document: document.key)


class Feed:
    """What a source gives, one document after another, pass after pass."""

    def __init__(self, source: str, make: Callable[[int], list[Document]]) -> None:
        self.source, self._make = source, make
        self.taken = 0
        self.first = make(0)
        self._current = 0, self.first

    @property
    def size(self) -> int:
        """How many documents a pass has."""
        return len(self.first)

    def peek(self) -> Document:
        """Return the document that comes next."""
        number, rank = divmod(self.taken, self.size)
        if self._current[0] != number:
            self._current = number, self._make(number)
        return self._current[1][rank]


def _sequence(stage: Stage, number: int, feeds: Sequence[Feed], asked: Asked) -> Iterator[int]:
    """Yield the source of each document of a stage, to where sources that run out end it."""
    seeds = {"seed": asked.seed, "epoch": asked.epoch}
    if stage.weights is None and stage.repeats is None:
        keyed = [(document.key, i) for i, feed in enumerate(feeds) for document in feed.first]
        yield from (i for _, i in sorted(keyed))
        return
    if stage.repeats is not None:
        totals = [
            int(stage.repeats.get(feed.first[0].source, Fraction(1)) * feed.size)
            if feed.size
            else 0
            for feed in feeds
        ]
        # few: one range
        yield from schedule_oracles.repeats_sequence(totals, **seeds, ranges=1)
        return
    scaled = scale(shares_of(stage, feeds, asked))

    def again() -> Iterator[int]:
        if stage.interleave == "stratified":
            return schedule_oracles.stratified_sequence(scaled)
        return random_sources(scaled, number, **seeds)

    # a source that is just used up has nothing left, until it is begun again
    left = [-f.taken % f.size if f.taken and f.size else f.size for f in feeds]
    limited = stage.records or stage.tokens or stage.rows
    sequence = again()
    if stage.stop == "all_exhausted":
        wanted = [n if weight else 0 for n, weight in zip(left, scaled, strict=True)]
        sequence = itertools.islice(again(), schedule_oracles.stop_all(again(), wanted))
    elif stage.stop == "first_exhausted" or not limited:
        sequence = itertools.islice(again(), schedule_oracles.stop_first(again(), left))
    yield from sequence


def random_sources(weights: Sequence[int], number: int, *, seed: int, epoch: int) -> Iterator[int]:
    """Yield the sources of a stage's positions, without end."""
    if not number:
        yield from schedule_oracles.random_sequence(weights, seed=seed, epoch=epoch)
    pair = derive(seed, "schedule", epoch, "stage", number)
    ends = list(itertools.accumulate(weights))
    for position in itertools.count():
        yield bisect.bisect_right(ends, oracles.record_key(*pair, position))


def shares_of(stage: Stage, feeds: Sequence[Feed], asked: Asked) -> list[Fraction]:
    """Return shares of documents, from those of tokens or bytes: by their means in the first pass.

    Raises:
        ZeroDivisionError: a source that has a weight has nothing to weigh.
    """
    assert stage.weights is not None
    shares = []
    for feed in feeds:
        size = {
            "records": len(feed.first),
            "bytes": sum(len(document.text.encode()) for document in feed.first),
            "tokens": sum(len(document.ids) for document in feed.first),
        }[asked.weigh_by]
        shares.append(stage.weights[feed.source] * Fraction(len(feed.first), size))
    return shares


def _filling(document: Document, packing: Packing) -> int:
    """Return what a document gives: ids of its own in rows that hold several, else rows."""
    if packing.kind == "none":
        return 1
    pieces = cut(stream(document, packing) if document.ids else [], packing)
    if packing.kind not in {"concat", "best_fit"}:
        return len(pieces)
    if packing.kind == "concat" or packing.long == "split" or not document.ids:
        return len(document.ids)
    special = (packing.begin is not None) + (packing.end is not None)
    assert packing.length is not None
    if len(document.ids) + special <= packing.length:
        return len(document.ids)
    # cut off, it has lost its own end, and may have got one at the cut
    return sum(map(len, pieces)) - len(pieces) * ((packing.begin is not None) + packing.end_at_cuts)


def _until(
    stage: Stage, sequence: Iterator[int], feeds: Sequence[Feed], packing: Packing
) -> Iterator[Document]:
    """Yield documents to where a stage's own budget ends it at the latest, and take them."""
    spent, length = 0, packing.length if packing.kind in {"concat", "best_fit"} else None
    holds = length or 1  # a row, at most
    for number, source in enumerate(sequence):
        document = feeds[source].peek()
        if stage.records is not None and number == stage.records:
            return
        if stage.tokens is not None and spent + len(document.ids) > stage.tokens:
            return
        if stage.rows is not None and spent >= stage.rows * holds:
            return
        spent += _filling(document, packing) if stage.rows is not None else len(document.ids)
        feeds[source].taken += 1
        yield document


# ------------------------------------------------------------------------------------------- splits


def split_plainly(
    sources: Mapping[str, Files], plan: SplitPlan | None
) -> dict[str, dict[str, Files]]:
    """Return each split's records, by source and file: equal texts in one of them."""
    if plan is None:
        return {"train": dict(sources)}
    texts = Counter(
        record.text for files in sources.values() for found in files.values() for record in found
    )
    fate = dict(zip(texts, _by_content(list(texts), texts, plan), strict=True))
    return {
        name: {
            source: {
                file: [record for record in found if fate[record.text] == name]
                for file, found in files.items()
            }
            for source, files in sources.items()
        }
        for name in plan.names
    }


def _by_content(texts: list[str], records: Mapping[str, int], plan: SplitPlan) -> list[str]:
    block = blocks.from_records(
        [text.encode() for text in texts], np.arange(len(texts), dtype=np.uint64), line_end=b""
    )
    assert isinstance(block, pa.RecordBatch)
    hashes = content_hashes(block)
    numbers = plan.shares_of(*hashes).tolist()
    out = [plan.names[n] if n != plan.no_share else plan.rest or "" for n in numbers]
    left = [i for i, n in enumerate(numbers) if n == plan.no_share]
    keys = plan.keys_of(*hashes)
    counted = [part for part in plan.parts if part.count is not None]
    for number, part in enumerate(counted):
        room = part.count or 0
        order = plan.order(number, keys)
        for i in sorted(left, key=lambda i: int(order[i])):
            if records[texts[i]] <= room:
                room -= records[texts[i]]
                out[i] = part.name
                left.remove(i)
    return out


# ------------------------------------------------------------------------------------------ packing


def stream(document: Document, packing: Packing) -> list[int]:
    """Return a document's ids with the special ones around them."""
    before = [] if packing.begin is None else [packing.begin]
    after = [] if packing.end is None else [packing.end]
    return [*before, *document.ids, *after]


class Piece(NamedTuple):
    """A piece of a document: which one it is, and the piece's ids."""

    document: int
    ids: tuple[int, ...]


class Packed(NamedTuple):
    """A row, and how many documents the part has if it ends with it."""

    pieces: tuple[Piece, ...]
    documents: int

    def row(self, packing: Packing) -> Row:
        """Return it as a trainer sees it."""
        ids = tuple(itertools.chain.from_iterable(piece.ids for piece in self.pieces))
        size = packing.length or len(ids)
        if packing.kind == "buckets":
            size = min(1 << max(len(ids) - 1, 0).bit_length(), size)
        filler = 0 if packing.kind == "none" else size - len(ids)
        return Row(ids, tuple(len(piece.ids) for piece in self.pieces), filler)


def pack(
    documents: Sequence[Document],
    packing: Packing,
    *,
    labels: Sequence[int | str] = (0, 0, "train", 0),
) -> list[Packed]:
    """Return the rows of a part.

    Args:
        documents: in order.
        packing: how.
        labels: seed, epoch, split and stage, which key the order of ``best_fit``'s rows.
    """
    streams = [stream(document, packing) for document in documents]
    if packing.kind == "none":
        return [Packed((Piece(i, tuple(ids)),), i + 1) for i, ids in enumerate(streams)]
    streams = [ids if d.ids else [] for d, ids in zip(documents, streams, strict=True)]
    if packing.kind == "concat":
        rows = _concat(streams, packing)
        lasts = [row[-1].document for row in rows]
        firsts = [row[0].document for row in rows[1:]] + [-1] * bool(rows)
        goes_on = [last == first for last, first in zip(lasts, firsts, strict=True)]
        return [
            Packed(tuple(row), last + 1 if on else _behind(streams, last))
            for row, last, on in zip(rows, lasts, goes_on, strict=True)
        ]
    if packing.kind == "best_fit":
        return _best_fit(documents, streams, packing, labels)
    return [
        Packed((Piece(i, tuple(ids)),), i + 1)
        for i, whole in enumerate(streams)
        for ids in cut(whole, packing)
    ]


def _behind(streams: Sequence[list[int]], document: int) -> int:
    """Return how many documents there are to the next one with ids: empty ones stand where it does."""
    later = range(document + 1, len(streams))
    return next((i for i in later if streams[i]), len(streams))


def cut(ids: list[int], packing: Packing) -> list[list[int]]:
    """Return the pieces of a document's stream, none longer than a row."""
    length = packing.length
    assert length is not None
    if len(ids) <= length:
        return [ids] if ids else []
    if packing.long == "drop":
        return []
    ends = [packing.end] if packing.end_at_cuts and packing.end is not None else []
    pieces = []
    while len(ids) > length:
        pieces.append([*ids[: length - len(ends)], *ends])
        ids = ids[length - len(ends) :]
    return pieces[:1] if packing.long == "truncate" else [*pieces, ids]


def _concat(streams: Sequence[list[int]], packing: Packing) -> list[list[Piece]]:
    """Join and cut; the last row is short."""
    length = packing.length
    assert length is not None
    ends = [packing.end] if packing.end_at_cuts and packing.end is not None else []
    rows: list[list[Piece]] = []
    room = 0
    for number, ids in enumerate(streams):
        rest = ids
        while rest:
            if not room:
                rows.append([])
                room = length
            taken = rest if len(rest) <= room else rest[: room - len(ends)]
            rest = rest[len(taken) :]
            if taken:
                rows[-1].append(Piece(number, (*taken, *(ends if rest else []))))
            room = 0 if rest else room - len(taken)
            if ends and room == 1:  # for no id with an end behind it
                rows[-1].append(Piece(number, tuple(ends)))
                room = 0
    return rows


def _best_fit(
    documents: Sequence[Document],
    streams: Sequence[list[int]],
    packing: Packing,
    labels: Sequence[int | str],
) -> list[Packed]:
    """Pack each window: the longest piece first, into the row that it fills up best.

    A window is of so many ids, and each document counts for 16 more than it has.
    """
    length = packing.length
    assert length is not None
    windows: dict[int, list[int]] = {}
    place = 0
    for number, document in enumerate(documents):
        windows.setdefault(place // packing.window, []).append(number)
        place += len(document.ids) + packing.special + 16
    found = []
    seed, *others = labels
    for window, numbers in windows.items():
        pair = derive(int(seed), "packing", *others, window)
        pieces = [Piece(i, tuple(ids)) for i in numbers for ids in cut(streams[i], packing)]
        end = max(numbers) + 1
        rows: list[list[int]] = []
        rooms: list[tuple[int, int]] = []  # of each row, and when it got to be that
        for time, i in enumerate(sorted(range(len(pieces)), key=lambda i: -len(pieces[i].ids))):
            size = len(pieces[i].ids)
            fitting = [
                (room, since, row) for row, (room, since) in enumerate(rooms) if room >= size
            ]
            if not fitting:
                rows.append([])
                rooms.append((length, time))
                fitting = [(length, time, len(rows) - 1)]
            room, _, row = min(fitting)
            rows[row].append(i)
            rooms[row] = room - size, time
        for row in sorted(range(len(rows)), key=lambda row: oracles.record_key(*pair, row)):
            mine = sorted(rows[row], key=lambda i: oracles.record_key(*pair, i + (1 << 63)))
            found.append(Packed(tuple(pieces[i] for i in mine), end))
    return found


def prepare(
    tokenizer: Tokenizer | None, sources: Mapping[str, Files], asked: Asked
) -> dict[str, Prepared]:
    """Return the documents and rows of every split."""
    out = {}
    for name, mine in split_plainly(sources, asked.split).items():
        if name == "train":
            out[name] = train(tokenizer, mine, asked)
            continue
        law = asked.sampling if asked.sample_splits else OFF
        others = Asked(seed=asked.seed, sampling=law, packing=asked.packing)  # of no epoch
        out[name] = train(tokenizer, mine, others, name=name)
    return out


def train(
    tokenizer: Tokenizer | None,
    sources: Mapping[str, Files],
    asked: Asked,
    *,
    name: str = "train",
) -> Prepared:
    """Lay down and pack a split, stage by stage."""
    feeds = [
        Feed(source, functools.partial(pass_of, tokenizer, source, sources[source], asked=asked))
        for source in sorted(sources)
    ]
    stages, packed = [], []
    for number, stage in enumerate(asked.stages):
        labels = (asked.seed, asked.epoch, name, number)
        found = list(_until(stage, _sequence(stage, number, feeds, asked), feeds, asked.packing))
        rows = pack(found, asked.packing, labels=labels)
        if stage.rows is not None and stage.rows < len(rows):
            found, rows = _end(found, rows, stage.rows, asked.packing, labels, feeds)
        stages.append(found)
        packed.append(rows)
    left = sum(map(len, packed)) // asked.rows_multiple_of * asked.rows_multiple_of
    for number, rows in enumerate(packed):
        if left < len(rows):
            labels = (asked.seed, asked.epoch, name, number)
            stages[number], packed[number] = _end(
                stages[number], rows, left, asked.packing, labels, feeds
            )
        left -= len(packed[number])
    every = [one.row(asked.packing) for one in itertools.chain.from_iterable(packed)]
    return Prepared(stages, every, [len(rows) for rows in packed])


def _end(
    documents: list[Document],
    rows: list[Packed],
    count: int,
    packing: Packing,
    labels: Sequence[int | str],
    feeds: Sequence[Feed],
) -> tuple[list[Document], list[Packed]]:
    """End a part after so many rows, with its last document; the sources go on behind that."""
    used = rows[count - 1].documents if count else 0
    by_source = {feed.source: feed for feed in feeds}
    for document in documents[used:]:
        by_source[document.source].taken -= 1
    return documents[:used], rows[:count]
