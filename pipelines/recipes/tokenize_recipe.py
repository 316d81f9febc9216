"""The recipe of tokenizing: everything that determines the tokens, as one validated object."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pipelines.recipes.flag_errors import Misfit
from pipelines.recipes.recipe import CommonRecipe, Recipe, RunSettings, make_flag
from pipelines.recipes.recipe_file import RecipeKind
from pipelines.recipes.values import (
    as_text,
    as_written,
    check_names,
    check_paths,
    parse_kind,
    parse_names,
)
from transforms.formats.text_field import TextField
from transforms.tokenization.models.texts import CPM_NEWLINE

_INPUT, _MODEL, _SAMPLING, _OUTPUT = "input", "model", "sampling", "output"
_Names = Annotated[
    list[str],
    BeforeValidator(parse_names, json_schema_input_type=list[str] | str),
    AfterValidator(check_names),
]
_Token = Annotated[
    str,
    BeforeValidator(as_text, json_schema_input_type=str | int),
    Field(min_length=1),
]

_OF_TOKENIZING = (
    *("sampling", "alpha", "nbest_size", "dropout", "proportion", "bytes", "text_field"),
    *("special_tokens", "bpe_engine"),
    *("add_bos", "add_eos", "bos_token", "eos_token"),
    *("output_format", "compression", "token_dtype"),
)


class TokenizeRecipe(CommonRecipe):
    """What determines the output of tokenizing, together with the input files and the model."""

    seed: int = make_flag(0, _SAMPLING, "another seed draws other segmentations", ge=0, lt=2**64)
    epoch: int = make_flag(
        0, _SAMPLING, "another epoch draws afresh, under the same seed", ge=0, lt=2**63
    )
    num_shards: int | None = make_flag(
        None,
        _OUTPUT,
        "how many shards at most; by default one per 64 MiB of input, rounded up to 1, 2 or a multiple "
        "of 4. A compressed file can't be cut",
        ge=1,
        le=100_000,
    )
    text_field: Annotated[str, as_written(TextField.parse)] = make_flag(
        "text",
        _INPUT,
        "field of JSON lines, or column of rows, that holds the text; data.text is one inside of data, "
        r"a template such as '{title}\n\n{body}' puts several together; '' takes whole lines",
    )
    bytes: bool = make_flag(
        False, _INPUT, "take lines as bytes, whatever they hold (BytePiece models)"
    )
    tokenizer: Annotated[str, AfterValidator(check_paths)] = make_flag(
        ...,
        _MODEL,
        "model: a BytePiece JSON, a SentencePiece .model (unigram or BPE), a tokenizer.json or a folder "
        "with one, a .tiktoken file; local or on a store",
        metavar="FILE",
        min_length=1,
    )
    tokenizer_pattern: _Token | None = make_flag(
        None,
        _MODEL,
        "how a .tiktoken file's model cuts text: gpt2, cl100k, o200k, llama3, qwen, or a regular "
        "expression that matches every text; by default what the name of a published file says "
        "(r50k_base, p50k_base, cl100k_base, o200k_base)",
        metavar="NAME|REGEX",
    )
    bpe_engine: Literal["auto", "gigatoken", "reference"] = make_flag(
        "auto",
        _MODEL,
        "what encodes by a BPE model. auto: gigatoken where it gives the ids of the package whose file "
        "it is (tokenizers, sentencepiece, tiktoken) on a text made to be hard, else that package; one "
        "record of 256 is compared in the run too, and ends it where they differ. reference: that "
        "package. gigatoken: it, or an error",
    )
    whitespace: Literal["cpm"] | None = make_flag(
        None,
        _MODEL,
        "cpm: white space as CPM's tokenizer has it: words cut by jieba (install dovetail-data[cpm]), "
        "space and newline as symbols",
    )
    newline_symbol: str = make_flag(
        CPM_NEWLINE, _MODEL, "what stands for a newline, with --whitespace=cpm", metavar="CHAR"
    )
    add_bos: bool = make_flag(False, _MODEL, "begin every record with the model's bos")
    add_eos: bool = make_flag(False, _MODEL, "end every record with the model's eos")
    bos_token: _Token | None = make_flag(
        None,
        _MODEL,
        "what --add_bos puts: a token as the model writes it, or an id; by default what the model's "
        "file says, or tokenizer_config.json beside it",
        metavar="TEXT|ID",
    )
    eos_token: _Token | None = make_flag(
        None, _MODEL, "what --add_eos puts, in the same way", metavar="TEXT|ID"
    )
    special_tokens: Literal["text", "tokens", "fail"] = make_flag(
        "text",
        _MODEL,
        "what a control string in a text becomes, such as </s> where the model's file calls that token "
        "special: text tokenizes it as any other text, so that no text can put the token; tokens puts "
        "it; fail makes the record a bad one (--on_bad_record). Counted in any case",
    )
    sampling: Literal[
        "off", "exact", "viterbi_sampling", "nbest", "uniform", "bpe_dropout", "stochastok"
    ] = make_flag(
        "off",
        _SAMPLING,
        "how segmentations are drawn: off takes the best one; of unigram models exact draws each with "
        "its probability to the power of alpha, viterbi_sampling is quick and biased, nbest draws from "
        "the best ones; of BPE models bpe_dropout leaves out merges; of both uniform draws all alike; "
        "stochastok splits tokens of any model into pairs of pieces",
    )
    alpha: float | None = make_flag(
        None,
        _SAMPLING,
        "exponent of probabilities: 0 makes all segmentations alike, the larger the nearer to off; 0.1 "
        "where a law that has it is chosen",
        metavar="A",
    )
    nbest_size: int | None = make_flag(
        None, _SAMPLING, "how many best segmentations nbest draws from; 64"
    )
    dropout: float | None = make_flag(
        None,
        _SAMPLING,
        "how likely bpe_dropout leaves out each merge that could be made, at every step: 0 is off, 1 "
        "gives characters or bytes; 0.1",
        metavar="P",
    )
    proportion: float | None = make_flag(
        None,
        _SAMPLING,
        "how many steps stochastok takes, of a record's tokens; each splits one at most; 0.1",
        metavar="P",
    )
    decode: bool = make_flag(
        False, _OUTPUT, 'turn tokens back into text: rows of --token_column into lines {"text":…}'
    )
    output_format: Annotated[
        Literal["parquet", "arrow", "arrow_stream"], BeforeValidator(parse_kind)
    ] = make_flag("parquet", _OUTPUT, "what shards are")
    compression: Annotated[str | None, BeforeValidator(parse_kind)] = make_flag(
        None,
        _OUTPUT,
        "inside shards: none, snappy, gzip, brotli, zstd or lz4 in Parquet (zstd by default), none, lz4 "
        "or zstd in Arrow (none by default)",
    )
    token_column: str = make_flag(
        "input_ids", _OUTPUT, "name of the column of tokens", min_length=1
    )
    token_dtype: Literal["uint16", "uint32"] | None = make_flag(
        None, _OUTPUT, "of tokens; by default uint16 where the model's ids fit, else uint32"
    )

    keep_fields: _Names | None = make_flag(
        None,
        _OUTPUT,
        "fields of the records to keep beside their tokens, as columns behind them: NAME,NAME, or * for "
        "all columns of rows but the text. Columns of rows keep their types; of JSON lines integers "
        "become int64, numbers float64, strings and booleans themselves, and what is an object, an "
        "array or not always of one kind JSON text; a value that doesn't fit is a bad record",
        metavar="NAME,NAME",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> TokenizeRecipe:
        if self.bytes and self.text_field and "text_field" in self.model_fields_set:
            raise Misfit(
                "bytes are whole lines, a field holds text; give one of them",
                (("bytes",), None),
                (("text_field",), self.text_field),
            )
        other = [name for name in _OF_TOKENIZING if name in self.model_fields_set]
        if self.decode and other:
            value = getattr(self, other[0])
            raise Misfit(
                'tokens have one text, which comes as lines {"text":…}; leave it out, or --decode',
                ((other[0],), None if value is True else value),
                (("decode",), None),
            )
        if self.decode and self.on_bad_record != "fail":
            raise Misfit(
                "rows of ids that aren't the model's end the run: no text of theirs could be set apart; "
                "leave it out",
                (("on_bad_record",), self.on_bad_record),
                (("decode",), None),
            )
        for role in ("bos", "eos"):
            given = getattr(self, f"{role}_token")
            if given is not None and not getattr(self, f"add_{role}"):
                raise Misfit(f"expected --add_{role} with it", ((f"{role}_token",), given))
        if self.bpe_engine == "gigatoken" and self.sampling not in ("off", "stochastok"):
            raise Misfit(
                "gigatoken doesn't sample: kernels of Dovetail's own draw; leave it out",
                (("bpe_engine",), self.bpe_engine),
                (("sampling",), self.sampling),
            )
        if self.whitespace is None and "newline_symbol" in self.model_fields_set:
            raise Misfit("expected --whitespace=cpm with it", (("newline_symbol",), None))
        self._check_kept()
        return self

    def _check_kept(self) -> None:
        """Raise Misfit where no field can be kept, or not under its name."""
        if self.keep_fields is None:
            return
        given = (("keep_fields",), ",".join(self.keep_fields))
        if self.decode:
            raise Misfit("texts are decoded alone; leave it out", given, (("decode",), None))
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
                "two columns can't have one name; give another --token_column",
                given,
                (("token_column",), self.token_column),
            )

    @model_serializer(mode="wrap")
    def _leave_out_what_has_no_say(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write what was refused had it been given as not there, so that it can be read again."""
        without: set[str] = {"text_field"} if self.bytes else set()
        if self.whitespace is None:
            without.add("newline_symbol")
        if self.decode:
            without.update(_OF_TOKENIZING)
        return {name: value for name, value in write(self).items() if name not in without}

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
    instead={  # what another law doesn't use
        "sampling=off": ("alpha", "nbest_size", "dropout", "proportion"),
        "sampling=exact": ("nbest_size", "dropout", "proportion"),
        "sampling=viterbi_sampling": ("nbest_size", "dropout", "proportion"),
        "sampling=nbest": ("dropout", "proportion"),
        "sampling=uniform": ("alpha", "nbest_size", "dropout", "proportion"),
        "sampling=bpe_dropout": ("alpha", "nbest_size", "proportion"),
        "sampling=stochastok": ("alpha", "nbest_size", "dropout"),
    },
)
