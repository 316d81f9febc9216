"""The model of a recipe: by which texts become ids, and how segmentations are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pipelines.recipes.fields import make_flag
from pipelines.recipes.flag_errors import Misfit
from pipelines.recipes.recipe import OneSplitRecipe
from pipelines.recipes.values import as_text, as_written, check_paths
from transforms.formats.text_field import TextField
from transforms.tokenization.models.texts import CPM_NEWLINE

_INPUT, MODEL, SAMPLING = "input", "model", "sampling"
Token = Annotated[
    str,
    BeforeValidator(as_text, json_schema_input_type=str | int),
    Field(min_length=1),
]

INSTEAD: Mapping[str, Sequence[str]] = {  # what another law doesn't use
    "sampling=off": ("alpha", "nbest_size", "dropout", "proportion"),
    "sampling=exact": ("nbest_size", "dropout", "proportion"),
    "sampling=viterbi_sampling": ("nbest_size", "dropout", "proportion"),
    "sampling=nbest": ("dropout", "proportion"),
    "sampling=uniform": ("alpha", "nbest_size", "dropout", "proportion"),
    "sampling=bpe_dropout": ("alpha", "nbest_size", "proportion"),
    "sampling=stochastok": ("alpha", "nbest_size", "dropout"),
}
"""Of a RecipeKind: numbers of the law in a file go where a flag chooses another law."""

MODEL_FILE = (
    "tokenizer model: a BytePiece JSON, a SentencePiece .model (unigram or BPE), a tokenizer.json or a "
    "folder with one, a .tiktoken file; local or on a store"
)


class ModelRecipe(OneSplitRecipe):
    """What a recipe says of the model, and of how it is used."""

    text_field: Annotated[str, as_written(TextField.parse)] | None = make_flag(
        None, _INPUT, "field or column that holds the text"
    )
    bytes: bool = make_flag(
        False, _INPUT, "read lines as bytes, whether or not they are UTF-8 (BytePiece models)"
    )
    tokenizer: Annotated[str, AfterValidator(check_paths)] | None = make_flag(
        None, MODEL, MODEL_FILE, metavar="FILE", min_length=1
    )
    tokenizer_pattern: Token | None = make_flag(
        None,
        MODEL,
        "how the model of a .tiktoken file splits text: gpt2, cl100k, o200k, llama3, qwen, or "
        "a regular expression that matches every text. Published files (r50k_base, p50k_base, "
        "cl100k_base, o200k_base) don't need it: their name says it",
        metavar="NAME|REGEX",
    )
    bpe_engine: Literal["auto", "gigatoken", "reference"] = make_flag(
        "auto",
        MODEL,
        "encoder for BPE models. reference: the package that the model's file belongs to "
        "(tokenizers, sentencepiece or tiktoken). gigatoken: gigatoken, or an error. auto: "
        "gigatoken if it gives the same ids as that package on a hard test text, else that "
        "package. During the run, 1 record in 256 is also compared, and a difference ends the "
        "run",
    )
    whitespace: Literal["cpm"] | None = make_flag(
        None,
        MODEL,
        "cpm treats white space as CPM's tokenizer does: jieba splits words (install "
        "dovetail-data[cpm]), and symbols stand for space and newline",
    )
    newline_symbol: str = make_flag(
        CPM_NEWLINE, MODEL, "symbol for a newline, with --whitespace=cpm", metavar="CHAR"
    )
    add_bos: bool = make_flag(
        False,
        MODEL,
        "start every record with the model's BOS token",
        brief="start every record with the BOS token",
    )
    add_eos: bool = make_flag(
        False,
        MODEL,
        "end every record with the model's EOS token",
        brief="end every record with the EOS token",
    )
    bos_token: Token | None = make_flag(
        None,
        MODEL,
        "token that --add_bos adds: its text in the model, or its id. By default the one that "
        "the model's file names, or the tokenizer_config.json beside it",
        metavar="TEXT|ID",
    )
    eos_token: Token | None = make_flag(
        None,
        MODEL,
        "token that --add_eos adds: its text in the model, or its id. The default is found as "
        "for --bos_token",
        metavar="TEXT|ID",
    )
    special_tokens: Literal["text", "tokens", "fail"] = make_flag(
        "text",
        MODEL,
        "what happens if a text holds the string of a special token, such as </s>. text "
        "tokenizes it like other text, so that no text can insert the token. tokens inserts "
        "the token. fail makes the record a bad one (--on_bad_record). These strings are "
        "always counted",
    )
    sampling: Literal[
        "off", "exact", "viterbi_sampling", "nbest", "uniform", "bpe_dropout", "stochastok"
    ] = make_flag(
        "off",
        SAMPLING,
        "how segmentations are sampled. off takes the best one. For unigram models: exact "
        "draws in proportion to probability to the power of alpha; viterbi_sampling is fast "
        "and biased; nbest draws from the N best ones. For BPE models: bpe_dropout skips "
        "merges. For both: uniform draws all with equal probability. For any model: stochastok "
        "splits tokens into pairs of pieces",
        brief="off (default), exact, nbest, bpe_dropout, …",
    )
    alpha: float | None = make_flag(
        None,
        SAMPLING,
        "exponent of the probabilities. With 0 all segmentations are equally likely; larger "
        "values come closer to off. The default is 0.1, for sampling methods that use it",
        metavar="A",
        brief="exponent of the probabilities (default 0.1)",
    )
    nbest_size: int | None = make_flag(
        None, SAMPLING, "number of best segmentations that nbest draws from (default 64)"
    )
    dropout: float | None = make_flag(
        None,
        SAMPLING,
        "probability that bpe_dropout skips a possible merge, at every step: 0 is off, 1 gives "
        "characters or bytes (default 0.1)",
        metavar="P",
    )
    proportion: float | None = make_flag(
        None,
        SAMPLING,
        "number of steps of stochastok, as a share of a record's tokens. Each step splits at "
        "most one token (default 0.1)",
        metavar="P",
    )

    @model_validator(mode="after")
    def _model_fits(self) -> Self:
        if self.bytes and self.text_field and "text_field" in self.model_fields_set:
            raise Misfit(
                "--bytes reads whole lines, --text_field a field; pass only one of them",
                (("bytes",), None),
                (("text_field",), self.text_field),
            )
        if self.bpe_engine == "gigatoken" and self.sampling not in ("off", "stochastok"):
            raise Misfit(
                "gigatoken doesn't sample, Dovetail's own kernels do; leave out --bpe_engine",
                (("bpe_engine",), self.bpe_engine),
                (("sampling",), self.sampling),
            )
        if self.whitespace is None and "newline_symbol" in self.model_fields_set:
            raise Misfit("expected --whitespace=cpm with it", (("newline_symbol",), None))
        return self

    def _without_say(self) -> set[str]:
        """Return fields that would be refused had they been given: they aren't written."""
        without: set[str] = {"text_field"} if self.bytes else set()
        if self.whitespace is None:
            without.add("newline_symbol")
        return without

    @model_serializer(mode="wrap")
    def _leave_out_what_has_no_say(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write what was refused had it been given as not there, so that it can be read again."""
        without = self._without_say()
        return {name: value for name, value in write(self).items() if name not in without}
