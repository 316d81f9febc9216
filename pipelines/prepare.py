"""Prepare files of text, or rows of ids, for a trainer: split, mix, tokenize, pack, in one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import mul
from typing import Any

import pyarrow as pa

from pipelines.inputs.preflight import (
    Inputs,
    refuse_memory,
    spool_stdin,
    uses_stores,
)
from pipelines.inputs.sample_records import ids_column_in, rows_of, sample_records
from pipelines.jobs.choose_ids import Ids, of_rows
from pipelines.jobs.command import Command
from pipelines.jobs.disk_room import Need, measure_room
from pipelines.jobs.load_model import warn_of_a_changed_model, workers_for_model, workers_for_rows
from pipelines.jobs.prepare_inputs import inspect, kept_columns, only_to_split
from pipelines.jobs.prepare_job import Job, estimate
from pipelines.jobs.prepare_report import describe, refuse_empty, sum_up, warn
from pipelines.jobs.prepare_summary import summarize
from pipelines.jobs.prepare_values import (
    format_all,
    options_of,
    pack,
    require_room_to_count,
    require_room_to_pack,
    split,
)
from pipelines.outputs.claim import Claim
from pipelines.recipes.cli import LOG, leave
from pipelines.recipes.help import COMMANDS
from pipelines.recipes.prepare_recipe import PREPARE, PrepareRecipe
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.settings import Settings
from pipelines.runners.clusters import span_bytes_for
from pipelines.runners.early_start import Call, EarlyStart
from transforms.datasets.manifest import now
from transforms.datasets.prepared import PreparedManifest
from transforms.errors import UsageError
from transforms.kernels.planning.plan import Plan, Workers, make_plan
from transforms.kernels.records import blocks
from transforms.storage import files as storage
from transforms.trainers.contract import Dataset
from transforms.workers.progress import Stage

EXAMPLES = """\
python examples/train_model.py out/novel.model  # a small model to try it with
dovetail prepare -i examples/data/botchan.txt --text_field='' \\
  --tokenizer=out/novel.model --output_format=megatron -o out/megatron
dovetail prepare -i poems=examples/data/poems.jsonl \\
  -i reviews=examples/data/reviews.jsonl --weights=poems=0.7,reviews=0.3 \\
  --weigh_by=tokens --split=validation=1% --packing=best_fit \\
  --sequence_length=512 --tokenizer=out/novel.model -o out/packed
