"""Shuffle files of records exactly, in bounded memory."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipelines import mixture
from pipelines.cli import LOG, leave, make_parser, parse, run_main
from pipelines.inputs import Contents
from pipelines.output import Claim, check_output, claim_output
from pipelines.plan_report import describe
from pipelines.preflight import (
    Inputs,
    check_stores,
    choose_workers,
    inspect_inputs,
    measure_room,
    refuse_memory,
    require_room,
    spool_stdin,
    uses_stores,
)
from pipelines.recipe import Recipe, RecipeFlags, Settings
from pipelines.recipe_file import json_schema, read_recipe, to_yaml
from pipelines.store_options import parse_storage_options
from pipelines.validation import Origin, flag_of, validate
from pipelines.workers import WorkerProcesses
from transforms import layout, storage
from transforms.errors import DataError, DovetailError, StoreError, UsageError
from transforms.kernels.checks import Check
from transforms.kernels.plan import Plan, Workers, make_plan
from transforms.manifest import Manifest, now
from transforms.progress import Stage

EXAMPLES = """\
examples:
  dovetail shuffle --input='corpus/*.jsonl' --output=shuffled
  dovetail shuffle --input=web='web/**' --input=books=books.txt --output=mixed --seed=7
  dovetail shuffle --input=big.csv --header_lines=1 --output=out --memory=2GiB --num_shards=64
  dovetail shuffle --recipe=shuffled/manifest.json --output=again
  zcat big.gz | dovetail shuffle --input=- --output=out

Flags that are not ours go to Beam's PipelineOptions. Sources without weights are shuffled as one.
Check a dataset at any time with: dovetail verify DIR
"""

MANY_SHARDS, TINY_SHARD = 10_000, 1 << 20
"""More than so many of fewer bytes each than this are warned of."""


@dataclass(frozen=True)
class Job:
    """A run, planned: what ``build`` needs to know."""

    recipe: Recipe
    settings: Settings
    inputs: Inputs
    workers: Workers
    plan: Plan
    exchange: str
    claim: Claim
    started: str

    @property
    def shards(self) -> int:
        """How many shards there will be; estimated where they are cut by records."""
        if self.recipe.shard_records is None:
            return self.plan.shards or 1
        return max(1, math.ceil(self.inputs.contents.records / self.recipe.shard_records))


def build(root: Any, job: Job) -> None:
    """Wire the pipeline: read, partition, group, shuffle, write, prove."""
    from transforms.exchange import GroupBlocksByKey
    from transforms.formats.reading import ReadOptions
    from transforms.partition import PartitionIntoBuckets
    from transforms.read import ReadRecords
    from transforms.shuffle import ShuffleWithinBuckets
    from transforms.write import WriteManifest, WriteShards

    recipe, inputs, plan, claim = job.recipe, job.inputs, job.plan, job.claim
    contents = inputs.contents
    places, options = job.workers.places, job.settings.storage_options or {}
    sources = len(inputs.patterns)
    read = root | ReadRecords(
        sources=inputs.patterns,
        options=ReadOptions(
            line_format=contents.line_format,
            rows=contents.schema is not None,
            schema=contents.schema,
            check=_check(recipe, contents),
            chunk_bytes=plan.chunk_bytes,
            record_limit=plan.record_limit,
        ),
        span_bytes=plan.span_bytes,
        on_bad_record=recipe.on_bad_record,
        output=claim.folder,
        run_id=claim.run_id,
        expected=inputs.fingerprint,
        launcher=os.getpid(),
        storage_options=options,
        scratch=next((spill for spill in claim.spills if storage.is_local(spill)), None),
        progress=claim.progress,
    )
    shards = (
        read.blocks
        | PartitionIntoBuckets(
            seed=recipe.seed,
            epoch=recipe.epoch,
            run_bytes=plan.run_bytes,
            run_id=claim.run_id,
            places=places,
            progress=claim.progress,
        )
        | GroupBlocksByKey(
            partitions=plan.partitions,
            exchange=job.exchange,
            buckets=plan.buckets,
            page_bytes=plan.page_bytes,
            sources=sources,
            folder=claim.spills,
            compression=_spill_compression(job),
            storage_options=options,
            progress=claim.progress,
        )
        | ShuffleWithinBuckets(
            partitions=plan.partitions,
            shard_records=recipe.shard_records,
            bucket_bytes=plan.bucket_bytes,
            sources=sources,
            storage_options=options,
        )
        | WriteShards(
            output=claim.folder,
            split=recipe.split_name,
            extension=contents.extension,
            form=contents.form,
            bucket_bytes=plan.bucket_bytes,
            sources=sources,
            release=True,
            launcher=os.getpid(),
            run_id=claim.run_id,
            places=places,
            storage_options=options,
            progress=claim.progress,
        )
    )
    (read.spans, shards) | WriteManifest(
        output=claim.folder,
        sources=sorted(inputs.patterns),
        recipe=recipe.model_dump(mode="json"),
        seed=recipe.seed,
        epoch=recipe.epoch,
        started=job.started,
        form=contents.form,
        run_id=claim.run_id,
        expected=inputs.fingerprint,
        storage_options=options,
    )


def _spill_compression(job: Job) -> str | None:
    asked = job.settings.spill_compression
    return None if asked == "none" else asked


def _check(recipe: Recipe, contents: Contents) -> Check:
    """Return what a line has to be: text where it becomes a row of text."""
    as_text = contents.schema is None and contents.form.kind != "lines"
    return "utf8" if as_text and recipe.check == "none" else recipe.check


def run(argv: Sequence[str]) -> Manifest | None:
    """Run the command; return the manifest, None where it was to be planned or printed only.

    Raises:
        DovetailError: with the message that a person would see.
    """
    parser = make_parser(
        Recipe,
        Settings,
        RecipeFlags,
        prog="dovetail shuffle",
        description=__doc__ or "",
        epilog=EXAMPLES,
    )
    flags, beam_flags = parse(parser, argv)
    asked = validate(RecipeFlags, _part(flags, RecipeFlags))
    if asked.print_schema:
        print(json.dumps(json_schema(), indent=2))
        return None
    origin = Origin()
    if asked.recipe is not None:
        storage.configure(parse_storage_options(flags.get("storage_options", {})))
        flags, origin = read_recipe(asked.recipe).under(flags)
    recipe = validate(Recipe, _part(flags, Recipe), origin)
    if asked.print_recipe:
        print(to_yaml(recipe, _part(flags, Settings), origin), end="")
        return None
    settings = validate(Settings, _part(flags, Settings), origin)
    return shuffle(recipe, settings, beam_flags=beam_flags)


def _part(values: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in model.model_fields}


def _refuse_mixtures(recipe: Recipe) -> None:
    """Raise UsageError where a recipe asks for what ``build`` can't do yet."""
    for name in (*mixture.FIELDS, "text_field"):
        if getattr(recipe, name) != Recipe.model_fields[name].default:
            raise UsageError(f"{flag_of(name)}: not built yet; leave it out")


