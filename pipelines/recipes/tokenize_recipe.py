"""The recipe of tokenizing: everything that determines the tokens, as one validated object."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, model_validator

from pipelines.recipes.fields import make_flag
from pipelines.recipes.flag_errors import Misfit
from pipelines.recipes.model_recipe import INSTEAD, MODEL, MODEL_FILE, SAMPLING, ModelRecipe
from pipelines.recipes.recipe import CommonRecipe, Recipe
from pipelines.recipes.recipe_file import RecipeKind
from pipelines.recipes.settings import RunSettings
from pipelines.recipes.values import Names, as_written, check_paths, parse_kind
from transforms.formats.text_field import TextField

_INPUT, _OUTPUT = "input", "output"

_OF_TOKENIZING = (
    *("sampling", "alpha", "nbest_size", "dropout", "proportion", "bytes", "text_field"),
    *("special_tokens", "bpe_engine"),
    *("add_bos", "add_eos", "bos_token", "eos_token"),
    *("output_format", "compression", "token_dtype"),
)


class TokenizeRecipe(ModelRecipe):
    """What determines the output of tokenizing, together with the input files and the model."""

    seed: int = make_flag(
        0,
        SAMPLING,
        "random seed; another seed draws other segmentations",
        ge=0,
        lt=2**64,
        brief="another seed draws other segmentations",
    )
    epoch: int = make_flag(
        0,
        SAMPLING,
        "another epoch draws other segmentations for the same seed, reproducibly",
        ge=0,
        lt=2**63,
        brief="another epoch draws them again",
    )
    num_shards: int | None = make_flag(
        None,
        _OUTPUT,
        "maximum number of shards; by default one per 64 MiB of input, rounded up to 1, 2 or a "
        "multiple of 4. A compressed file can't be divided",
        ge=1,
        le=100_000,
    )
    text_field: Annotated[str, as_written(TextField.parse)] = make_flag(
        "text",
        _INPUT,
        "field of JSON lines, or column of rows, that holds the text. data.text is the field text "
        r"inside data; a template such as '{title}\n\n{body}' joins several; '' takes whole lines",
        brief="field with the text (default text; '': the line)",
    )
    tokenizer: Annotated[str, AfterValidator(check_paths)] = make_flag(
        ...,
        MODEL,
        MODEL_FILE,
        metavar="FILE",
        min_length=1,
        brief="tokenizer.json, .model, .tiktoken or BytePiece",
    )
    decode: bool = make_flag(
        False,
        _OUTPUT,
        'turn tokens back into text: rows of --token_column become lines {"text":…}',
        brief="turn tokens back into text",
    )
    output_format: Annotated[
        Literal["parquet", "arrow", "arrow_stream"], BeforeValidator(parse_kind)
    ] = make_flag("parquet", _OUTPUT, "file format of the shards")
    compression: Annotated[str | None, BeforeValidator(parse_kind)] = make_flag(
        None,
        _OUTPUT,
        "compression inside the shards. Parquet: none, snappy, gzip, brotli, zstd (default) or "
        "lz4. Arrow: none (default), lz4 or zstd",
    )
    token_column: str = make_flag(
        "input_ids", _OUTPUT, "name of the column of token ids", min_length=1
    )
    token_dtype: Literal["uint16", "uint32"] | None = make_flag(
        None,
        _OUTPUT,
        "type of the token ids; by default uint16 if the model's ids fit, else uint32",
    )

    keep_fields: Names | None = make_flag(
        None,
        _OUTPUT,
        "fields of the records to keep as columns after their tokens: NAME,NAME, or * for all "
        "columns of rows except the text. Columns of rows keep their types. For JSON lines, "
        "integers become int64, other numbers float64, and strings and booleans stay as they "
        "are. Objects, arrays and fields of mixed types become JSON text. A record with a "
        "value that doesn't fit is a bad record",
        metavar="NAME,NAME",
        brief="fields to keep beside the tokens; * for all",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> TokenizeRecipe:
        other = [name for name in _OF_TOKENIZING if name in self.model_fields_set]
        if self.decode and other:
            value = getattr(self, other[0])
            raise Misfit(
                '--decode writes lines {"text":…} and has no use for it; leave one of them out',
                ((other[0],), None if value is True else value),
                (("decode",), None),
            )
        if self.decode and self.on_bad_record != "fail":
            raise Misfit(
                "--decode always ends the run at ids that the model doesn't have, because "
                "they have no text; leave it out",
                (("on_bad_record",), self.on_bad_record),
                (("decode",), None),
            )
        for role in ("bos", "eos"):
            given = getattr(self, f"{role}_token")
            if given is not None and not getattr(self, f"add_{role}"):
                raise Misfit(f"expected --add_{role} with it", ((f"{role}_token",), given))
        self._check_kept()
        return self

    def _check_kept(self) -> None:
        """Raise Misfit where no field can be kept, or not under its name."""
        if self.keep_fields is None:
            return
        given = (("keep_fields",), ",".join(self.keep_fields))
        if self.decode:
            raise Misfit(
                "--decode writes the texts alone; leave it out", given, (("decode",), None)
            )
        if self.bytes or not self.text_field:
            raise Misfit(
                "whole lines have no fields to be kept; expected JSON lines or rows and the name of "
                "the field that holds the text",
                given,
                (("bytes",), None) if self.bytes else (("text_field",), "''"),
            )
        if self.text_field in self.keep_fields:
            raise Misfit(
                f"{self.text_field} is the text that becomes tokens, which isn't kept; leave it out",
                given,
            )
        if self.token_column in self.keep_fields:
            raise Misfit(
                "two columns can't have one name; pass another --token_column",
                given,
                (("token_column",), self.token_column),
            )

    def _without_say(self) -> set[str]:
        return super()._without_say() | (set(_OF_TOKENIZING) if self.decode else set())

    @property
    def reading(self) -> Recipe:
        """The recipe by which the input is looked at and read."""
        common: dict[str, Any] = {name: getattr(self, name) for name in CommonRecipe.model_fields}
        if self.bytes and self.format == "auto":
            common["format"] = "lines"
        return Recipe(
            **common,
            text_field=None if self.bytes or self.decode else self.text_field or None,
            output_format=None if self.decode else self.output_format,
            compression=self.compression,
        )


TOKENIZE = RecipeKind(
    "tokenize",
    TokenizeRecipe,
    RunSettings,
    instead=INSTEAD,
    groups=(_INPUT, MODEL, SAMPLING, _OUTPUT),
    common=(
        *(
            "sources",
            "output",
            "tokenizer",
            "text_field",
            "add_bos",
            "add_eos",
            "sampling",
            "alpha",
        ),
        *("seed", "keep_fields", "decode", "workers", "plan"),
    ),
)
