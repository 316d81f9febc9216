"""Split files of records into train, validation and test: by content, by count, or like a test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipelines.inputs.made_by import warnings
from pipelines.inputs.preflight import refuse_memory, spool_stdin, uses_stores
from pipelines.jobs.build_like import require_room_to_draw, require_room_to_fit, totals_of
from pipelines.jobs.build_split import build
from pipelines.jobs.command import Command
from pipelines.jobs.disk_room import Need, measure_room
from pipelines.jobs.prepare_values import require_room_to_count
from pipelines.jobs.split_inputs import inspect_split, warning_of_whole_records
from pipelines.jobs.split_job import Job
from pipelines.jobs.split_report import describe, sum_up
from pipelines.jobs.summary import summarize
from pipelines.outputs.claim import Claim
from pipelines.recipes.cli import LOG, leave
from pipelines.recipes.help import COMMANDS
from pipelines.recipes.settings import Settings
from pipelines.recipes.split_recipe import MOST_SHARDS, SPLIT, SplitRecipe
from pipelines.runners.choose_workers import choose_workers
from pipelines.runners.clusters import span_bytes_for
from pipelines.runners.early_start import Call, EarlyStart
from transforms.datasets.manifest import Manifest, now
from transforms.errors import UsageError
from transforms.kernels.planning.plan import (
    SMALL,
    count_shards,
    files_room,
    make_plan,
    small_shuffle,
)
from transforms.kernels.records import compiling
from transforms.likeness import load_kernels
from transforms.storage import files as storage
from transforms.workers.progress import Stage

_OF_SCORED = 40  # bytes of a record's score and its hashes, which draws go by

EXAMPLES = """\
dovetail split -i examples/data/poems.jsonl --fractions=test=1% -o out/split
dovetail split -i examples/data/reviews.jsonl --by=identity --stratify=label \\
  --counts=train=1000,test=rest -o out/labeled
dovetail split -i examples/data/poems.jsonl --fractions=validation=1% \\
  --split_by=author --shuffle --seed=7 -o out/authors
"""
NOTES = """\
Equal contents are never in two splits, except with --by=identity. Other flags go to Apache Beam.
To open the dataset, run in Python: datasets.load_dataset(DIR); to check it: dovetail verify DIR
"""


def _prepare(
    recipe: SplitRecipe, settings: Settings, claim: Claim, early: EarlyStart
) -> tuple[Job, Sequence[Need]]:
    """Look at everything that can be looked at before work starts, and plan."""
    if recipe.weighs:
        from transforms.likeness.needs import require_like

        require_like()
    early.begin(settings, claim.log_file)
    reading = spool_stdin(recipe.reading, settings, claim)
    found = inspect_split(recipe, reading, settings, claim)
    inputs = found.inputs
    contents = inputs.contents
    tests = [] if found.like is None else [found.like.inputs]
    window = max(one.contents.window for one in (inputs, *tests))
    stores = uses_stores(reading, settings)
    stores = stores or not all(map(storage.is_local, recipe.like or ()))
    workers = choose_workers(
        settings,
        contents.bytes,
        stores=stores,
        window=window + files_room(len(inputs.files)),
        small=SMALL if recipe.weighs else small_shuffle(contents.form.compression, stores=stores),
    )
    others = [url for url in (*(recipe.like or ()), recipe.like_model) if url is not None]
    memory = next((url for url in others if url.startswith("memory://")), None)
    refuse_memory(reading, settings, workers, **({} if memory is None else {"like": memory}))
    if recipe.split_plan is not None:
        require_room_to_count(recipe.split_plan, workers, flags=True, labels=recipe.most_labels)
    if recipe.draw is not None:
        require_room_to_draw(recipe.draw, workers)
    if recipe.like is not None:
        require_room_to_fit(recipe.fit_bytes, workers)
    shards = recipe.num_shards
    if shards is None:
        shards = count_shards(contents.bytes, recipe.bytes_of_shard)
        if shards > MOST_SHARDS:
            raise UsageError(
                f"--shard_size={recipe.shard_size}: expected a size that makes at most "
                f"{MOST_SHARDS:,} shards of {contents.bytes:,} bytes, got one that makes "
                f"{shards:,}; pass a larger one"
            )
    plan = make_plan(
        input_bytes=contents.bytes,
        workers=workers,
        num_shards=shards,
        rows=contents.schema is not None,
        spill_on_store=not all(map(storage.is_local, claim.spills)),
    )
    plan = replace(plan, span_bytes=span_bytes_for(settings.runner, plan.span_bytes))
    job = Job(recipe, settings, inputs, workers, claim, now(), plan, found.beside, found.like)
    if job.compiled or recipe.weighs:
        rows = contents.schema is not None
        wanted = rows, found.beside is not None and not rows
        load = f"{compiling.__name__}:load_loops"
        if recipe.weighs:  # whose kernels need numba whatever the size
            load = f"{load_kernels.__name__}:load_kernels"
        job = replace(job, warm=Call(load, wanted))
    for line in warnings(inputs.tokenizers):
        LOG.warning("%s", line)
    whole = None if job.column_of_ids else warning_of_whole_records(recipe, reading, inputs)
    if whole is not None:
        LOG.warning("%s", whole)
    return job, _measure(job)


def _measure(job: Job) -> list[Need]:
    """Compare what is written with the room that is there."""
    held = max(job.inputs.contents.bytes, 1)
    written = sum(job.expected.values())
    aside = written - job.expected[job.largest]
    spilled = (written if job.recipe.shuffle else aside) + job.marked_bytes
    if job.recipe.draw is not None:
        spilled += _OF_SCORED * job.inputs.contents.records
    return measure_room(
        job.inputs,
        job.settings,
        job.claim,
        spills=True,
        spill_compression=job.settings.spill_compression,
        written=written / held,
        spilled=spilled / held,
    )


def _expect(job: Job) -> Mapping[str, Any]:
    """Say what is expected of each split, about."""
    splits = [
        {
            "split": name,
            "requested": asked,
            "bytes": job.expected[name],
            "shards": job.shards_of(name),
        }
        for name, asked in job.recipe.asked.items()
    ]
    return {"splits": splits}


def _totals(job: Job) -> Mapping[Stage, int | None]:
    size = job.inputs.size * job.readings_before
    before: dict[Stage, int | None] = {"count": size} if size else {}
    if job.recipe.weighs:
        for stage, size in totals_of(job).items():
            before[stage] = (before.get(stage) or 0) + size
    return {**before, "split": job.inputs.size, "write": None}


COMMAND = Command(
    SPLIT,
    about=COMMANDS["split"],
    examples=EXAMPLES,
    notes=NOTES,
    docs="docs/how-to/split.md",
    prepare=_prepare,
    describe=describe,
    sum_up=sum_up,
    build=build,
    totals=_totals,
    manifest=Manifest,
    summarize=summarize,
    expect=_expect,
    urls=["like", "like_model"],
)
run, main = COMMAND.run, COMMAND.main

if __name__ == "__main__":
    leave(main())
