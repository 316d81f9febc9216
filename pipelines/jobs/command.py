"""What every command that makes a dataset does around its work: recipe, claim, plan, run, summary."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from pipelines.inputs.preflight import check_stores, urls_of
from pipelines.jobs.execute import Planned, before_work
from pipelines.jobs.summary import summarize
from pipelines.outputs.output import Claim, check_output, claim_output
from pipelines.recipes.as_given import naming_as_given
from pipelines.recipes.cli import make_parser, parse
from pipelines.recipes.recipe import Recipe, RecipeFlags
from pipelines.recipes.recipe_file import (
    RecipeKind,
    check_fields,
    json_schema,
    read_recipe,
    to_yaml,
)
from pipelines.recipes.store_options import parse_storage_options
from pipelines.recipes.validation import Origin, flag_of, validate
from pipelines.recipes.values import parse_names
from pipelines.runners.beam_flags import check_beam_flags, warn_of_flags
from pipelines.runners.choose import patience_of, settle_runner
from pipelines.runners.clusters import CLUSTERS, S
from transforms.datasets.manifest import Manifest
from transforms.errors import UsageError
from transforms.formats import compressed
from transforms.storage import files as storage
from transforms.storage import layout

J = TypeVar("J", bound=Planned)


def run_command(
    argv: Sequence[str],
    kind: RecipeKind[Any, Any],
    work: Callable[..., Manifest | None],
    *,
    description: str,
    epilog: str,
    given: Mapping[str, Any],
) -> Manifest | None:
    """Read flags and the recipe's file; do the work, or print what was asked for.

    Args:
        argv: the flags.
        kind: of the recipe.
        work: given recipe and settings, and ``beam_flags``, as ``pipelines.shuffle.shuffle`` is.
        description, epilog: of the help.
        given: fields that count as flags do; ``recipe`` may be a mapping of fields too.

    Returns:
        The manifest, None where it was to be planned or printed only.

    Raises:
        DovetailError: with the message that a person would see.
    """
    parser = make_parser(
        kind.recipe,
        kind.settings,
        RecipeFlags,
        prog=f"dovetail {kind.command}",
        description=description,
        epilog=epilog,
    )
    flags, beam_flags = parse(parser, argv)
    check_beam_flags(beam_flags, parser._option_string_actions)
    flags |= given
    content = flags.pop("recipe") if isinstance(flags.get("recipe"), Mapping) else None
    asked = validate(RecipeFlags, _part(flags, RecipeFlags))
    if asked.print_schema:
        print(json.dumps(json_schema(kind), indent=2))
        return None
    origin = Origin()
    if asked.recipe is not None:
        storage.configure(parse_storage_options(flags.get("storage_options", {})))
        compressed.load(compressed.with_installed(parse_names(flags.get("codec_module"))))
        flags, origin = read_recipe(asked.recipe, kind).under(flags)
    elif content is not None:
        flags, origin = check_fields(content, Origin("recipe"), kind).under(flags)
    recipe = validate(kind.recipe, _part(flags, kind.recipe), origin)
    if asked.print_recipe:
        print(to_yaml(recipe, _part(flags, kind.settings), origin, kind), end="")
        return None
    settings = validate(kind.settings, _part(flags, kind.settings), origin)
    return work(recipe, settings, beam_flags=beam_flags)


def _part(values: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in model.model_fields}


def make_dataset(
    settings: S,
    *,
    reading: Recipe,
    prepare: Callable[[S, Claim], J],
    perform: Callable[[J, Sequence[str]], int],
    beam_flags: Sequence[str] = (),
    **more: str,
) -> Manifest | None:
    """Claim the output, plan, do the work, and say what came of it.

    Args:
        settings: how the work is done.
        reading: what is read.
        prepare: looks at everything that can be looked at before work starts, and plans; prints the
            plan where that is all that was asked for. It is given the settings as a cluster fills
            them in.
        perform: runs the pipeline, which writes the manifest, with Beam's flags; returns the peak of
            memory.
        beam_flags: the user's own, for Beam.
        more: URLs of other flags, which workers read.

    Returns:
        The manifest, None for a plan, and where nobody waits for the end.

    Raises:
        UsageError: bad records are counted that aren't left out.
    """
    begin = time.monotonic()
    if settings.max_bad is not None and reading.on_bad_record == "fail":
        raise UsageError(
            f"--max_bad={settings.max_bad} is for --on_bad_record=skip or quarantine: by default a run "
            "ends at its first bad record"
        )
    storage.configure(settings.storage_options or {})
    compressed.load(compressed.with_installed(reading.codec_module))
    jobs: list[J] = []
    with (
        naming_as_given(itertools.chain(*reading.sources.values())),
        contextlib.ExitStack() as stack,
    ):
        with before_work():
            check_stores(reading, settings)
            urls = [
                *urls_of(reading, settings),
                *((flag_of(name), url) for name, url in more.items()),
            ]
            given = beam_flags
            settings, beam_flags = settle_runner(settings, beam_flags, urls)
            warn_of_flags(given, settings.runner)
            check_output(settings.output, overwrite=settings.overwrite)
            if settings.plan:
                prepare(settings, Claim.of_nothing(settings.output, settings.temp_location or ()))
                return None
            claim = stack.enter_context(
                claim_output(
                    settings.output,
                    overwrite=settings.overwrite,
                    temp_locations=settings.temp_location or (),
                    remote=settings.runner in CLUSTERS,
                    patience=patience_of(settings.runner),
                    check=lambda claim: jobs.append(prepare(settings, claim)),
                )
            )
        peak = perform(jobs[0], beam_flags)
        if claim.handed_over:
            return None
        text = storage.read_all(storage.join(claim.folder, layout.MANIFEST))
    manifest = Manifest.model_validate_json(text)
    summarize(manifest, settings, seconds=time.monotonic() - begin, peak=peak)
    return manifest
