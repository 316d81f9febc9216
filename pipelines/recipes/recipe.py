"""The recipe: everything that determines a dataset, as one validated object.

Its fields are flags of the command line, and fields of recipe files. How and where the work is done
is said by ``settings``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    model_validator,
)

from pipelines.recipes.fields import (
    INPUT,
    OUTPUT,
    Count,
    Modules,
    Numbers,
    RecipePart,
    Size,
    make_flag,
)
from pipelines.recipes.flag_errors import Misfit
from pipelines.recipes.mixture import check_measure, check_mixture
from pipelines.recipes.values import (
    Number,
    as_written,
    check_sources,
    check_split,
    parse_extensions,
    parse_kind,
    parse_separator,
    parse_sources,
    write_separator,
)
from transforms.formats.detection import Format
from transforms.formats.text_field import TextField

_ORDER, _MIXTURE = "order", "mixture"
_Sources = Annotated[
    dict[str, list[str]],
    BeforeValidator(
        parse_sources, json_schema_input_type=dict[str, str | list[str]] | list[str] | str
    ),
    AfterValidator(check_sources),
]
_Extensions = Annotated[
    list[str], BeforeValidator(parse_extensions, json_schema_input_type=list[str] | str)
]
_Byte = Annotated[str, BeforeValidator(parse_separator), PlainSerializer(write_separator)]


class CommonRecipe(RecipePart):
    """What every recipe says: which records go in, and how what comes out is cut and named."""

    sources: _Sources = make_flag(
        ...,
        INPUT,
        "files, folders or patterns (*, ?, [..], {a,b}, **) to read: lines of text or JSON, "
        "Parquet or Arrow; repeatable. NAME=PATTERN names a source; for a folder named dt=1, "
        "write ./dt=1/*. - is standard input",
        metavar="[NAME=]PATTERN",
        min_length=1,
        brief="files, folders or patterns; NAME= names a source",
    )
    format: Format = make_flag(
        "auto",
        INPUT,
        "format of the input files. auto detects it from each file's first bytes and name. lines "
        "reads every file as lines (compressed files too). csv keeps rows whole when quoted fields "
        "contain newlines",
    )
    extension: _Extensions | None = make_flag(
        None,
        INPUT,
        "read only files with these extensions from folders and patterns, such as .jsonl,.json; "
        "repeatable. none means no extension",
        metavar="EXT,EXT",
        min_length=1,
    )
    codec_module: Modules | None = make_flag(
        None,
        INPUT,
        "Python modules that register your own compression codecs with smart_open, by file "
        "suffix, for --input and --compression (docs/reference/formats.md). The workers must "
        "have them installed",
        metavar="MODULE,MODULE",
        min_length=1,
    )
    separator: _Byte = make_flag(
        "\n", INPUT, r"byte that ends a record: '\n', '\t', '\0', ';', '\xff'", metavar="BYTE"
    )
    header_lines: int = make_flag(
        0,
        INPUT,
        "number of lines at the top of every input file that aren't records, such as a CSV "
        "header. They must be the same in all files. The shards of shuffle and split begin "
        "with them. With --format=csv, N counts rows, which may span several lines",
        ge=0,
        le=1000,
    )
    on_bad_record: Literal["fail", "skip", "quarantine"] = make_flag(
        "fail",
        INPUT,
        "what happens to a bad record. fail ends the run. skip leaves the record out and "
        "counts it. quarantine also keeps it beside the shards, with its file, position and "
        "reason",
    )
    seed: int = make_flag(
        0,
        _ORDER,
        "random seed; another seed gives another order",
        ge=0,
        lt=2**64,
        brief="another seed gives another order",
    )
    epoch: int = make_flag(
        0,
        _ORDER,
        "a different, reproducible order for the same seed",
        ge=0,
        lt=2**63,
        brief="a different order for the same seed",
    )
    num_shards: int | None = make_flag(
        None,
        OUTPUT,
        "number of shards; by default one per 256 MiB of input, rounded up to 1, 2 or a multiple "
        "of 4",
        ge=1,
        le=200_000,  # of each a launcher keeps 2.5 kB
        brief="number of shards (default: one per 256 MiB)",
    )

    if TYPE_CHECKING:
        split_name: str  # of recipes of one split

    @property
    def reading(self) -> Recipe:
        """The recipe by which the input is looked at and read."""
        raise NotImplementedError


class OneSplitRecipe(CommonRecipe):
    """What a recipe says of a dataset that is one split."""

    split_name: Annotated[str, AfterValidator(check_split)] = make_flag(
        "train", OUTPUT, "name of the split: the first part of the shards' file names"
    )


class WholeRecordsRecipe(CommonRecipe):
    """What a recipe says whose records come out as they went in."""

    output_format: Annotated[
        Literal["lines", "parquet", "arrow", "arrow_stream"] | None, BeforeValidator(parse_kind)
    ] = make_flag(
        None,
        OUTPUT,
        "file format of the shards; by default that of the input. Lines become rows of one column: "
        "text, or line for JSON lines",
        brief="lines, parquet or arrow (default: as the input)",
    )
    compression: Annotated[str | None, BeforeValidator(parse_kind)] = make_flag(
        None,
        OUTPUT,
        "compression of the shards. For lines: none, gzip, bzip2, xz, zstd, lz4 or a codec of "
        "--codec_module. Inside Parquet: none, snappy, gzip, brotli, zstd or lz4. Inside Arrow: "
        "none, lz4 or zstd. By default that of the input",
        brief="none, gzip, zstd, … (default: as the input)",
    )
    check: Literal["none", "utf8", "json"] = make_flag(
        "none",
        INPUT,
        "require each line to be valid UTF-8 or JSON. Text columns of rows must always be UTF-8",
    )


class MixtureRecipe(OneSplitRecipe):
    """What a recipe says of a mixture: which text goes in, and how much of each source comes out."""

    text_field: Annotated[str, as_written(TextField.parse)] | None = make_flag(
        None,
        INPUT,
        "keep only the text: this field of JSON lines or this column of rows. Other "
        'files give whole lines. The text is written as lines {"text":"..."} or as a '
        "column named text. Files count as JSON lines if they are named .jsonl, .ndjson or "
        ".json, or if their first line is a JSON object. data.text is the field text inside "
        "data; a template such as '{title}\\n\\n{body}' joins several",
        min_length=1,
        brief="keep only the text of this field or column",
    )
    weights: Numbers | None = make_flag(
        None,
        _MIXTURE,
        "share of each source in the output; every source needs one: web=0.6,books=0.3,code=0.1. A "
        "source with weight 0 is left out. Without weights, all sources are shuffled together",
        metavar="NAME=W,NAME=W",
        min_length=1,
        brief="shares of the sources in the output",
    )
    temperature: Number | None = make_flag(
        None,
        _MIXTURE,
        "compute the weights from the sizes of the sources: size n gives n^(1/T). 1 keeps the "
        "natural shares; a higher T makes them more even",
        metavar="T",
    )
    repeats: Numbers | None = make_flag(
        None,
        _MIXTURE,
        "how many times each source is used, instead of weights: web=1,books=2.5. Half a pass is "
        "the first half of the source's own order. Sources that aren't named are used once",
        metavar="NAME=R,NAME=R",
        min_length=1,
    )
    interleave: Literal["random", "stratified"] = make_flag(
        "random",
        _MIXTURE,
        "how weighted sources are combined. random draws each record's source independently. "
        "stratified keeps every prefix of the output within 2 records of the exact shares",
    )
    weigh_by: Literal["records", "bytes", "tokens"] = make_flag(
        "records",
        _MIXTURE,
        "unit of the shares: records, bytes of records, or tokens (for rows of ids)",
        brief="weigh by records (default), bytes or tokens",
    )
    stop: Literal["first_exhausted", "all_exhausted"] | None = make_flag(
        None,
        _MIXTURE,
        "where a weighted output ends. first_exhausted: before the first record that its "
        "source can't supply (default). all_exhausted: when every source has been used in "
        "full; the others repeat until then. With --max_records, --max_bytes or --max_tokens, "
        "the output ends there by default, and sources repeat as needed",
    )
    max_records: int | None = make_flag(
        None,
        _MIXTURE,
        "stop after N records",
        ge=1,
        lt=2**63,
        brief="stop after N records",
    )
    max_bytes: Size | None = make_flag(
        None,
        _MIXTURE,
        "stop before the first record that would exceed this size, such as 2GiB",
        metavar="SIZE",
    )
    max_tokens: Count | None = make_flag(
        None,
        _MIXTURE,
        "for rows of ids: stop before the first row that would exceed N tokens, such as 500M or "
        "100B (B is 10^9)",
        metavar="N",
        brief="stop before exceeding N tokens, such as 100B",
    )
    token_column: str = make_flag(
        "input_ids",
        _MIXTURE,
        "for rows of ids: the column of lists whose lengths are counted as tokens",
        min_length=1,
    )

    @model_validator(mode="after")
    def _mixes(self) -> Self:
        check_mixture(dict(self))
        return self

    @property
    def counts_tokens(self) -> bool:
        """Whether the mixture goes by tokens."""
        return self.weigh_by == "tokens" or self.max_tokens is not None


class Recipe(MixtureRecipe, WholeRecordsRecipe):
    """What determines the output of a shuffle, together with the input files."""

    @property
    def counted_column(self) -> str | None:
        """The column of ids whose lists' lengths are counted, None where none are."""
        return self.token_column if self.counts_tokens else None

    shard_records: int | None = make_flag(
        None, OUTPUT, "exact number of records per shard; the last shard has the rest", ge=1
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if self.num_shards is not None and self.shard_records is not None:
            raise Misfit(
                "pass only one of them",
                (("num_shards",), self.num_shards),
                (("shard_records",), self.shard_records),
            )
        check_measure(dict(self))
        if self.counts_tokens and self.text_field is not None:
            raise Misfit(
                "--text_field keeps text, which has no tokens to count; leave it out for "
                "rows of ids, or use dovetail prepare, which tokenizes and mixes",
                (("text_field",), self.text_field),
                (
                    ("max_tokens",) if self.max_tokens else ("weigh_by",),
                    self.max_tokens or self.weigh_by,
                ),
            )
        return self

    @property
    def reading(self) -> Recipe:
        """Itself."""
        return self
