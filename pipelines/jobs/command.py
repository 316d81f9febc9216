"""What every command that makes a dataset does around its work: recipe, claim, plan, run, summary."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from pipelines.inputs.preflight import check_stores, urls_of
from pipelines.jobs.dataset_json import dataset_json, inputs_json, plan_json
from pipelines.jobs.disk_room import Need, require_room
from pipelines.jobs.execute import Planned, execute
from pipelines.outputs.claim import Claim, check_output, claim_output
from pipelines.recipes import exact_yaml
from pipelines.recipes.access import access
from pipelines.recipes.as_given import naming_as_given
from pipelines.recipes.cli import LOG, heard_warnings, print_json, printing, run_main
from pipelines.recipes.flag_errors import Origin, flag_of, validate
from pipelines.recipes.flag_parser import make_parser, parse
from pipelines.recipes.recipe_file import (
    R,
    RecipeKind,
    S,
    as_content,
    json_schema,
    put_under,
    read_recipe,
)
from pipelines.recipes.settings import RecipeFlags
from pipelines.recipes.store_options import parse_storage_options
from pipelines.recipes.values import as_list, parse_names
from pipelines.recipes.wording import write_bytes, write_count, write_memory
from pipelines.runners.beam_flags import check_beam_flags, warn_of_flags
from pipelines.runners.clusters import CLUSTERS
from pipelines.runners.early_start import EarlyStart
from pipelines.runners.settle_runner import patience_of, settle_runner
from transforms.errors import StoreError, UsageError
from transforms.storage import files as storage
from transforms.storage import layout
from transforms.workers.progress import Stage

_LOOKING = "looking at the input files, and loading what the run needs; this may take a while"
_PATIENCE = 5.0  # seconds without a word before the work begins
J = TypeVar("J", bound=Planned)
M = TypeVar("M", bound=BaseModel)
M_contra = TypeVar("M_contra", bound=BaseModel, contravariant=True)


class Summarize(Protocol[M_contra]):
    """Says what was written."""

    def __call__(self, manifest: M_contra, settings: Any, /, *, seconds: float, peak: int) -> None:
        """Log it."""


@contextlib.contextmanager
def _saying(text: str) -> Iterator[None]:
    """Log what goes on meanwhile, if it goes on for some seconds."""
    timer = threading.Timer(_PATIENCE, LOG.info, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _do_not_compare(job: Any, origin: Origin) -> None:
    """Take what a recipe names as it is."""


def _expect_nothing(job: Any) -> Mapping[str, Any]:
    """Say nothing."""
    return {}


@dataclass
class Command(Generic[R, S, J, M]):
    """A command that makes a dataset.

    Attributes:
        kind: of its recipes.
        about, examples, notes, docs: of the help.
        prepare: looks at everything that can be looked at before work starts, and plans: of recipe,
            settings as a cluster fills them in, and the output, the job and what room it needs. It may
            start worker processes that early.
        describe: says what was planned.
        sum_up: says in a few words what begins.
        expect: says what is expected to come out, for ``--plan --json``.
        build: adds the transforms, the last of which writes the manifest, to a pipeline.
        totals: of the stages that are shown, where they are known.
        manifest: what the manifest is read as.
        summarize: says what was written, in how many seconds and how much memory.
        compare: warns where what a recipe names isn't what it was for the dataset that it made.
        urls: fields of the recipe, beside its sources, that are URLs which workers read, or lists of
            them.
    """

    kind: RecipeKind[R, S]
    about: str
    examples: str
    notes: str
    docs: str
    prepare: Callable[[R, S, Claim, EarlyStart], tuple[J, Sequence[Need]]]
    describe: Callable[[J, Sequence[Need]], str]
    sum_up: Callable[[J], str]
    build: Callable[[Any, J], None]
    totals: Callable[[J], Mapping[Stage, int | None]]
    manifest: type[M]
    summarize: Summarize[M]
    compare: Callable[[J, Origin], None] = _do_not_compare
    urls: Sequence[str] = ()
    expect: Callable[[J], Mapping[str, Any]] = _expect_nothing

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run as a person does; return the exit code."""
        return run_main(self.run, argv)

    def run(self, argv: Sequence[str] = (), **given: Any) -> M | None:
        """Read flags and the recipe's file; do the work, or print what was asked for.

        Args:
            argv: flags.
            given: fields of recipe and settings, which count as flags; ``recipe`` is a file or a
                mapping.

        Returns:
            The manifest, None where it was to be planned or printed only.

        Raises:
            DovetailError: with the message that a person would see.
        """
        kind = self.kind
        parser = make_parser(
            kind.recipe,
            kind.settings,
            RecipeFlags,
            prog=f"dovetail {kind.command}",
            about=self.about,
            examples=self.examples,
            groups=kind.groups,
            common=kind.common,
            notes=self.notes,
            docs=self.docs,
        )
        flags, beam_flags = parse(parser, argv)
        beam_flags = check_beam_flags(beam_flags, parser._option_string_actions)
        flags |= given
        content = flags.pop("recipe") if isinstance(flags.get("recipe"), Mapping) else None
        asked = validate(RecipeFlags, _part(flags, RecipeFlags))
        if asked.print_schema:
            with printing():
                print(json.dumps(json_schema(kind), indent=None if asked.as_json else 2))
            return None
        origin = Origin()
        if asked.recipe is not None:
            stores = parse_storage_options(flags.get("storage_options", {}))
            with access(stores, parse_names(flags.get("codec_module"))):
                flags, origin = read_recipe(asked.recipe, kind, flags)
        elif content is not None:
            flags, origin = put_under(flags, content, Origin("recipe"), kind)
        recipe = validate(kind.recipe, _part(flags, kind.recipe), origin)
        if asked.print_recipe:
            content = as_content(recipe, _part(flags, kind.settings), origin, kind)
            if asked.as_json:
                print_json(content)
            else:
                with printing():
                    print(exact_yaml.dump(content), end="")
            return None
        settings = validate(kind.settings, _part(flags, kind.settings), origin)
        if not asked.as_json:
            return self.make(recipe, settings, beam_flags=beam_flags, origin=origin)
        with heard_warnings() as heard:
            return self.make(recipe, settings, beam_flags=beam_flags, origin=origin, heard=heard)

    def make(
        self,
        recipe: R,
        settings: S,
        *,
        beam_flags: Sequence[str] = (),
        origin: Origin | None = None,
        heard: Sequence[str] | None = None,
    ) -> M | None:
        """Claim the output, plan, do the work, and say what came of it.

        Args:
            recipe: what comes out.
            settings: how the work is done.
            beam_flags: the user's own, for Beam.
            origin: where the recipe's values came from.
            heard: warnings of this run, as it goes on; None where nothing is printed as JSON.

        Returns:
            The manifest, None for a plan, and where nobody waits for the end.

        Raises:
            DovetailError: with the message that a person would see.
        """
        begin = time.monotonic()
        reading = recipe.reading
        if settings.max_bad is not None and reading.on_bad_record == "fail":
            raise UsageError(
                f"--max_bad={settings.max_bad} is for --on_bad_record=skip or quarantine: by default a "
                "run ends at its first bad record"
            )
        jobs: list[J] = []
        values = [(flag_of(name), as_list(getattr(recipe, name))) for name in self.urls]
        named = [(flag, url) for flag, urls in values for url in urls or ()]
        with (
            access(settings.storage_options, reading.codec_module),
            naming_as_given(itertools.chain(*reading.sources.values(), (url for _, url in named))),
            contextlib.ExitStack() as stack,
            EarlyStart() as early,
        ):
            try:
                check_stores(reading, settings)
                given = beam_flags
                settings, beam_flags = settle_runner(
                    settings, beam_flags, [*urls_of(reading, settings), *named]
                )
                warn_of_flags(given, settings.runner)
                check_output(settings.output, overwrite=settings.overwrite)
                locations = settings.temp_location or ()
                if settings.plan:
                    self._plan(
                        recipe,
                        settings,
                        Claim.of_nothing(settings.output, locations),
                        early,
                        origin=origin,
                        heard=heard,
                    )
                    return None
                claim = stack.enter_context(
                    claim_output(
                        settings.output,
                        overwrite=settings.overwrite,
                        temp_locations=locations,
                        remote=settings.runner in CLUSTERS,
                        patience=patience_of(settings.runner),
                        check=lambda claim: jobs.append(
                            self._plan(recipe, settings, claim, early, origin=origin)
                        ),
                    )
                )
            except StoreError as error:  # before any work, so it is the user's to mend
                raise UsageError(str(error)) from error
            (job,) = jobs
            peak = execute(
                lambda root: self.build(root, job),
                job,
                totals=self.totals(job),
                beam_flags=beam_flags,
                early=early,
            )
            if claim.handed_over:
                if heard is not None:
                    result = self._result(settings, heard, job) | {"submitted": True}
                    print_json(result, done="the job was submitted")
                return None
            text = storage.read_all(storage.join(claim.folder, layout.MANIFEST))
        manifest = self.manifest.model_validate_json(text)
        seconds = time.monotonic() - begin
        self.summarize(manifest, settings, seconds=seconds, peak=peak)
        if heard is not None:
            took = {"seconds": round(seconds, 3), "peak_memory_bytes": peak}
            result = self._result(settings, heard, job) | dataset_json(manifest) | took
            print_json(result, done=f"the dataset in {settings.output} is complete")
        return manifest

    def _result(self, settings: S, heard: Sequence[str], job: J) -> dict[str, Any]:
        """Return what ``--json`` says first."""
        return {
            "command": self.kind.command,
            "output": settings.output,
            "warnings": list(heard),
            **inputs_json(job.inputs),
        }

    def _plan(
        self,
        recipe: R,
        settings: S,
        claim: Claim,
        early: EarlyStart,
        *,
        origin: Origin | None,
        heard: Sequence[str] | None = None,
    ) -> J:
        """Plan, and say what was planned or begins; raise UsageError where there is no room for it."""
        with _saying(_LOOKING):
            job, needs = self.prepare(recipe, settings, claim, early)
        if origin is not None:
            self.compare(job, origin)
        if settings.plan:
            text = self.describe(job, needs)
            if heard is None:
                with printing():
                    print(text)
        require_room(needs)
        if settings.plan and heard is not None:
            found = plan_json(job, needs, text) | {"expected": self.expect(job)}
            print_json(self._result(settings, heard, job) | {"plan": found})
        if not settings.plan:
            LOG.info(
                "reading %s (%s) with %s, %s of memory%s for data; writing to %s",
                write_count(len(job.inputs.files), "file"),
                write_bytes(job.inputs.size),
                write_count(job.workers.count, "worker"),
                write_memory(job.workers.payload),
                " each" if job.workers.count > 1 else "",
                settings.output,
            )
            LOG.info("%s", self.sum_up(job))
        return job


def _part(values: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in model.model_fields}
