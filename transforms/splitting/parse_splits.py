"""Splits as people write them: ``validation=0.5%,test=1000``."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from transforms.errors import UsageError
from transforms.kernels.splitting.plan import TRAIN, Part
from transforms.storage.layout import SPLIT_NAME

_SHARE = re.compile(r"(\d+(?:\.\d{1,40})?|\.\d{1,40})\s*%")
_BELOW_1 = re.compile(r"0?\.\d{1,40}")
_COUNT = re.compile(r"\d{1,15}|\d{1,3}(?:_\d{3}){1,4}")
_EXPECTED = "expected NAME=SHARE% or NAME=RECORDS, such as validation=0.5%,test=1000"


def parse_splits(text: str, *, rest: str = TRAIN) -> tuple[Part, ...]:
    """Read NAME=P%,NAME=N: shares of contents and counts of records; the rest is a split of its own.

    >>> [part.asked for part in parse_splits("validation=0.5%, test=1000")]
    ['0.5%', '1000']

    Raises:
        ValueError: a name is none of a split, comes twice or is the rest's; a number is none, or 0;
            shares leave nothing.
    """
    parts: list[Part] = []
    for piece in text.split(","):
        name, equals, value = (word.strip() for word in piece.partition("="))
        if not (equals and name and value):
            raise ValueError(f"{_EXPECTED}; got {piece.strip()!r} in it")
        _check_name(name, [part.name for part in parts], rest)
        parts.append(_part(name, value))
    shares = [part for part in parts if part.share is not None]
    total = sum(part.share for part in shares if part.share is not None)
    if total >= 1:
        said = " and ".join(f"{part.name} {part.asked}" for part in shares)
        raise ValueError(
            f"expected shares below 100% in all, so that {rest} has the rest; got {said}"
        )
    return tuple(parts)


def _check_name(name: str, names: list[str], rest: str) -> None:
    if not SPLIT_NAME.fullmatch(name):
        raise ValueError(
            f"expected a split's name of letters, digits and _, a letter first, got {name!r}"
        )
    if name.lower() == rest.lower():
        raise ValueError(f"expected the splits beside {rest}, which has the rest; leave it out")
    if name.lower() in map(str.lower, names):  # files' names, which not every system tells apart
        raise ValueError(f"expected each split once, in whatever case, got {name} twice")


def _part(name: str, value: str) -> Part:
    share, count = _SHARE.fullmatch(value), _COUNT.fullmatch(value)
    try:
        if share is not None:
            return Part(name, share=Fraction(share[1]) / 100)
        if count is not None:
            return Part(name, count=int(value))
    except UsageError as error:
        raise ValueError(str(error)) from None
    hint = (
        f"; did you mean {name}={(Decimal(value) * 100).normalize():f}%?"
        if _BELOW_1.fullmatch(value)
        else ""
    )
    raise ValueError(f"{_EXPECTED}; got {name}={value}{hint}")
