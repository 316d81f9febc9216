"""The commands as functions: keywords count as flags do, and the command runs in this process."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, Literal, TypeVar, overload

from pydantic import BaseModel

from pipelines.recipes.cli import LOG, stderr_handler
from pipelines.recipes.flag_errors import FLAGS, FORMER, Origin
from pipelines.recipes.prepare_recipe import PREPARE
from pipelines.recipes.recipe import CommonRecipe
from pipelines.recipes.recipe_file import SHUFFLE, RecipeKind, refuse_truth
from pipelines.recipes.split_recipe import SPLIT
from pipelines.recipes.tokenize_recipe import TOKENIZE
from transforms.datasets.manifest import Manifest
from transforms.datasets.prepared import PreparedManifest
from transforms.errors import UsageError

Recipes = str | os.PathLike[str] | Mapping[str, Any] | CommonRecipe | Manifest | PreparedManifest
"""How a recipe is given: its file, its fields, itself, or the manifest of a dataset made by it."""

M = TypeVar("M", bound=BaseModel)

_lock = threading.Lock()
_speaking: list[logging.Handler] = []  # to standard error: the same one for each run at this time


@overload
def shuffle(
    *,
    recipe: Recipes | None = None,
    beam_args: Sequence[str] = (),
    plan: Literal[False] = False,
    no_wait: Literal[False] = False,
    **keywords: Any,
) -> Manifest: ...


@overload
def shuffle(
    *, recipe: Recipes | None = None, beam_args: Sequence[str] = (), **keywords: Any
) -> Manifest | None: ...


def shuffle(
    *, recipe: Recipes | None = None, beam_args: Sequence[str] = (), **keywords: Any
) -> Manifest | None:
    """Shuffle or mix files of records exactly, in bounded memory.

    >>> dovetail.shuffle(input="corpus/*.jsonl", output="shuffled", seed=7)  # doctest: +SKIP
    >>> dovetail.shuffle(  # doctest: +SKIP
    ...     input={"web": "web/**", "books": ["a.txt", "b.txt"]},
    ...     weights={"web": 0.7, "books": 0.3},
    ...     output=Path("mixed"),
    ... )

    Args:
        recipe: a recipe's file, its fields, a Recipe, or a dataset's manifest (or its file), to make
            that dataset again. Keywords override it.
        beam_args: a list of flags for Beam. Its options may also be keywords, as in
            ``runner="FlinkRunner", flink_master="localhost:8081"``.
        keywords: the flags of ``dovetail shuffle``, listed below. None means that a flag isn't given.
            Paths, numbers, lists and dicts are taken as they are.

    Returns:
        The dataset's manifest. None with ``plan``, which prints the plan, and with ``no_wait``.

    Raises:
        DovetailError: a UsageError before any work starts, a RunError if the work fails.

    Messages go to standard error, except with ``quiet``. If you have set a level for the logger
    ``dovetail``, or the root logger shows its lines, they go where your logging sends them.
    """
    from pipelines.shuffle import run

    return _run(run, SHUFFLE, recipe, beam_args, keywords)


@overload
def tokenize(
    *,
    recipe: Recipes | None = None,
    beam_args: Sequence[str] = (),
    plan: Literal[False] = False,
    no_wait: Literal[False] = False,
    **keywords: Any,
) -> Manifest: ...


@overload
def tokenize(
    *, recipe: Recipes | None = None, beam_args: Sequence[str] = (), **keywords: Any
) -> Manifest | None: ...


def tokenize(
    *, recipe: Recipes | None = None, beam_args: Sequence[str] = (), **keywords: Any
) -> Manifest | None:
    """Turn text into token ids, or ids back into text.

    >>> dovetail.tokenize(input="corpus", output="tokens", tokenizer="model.json")  # doctest: +SKIP

    Arguments, return value and errors are those of ``dovetail.shuffle``. The keywords are the
    flags of ``dovetail tokenize``.
    """
    from pipelines.tokenize import run

    return _run(run, TOKENIZE, recipe, beam_args, keywords)


@overload
def prepare(
    *,
    recipe: Recipes | None = None,
    beam_args: Sequence[str] = (),
    plan: Literal[False] = False,
    no_wait: Literal[False] = False,
    **keywords: Any,
) -> PreparedManifest: ...


@overload
def prepare(
    *, recipe: Recipes | None = None, beam_args: Sequence[str] = (), **keywords: Any
) -> PreparedManifest | None: ...


def prepare(
    *, recipe: Recipes | None = None, beam_args: Sequence[str] = (), **keywords: Any
) -> PreparedManifest | None:
    """Prepare text, or rows of ids, for a trainer: split, mix, tokenize and pack in one run.

    >>> dovetail.prepare(  # doctest: +SKIP
    ...     input={"web": "web/**", "books": "books/*.parquet"},
    ...     weights={"web": 0.7, "books": 0.3},
    ...     weigh_by="tokens",
    ...     split={"validation": "0.5%"},
    ...     tokenizer="tokenizer.json",
    ...     packing="best_fit",
    ...     sequence_length=4096,
    ...     output_format=["megatron", "parquet"],
    ...     output="ready",
    ... )

    Arguments, return value and errors are those of ``dovetail.shuffle``. The keywords are the
    flags of ``dovetail prepare``, and ``stages``.
    """
    from pipelines.prepare import run

    return _run(run, PREPARE, recipe, beam_args, keywords)


@overload
def split(
    *,
    recipe: Recipes | None = None,
    beam_args: Sequence[str] = (),
    plan: Literal[False] = False,
    no_wait: Literal[False] = False,
    **keywords: Any,
) -> Manifest: ...


@overload
def split(
    *, recipe: Recipes | None = None, beam_args: Sequence[str] = (), **keywords: Any
) -> Manifest | None: ...


def split(
    *, recipe: Recipes | None = None, beam_args: Sequence[str] = (), **keywords: Any
) -> Manifest | None:
    """Split files of records into train, validation and test.

    >>> dovetail.split(  # doctest: +SKIP
    ...     input="corpus/*.jsonl",
    ...     fractions={"train": 0.98, "validation": 0.01, "test": 0.01},
    ...     output="split",
    ... )
    >>> dovetail.split(  # doctest: +SKIP
    ...     input="train.jsonl", like="test.jsonl", draw=2000, output="drawn"
    ... )

    Arguments, return value and errors are those of ``dovetail.shuffle``. The keywords are the
    flags of ``dovetail split``.
    """
    from pipelines.split import run

    return _run(run, SPLIT, recipe, beam_args, keywords)


def verify(
    folder: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    codec_module: str | Sequence[str] = (),
    quiet: bool = False,
    debug: bool = False,
) -> Manifest | PreparedManifest:
    """Read a whole dataset again and check it against its manifest; return the manifest.

    Args:
        folder: the dataset's folder, local or on a store.
        storage_options: fsspec options for the stores.
        codec_module: modules that register your own codecs.
        quiet: log only warnings and errors.
        debug: show no live progress bar.

    Raises:
        LosslessError: the dataset doesn't match its manifest; every difference is logged.
        DovetailError: there is no dataset, or it can't be read.
    """
    from pipelines.verify import run

    options: dict[str, Any] = {"codec_module": codec_module or None}
    if storage_options is not None:
        options["storage_options"] = dict(storage_options)
    with _spoken(quiet):
        return run(["--", os.fspath(folder)], quiet=quiet, debug=debug, **options)


def show(
    folder: str | os.PathLike[str],
    *,
    row: int | None = None,
    split: str | None = None,
    epoch: int | None = None,
    format: str | None = None,  # noqa: A002  # as the flag is called
    tokenizer: str | os.PathLike[str] | None = None,
    full: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    codec_module: str | Sequence[str] = (),
) -> Manifest | PreparedManifest:
    """Print a summary of a dataset, and rows of it, decoded; return its manifest.

    Args:
        folder: the dataset's folder, local or on a store.
        row: show only this row of the split, counted from 0 over its shards.
        split: which split to show, by default train.
        epoch: which epoch to show, by default the first.
        format: which format's files to show.
        tokenizer: the model that decodes, if it is no longer where the manifest says.
        full: show rows whole, however long.
        storage_options: fsspec options for the stores.
        codec_module: modules that register your own codecs.

    Raises:
        DovetailError: there is no dataset, it can't be read, or has no such row.
    """
    from pipelines.show import run

    options: dict[str, Any] = {"row": row, "split": split, "epoch": epoch, "format": format}
    options |= {"codec_module": codec_module or None}
    options |= {"tokenizer": None if tokenizer is None else os.fspath(tokenizer)}
    if storage_options is not None:
        options["storage_options"] = dict(storage_options)
    return run(["--", os.fspath(folder)], full=full, **options)


def _run(
    run: Callable[..., M | None],
    kind: RecipeKind[Any, Any],
    recipe: Recipes | None,
    beam_args: Sequence[str],
    keywords: Mapping[str, Any],
) -> M | None:
    """Sort keywords into fields of ours and flags of Beam's, and run."""
    if isinstance(beam_args, str):
        raise UsageError(f"beam_args: expected a list of flags, got {beam_args!r}")
    given: dict[str, Any] = {}
    others: dict[str, Any] = {}
    fields = {**kind.recipe.model_fields, **kind.settings.model_fields}
    names = dict(zip(fields, fields, strict=True)) | FORMER
    names |= {FLAGS[k]: k for k in FLAGS if k in fields}
    for keyword, value in keywords.items():
        if value is None:
            continue
        name = names.get(keyword)
        if name is None:
            others[keyword] = _plain(value)
        elif name in given:
            both = " and ".join(sorted(key for key in keywords if names.get(key) == name))
            raise UsageError(f"{both} mean the same; pass only one of them")
        else:
            refuse_truth(name, value, Origin(), kind)
            given[name] = _plain(value)
    if isinstance(recipe, Manifest | PreparedManifest):
        given["recipe"] = recipe.recipe
    elif isinstance(recipe, BaseModel):
        given["recipe"] = recipe.model_dump(mode="json", exclude_unset=True)
    elif recipe is not None:
        given["recipe"] = _plain(recipe)
    flags = [*beam_args]
    if others:
        from apache_beam.options.pipeline_options import PipelineOptions

        flags += PipelineOptions.from_dictionary(others)._flags
    with _spoken(bool(given.get("quiet"))):
        return run(flags, **given)


