"""Shuffle files of records exactly, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipelines.inputs.made_by import warnings
from pipelines.inputs.preflight import inspect_inputs, refuse_memory, spool_stdin, uses_stores
from pipelines.jobs.build import build
from pipelines.jobs.command import Command
from pipelines.jobs.disk_room import Need, measure_room
from pipelines.jobs.job import Job, mixture_of
from pipelines.jobs.plan_report import describe
from pipelines.jobs.summary import ends_with_a_source, summarize, unused_warning
from pipelines.outputs.claim import Claim
from pipelines.recipes.cli import LOG, leave
from pipelines.recipes.help import COMMANDS
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.recipe_file import SHUFFLE
from pipelines.recipes.settings import Settings
from pipelines.recipes.wording import write_bytes, write_count, write_list
from pipelines.runners.choose_workers import choose_workers
from pipelines.runners.clusters import span_bytes_for
from pipelines.runners.early_start import Call, EarlyStart
from transforms.datasets.manifest import Manifest, now
from transforms.errors import UsageError
from transforms.kernels.planning.plan import files_room, make_plan, small_shuffle
from transforms.kernels.records import compiling
from transforms.storage import files as storage
from transforms.workers.progress import Stage

EXAMPLES = """\
dovetail shuffle -i examples/data/poems.jsonl -o out/poems
dovetail shuffle -i poems=examples/data/poems.jsonl \\
  -i novel=examples/data/botchan.txt --text_field=text \\
  --weights=poems=0.7,novel=0.3 --max_records=2000 -o out/mixed
dovetail shuffle --recipe=out/poems/manifest.json --seed=1 -o out/again
"""
NOTES = """\
Without --weights or --repeats, all sources are shuffled together as one. Other flags go to Apache Beam.
To check a dataset at any time, run: dovetail verify DIR
"""

MANY_PASSES = 4
"""A source that will be repeated more often is warned of."""

MANY_SHARDS, TINY_SHARD = 10_000, 1 << 20
"""More than so many of fewer bytes each than this are warned of."""


def _prepare(
    recipe: Recipe, settings: Settings, claim: Claim, early: EarlyStart
) -> tuple[Job, Sequence[Need]]:
    """Look at everything that can be looked at before work starts, and plan."""
    early.begin(settings, claim.log_file)
    recipe = _without_zero_weights(recipe)
    inputs = inspect_inputs(spool_stdin(recipe, settings, claim), settings, claim)
    contents, stores = inputs.contents, uses_stores(recipe, settings)
    workers = choose_workers(
        settings,
        contents.bytes,
        stores=stores,
        window=contents.window + files_room(len(inputs.files)),
        small=small_shuffle(contents.form.compression, stores=stores),
    )
    refuse_memory(recipe, settings, workers)
    plan = make_plan(
        input_bytes=contents.bytes,
        workers=workers,
        num_shards=recipe.num_shards,
        shard_records=recipe.shard_records,
        about_records=contents.records,
        rows=contents.schema is not None,
        spill_on_store=not all(map(storage.is_local, claim.spills)),
    )
    plan = replace(plan, span_bytes=span_bytes_for(settings.runner, plan.span_bytes))
    job = Job(recipe, settings, inputs, workers, claim, now(), plan, mixture_of(recipe))
    if job.compiled:
        wanted = contents.schema is not None, recipe.text_field is not None
        job = replace(job, warm=Call(f"{compiling.__name__}:load_loops", wanted))
    _refuse_mixture(job)
    held = max(contents.bytes, 1)
    needs = measure_room(
        inputs,
        settings,
        claim,
        spills=True,
        spill_compression=settings.spill_compression,
        written=sum(job.expected_bytes) / held,
        spilled=job.spilled_bytes / held,
        given_back=job.given_back,
        at_once=int(sum(job.expected_bytes)) // job.shards * (workers.count + 1),
    )
    _warn_of_shards(job)
    for line in warnings(inputs.tokenizers):
        LOG.warning("%s", line)
    return job, needs


def _without_zero_weights(recipe: Recipe) -> Recipe:
    """Leave sources of weight zero out, and say so."""
    out = [name for name, weight in (recipe.weights or {}).items() if weight == 0]
    if not out:
        return recipe
    LOG.info(
        "%s: not read, because its weight is zero", write_list([f"source {name}" for name in out])
    )
    kept = {name: urls for name, urls in recipe.sources.items() if name not in out}
    weights = {name: weight for name, weight in (recipe.weights or {}).items() if name not in out}
    return recipe.model_copy(update={"sources": kept, "weights": weights})


def _refuse_mixture(job: Job) -> None:
    """Raise UsageError where a mixture can't be made of these inputs.

    Warns of many passes, and of records that stay unused.
    """
    mixture, amounts = job.mixture, job.amounts
    if mixture.is_whole:
        return
    for name, records in zip(mixture.sources, amounts.records, strict=True):
        if mixture.is_weighted and not records:
            raise UsageError(
                f"source {name} has a weight, but its files are empty; set its weight to 0, "
                "or leave it out"
            )
    expected = job.expected_records
    if ends_with_a_source(job.recipe.model_dump()):
        for line in unused_warning(mixture.sources, amounts.records, expected, about="~"):
            LOG.warning("%s", line)
    for name, have, used in zip(mixture.sources, amounts.records, expected, strict=True):
        if mixture.is_weighted and used > MANY_PASSES * have:
            LOG.warning(
                "source %s will be repeated about %.1f times; pass --stop=first_exhausted to "
                "end before any source repeats, or lower its weight",
                name,
                used / have,
            )


def _warn_of_shards(job: Job) -> None:
    mean = int(sum(job.expected_bytes)) // job.shards
    if job.shards > MANY_SHARDS and mean < TINY_SHARD:
        LOG.warning(
            "this would write about %s of %s each, and many small files are slow to write "
            "and to read; raise --shard_records or lower --num_shards, or pass neither for "
            "shards of 256 MiB",
            write_count(job.shards, "shard"),
            write_bytes(mean),
        )


def _sum_up(job: Job) -> str:
    about = "" if job.shards_known else "about "
    mixed = (
        ""
        if job.mixture.is_whole
        else f", mixing {write_count(len(job.mixture.sources), 'source')}"
    )
    return f"shuffling into {about}{write_count(job.shards, 'shard')}{mixed}"


def _expect(job: Job) -> Mapping[str, Any]:
    """Say what is expected of each source, about, and how many shards."""
    amounts = zip(job.mixture.sources, job.expected_records, job.expected_bytes, strict=True)
    mixture = [
        {"source": name, "records": round(records), "bytes": round(size)}
        for name, records, size in amounts
    ]
    return {"shards": job.shards, "shards_are_exact": job.shards_known, "sources": mixture}


def _totals(job: Job) -> Mapping[Stage, int | None]:
    # how often a source is read again is known when all is counted
    again = job.read_bytes > job.inputs.contents.bytes
    return {"partition": None if again else job.inputs.size, "write": None}


COMMAND = Command(
    SHUFFLE,
    about=COMMANDS["shuffle"],
    examples=EXAMPLES,
    notes=NOTES,
    docs="docs/how-to/mix.md",
    prepare=_prepare,
    describe=describe,
    sum_up=_sum_up,
    build=build,
    totals=_totals,
    manifest=Manifest,
    summarize=summarize,
    expect=_expect,
)
run, main = COMMAND.run, COMMAND.main

if __name__ == "__main__":
    leave(main())
