"""Splits as people write them: ``validation=1%,test=1000``, ``train=98%,test=0.02``, ``a=10,b=rest``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction

from transforms.errors import UsageError
from transforms.kernels.splitting.plan import TRAIN, Part, SplitPlan
from transforms.storage.layout import SPLIT_NAME

_SHARE = re.compile(r"(\d+(?:\.\d{1,40})?|\.\d{1,40})\s*%")
_BELOW_1 = re.compile(r"0?\.\d{1,40}")
_COUNT = re.compile(r"\d{1,15}|\d{1,3}(?:_\d{3}){1,4}")
_FRACTION = re.compile(
    r"(\d+(?:\.\d{1,40})?|\.\d{1,40}|\d+(?:\.\d+)?[eE]-\d{1,2}|\d{1,40}/\d{1,40})(\s*%)?"
)
_REST = "rest"
_EXPECTED = "expected NAME=SHARE% or NAME=RECORDS, such as validation=0.5%,test=1000"


def parse_splits(sizes: Mapping[str, str], *, rest: str = TRAIN) -> tuple[Part, ...]:
    """Read shares of contents and counts of records by name; the rest is a split of its own.

    >>> [part.asked for part in parse_splits({"validation": "0.5%", "test": "1000"})]
    ['0.5%', '1000']

    Raises:
        ValueError: a name is none of a split, comes twice or is the rest's; a number is none, or 0;
            shares leave nothing.
    """
    if not sizes:
        raise ValueError(f"{_EXPECTED}, got none")
    parts: list[Part] = []
    for name, value in sizes.items():
        _check_name(name, [part.name for part in parts], rest)
        parts.append(_part(name, value.strip()))
    shares = [part for part in parts if part.share is not None]
    total = sum(part.share for part in shares if part.share is not None)
    if total >= 1:
        said = " and ".join(f"{part.name} {part.asked}" for part in shares)
        raise ValueError(
            f"expected shares that add up to less than 100%, so that {rest} gets the rest, "
            f"got {said}"
        )
    return tuple(parts)


def plan_split(
    fractions: Mapping[str, str] | None = None,
    counts: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
) -> SplitPlan:
    """Return the plan of fractions and counts of records: counts choose from what no fraction took.

    Where ``train`` is named among fractions, they come to 1, and it is what the others leave: so that it
    has no say, by its place, in which contents they take. Else they may come to less, and the rest is
    the split's whose count is ``rest``, or ``train``.

    >>> plan_split({"train": "0.98", "validation": "1%", "test": "0.01"}).names
    ('train', 'validation', 'test')
    >>> plan_split(counts={"train": "1000", "test": "rest"}).names
    ('test', 'train')

    Args:
        fractions, counts: by name, as of ``parse_fractions`` and ``parse_counts``.
        seed: of the split.

    Raises:
        ValueError: as they raise it; or both together can't be.
    """
    shares = parse_fractions(fractions or {})
    asked = parse_counts(counts or {})
    _check_names([*shares, *asked])
    taken = sum(shares.values(), Fraction(0))
    rest: str | None = next((name for name, count in asked.items() if count is None), None)
    if asked and TRAIN in shares:
        raise ValueError(
            f"expected no fraction for {TRAIN} beside counts, which choose from what fractions "
            f"leave; leave {TRAIN} out of the fractions"
        )
    if asked and taken == 1:
        raise ValueError(
            "expected fractions below 1 beside counts, got fractions that add up to 1, which "
            "leave nothing for the counts"
        )
    if rest is None and TRAIN in asked:
        raise ValueError(
            f"expected a split for the remaining records, as in test=rest, because {TRAIN} "
            "has a count"
        )
    if rest is None and (taken < 1 or TRAIN in shares):
        rest = TRAIN
    try:
        parts = [Part(name, share=share) for name, share in shares.items() if name != rest]
        parts += [Part(name, count=count) for name, count in asked.items() if count is not None]
        return SplitPlan(parts=tuple(parts), rest=rest, seed=seed)
    except UsageError as error:
        raise ValueError(str(error)) from None


def parse_fractions(fractions: Mapping[str, str]) -> dict[str, Fraction]:
    """Read fractions of the contents by name, exactly: 0.98, 98%, 1/3.

    >>> parse_fractions({"validation": "0.01", "test": "1 %"})
    {'validation': Fraction(1, 100), 'test': Fraction(1, 100)}

    Raises:
        ValueError: a name is none of a split, or comes twice; a fraction is none, 0 or over 1; all
            together are over 1, or under 1 with ``train`` among them.
    """
    _check_names(fractions)
    found = {name: _fraction(name, value) for name, value in fractions.items()}
    total = sum(found.values(), Fraction(0))
    if total > 1:
        raise ValueError(f"expected fractions that add up to at most 1, got {_decimal(total)}")
    if TRAIN in found and total < 1:
        raise ValueError(
            f"expected fractions that add up to 1, because {TRAIN} is one of them, got "
            f"{_decimal(total)}; leave {TRAIN} out to give it the rest"
        )
    return found


def parse_counts(counts: Mapping[str, str]) -> dict[str, int | None]:
    """Read counts of records by name; ``rest``, of one of them at most, is None.

    >>> parse_counts({"train": "1_000", "test": "rest"})
    {'train': 1000, 'test': None}

    Raises:
        ValueError: a name is none of a split, or comes twice; a count is no whole number from 1 on;
            several have the rest.
    """
    _check_names(counts)
    found: dict[str, int | None] = {}
    for name, value in counts.items():
        if value != _REST and (_COUNT.fullmatch(value) is None or int(value) == 0):
            hint = f"; did you mean --fractions={name}={value}?" if _is_fraction(value) else ""
            raise ValueError(
                f"expected NAME=RECORDS, such as train=1000,test=rest, got {name}={value}{hint}"
            )
        found[name] = None if value == _REST else int(value)
    without = [name for name, count in found.items() if count is None]
    if len(without) > 1:
        raise ValueError(f"expected one split with the rest, got {' and '.join(without)}")
    return found


def _fraction(name: str, value: str) -> Fraction:
    match = _FRACTION.fullmatch(value.strip())
    try:
        found = Fraction(match[1]) / (100 if match[2] else 1) if match else None
    except ZeroDivisionError:
        found = None
    if found is None or not 0 < found <= 1:
        hint = ""
        if _COUNT.fullmatch(value) and int(value) > 1:
            percent = f"{name}={value}% or " if int(value) < 100 else ""
            hint = f"; did you mean {percent}--counts={name}={value}?"
        raise ValueError(
            "expected NAME=FRACTION above 0 and at most 1, such as train=0.98,test=0.02, got "
            f"{name}={value}{hint}"
        )
    return found


def _is_fraction(value: str) -> bool:
    return _COUNT.fullmatch(value) is None and _FRACTION.fullmatch(value) is not None


def _decimal(number: Fraction) -> str:
    written = Decimal(number.numerator) / Decimal(number.denominator)
    return f"{written.normalize():f}" if Fraction(written) == number else str(number)


def _check_names(names: Iterable[str]) -> None:
    seen: list[str] = []
    for name in names:
        _check_own_name(name, seen)
        seen.append(name)


def _check_name(name: str, names: list[str], rest: str) -> None:
    if name.lower() == rest.lower():
        raise ValueError(
            f"expected only the splits beside {rest}, which gets the rest; leave {rest} out"
        )
    _check_own_name(name, names)


def _check_own_name(name: str, names: list[str]) -> None:
    if not SPLIT_NAME.fullmatch(name):
        raise ValueError(
            "expected a split name of letters, digits and _ that starts with a letter, got "
            f"{name!r}"
        )
    if name.lower() in map(str.lower, names):  # files' names, which not every system tells apart
        raise ValueError(f"expected each split once, ignoring case, got {name} twice")


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
    raise ValueError(f"{_EXPECTED}, got {name}={value}{hint}")
