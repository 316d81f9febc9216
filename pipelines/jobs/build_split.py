"""The dataflow of splitting: from a planned job to Beam's pipeline."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.jobs.build import (
    finish,
    manifest_fields,
    memory_for,
    read_records,
    spilling,
    write_shards,
)
from transforms.formats.writing import ShardFormat, with_column
from transforms.kernels.planning.plan import RECORDS

if TYPE_CHECKING:
    from pipelines.jobs.split_job import Job


def build(root: Any, job: Job) -> None:
    """Wire the pipeline: find out what decides, read, place, lay each split down, prove."""
    from transforms.splitting.write_split_manifest import WriteSplitManifest

    placing, told = _place(root, job)
    parted, like = _find_parted(root, job, placing, told), None
    if job.recipe.weighs:
        from pipelines.jobs.build_like import weigh

        placing, told, like = weigh(root, job, read_before(job), placing, told)
    if job.recipe.shuffle:
        laid = root | "Split" >> _shuffled(job, placing, told)
    else:
        laid = root | "Split" >> _in_order(job, placing, told)
    written = laid | WriteSplitManifest(
        **manifest_fields(job, form_of(job)),
        tokenizers=job.inputs.tokenizers,
        asked=job.recipe.asked,
        parted=parted,
        like=like,
    )
    finish(written, job)


def reading_of(job: Job, span_bytes: int) -> Any:
    """Return how the input is read: whole records, and what is looked at beside them."""
    recipe, plan, contents = job.recipe, job.plan, job.inputs.contents
    becomes_text = contents.schema is None and contents.form.kind != "lines"  # of a row
    cost = 1 if job.beside is None else 2  # a text is there twice
    return read_records(
        job,
        span_bytes=span_bytes,
        stage="split",
        check="utf8" if becomes_text and recipe.check == "none" else recipe.check,
        chunk_bytes=plan.chunk_bytes,
        record_limit=plan.record_limit // cost,
        memory=memory_for(job, RECORDS * cost),
        beside=job.beside,
        validate=_validate(job),
    )


def _validate(job: Job) -> Any:
    """Return what says which records lack what they are split by, or can't take what is attached.

    None where all will do.
    """
    from transforms.kernels.records.attach import unattachable
    from transforms.kernels.records.contents import without_values

    recipe, each = job.recipe, []
    if recipe.split_by or recipe.stratify is not None:
        groups = tuple(recipe.split_by or ())
        each.append(partial(without_values, groups=groups, label=recipe.stratify))
    if recipe.added_column is not None and job.inputs.contents.schema is None:
        each.append(partial(unattachable, name=recipe.added_column))
    return partial(_judge, each) if each else None


def _judge(each: list[Any], block: Any) -> dict[int, str]:
    bad: dict[int, str] = {}
    for judge in each:
        bad = {**judge(block), **bad}
    return bad


def form_of(job: Job) -> ShardFormat:
    """Return what shards are: as the input, with the column that is added."""
    form, name = job.inputs.contents.form, job.recipe.added_column
    if name is None:
        return form
    kind = pa.float64() if job.recipe.draw is None else pa.int64()
    return with_column(form, name, kind, json=form.records_are == "lines")


def _place(root: Any, job: Job) -> tuple[Any, Any]:
    """Return what says where records go, and what it is told: None where no split is counted.

    Where records are drawn, both are None.
    """
    if job.recipe.draw is not None:
        return None, None
    from transforms.splitting.count_contents import CountContents
    from transforms.splitting.place_by_plan import PlaceByPlan
    from transforms.splitting.stratify import PlaceStratified, Stratify

    common = {"plan": job.splits, "contents": job.contents}
    if not job.splits.is_counted:
        return PlaceByPlan(**common), None
    read = root | "ReadToCount" >> read_before(job)
    if job.recipe.stratify is None:
        return PlaceByPlan(**common), read.blocks | "Count" >> CountContents(**common, enough=True)
    labels = root | "ReadLabels" >> read_before(job)
    stratify = Stratify(
        **common,
        field=job.recipe.stratify,
        several=_several(job, "labels") if job.recipe.by == "content" else None,
    )
    return PlaceStratified(**common), (labels.blocks, read.blocks) | "Stratify" >> stratify


def _find_parted(root: Any, job: Job, placing: Any, told: Any) -> Any:
    """Read all once more to find contents in several splits; None where no content can be."""
    if job.recipe.by == "content":
        return None
    from transforms.splitting.contents_of import by_content
    from transforms.splitting.find_parted import FindParted

    read = root | "ReadToCompare" >> read_before(job)
    find = FindParted(
        placing=placing,
        told=told,
        contents=partial(by_content, ids=job.column_of_ids),
        several=_several(job, "parted"),
    )
    return read.blocks | "FindParted" >> find


def _several(job: Job, folder: str) -> Any:
    """Return what finds contents with several marks."""
    from transforms.splitting.find_several import FindSeveral

    return FindSeveral(
        spill=spilling(job, folder=folder, release=False),
        buckets=max(-(-job.marked_bytes // job.plan.bucket_bytes), job.workers.count),
        bucket_bytes=job.plan.bucket_bytes,
    )


def read_before(job: Job) -> Any:
    """Return how the input is read before it is read to be split."""
    reading = reading_of(job, job.plan.span_bytes)
    if reading.on_bad_record == "quarantine":  # where they are read to be split is soon enough
        reading = replace(reading, on_bad_record="skip")
    return replace(reading, stage="count")


def _in_order(job: Job, placing: Any, told: Any) -> Any:
    from transforms.splitting.split_in_order import SplitInOrder

    units = job.shards_of(job.largest)
    return SplitInOrder(
        reading=reading_of(job, max(-(-job.inputs.size // units), 1)),
        placing=placing,
        told=told,
        writing=_writing(job),
        largest=job.largest,
        units=units,
        shard_bytes=job.shard_bytes,
        spill=spilling(job, folder="aside", release=False),
    )


def _shuffled(job: Job, placing: Any, told: Any) -> Any:
    from transforms.shuffling.streams import Streams
    from transforms.splitting.split_shuffled import ShuffledSplit, SplitShuffled

    writing, splits = _writing(job), {}
    for name in placing.names:
        plan = job.plan_of(name)
        streams = Streams.as_one(
            list(job.inputs.patterns),
            seed=job.recipe.seed,
            epoch=job.recipe.epoch,
            buckets=plan.buckets,
            bucket_bytes=plan.bucket_bytes,
            partitions=plan.first,
        )
        spill = replace(
            spilling(job, folder=name, release=False),
            run_bytes=plan.run_bytes,
            page_bytes=plan.page_bytes,
        )
        splits[name] = ShuffledSplit(
            streams=streams, spill=spill, shards=plan.partitions, writing=writing[name]
        )
    return SplitShuffled(
        reading=reading_of(job, job.plan.span_bytes), placing=placing, told=told, splits=splits
    )


def _writing(job: Job) -> dict[str, Any]:
    form, extension = form_of(job), job.inputs.contents.extension
    return {
        name: write_shards(job, form=form, extension=extension, split=name)
        for name in job.recipe.split_names
    }
