"""Values as people write them, read: sizes, bytes, sources, numbers by name."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from pipelines.recipes.flag_errors import Misfit, Path
from pipelines.recipes.store_options import secret_in
from transforms.datasets.sieve import read_extension
from transforms.errors import UsageError
from transforms.formats.kept import EVERY
from transforms.kernels.planning.plan import MIB
from transforms.storage.layout import SPLIT_NAME
from transforms.storage.patterns import matches_here

_LOG = logging.getLogger("dovetail")
_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGT", start=1):
    _UNITS |= {_letter: 1024**_power, f"{_letter}IB": 1024**_power, f"{_letter}B": 1000**_power}
_COUNTS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_SOURCE = re.compile(rf"({_NAME.pattern})=(.+)", re.DOTALL)
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\r": "\r", r"\0": "\0", r"\\": "\\"}
_MOST_GIB = 512  # that a bare number is taken to stand for; more are likely meant in MiB
_DIGITS = 40  # before the point, and behind it: exact integers are made of these numbers
DEFAULT_SOURCE = "default"


def parse_size(value: Any) -> Any:
    """Read a number of bytes: ``512MiB``, ``2GB``, ``1.5G`` (powers of two without the B).

    >>> parse_size("512MiB"), parse_size("1.5GB")
    (536870912, 1500000000)
    """
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match or match[2].upper() not in _UNITS:
        raise ValueError("expected a size such as 512MiB, 2GiB or 1.5GB")
    return int(Decimal(match[1]) * _UNITS[match[2].upper()])


def parse_count(value: Any) -> Any:
    """Read a number of tokens, rows or records: ``5000``, ``20M``, ``1.5B`` (10^9), ``2T`` (10^12).

    >>> parse_count("100B") == 10**11, parse_count("1.5k"), parse_count(7)
    (True, 1500, 7)
    """
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    scale = _COUNTS.get(match[2].upper()) if match else None
    number = Decimal(match[1]) * scale if match and scale else None
    if number is None or number != int(number):
        raise ValueError(
            "expected a whole number, or one such as 500K, 20M, 100B (10^9 each) or 2T"
        )
    return int(number)


def parse_memory(value: Any) -> Any:
    """Read a size that is never so small that it could be meant in bytes.

    >>> parse_memory("4GiB") == 4 << 30
    True
    """
    bare = isinstance(value, int) or (isinstance(value, str) and value.strip().isdecimal())
    if bare and not isinstance(value, bool) and 0 < int(value) < MIB:
        unit = "GiB" if int(value) <= _MOST_GIB else "MiB"
        raise ValueError(
            f"expected a size with its unit, such as {int(value)}{unit}; without a unit, it "
            "means bytes"
        )
    return parse_size(value)


def parse_separator(value: Any) -> Any:
    r"""Read one byte: itself, or ``\n``, ``\t``, ``\r``, ``\0``, ``\\``, ``\xHH``."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"\\x[0-9a-fA-F]{2}", value):
        return chr(int(value[2:], 16))
    found = _ESCAPES.get(value, value)
    if len(found) != 1 or ord(found) > 255 or (ord(found) > 127 and value == found):
        raise ValueError(r"expected one byte, such as '\n', '\t', '\0', ';' or '\xff'")
    return found


def write_separator(byte: str) -> str:
    r"""Write a byte as ``parse_separator`` reads it.

    >>> write_separator("\xff")
    '\\xff'
    """
    return byte if ord(byte) < 128 else f"\\x{ord(byte):02x}"


def parse_sources(value: Any) -> Any:
    """Read the values of ``--input``, NAME=PATTERN or PATTERN for the source ``default``.

    In a mapping, as files have it, a source's single pattern needs no list.
    """
    if isinstance(value, Mapping):
        return {
            name: [patterns] if isinstance(patterns, str) else patterns
            for name, patterns in value.items()
        }
    value = as_list(value)
    if not isinstance(value, list) or not all(isinstance(pattern, str) for pattern in value):
        return value
    sources: dict[str, list[str]] = {}
    for pattern in value:
        name, rest = split_name(pattern)
        if not name and (match := _SOURCE.fullmatch(pattern)):
            _LOG.info(
                "--input=%s: read as a path, because it exists; for a source named %s write "
                "%s=./%s",
                *(pattern, match[1], match[1], match[2]),
            )
        sources.setdefault(name or DEFAULT_SOURCE, []).append(rest)
    return sources


