"""What a prepared dataset asks for, checked: its fields with each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.recipes.flag_errors import Misfit, Path
from pipelines.recipes.mixture import WAYS, check_measure, check_mixture, measured_by

Fields = Mapping[str, Any]
"""Fields of a PrepareRecipe, read already."""

_OF_MODEL = (
    *("tokenizer_pattern", "whitespace", "bytes", "text_field"),
    *("alpha", "nbest_size", "dropout", "proportion"),
)
_DEFAULTS = {
    "bpe_engine": "auto",
    "special_tokens": "text",
    "sampling": "off",
    "interleave": "random",
}


def packing_of(fields: Fields) -> str:
    """Return the kind of packing, the default where none was asked for."""
    default = "none" if fields["sequence_length"] is None else "concat"
    return fields["packing"] or default


def check_prepare(fields: Fields) -> None:
    """Check what can be known before inputs and model are looked at.

    Raises:
        Misfit: one field is impossible, or two of them together.
    """
    _check_ends(fields)
    _check_stages(fields)
    _check_model(fields)
    _check_splits(fields)
    _check_packing(fields)
    _check_output(fields)
    _check_kept(fields)


def _check_ends(fields: Fields) -> None:
    """Check where train ends: what is measured is bytes or tokens, never both."""
    if fields["max_bytes"] is not None:
        raise Misfit(
            "documents are counted by their tokens; pass --max_tokens", _place(fields, "max_bytes")
        )
    check_measure(fields, bytes_are="bytes of text")
    by_bytes = measured_by(fields, "bytes")
    if by_bytes and any("tokens" in until for until in _untils(fields)):
        raise Misfit(
            "a stage ends by tokens, and one run counts bytes of text or tokens, not both; "
            "use tokens",
            _place(fields, by_bytes[0]),
        )
    multiple = fields["rows_multiple_of"]
    if multiple and fields["rows"] and fields["rows"] % multiple:
        raise Misfit(
            f"expected a multiple of {multiple:,}, got {fields['rows']:,}",
            _place(fields, "rows"),
            _place(fields, "rows_multiple_of"),
        )


def _check_stages(fields: Fields) -> None:
    """Check each stage as a mixture of its own."""
    if fields["stages"] is None:
        return
    for name in (*WAYS, "interleave", "stop"):
        if fields[name] not in (None, _DEFAULTS.get(name)):
            raise Misfit(
                "with stages, each stage has its own; leave this out, or the stages",
                _place(fields, name),
                _stages(),
            )
    last = len(fields["stages"]) - 1
    for number, stage in enumerate(fields["stages"]):
        mixture = {**fields, **dict.fromkeys(WAYS), **dict(stage)}
        mixture |= {"weigh_by": fields["weigh_by"]}
        try:
            check_mixture(mixture)
        except Misfit as misfit:
            places = [(("stages", number, *path), None) for path, _ in misfit.places]
            raise Misfit(f"stage {number}: {misfit.text}", *places) from None
        if stage.until is None and stage.stop is None and number < last:
            raise Misfit(
                f"expected until (tokens, rows or records) or stop in stage {number}; only "
                "the last stage may have neither",
                _stages(number),
            )


def _check_model(fields: Fields) -> None:
    """Check what needs a model, or has to do without one."""
    if fields["add_eos"]:
        raise Misfit(
            "--document_end replaces this: every document ends with the model's EOS unless "
            "--document_end says otherwise; leave it out",
            (("add_eos",), None),
        )
    if fields["bos_token"] is not None and not fields["add_bos"]:
        raise Misfit("expected --add_bos with it", _place(fields, "bos_token"))
    if fields["tokenizer"] is not None:
        if fields["vocab_size"] is not None:
            raise Misfit(
                "the model says how many ids there are; leave one of them out",
                _place(fields, "vocab_size"),
                _place(fields, "tokenizer"),
            )
        return
    for name in (*_OF_MODEL, "bpe_engine", "special_tokens", "sampling"):
        if fields[name] not in (None, False, _DEFAULTS.get(name)):
            raise Misfit(
                "expected --tokenizer with it: without one the input is rows of ids",
                _place(fields, name),
            )


def _check_splits(fields: Fields) -> None:
    if fields["split"] is None:
        for name, default in (("split_by", None), ("split_seed", 0), ("sample_splits", False)):
            if fields[name] != default:
                raise Misfit("expected --split with it", _place(fields, name))
        return
    if fields["split_name"] in fields["split"]:
        raise Misfit(
            f"{fields['split_name']} is the split of all the rest; leave it out of --split",
            _place(fields, "split"),
        )
    if fields["split_by"] is not None and (fields["bytes"] or fields["text_field"] == ""):
        raise Misfit(
            "whole lines have no fields; expected JSON lines or rows",
            _place(fields, "split_by"),
            _place(fields, "bytes" if fields["bytes"] else "text_field"),
        )
    if fields["sample_splits"] and fields["sampling"] == "off":
        raise Misfit("expected --sampling with it, got off", _place(fields, "sample_splits"))


def _check_packing(fields: Fields) -> None:
    kind, length = packing_of(fields), fields["sequence_length"]
    packing = (("packing",), kind)
    if kind == "none" and length is not None:
        raise Misfit(
            "with one document per row, rows have any length; leave it out, or choose "
            "another --packing",
            _place(fields, "sequence_length"),
            packing,
        )
    if kind != "none" and length is None:
        raise Misfit(
            "expected --sequence_length with it, the number of ids in a row, such as 4096", packing
        )
    if fields["long"] not in (None, "split") and kind in ("none", "concat"):
        why = {
            "none": "rows of any length hold every document",
            "concat": "documents are joined and cut wherever a row ends",
        }[kind]
        raise Misfit(
            f"{why}; leave it out, or pass another --packing", _place(fields, "long"), packing
        )
    if fields["eos_at_cuts"]:
        if kind == "none":
            raise Misfit("no document is cut; leave it out", _place(fields, "eos_at_cuts"), packing)
        if fields["document_end"] == "none":
            raise Misfit(
                "documents end with nothing, so cut pieces can't end with it; leave one of "
                "them out",
                _place(fields, "eos_at_cuts"),
                _place(fields, "document_end"),
            )
    window = fields["pack_window"]
    if window is not None and kind != "best_fit":
        raise Misfit("expected --packing=best_fit with it", _place(fields, "pack_window"), packing)
    if window is not None and window < length:
        raise Misfit(
            "expected at least --sequence_length, better some thousand times as many tokens",
            _place(fields, "pack_window"),
            _place(fields, "sequence_length"),
        )


def _check_output(fields: Fields) -> None:
    formats, kind = fields["output_format"], packing_of(fields)
    for name, default, of in (
        ("layout", "plain", "parquet"),
        ("megatron", None, "megatron"),
        ("header", "none", "flat"),
    ):
        if fields[name] != default and of not in formats:
            raise Misfit(
                f"it is for {of} files; add {of} to the formats, or leave it out",
                _place(fields, name),
                (("output_format",), ",".join(formats)),
            )
    if fields["megatron"] == "rows" and kind == "none":
        raise Misfit("expected --sequence_length with it", _place(fields, "megatron"))
    if fields["num_shards"] is not None and fields["shard_size"] is not None:
        raise Misfit(
            "pass only one of them", _place(fields, "num_shards"), _place(fields, "shard_size")
        )
    for name in ("keep_fields", "keep_source"):
        if not fields[name]:
            continue
        if kind != "none":
            raise Misfit(
                "a packed row has several documents; expected --packing=none",
                _place(fields, name),
                (("packing",), kind),
            )
        if not {"parquet", "arrow"} & set(formats):
            raise Misfit(
                "only parquet and arrow have columns; add one of them to the formats",
                _place(fields, name),
                (("output_format",), ",".join(formats)),
            )


def _check_kept(fields: Fields) -> None:
    kept = fields["keep_fields"]
    if kept is None:
        return
    if fields["bytes"] or fields["text_field"] == "":
        raise Misfit(
            "whole lines have no fields to be kept; expected JSON lines or rows",
            _place(fields, "keep_fields"),
            _place(fields, "bytes" if fields["bytes"] else "text_field"),
        )
    text = fields["text_field"] or "text"
    if text in kept:
        raise Misfit(
            f"{text} is the text that becomes tokens, which isn't kept; leave it out",
            _place(fields, "keep_fields"),
        )


def _untils(fields: Fields) -> list[dict[str, int]]:
    return [stage.until.given for stage in fields["stages"] or () if stage.until is not None]


def _stages(*inner: int | str) -> tuple[Path, None]:
    return ("stages", *inner), None


def _place(fields: Fields, field: str) -> tuple[Path, Any]:
    """Return a field's path and its value as a flag has it."""
    value = fields[field]
    if isinstance(value, Mapping):
        value = ",".join(f"{name}={number}" for name, number in value.items())
    elif isinstance(value, list):
        value = ",".join(map(str, value))
    return (field,), None if value is True else "''" if value == "" else str(value)
