"""What ``dovetail split`` has to give, from the docs, in plain Python: all records at once, in lists.

Taken from the library are only the seeds' keys (``split_pair`` and ``file_key``, BLAKE2b, whose values
are pinned); hashes of contents, keys, shares, counts and strata are worked out here in Python's integers
and fractions.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tests.transforms.kernels import oracles
from transforms.kernels.randomness import file_key, split_pair

Pair = tuple[int, int]
"""The two hashes by which a content is known."""
Law = Mapping[str, Fraction | int | None]
"""Of each split its fraction or its count; None for the rest."""


@dataclass(frozen=True)
class Record:
    """A record of the input.

    Attributes:
        raw: as it stands in its file: a line without its end, or a row's values by column.
        text: its own, None where it has none.
        fields: what else may decide, by name.
        source, file, position: its identity.
    """

    raw: Any
    text: str | None
    source: str
    file: str
    position: int
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked, as of the flags."""

    law: Law
    by: str = "content"
    split_by: Sequence[str] = ()
    stratify: str | None = None
    split_seed: int = 0


def of_lines(
    data: bytes, *, file: str, source: str = "default", json_lines: bool, header: int = 0
) -> list[Record]:
    """Return the records of a file of lines; its blank lines are none where it is named as JSON."""
    out, at = [], 0
    for number, line in enumerate(_lines(data)):
        blank = not line.strip(b" \t\r\n")
        if number >= header and not (json_lines and blank and ".json" in file):
            value = _value(line) if json_lines else None
            text = value.get("text") if isinstance(value, dict) else None
            fields = value if isinstance(value, dict) else {}
            own = text if isinstance(text, str) and _is_text(text) else None
            out.append(Record(line, own, source, file, at, fields))
        at += len(line) + 1
    return out


def of_rows(rows: Sequence[dict[str, Any]], *, file: str, source: str = "default") -> list[Record]:
    """Return the records of a file of rows."""
    return [
        Record(tuple(row.items()), row["text"], source, file, number, row)
        for number, row in enumerate(rows)
    ]


def split(records: Sequence[Record], asked: Asked) -> dict[str, list[Record]]:
    """Return the records of each split in the input's order: of sources and files by name."""
    ordered = sorted(records, key=lambda r: (r.source, r.file, r.position))
    contents = [_content(record, asked) for record in ordered]
    fate = _fates(ordered, contents, asked)
    out: dict[str, list[Record]] = {name: [] for name in asked.law}
    for record, content in zip(ordered, contents, strict=True):
        out[fate[content]].append(record)
    return out


def left_by_shares(records: Sequence[Record], asked: Asked) -> list[tuple[Pair, Record]]:
    """Return the records that no fraction takes, each with its content."""
    found = [(_content(record, asked), record) for record in records]
    return [(content, record) for content, record in found if _share_of(content, asked) is None]


def _fates(records: Sequence[Record], contents: Sequence[Pair], asked: Asked) -> dict[Pair, str]:
    """Name the split of each content."""
    rest = next((name for name, part in asked.law.items() if part is None), None)
    fate: dict[Pair, str] = {}
    left = Counter(contents)
    for content in list(left):
        share = _share_of(content, asked)
        if share is not None:
            fate[content] = share
            del left[content]
    labels = dict.fromkeys(left, "")
    if asked.stratify is not None:
        for record, content in zip(records, contents, strict=True):
            if content in labels:
                labels[content] = _text_of(record.fields[asked.stratify])
    counted = [(name, part) for name, part in asked.law.items() if isinstance(part, int)]
    having: Counter[str] = Counter()
    for content, count in left.items():
        having[labels[content]] += count
    base = split_pair(asked.split_seed, "content")
    for number, (name, count) in enumerate(counted):
        quota = _largest_remainder(count, having)
        having -= quota
        pair = split_pair(asked.split_seed, "order", number)
        order = sorted(left, key=lambda one: oracles.record_key(*pair, _key(base, one)))
        for content in order:
            if left[content] <= quota[labels[content]]:
                quota[labels[content]] -= left.pop(content)
                fate[content] = name
    assert rest is not None or not left
    return fate | dict.fromkeys(left, str(rest))


def _largest_remainder(count: int, having: Counter[str]) -> Counter[str]:
    """Share a count out in proportion to records; ties of remainders go to the first label."""
    total = sum(having.values())
    exact = {label: Fraction(count * mine, total) for label, mine in having.items()}
    quota = Counter({label: int(share) for label, share in exact.items()})
    by_rest = sorted(exact, key=lambda label: (-(exact[label] % 1), label.encode()))
    for label in by_rest[: count - sum(quota.values())]:
        quota[label] += 1
    return quota


def _share_of(content: Pair, asked: Asked) -> str | None:
    place = Fraction(_key(split_pair(asked.split_seed, "share"), content), 2**64)
    until = Fraction(0)
    for name, part in asked.law.items():
        if isinstance(part, Fraction):
            until += part
            if place < until:
                return name
    return None


def _key(pair: Pair, content: Pair) -> int:
    halves = (oracles.mix(content[k] ^ pair[k]) for k in (0, 1))
    return oracles.mix(sum(halves) & oracles.MASK64)


def _content(record: Record, asked: Asked) -> Pair:
    if asked.by == "identity":
        return _both(
            lambda k: oracles.record_key(
                *file_key(
                    seed=0, epoch=k, source=record.source, pass_number=0, file_name=record.file
                ),
                record.position,
            )
        )
    if asked.split_by:
        first, *more = [_text_of(record.fields[name]).encode() for name in asked.split_by]
        found = _both(lambda k: oracles.record_hash(first, k))
        for value in more:
            hashes = _both(lambda k, value=value: oracles.record_hash(value, k))  # type: ignore[misc]
            found = _both(
                lambda k, found=found, hashes=hashes: oracles.mix(  # type: ignore[misc]
                    (oracles.mix(found[k]) + hashes[k]) & oracles.MASK64
                )
            )
        return found
    content = record.raw if record.text is None else record.text.encode()
    return _both(lambda k: oracles.record_hash(content, k))


def _both(hash_of: Callable[[int], int]) -> Pair:
    return hash_of(0), hash_of(1)


def _text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _lines(data: bytes) -> Iterator[bytes]:
    lines = data.split(b"\n")
    yield from lines if lines[-1] else lines[:-1]


def _value(line: bytes) -> Any:
    try:
        return json.loads(line.decode())
    except ValueError:
        return None


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