def _plain(value: Any) -> Any:
    """Return a value as a recipe's file would hold it: paths as text, sequences as lists."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_plain(part) for part in value]
    return value


@contextlib.contextmanager
def _spoken(quiet: bool) -> Iterator[None]:
    """Write our log's lines to standard error, as the command does, unless logging is set up for them.

    That is, where the logger ``dovetail`` has a level, or the level above it lets its lines through.
    """
    with _lock:
        new = not _speaking and LOG.level == logging.NOTSET and not LOG.isEnabledFor(logging.INFO)
        speaks = not quiet and (bool(_speaking) or new)
        if speaks and new:
            LOG.addHandler(handler := stderr_handler())
            LOG.setLevel(logging.INFO)
            LOG.propagate = False
        if speaks:
            _speaking.append(_speaking[0] if _speaking else handler)
    try:
        yield
    finally:
        with _lock:
            if speaks:
                handler = _speaking.pop()
                if not _speaking:
                    LOG.removeHandler(handler)
                    LOG.setLevel(logging.NOTSET)
                    LOG.propagate = True


def _describe(function: Callable[..., Any], kind: RecipeKind[Any, Any]) -> None:
    """Let ``help``, and editors that ask at run time, show the keywords of a command."""
    parameters = [*signature(function).parameters.values()]
    lines = []
    for model in (kind.recipe, kind.settings):
        for name, field in model.model_fields.items():
            if field.deprecated:
                continue
            keyword = FLAGS.get(name, name)
            default = None if field.is_required() else field.default
            given = Parameter(keyword, Parameter.KEYWORD_ONLY, default=default)
            parameters.insert(-1, given)
            lines.append(f"{keyword}: {field.description}")
    function.__signature__ = signature(function).replace(parameters=parameters)  # type: ignore[attr-defined]
    words = [textwrap.fill(line, 92, subsequent_indent="    ") for line in lines]
    function.__doc__ = f"{inspect.getdoc(function)}\n\nKeywords:\n" + textwrap.indent(
        "\n".join(words), "    "
    )


_describe(shuffle, SHUFFLE)
_describe(tokenize, TOKENIZE)
_describe(prepare, PREPARE)
_describe(split, SPLIT)
