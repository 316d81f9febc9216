"""The recipe: everything that determines a dataset, as one validated object.

Two models, from whose fields the command line is made: ``Recipe`` says what comes out, ``Settings``
how and where the work is done. Nothing in ``Settings`` changes a byte of any shard.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipelines.store_options import parse_storage_options, refuse_secrets
from transforms.errors import UsageError
from transforms.kernels.plan import GIB, MIB
from transforms.layout import SPLIT_NAME

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "K": 1 << 10,
    "KIB": 1 << 10,
    "M": MIB,
    "MIB": MIB,
    "G": GIB,
    "GIB": GIB,
    "T": GIB << 10,
    "TIB": GIB << 10,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_SOURCE = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)=(.+)", re.DOTALL)
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\r": "\r", r"\0": "\0", r"\\": "\\"}
DEFAULT_SOURCE = "default"
M = TypeVar("M", bound=BaseModel)


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


def parse_sources(value: Any) -> Any:
    """Read the values of ``--input``: NAME=PATTERN, or PATTERN for the source ``default``."""
    if not isinstance(value, list):
        return value
    sources: dict[str, list[str]] = {}
    for pattern in value:
        match = _SOURCE.fullmatch(pattern)
        name, rest = (match[1], match[2]) if match else (DEFAULT_SOURCE, pattern)
        if not rest:
            raise UsageError(f"--input={pattern}: expected a path or pattern, got an empty one")
        refuse_secrets(rest, flag="--input")
        sources.setdefault(name, []).append(rest)
    return sources


def _check_output(value: Any) -> Any:
    if isinstance(value, str):
        refuse_secrets(value, flag="--output")
    return value


def parse_locations(value: Any) -> Any:
    """Read the values of ``--temp_location``, one or several."""
    locations = [value] if isinstance(value, str) else value
    if isinstance(locations, list):
        for location in locations:
            if not location:
                raise UsageError("--temp_location=: expected a folder, got an empty one")
            refuse_secrets(location, flag="--temp_location")
    return locations


def _check_split(value: str) -> str:
    if not SPLIT_NAME.fullmatch(value):
        raise ValueError("expected letters, digits and _, a letter first, such as train")
    return value


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _flag(default: Any, group: str, help_: str, **constraints: Any) -> Any:
    metavar = constraints.pop("metavar", None)
    extra = {"group": group, "metavar": metavar}
    return Field(default, description=help_, json_schema_extra=extra, **constraints)


_INPUT, _ORDER, _OUTPUT, _RUN = "input", "order", "output", "how it runs"


class Recipe(_Model):
    """What determines the output of a shuffle, together with the input files."""

    sources: Annotated[dict[str, list[str]], BeforeValidator(parse_sources)] = _flag(
        ...,
        _INPUT,
        "file, folder or quoted pattern (*, ?, [..], **) of lines, Parquet or Arrow; repeatable. "
        "NAME=PATTERN names its source (write ./dt=1/* for such a folder). - is standard input",
        metavar="[NAME=]PATTERN",
        min_length=1,
    )
    separator: Annotated[str, BeforeValidator(parse_separator)] = _flag(
        "\n", _INPUT, r"the byte that ends a record: '\n', '\t', '\0', ';', '\xff'", metavar="BYTE"
    )
    header_lines: int = _flag(
        0,
        _INPUT,
        "lines at the top of every input file that are no records, such as a CSV header;"
        " the same in all files, and written on top of every shard",
        metavar="N",
        ge=0,
        le=1000,
    )
    seed: int = _flag(0, _ORDER, "another seed, another order", metavar="N", ge=0, lt=2**64)
    epoch: int = _flag(
        0, _ORDER, "another edition of the dataset under the same seed", metavar="N", ge=0, lt=2**63
    )
    num_shards: int | None = _flag(
        None,
        _OUTPUT,
        "how many shards; by default one per 256 MiB of input, rounded up to 1, 2 or a multiple of 4",
        metavar="N",
        ge=1,
        le=100_000,
    )
    shard_records: int | None = _flag(
        None,
        _OUTPUT,
        "exactly so many records a shard, the last one with what is left",
        metavar="N",
        ge=1,
    )
    output_format: Literal["lines", "parquet", "arrow", "arrow_stream"] | None = _flag(
        None,
        _OUTPUT,
        "what shards are; by default as the input. Lines become rows of one column, text",
        metavar="lines|parquet|arrow|arrow_stream",
    )
    compression: str | None = _flag(
        None,
        _OUTPUT,
        "of shards: none, gzip, bzip2, xz, zstd or lz4 for lines; none, snappy, gzip, brotli, zstd "
        "or lz4 inside Parquet; none, lz4 or zstd inside Arrow. By default as the input",
        metavar="NAME",
    )
    check: Literal["none", "utf8", "json"] = _flag(
        "none",
        _INPUT,
        "what a line has to be; rows' text always has to be UTF-8",
        metavar="none|utf8|json",
    )
    on_bad_record: Literal["fail", "skip", "quarantine"] = _flag(
        "fail",
        _INPUT,
        "what to do with a record that isn't what it has to be: end the run, leave it out and count "
        "it, or also keep it beside the shards with its file, position and reason",
        metavar="fail|skip|quarantine",
    )
    split_name: Annotated[str, BeforeValidator(_check_split)] = _flag(
        "train", _OUTPUT, "first part of the shards' names", metavar="NAME"
    )

    @model_validator(mode="after")
    def _one_way_to_cut(self) -> Recipe:
        if self.num_shards is not None and self.shard_records is not None:
            raise UsageError(
                f"--num_shards={self.num_shards} and --shard_records={self.shard_records}: give one "
                "of them"
            )
        return self


class Settings(_Model):
    """How and where the work is done."""

    output: Annotated[str, BeforeValidator(_check_output)] = _flag(
        ...,
        _OUTPUT,
        "folder for the dataset, local or on a store: manifest.json, and the shards in data/",
        metavar="DIR",
        min_length=1,
    )
    overwrite: bool = _flag(False, _OUTPUT, "replace a dataset that is in the output folder")
    runner: str = _flag("DirectRunner", _RUN, "Beam's runner", metavar="NAME")
    memory: Annotated[int | None, BeforeValidator(parse_size)] = _flag(
        None,
        _RUN,
        "what all processes together may take, such as 2GiB; by default half of what "
        "the machine or the control group has",
        metavar="SIZE",
        ge=1,
    )
    exchange: Literal["auto", "files", "engine"] = _flag(
        "auto",
        _RUN,
        "how records cross between workers: files (through --temp_location) or engine"
        " (through the runner; for small inputs)",
        metavar="auto|files|engine",
    )
    temp_location: Annotated[list[str] | None, BeforeValidator(parse_locations)] = _flag(
        None,
        _RUN,
        "folder for spill files, about as large as the input; several, on several disks, take turns;"
        " by default inside the output folder",
        metavar="DIR",
        min_length=1,
    )
    spill_compression: Literal["none", "lz4", "zstd"] = _flag(
        "none",
        _RUN,
        "of spill files: less room on disk for more time",
        metavar="none|lz4|zstd",
    )
    storage_options: Annotated[dict[str, Any] | None, BeforeValidator(parse_storage_options)] = (
        _flag(
            None,
            _RUN,
            'options of fsspec for the stores, as JSON, for all or by protocol: {"s3": {"anon": '
            "true}}. No secrets: those go into the environment",
            metavar="JSON",
        )
    )
    direct_num_workers: int | None = _flag(
        None,
        _RUN,
        "workers on this machine; 0 is one a core. By default as many as cores and memory allow",
        metavar="N",
        ge=0,
    )
    direct_running_mode: Literal["in_memory", "multi_threading", "multi_processing"] | None = _flag(
        None,
        _RUN,
        "by default processes where there are several workers, else in_memory",
        metavar="MODE",
    )
    plan: bool = _flag(
        False, _RUN, "print what would be read, written and needed, write nothing, and exit"
    )
    debug: bool = _flag(False, _RUN, "show tracebacks, and the runner's own log")


FLAGS = {"sources": "input"}
"""Flags whose name isn't their field's."""


def flag_of(field: str) -> str:
    """Return the flag of a field."""
    return f"--{FLAGS.get(field, field)}"


def validate(model: type[M], values: dict[str, Any]) -> M:
    """Make a model from flags' values.

    Raises:
        UsageError: names the flag, the value and what was expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        if first["type"] == "missing":
            raise UsageError(f"{flag_of(field)} is missing: see --help") from None
        given = values.get(field)
        message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        expected = message if message.startswith("expected") else f"expected {message}"
        raise UsageError(f"{flag_of(field)}={given}: {expected}") from None