def shuffle(
    recipe: Recipe, settings: Settings, *, beam_flags: Sequence[str] = ()
) -> Manifest | None:
    """Shuffle as a recipe says; return the manifest, None for a plan. Errors as of ``run``."""
    begin = time.monotonic()
    _refuse_mixtures(recipe)
    if settings.runner != "DirectRunner":
        raise UsageError(
            f"--runner={settings.runner}: expected DirectRunner, the one supported yet"
        )
    storage.configure(settings.storage_options or {})
    jobs: list[Job] = []
    with contextlib.ExitStack() as stack:
        with _before_work():
            check_stores(recipe, settings)
            check_output(settings.output, overwrite=settings.overwrite)
            if settings.plan:
                places = Claim.of_nothing(settings.output, settings.temp_location or ())
                _prepare(recipe, settings, places)
                return None
            claim = stack.enter_context(
                claim_output(
                    settings.output,
                    overwrite=settings.overwrite,
                    temp_locations=settings.temp_location or (),
                    check=lambda claim: jobs.append(_prepare(recipe, settings, claim)),
                )
            )
        peak = _execute(jobs[0], beam_flags)
        text = storage.read_all(storage.join(claim.folder, layout.MANIFEST))
    manifest = Manifest.model_validate_json(text)
    _summarize(manifest, settings, seconds=time.monotonic() - begin, peak=peak)
    return manifest


@contextlib.contextmanager
def _before_work() -> Iterator[None]:
    """Make of what a store refuses before work starts something that the user can mend."""
    try:
        yield
    except StoreError as error:
        raise UsageError(str(error)) from error


def _prepare(recipe: Recipe, settings: Settings, claim: Claim) -> Job:
    """Look at everything that can be looked at before work starts, and plan."""
    inputs = inspect_inputs(spool_stdin(recipe, settings, claim), settings, claim)
    contents, stores = inputs.contents, uses_stores(recipe, settings)
    workers = choose_workers(settings, contents.bytes, stores=stores, window=contents.window)
    refuse_memory(recipe, settings, workers)
    exchange = "files" if settings.exchange == "auto" else settings.exchange
    plan = make_plan(
        input_bytes=contents.bytes,
        workers=workers,
        num_shards=recipe.num_shards,
        shard_records=recipe.shard_records,
        about_records=contents.records,
        held_whole=exchange == "engine",
        rows=contents.schema is not None,
    )
    needs = measure_room(inputs, settings, claim, spills=exchange == "files")
    job = Job(recipe, settings, inputs, workers, plan, exchange, claim, now())
    if settings.plan:
        print(describe(job, needs))
    require_room(needs)
    _warn_of_shards(job)
    if settings.plan:
        return job
    LOG.info(
        "%d file%s, %.3f GB; %d worker%s, %d MiB of payload each; exchange %s; %s",
        len(inputs.files),
        "s"[: len(inputs.files) != 1],
        inputs.size / 1e9,
        workers.count,
        "s"[: workers.count != 1],
        workers.payload >> 20,
        exchange,
        f"shards: {plan.shards}" if plan.shards else f"records a shard: {recipe.shard_records}",
    )
    return job


