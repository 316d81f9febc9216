"""Preparing in plain Python: one record, one draw, one id at a time, to be trusted and not to be quick.

What it takes of the code under test are keys and draws (``transforms.kernels.randomness``), the ids that
the tokenizer gives (``Tokenizer.encode_keyed``), and which split a content falls to by its share
(``SplitPlan``). Orders, passes, schedules, stops, budgets, stages, counted splits and packing are
written here anew. Of ``best_fit`` it says which pieces there have to be, not which rows.
"""

from __future__ import annotations

import bisect
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    tokenizer: Tokenizer | None, source: str, files: Files, number: int, asked: Asked
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

    def __init__(self, make: Callable[[int], list[Document]]) -> None:
        self._make = make
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


def lay_down(
    tokenizer: Tokenizer | None, sources: Mapping[str, Files], asked: Asked
) -> dict[str, list[list[Document]]]:
    """Return the documents of every split in their order, stage by stage."""
    parts = split_plainly(sources, asked.split)
    out = {}
    for name, mine in parts.items():
        if name == "train":
            out[name] = list(train(tokenizer, mine, asked))
            continue
        law = asked.sampling if asked.sample_splits else OFF
        others = Asked(seed=asked.seed, sampling=law)  # the same in all epochs
        out[name] = list(train(tokenizer, mine, others))
    return out


def train(
    tokenizer: Tokenizer | None, sources: Mapping[str, Files], asked: Asked
) -> Iterator[list[Document]]:
    """Yield the documents of each stage."""
    names = sorted(sources)

    def maker(name: str) -> Callable[[int], list[Document]]:
        return lambda number: pass_of(tokenizer, name, sources[name], number, asked)

    feeds = [Feed(maker(name)) for name in names]
    for number, stage in enumerate(asked.stages):
        yield list(_until(stage, _sequence(stage, number, feeds, asked), feeds, asked.packing))


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
    """Return shares of documents, from those of tokens or bytes: by their means in the first pass."""
    assert stage.weights is not None
    shares = []
    for feed in feeds:
        name = feed.first[0].source if feed.first else None
        share = Fraction(stage.weights.get(name, Fraction(0))) if name else Fraction(0)
        size = {
            "records": len(feed.first),
            "bytes": sum(len(document.text.encode()) for document in feed.first),
            "tokens": sum(len(document.ids) for document in feed.first),
        }[asked.weigh_by]
        shares.append(share * len(feed.first) / size if size else share)
    return shares


def _until(
    stage: Stage, sequence: Iterator[int], feeds: Sequence[Feed], packing: Packing
) -> Iterator[Document]:
    """Yield documents to where a stage's own budget ends it, and take them from their sources."""
    spent, kept = 0, []
    for number, source in enumerate(sequence):
        document = feeds[source].peek()
        spent += len(document.ids)
        kept.append(document)
        if stage.records is not None and number == stage.records:
            return
        if stage.tokens is not None and spent > stage.tokens:
            return
        if stage.rows is not None and len(rows_of(kept[:-1], packing)) > stage.rows:
            return  # the last row is whole
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


def rows_of(documents: Iterable[Document], packing: Packing) -> list[Row]:
    """Return the rows of a stage; of every kind but ``best_fit`` in their order."""
    documents = list(documents)
    if packing.kind == "none":
        return [Row(ids, (len(ids),), 0) for ids in (tuple(stream(d, packing)) for d in documents)]
    streams = [stream(document, packing) for document in documents if document.ids]
    assert packing.length is not None
    if packing.kind == "concat":
        return _concat(streams, packing)
    rows = []
    for piece in itertools.chain.from_iterable(cut(ids, packing) for ids in streams):
        size = packing.length
        if packing.kind == "buckets":
            size = min(1 << max(len(piece) - 1, 0).bit_length(), size)
        rows.append(Row(tuple(piece), (len(piece),), size - len(piece)))
    return rows


def cut(ids: list[int], packing: Packing) -> list[list[int]]:
    """Return the pieces of a document's stream, none longer than a row."""
    length = packing.length
    assert length is not None
    if len(ids) <= length:
        return [ids]
    if packing.long == "drop":
        return []
    ends = [packing.end] if packing.end_at_cuts and packing.end is not None else []
    if packing.long == "truncate":
        return [[*ids[: length - len(ends)], *ends]]
    pieces = []
    while len(ids) > length:
        pieces.append([*ids[: length - len(ends)], *ends])
        ids = ids[length - len(ends) :]
    return [*pieces, ids]


def _concat(streams: Sequence[list[int]], packing: Packing) -> list[Row]:
    """Join and cut; the last row is filled up."""
    length = packing.length
    assert length is not None
    joined = [(number, id_) for number, ids in enumerate(streams) for id_ in ids]
    rows = []
    for begin in range(0, len(joined), length):
        mine = joined[begin : begin + length]
        pieces = tuple(
            len(list(group)) for _, group in itertools.groupby(mine, lambda pair: pair[0])
        )
        rows.append(Row(tuple(id_ for _, id_ in mine), pieces, length - len(mine)))
    return rows


def pieces_of(rows: Iterable[Row]) -> Counter[tuple[int, ...]]:
    """Return the pieces of rows, whatever their order."""
    found: Counter[tuple[int, ...]] = Counter()
    for row in rows:
        ends = list(itertools.accumulate(row.lengths, initial=0))
        found.update(row.ids[a:b] for a, b in itertools.pairwise(ends))
    return found


def pieces_wanted(documents: Iterable[Document], packing: Packing) -> Counter[tuple[int, ...]]:
    """Return the pieces that ``best_fit`` has to place."""
    streams = (stream(document, packing) for document in documents if document.ids)
    return Counter(tuple(piece) for ids in streams for piece in cut(ids, packing))


def prepare(
    tokenizer: Tokenizer | None, sources: Mapping[str, Files], asked: Asked
) -> dict[str, list[Row]]:
    """Return the rows of every split; ``best_fit``'s in no order that means anything."""
    out = {}
    for name, stages in lay_down(tokenizer, sources, asked).items():
        rows: list[Row] = []
        for number, documents in enumerate(stages):
            mine = rows_of(documents, asked.packing)
            limit = asked.stages[number].rows if name == "train" else None
            rows += mine[:limit]
        if name == "train":
            rows = rows[: len(rows) // asked.rows_multiple_of * asked.rows_multiple_of]
        out[name] = rows
    return out


def shuffled_texts(sources: Mapping[str, Files], *, seed: int = 0, epoch: int = 0) -> list[str]:
    """Return all texts as ``dovetail shuffle`` orders them, by hashes alone."""
    keyed = [
        (oracles.record_key(*derive(seed, epoch, source, 0, name), record.position), record.text)
        for source, files in sources.items()
        for name, found in files.items()
        for record in found
    ]
    return [text for _, text in sorted(keyed)]
