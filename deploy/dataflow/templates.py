"""Metadata of the Flex templates, made from the flags: ``python -m deploy.dataflow.templates``.

Writes a JSON file for each pipeline beside this file, which ``gcloud dataflow flex-template build``
takes as --metadata-file. The service holds parameters against their patterns before anything
starts. Patterns are written so that POSIX's extended regular expressions and Java's and Python's all
understand them alike: without classes by letter, and without look-ahead.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from deploy.dataflow.flex_launcher import PIPELINES
from pipelines.__main__ import COMMANDS
from pipelines.recipes.flag_errors import FLAGS
from pipelines.recipes.wording import write_size

HERE = Path(__file__).parent

LEFT_OUT = {
    "runner": "the launcher gives it",
    "temp_location": "the launcher gives it: `gcloud … --temp-location`",
    "workers": "of DirectRunner",
    "direct_running_mode": "of DirectRunner",
    "shared_filesystem": "Dataflow's machines share none",
    "exchange": "it has no effect any more",
    "stages": "a list, which a recipe's file has",
    "no_wait": "a template's launcher never waits",
    "plan": "a template starts a job; look at a plan where there is a terminal",
    "print_recipe": "as plan",
    "print_schema": "as plan",
    "as_json": "what a job prints is in its log",
    "debug": "the worker's log is Dataflow's",
}
"""Fields that are no parameters of a template, and why; beside those that are deprecated."""

_URL = "[a-z][a-z0-9]*://"
_NUMBER = "[0-9]+([.][0-9]+)?"
_NAME = "[A-Za-z][A-Za-z0-9_-]*"
_NUMBERS = f"{_NAME} *= *{_NUMBER}( *, *{_NAME} *= *{_NUMBER})*"
_SIZE = f"{_NUMBER} *([KkMmGgTt]([Ii]?[Bb])?|[Bb])?"
_COUNT = f"{_NUMBER} *[KkMmBbTt]?"
_SPLIT = f"[A-Za-z][A-Za-z0-9_]* *= *({_NUMBER} *%|[0-9]+)"
_COLUMN = "[^,]+"
_COLUMNS = f"{_COLUMN}(,{_COLUMN})*"
_FRACTION = (
    f"[A-Za-z][A-Za-z0-9_]* *= *({_NUMBER}|[.][0-9]+|[0-9]+/[0-9]+|{_NUMBER}[Ee]-[0-9]+) *%?"
)
_RECORDS = "[A-Za-z][A-Za-z0-9_]* *= *([0-9_]+|rest)"
_TEXT = ".+"
_IMAGE = "[a-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9._-]+)+(:[A-Za-z0-9._-]+)?(@sha256:[0-9a-f]+)?"

_HELP = {
    "sources": "file, folder or pattern (*, ?, [..], **) on a store, of lines, Parquet or Arrow. "
    "NAME=PATTERN names its source",
}
# of fields whose type doesn't say it: pattern and an example
_TEXTS: dict[str, tuple[str, str]] = {
    "sources": (f"({_NAME}=)?{_URL}.+", "gs://corpus/web/**/*.jsonl.zst"),
    "output": (f"{_URL}.+", "gs://corpus/shuffled"),
    "recipe": (f"{_URL}.+", "gs://corpus/mix.yaml"),
    "tokenizer": (f"{_URL}.+", "gs://corpus/models/bytepiece.json"),
    "extension": ("[^,]+(,[^,]+)*", ".jsonl,.json"),
    "codec_module": ("[A-Za-z0-9_.]+( *, *[A-Za-z0-9_.]+)*", "mine.codecs"),
    "separator": (r"(.|\\[ntr0]|\\\\|\\x[0-9A-Fa-f][0-9A-Fa-f])", r"\n"),
    "text_field": (_TEXT, "text"),
    "weights": (_NUMBERS, "web=0.6,books=0.3,code=0.1"),
    "repeats": (_NUMBERS, "web=1,books=2.5"),
    "temperature": (_NUMBER, "1.5"),
    "max_bytes": (_SIZE, "2GiB"),
    "max_bad": (f"([0-9]+|{_NUMBER} *%)", "0.1%"),
    "memory": (_SIZE, "3GiB"),
    "compression": ("[A-Za-z0-9]+", "zstd"),
    "split_name": ("[A-Za-z][A-Za-z0-9_]*", "train"),
    "storage_options": ("[{].*[}]", '{"s3": {"anon": true}}'),
    "newline_symbol": (".", "▃"),
    "tokenizer_pattern": (_TEXT, "cl100k"),
    "bos_token": (_TEXT, "<s>"),
    "eos_token": (_TEXT, "</s>"),
    "pad_token": (_TEXT, "<pad>"),
    "document_end": (_TEXT, "eos"),
    "max_tokens": (_COUNT, "100B"),
    "rows": (_COUNT, "2M"),
    "pack_window": (_COUNT, "16M"),
    "split": (f"{_SPLIT}( *, *{_SPLIT})*", "validation=0.5%,test=1000"),
    "split_by": (_COLUMNS, "conversation"),
    "fractions": (f"{_FRACTION}( *, *{_FRACTION})*", "train=0.98,validation=0.01,test=0.01"),
    "counts": (f"{_RECORDS}( *, *{_RECORDS})*", "train=1000,test=rest"),
    "stratify": (_COLUMN, "label"),
    "like": (f"{_URL}.+", "gs://corpus/test/*.jsonl"),
    "like_model": (f"{_URL}.+", "gs://corpus/split/like.json"),
    "features": (_COLUMNS, "text,length"),
    "fit_records": (_COUNT, "100K"),
    "fit_bytes": (_SIZE, "32MiB"),
    "weights_column": (_TEXT, "weight"),
    "max_weight": (_NUMBER, "20"),
    "draw": (_COUNT, "2000"),
    "draw_column": (_TEXT, "drawn"),
    "shard_size": (_SIZE, "512MiB"),
    "output_format": ("[a-z]+( *, *[a-z]+)*", "megatron,parquet"),
    "token_column": (_COLUMN, "input_ids"),
    "keep_fields": (f"([*]|{_COLUMNS})", "id,url"),
}
_KINDS: dict[type, tuple[str, str, str]] = {  # type of parameter, pattern, example
    bool: ("BOOLEAN", "(true|false)", "true"),
    int: ("NUMBER", "[0-9]+", "7"),
    float: ("NUMBER", "[0-9]*[.]?[0-9]+([Ee]-?[0-9]+)?", "0.1"),
}
_FOLDERS = {
    "output": "GCS_WRITE_FOLDER",
    **dict.fromkeys(("recipe", "tokenizer", "like_model"), "GCS_READ_FILE"),
}
_EITHER = "sources", "output", "tokenizer"  # a recipe may hold them


def parameter(name: str, field: Any, *, recipes: bool) -> dict[str, Any]:
    """Return what the service is told of a field: of a parameter in which it comes.

    Args:
        name, field: of a pydantic model.
        recipes: whether the pipeline takes --recipe, which may stand for most other parameters.
    """
    flag = FLAGS.get(name, name)
    kind, pattern, example, options = _kind(name, _plain(field.annotation))
    if pattern == _TEXT and field.default == "text":
        pattern = ".*"  # empty takes whole lines
    required = field.is_required() and not (recipes and name in _EITHER)
    help_ = _HELP.get(name) or str(field.description)
    if name == "sources" and recipes:
        help_ += ". One only, as parameters are a map: several sources come by recipe"
    if field.default not in (None, False, "") and not field.is_required():
        size = field.json_schema_extra["metavar"] == "SIZE"
        help_ += f". By default {write_size(field.default) if size else json.dumps(field.default)}"
    return {
        "name": flag,
        "label": f"{field.json_schema_extra['group']}: {flag.replace('_', ' ')}",
        "helpText": f"{help_}. Example: {example}",
        "isOptional": not required,
        "paramType": _FOLDERS.get(name, kind),
        "regexes": [f"^{pattern}$"],
        **({"enumOptions": [{"value": value} for value in options]} if options else {}),
    }


def _plain(annotation: Any) -> Any:
    """Return a type without its being optional."""
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    return annotation


def _kind(name: str, annotation: Any) -> tuple[str, str, str, tuple[str, ...]]:
    if get_origin(annotation) is Literal:
        options = get_args(annotation)
        return "ENUM", f"({'|'.join(options)})", options[-1], options
    if name in _TEXTS:
        return "TEXT", *_TEXTS[name], ()
    return *_KINDS[annotation], ()


def metadata(pipeline: str) -> dict[str, Any]:
    """Return the metadata of a pipeline's template."""
    models = PIPELINES[pipeline]
    fields: Mapping[str, Any] = {
        name: field for model in models for name, field in model.model_fields.items()
    }
    made = [
        parameter(name, field, recipes="recipe" in fields)
        for name, field in fields.items()
        if name not in LEFT_OUT and not field.deprecated
    ]
    made.sort(key=lambda one: one["isOptional"])
    which = {
        "name": "pipeline",
        "label": "pipeline",
        "helpText": f"which of Dovetail's pipelines: {pipeline}. Example: {pipeline}",
        "isOptional": False,
        "paramType": "ENUM",
        "regexes": [f"^{pipeline}$"],
        "enumOptions": [{"value": pipeline}],
    }
    image = {
        "name": "sdk_container_image",
        "label": "image of the workers",
        "helpText": "the image that this template is of, which workers run too. "
        "Example: europe-west4-docker.pkg.dev/project/repository/dovetail:1",
        "isOptional": False,
        "paramType": "TEXT",
        "regexes": [f"^{_IMAGE}$"],
    }
    return {
        "name": f"Dovetail {pipeline}",
        "description": COMMANDS[pipeline].capitalize(),
        "streaming": False,
        "parameters": [which, image, *made],
    }


def to_text(pipeline: str) -> str:
    """Return the content of a pipeline's metadata file."""
    return json.dumps(metadata(pipeline), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files."""
    for pipeline in PIPELINES:
        (HERE / f"{pipeline}.json").write_text(to_text(pipeline), encoding="utf-8")


if __name__ == "__main__":
    main()