def _warn_of_shards(job: Job) -> None:
    mean = job.inputs.contents.bytes // job.shards
    if job.shards > MANY_SHARDS and mean < TINY_SHARD:
        LOG.warning(
            "about %d shards of some %d bytes each: writing so many is slow, and so is reading them; "
            "raise --shard_records or lower --num_shards, or give neither for shards of 256 MiB",
            job.shards,
            mean,
        )


def _execute(job: Job, beam_flags: Sequence[str]) -> int:
    """Run the pipeline; return the peak of memory. A failure leaves its log, and names it."""
    from pipelines.watch import PeakMemory, tree_memory, watching

    claim = job.claim
    peak = PeakMemory()
    log_file = Path(claim.log_file)
    threads = job.workers.places > 1 and not job.settings.debug
    with contextlib.ExitStack() as stack:
        stack.enter_context(_beam_log(log_file, debug=job.settings.debug))
        try:
            processes = None
            if job.workers.processes:
                processes = WorkerProcesses(job.workers.processes, log_file=log_file)
                stack.enter_context(processes)
            totals: dict[Stage, int | None] = {"partition": job.inputs.size, "write": None}
            live = not job.settings.debug
            watch = stack.enter_context(watching(claim.progress, totals, live=live))
            if threads:  # Beam prints their tracebacks to standard error itself
                log = stack.enter_context(log_file.open("a"))
                stack.enter_context(contextlib.redirect_stderr(log))

            def tick() -> None:
                peak.tick()
                watch.tick()

            from pipelines.local import run_local  # imports Beam, while the workers do

            run_local(
                lambda root: build(root, job),
                workers=job.workers,
                processes=processes,
                beam_flags=beam_flags,
                tick=tick,
                give_up=claim.give_up,
            )
        except DovetailError as error:
            if isinstance(error, DataError):
                _name_what_changed(job)
            hint = f" (the workers' log: {log_file})" if log_file.exists() else ""
            raise type(error)(f"{error}{hint}") from error
        except BaseException:
            log_file.unlink(missing_ok=True)
            raise
    log_file.unlink(missing_ok=True)
    return max(peak.bytes, tree_memory())


def _name_what_changed(job: Job) -> None:
    """Raise DataError where an input is no longer what it was, which is why a run may fail."""
    from transforms.read import check_unchanged

    local = all(storage.is_local(file.url) for file in job.inputs.files)
    for _ in storage.in_parallel(check_unchanged, job.inputs.files, limit=1 if local else 16):
        pass


@contextlib.contextmanager
def _beam_log(log_file: Path, *, debug: bool) -> Iterator[None]:
    """Send what Beam logs to a file; in debug mode to standard error too."""
    beam = logging.getLogger("apache_beam")
    handler = logging.FileHandler(log_file, delay=True)
    beam.addHandler(handler)
    propagated = beam.propagate
    beam.propagate = debug
    try:
        yield
    finally:
        beam.propagate = propagated
        beam.removeHandler(handler)
        handler.close()


def _summarize(manifest: Manifest, settings: Settings, *, seconds: float, peak: int) -> None:
    LOG.info(
        "done: %d records, %d bytes in %d shard%s; %.1f s, %.0f MB/s, peak memory %d MiB",
        manifest.records,
        manifest.bytes,
        len(manifest.shards),
        "s"[: len(manifest.shards) != 1],
        seconds,
        manifest.digest.bytes / seconds / 1e6,
        peak >> 20,
    )
    dropped = [source.dropped for source in manifest.sources if source.dropped]
    if dropped:
        LOG.warning(
            "bad records left out: %d, of %d bytes%s",
            sum(d.records for d in dropped),
            sum(d.bytes for d in dropped),
            f"; kept in {layout.QUARANTINE}/" if manifest.quarantine else "",
        )
    LOG.info("digest %s, seed %d, epoch %d", manifest.digest.hash, manifest.seed, manifest.epoch)
    LOG.info("verify it with: %s", shlex.join([*_command(), "verify", settings.output]))


def _command() -> list[str]:
    if shutil.which("dovetail"):
        return ["dovetail"]
    beside = Path(sys.executable).with_name("dovetail")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "pipelines"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a person does; return the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    leave(main())