"""
NOTES = """\
Every document ends with the model's EOS token, unless --document_end says otherwise. Other flags go to
Apache Beam. To check a dataset at any time, run: dovetail verify DIR; to look at rows: dovetail show DIR
"""


def _prepare(
    recipe: PrepareRecipe, settings: Settings, claim: Claim, early: EarlyStart
) -> tuple[Job, Sequence[Need]]:
    """Look at everything that can be looked at before work starts, the model too, and plan."""
    early.begin(settings, claim.log_file)
    recipe = recipe.without_zero_weights()
    # a store's client has threads, and codecs of the user's own are the launcher's
    shared = recipe.tokenizer is not None and storage.is_local(recipe.tokenizer)
    shared = shared and not recipe.codec_module
    warm = Call("pipelines.jobs.choose_ids:of_texts", (recipe, settings))
    ids: Ids | None = None
    if recipe.tokenizer is not None:
        ids = early.call(warm, shared=shared)()
    reading = spool_stdin(recipe.reading, settings, claim)
    has_ids = not recipe.of_text and ids_column_in(reading, recipe.token_column)
    if has_ids:
        reading = recipe.reading_ids.model_copy(update={"sources": reading.sources})
    elif recipe.token_column != PrepareRecipe.model_fields["token_column"].default:
        raise UsageError(
            f"--token_column={recipe.token_column}: "
            + (
                "--text_field or --bytes says that the input is text; leave one of them out"
                if recipe.of_text
                else "the first input file has no such column of lists of integers; leave it "
                "out if the input is text"
            )
        )
    elif ids is None:
        raise UsageError(
            "--tokenizer is missing: the input is text; rows of ids would have a column "
            f"{recipe.token_column} (--token_column)"
        )
    inputs = inspect(recipe, reading, settings, claim)
    samples = sample_records(inputs, reading)
    if has_ids:
        ids = of_rows(recipe, settings, inputs, rows_of(samples, recipe.token_column), ids)
    else:
        assert ids is not None
        ids = _sampled(ids, samples, early, shared=shared)
    workers = _choose_workers(recipe, settings, inputs, reading, ids, shared=shared)
    packing = pack(recipe, ids.special)
    dataset = Dataset(
        ids=ids.size,
        packing=packing,
        bos=ids.special.id_of("bos"),
        eos=ids.special.id_of("eos"),
        pad=ids.special.id_of("pad"),
        tokenizer="" if ids.model is None else ids.model["sha256"],
        recipe=recipe.sha256,
        sources=tuple(sorted(inputs.patterns)) if recipe.keep_source else (),
        kept=kept_columns(recipe, inputs),
        options=options_of(recipe),
    )
    groups = () if recipe.split_by is None else (recipe.split_by,)
    splits = split(recipe)
    if splits is not None:
        require_room_to_count(splits, workers)
    job = Job(
        recipe=recipe,
        settings=settings,
        inputs=inputs,
        workers=workers,
        claim=claim,
        started=now(),
        plan=_cut(inputs, ids, dataset, workers, settings=settings, claim=claim),
        work=ids.work,
        eval_work=ids.eval_work,
        column=recipe.token_column,
        splits=splits,
        groups=groups,
        drop=() if has_ids else only_to_split(recipe),
        packing=packing,
        dataset=dataset,
        formats=format_all(recipe, dataset),
        model=ids.model,
        special=ids.special,
        cost=ids.cost,
        sampled=ids.sampled,
        warm=warm if shared and not has_ids else None,
    )
    refuse_empty(job)
    require_room_to_pack(
        packing,
        tokens=job.train_tokens,
        documents=sum(job.expected_records),
        id_bytes=dataset.ids_type.itemsize,
        workers=workers,
    )
    for line in warn(job):
        LOG.warning("%s", line)
    return job, _measure(job)


def _sampled(
    ids: Ids, samples: Mapping[str, Sequence[pa.RecordBatch]], early: EarlyStart, *, shared: bool
) -> Ids:
    """Tokenize the sampled texts where the model is."""
    texts = {
        name: [text for block in found for text in blocks.records(block)]
        for name, found in samples.items()
    }
    around = [None if e is None else e.ids[0] for e in (ids.special.begin, ids.special.end)]
    call = Call("pipelines.jobs.sample_tokens:count_texts", (ids.work, texts, *around))
    return replace(ids, sampled=early.call(call, shared=shared)())


def _choose_workers(
    recipe: PrepareRecipe,
    settings: Settings,
    inputs: Inputs,
    reading: Recipe,
    ids: Ids,
    *,
    shared: bool,
) -> Workers:
    stores = uses_stores(reading, settings)
    if ids.work is None:
        workers = workers_for_rows(settings, inputs, stores=stores)
    else:
        assert ids.model is not None
        workers = workers_for_model(
            settings, inputs, ids.model, ids.work.engine, stores=stores, shared=shared
        )
    more = {} if recipe.tokenizer is None else {"tokenizer": recipe.tokenizer}
    refuse_memory(reading, settings, workers, **more)
    return workers


def _cut(
    inputs: Inputs,
    ids: Ids,
    dataset: Dataset,
    workers: Workers,
    *,
    settings: Settings,
    claim: Claim,
) -> Plan:
    """Cut the work: what is spilled by the bytes of the ids, what is read by those of the input."""
    amounts = estimate(inputs, ids.sampled, dataset.ids_type.itemsize)
    contents = inputs.contents
    plan = make_plan(
        input_bytes=sum(amounts.bytes),
        workers=workers,
        about_records=contents.records,
        rows=True,
        spill_on_store=not all(map(storage.is_local, claim.spills)),
    )
    read = make_plan(input_bytes=contents.bytes, workers=workers, rows=contents.schema is not None)
    span = span_bytes_for(settings.runner, read.span_bytes)
    limit = min(workers.payload // ids.cost, read.record_limit)
    return replace(plan, span_bytes=span, chunk_bytes=read.chunk_bytes, record_limit=limit)


def _measure(job: Job) -> list[Need]:
    """Return what room the run needs: ids in spill files, documents in their order, and the output."""
    held, width = max(job.inputs.contents.bytes, 1), job.dataset.ids_type.itemsize
    used = job.expected_tokens
    # other splits take as much for a token as train does
    output = sum(map(job.bytes_of, job.formats)) * used / max(job.train_tokens, 1)
    spilled = used + len(job.epochs) * sum(map(mul, job.tokenized, job.means))
    return measure_room(
        job.inputs,
        job.settings,
        job.claim,
        spills=True,
        spill_compression=job.settings.spill_compression,
        spilled=spilled * width / held,
        output=int(output),
    )


def _build(root: Any, job: Job) -> None:
    from pipelines.jobs.build_prepared import build  # which imports Beam

    build(root, job)


def _expect(job: Job) -> Mapping[str, Any]:
    """Say what is expected of an epoch's train, about."""
    rows = job.rows_of(sum(job.expected_records), job.train_tokens)
    return {
        "epochs": len(job.epochs),
        "rows": round(rows) if job.recipe.rows is None else job.recipe.rows,
        "tokens": round(job.train_tokens),
        "sources": [
            {
                "source": name,
                "documents": round(used),
                "tokens": round(used * mean),
                "passes": passes,
            }
            for name, used, mean, passes in zip(
                job.sources, job.expected_records, job.means, job.passes, strict=True
            )
        ],
    }


def _totals(job: Job) -> Mapping[Stage, int | None]:
    size, repeats = (
        job.inputs.size,
        any(
            used > have
            for stage in job.expected
            for used, have in zip(stage, job.amounts_of_train.records, strict=True)
        ),
    )
    times = len(job.epochs) + (job.splits is not None and job.splits.is_counted)
    # how often a source is read again is known when all is counted
    return {"tokenize": None if repeats else size * times, "order": None, "write": None}


COMMAND = Command(
    PREPARE,
    about=COMMANDS["prepare"],
    examples=EXAMPLES,
    notes=NOTES,
    docs="docs/how-to/prepare.md",
    prepare=_prepare,
    describe=describe,
    sum_up=sum_up,
    build=_build,
    totals=_totals,
    manifest=PreparedManifest,
    summarize=summarize,
    expect=_expect,
    compare=warn_of_a_changed_model,
    urls=["tokenizer"],
)
run, main = COMMAND.run, COMMAND.main

if __name__ == "__main__":
    leave(main())