def split_name(pattern: str) -> tuple[str, str]:
    """Return the name of a source that stands before a pattern, or nothing, and the pattern.

    A path that is there is no name: ``dt=2024-01-01`` may well be a folder.
    """
    match = _SOURCE.fullmatch(pattern)
    return ("", pattern) if match is None or matches_here(pattern) else (match[1], match[2])


def join_patterns(groups: Sequence[Sequence[str]]) -> list[str]:
    """Return the patterns of all ``--input``, each of which may have several, as a shell gives them.

    Raises:
        UsageError: the first of several has a name, and the others haven't.
    """
    for group in groups:
        names = [split_name(pattern)[0] for pattern in group] if len(group) > 1 else []
        if any(names) and not all(names):
            name = next(filter(None, names))
            raise UsageError(
                f"--input {' '.join(group)}: some have the name {name}, and others have "
                "none; write NAME= before each, or quote a pattern, as in "
                "--input='NAME=*.txt'"
            )
    return [pattern for group in groups for pattern in group]


def check_sources(sources: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return sources whose names and patterns can be such."""
    for name, patterns in sources.items():
        if not _NAME.fullmatch(name):
            raise Misfit(
                f"expected a source's name of letters, digits, _ and -, a letter first; got {name!r}",
                (("sources", name), None),
            )
        if not patterns:
            raise Misfit(f"expected a pattern for {name}, got none", (("sources", name), None))
        for number, pattern in enumerate(patterns):
            _check_url(pattern, ("sources", name, number))
    return sources


def as_text(value: Any) -> Any:
    """Return a number, as recipes' files and Python have it, as one would write it as a flag."""
    if isinstance(value, bool):
        return value
    return str(value) if isinstance(value, int | float | Decimal) else value


_ALSO = {
    **{"zst": "zstd", "gz": "gzip", "bz2": "bzip2", "bz": "bzip2"},
    **{"jsonl": "lines", "ndjson": "lines", "txt": "lines", "pq": "parquet"},
}


def parse_kind(value: Any) -> Any:
    """Read the name of a format or a compression, also as files' names have it.

    >>> parse_kind("zst"), parse_kind(".jsonl"), parse_kind("lz4")
    ('zstd', 'lines', 'lz4')
    """
    if not isinstance(value, str):
        return value
    found = value.lower().removeprefix(".")
    return _ALSO.get(found, found)


def parse_kinds(value: Any) -> Any:
    """Read the names of formats, each once.

    >>> parse_kinds("Parquet, megatron")
    ['parquet', 'megatron']
    """
    value = parse_names(value)
    return list(dict.fromkeys(map(parse_kind, value))) if isinstance(value, list) else value


def parse_parts(value: Any, *, expected: str = "NAME=P%,NAME=N") -> Any:
    """Read NAME=SIZE,NAME=SIZE, or the mapping that a file has, of splits; sizes are left as text.

    >>> parse_parts("validation=0.5%, test=1000")
    {'validation': '0.5%', 'test': '1000'}
    """
    if isinstance(value, str):
        return _by_name(value, expected=expected, named="split")
    if isinstance(value, Mapping):
        return {name: as_text(size) for name, size in value.items()}
    return value


def as_list(value: Any) -> Any:
    """Return one text as a list of it."""
    return [value] if isinstance(value, str) else value


def parse_extensions(value: Any) -> Any:
    """Read the values of ``--extension``, each of them one or several behind commas.

    >>> parse_extensions(["jsonl,.JSON", "csv"])
    ['.jsonl', '.json', '.csv']
    """
    value = as_list(value)
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        return value
    found = [read_extension(part) for text in value for part in text.split(",")]
    if odd := next((part for part in found if part == "." or "/" in part), None):
        raise ValueError(f"expected file extensions, such as .jsonl,.json; got {odd!r}")
    return list(dict.fromkeys(found))


def check_exchange(asked: str) -> None:
    """Say that a setting of former versions changes nothing, or can't be had any more."""
    if asked == "engine":
        text = (
            "this exchange was removed, because it held each shard in memory whole; leave it "
            "out: records pass through files (in --temp_location), in bounded memory"
        )
        raise Misfit(text, (("exchange",), asked))
    if asked not in ("auto", "files"):
        raise ValueError("expected auto or files, which have no effect any more; leave it out")
    _LOG.info("exchange=%s no longer has an effect: records always pass through spill files", asked)


def parse_names(value: Any) -> Any:
    """Read NAME,NAME.

    >>> parse_names("id, meta")
    ['id', 'meta']
    """
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


def check_names(names: list[str], info: ValidationInfo) -> list[str]:
    """Return names that can be asked for together."""
    for number, name in enumerate(names):
        path = ((str(info.field_name), number), ",".join(names))
        if not name:
            raise Misfit("expected NAME,NAME, got an empty name", path)
        if name in names[:number]:
            raise Misfit(f"expected each field once, got {name} twice", path)
        if name in EVERY and len(names) > 1:
            raise Misfit("expected names, or * alone for all columns", path)
    return names


Names = Annotated[
    list[str],
    BeforeValidator(parse_names, json_schema_input_type=list[str] | str),
    AfterValidator(check_names),
]


def as_written(parse: Callable[[Any], object]) -> AfterValidator:
    """Return what checks that a value can be read, and leaves it as it was written."""

    def check(value: Any) -> Any:
        parse(value)
        return value

    return AfterValidator(check)


def check_paths(value: str | list[str], info: ValidationInfo) -> str | list[str]:
    """Return a path or URL, or several, as they are; none is empty or holds a secret."""
    name = str(info.field_name)
    if isinstance(value, str):
        _check_url(value, (name,))
    else:
        for number, url in enumerate(value):
            _check_url(url, (name, number))
    return value


def _check_url(url: str, path: Path) -> None:
    if not url:
        raise Misfit("expected a path, got an empty one", (path, url))
    if secret := secret_in(url):
        raise Misfit(secret[1], (path, secret[0]))


def check_split(value: str) -> str:
    """Return a split's name."""
    if not SPLIT_NAME.fullmatch(value):
        raise ValueError("expected letters, digits and _, a letter first, such as train")
    return value


def parse_number(value: Any) -> Any:
    """Read a decimal number exactly; a float is what it is printed as.

    >>> parse_number("0.1"), parse_number(0.1)
    (Decimal('0.1'), Decimal('0.1'))
    """
    try:
        number = Decimal(repr(value) if isinstance(value, bool | float) else value)
    except (InvalidOperation, TypeError, ValueError):
        number = Decimal("NaN")
    if not number.is_finite():
        raise ValueError("expected a finite number such as 0.6 or 3")
    last = number.as_tuple().exponent
    if number.adjusted() >= _DIGITS or (isinstance(last, int) and last < -_DIGITS):
        raise ValueError(
            f"expected at most {_DIGITS} digits before the point, and as many after it"
        )
    return number


Number = Annotated[Decimal, BeforeValidator(parse_number, json_schema_input_type=float | str)]


def parse_numbers(value: Any) -> Any:
    """Read NAME=NUMBER,NAME=NUMBER; the numbers are left as text.

    >>> parse_numbers("web=0.6,books=0.4")
    {'web': '0.6', 'books': '0.4'}
    """
    if not isinstance(value, str):
        return value
    return _by_name(value, expected="NAME=NUMBER,NAME=NUMBER", named="source")


def _by_name(text: str, *, expected: str, named: str) -> dict[str, str]:
    """Read NAME=VALUE,NAME=VALUE of splits or sources; the values are left as text."""
    values: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise ValueError(f"expected {expected}, got {part.strip()!r} in it")
        if name in values:
            raise ValueError(f"expected each {named} once, got {name} twice")
        values[name] = value
    return values
