"""The dataflow of preparing: from a planned job to Beam's pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.jobs.build import finish, memory_for, most_bad, read_records, spilling
from pipelines.jobs.job import in_partitions
from transforms.kernels.planning.plan import RECORDS
from transforms.kernels.schedules.mixture import Amounts, Mixture
from transforms.kernels.schedules.staged import Stage

if TYPE_CHECKING:
    from pipelines.jobs.prepare_job import Job
    from transforms.shuffling.streams import Streams


@dataclass(frozen=True)
class OfSplit:
    """One split of one epoch, to be wired.

    Attributes:
        name: of the split.
        epoch: by which it is keyed: other splits than train are the same in all.
        train: whether it is train.
        level: of its folders, None for none.
    """

    name: str
    epoch: int
    train: bool
    level: int | None


def build(root: Any, job: Job) -> None:
    """Wire the pipeline: for each epoch read, split, order, pack and write; then prove."""
    import apache_beam as beam

    from transforms.packing.laid import LaidSplit
    from transforms.trainers.write_prepared import WritePrepared
    from transforms.trainers.write_shards import WriteSplits

    reading = _reading(job)
    counted = _count_contents(root, job, reading)
    every_span, every_split, every_shard = [], [], []
    for epoch in job.epochs:
        label = f"Epoch{epoch}" if len(job.epochs) > 1 else ""
        read = root | f"{label}Read" >> reading
        splits = _splits_of(job, epoch)
        found = _split(job, read, counted, [split.name for split in splits], label)
        spans = [read.spans]
        for split in splits:
            located, of_split = found[split.name]
            ordered, later = (located, of_split) | f"{label}{split.name}" >> _order(
                job, split, counted, reading
            )
            spans += [] if later is None else [later]
            laid = ordered | f"{label}{split.name}Laid" >> beam.Map(
                lambda split, keep: (split.name, LaidSplit(split.begun.parts, keep_sources=keep)),
                job.recipe.keep_source,
            )
            every_shard.append(
                laid
                | f"{label}{split.name}Write"
                >> WriteSplits(
                    output=job.claim.folder,
                    formats=tuple(form.name for form in job.formats),
                    dataset=job.dataset,
                    epoch=split.level,
                    levels=len(job.formats) > 1,
                    num_shards=job.recipe.num_shards if split.train else None,
                    shard_bytes=job.recipe.shard_size,
                    run_id=job.claim.run_id,
                    slots=job.workers.slots,
                    storage_options=job.settings.storage_options or {},
                    progress=job.claim.watched,
                )
            )
            level = split.level
            every_split.append(
                ordered
                | f"{label}{split.name}Entry" >> beam.Map(lambda s, lv: ((lv, s.name), s), level)
            )
        every_span.append(tuple(spans) | f"{label}Spans" >> beam.Flatten())
    written = (
        tuple(every_split) | "Splits" >> beam.Flatten(),
        tuple(every_shard) | "Shards" >> beam.Flatten(),
        *every_span,
    ) | WritePrepared(
        output=job.claim.folder,
        sources=sorted(job.inputs.patterns),
        recipe=job.recipe.model_dump(mode="json"),
        seed=job.recipe.seed,
        epochs=list(job.epochs),
        asked=_asked(job),
        formats=[form.name for form in job.formats],
        levels=len(job.formats) > 1,
        dataset=job.dataset,
        special={str(role): entry for role, entry in job.special.entries.items()},
        model=job.model,
        tokens=_tokens_entry(job),
        started=job.started,
        run_id=job.claim.run_id,
        expected=job.inputs.fingerprint,
        max_bad=most_bad(job),
        storage_options=job.settings.storage_options or {},
    )
    finish(written, job)


def _splits_of(job: Job, epoch: int) -> list[OfSplit]:
    """Return train, and with the first epoch all other splits."""
    train = job.recipe.split_name
    level = epoch if len(job.epochs) > 1 else None
    found = [OfSplit(train, epoch, True, level)]
    if epoch == job.epochs[0] and job.splits is not None:
        found += [OfSplit(name, 0, False, None) for name in job.splits.names if name != train]
    return found


def _asked(job: Job) -> dict[str, str | None]:
    parts = () if job.splits is None else job.splits.parts
    return {job.recipe.split_name: None, **{part.name: part.asked for part in parts}}


def _reading(job: Job) -> Any:
    """Return how the input is read."""
    from transforms.kernels.records.bad_ids import bad_rows
    from transforms.kernels.records.contents import without_values

    plan, kept, text = job.plan, job.inputs.contents.kept, job.work is not None
    if job.work is not None:
        validate: Any = job.work.validate
    else:
        validate = partial(bad_rows, column=job.column, ids=job.dataset.ids)
    if job.groups:
        validate = partial(_validate_both, validate, partial(without_values, groups=job.groups))
    reading = job.reading
    return read_records(
        job,
        span_bytes=plan.span_bytes,
        stage="tokenize",
        format=reading.format,
        check="none" if job.recipe.bytes or not text else "utf8",
        chunk_bytes=plan.chunk_bytes,
        record_limit=min(job.workers.payload // job.cost, plan.record_limit),
        memory=memory_for(job, max(job.cost, RECORDS)),
        text_field=reading.text_field,
        kept=kept,
        validate=validate,
    )


def _validate_both(first: Any, second: Any, block: Any) -> dict[int, str]:
    return {**(first(block) if first is not None else {}), **second(block)}


def _count_contents(root: Any, job: Job, reading: Any) -> Any:
    """Read all once to choose what counted splits take; None where no split is counted."""
    if job.splits is None or not job.splits.is_counted:
        return None
    from transforms.splitting.count_contents import CountContents

    if reading.on_bad_record == "quarantine":  # where they are read to be split is soon enough
        reading = replace(reading, on_bad_record="skip")
    read = root | "ReadContents" >> reading
    return read.blocks | "CountContents" >> CountContents(plan=job.splits, contents=job.contents)


def _split(
    job: Job, read: Any, counted: Any, names: Sequence[str], label: str
) -> dict[str, tuple[Any, Any]]:
    """Return the blocks and reports of each split."""
    if job.splits is None:
        return {names[0]: (read.blocks, read.spans)}
    from transforms.splitting.split_records import SpansOfSplit, SplitRecords

    found = read.blocks | f"{label}Split" >> SplitRecords(
        plan=job.splits, contents=job.contents, drop=job.drop, only=names, counted=counted
    )
    return {
        name: (located, (spans, read.spans) | f"{label}{name}Spans" >> SpansOfSplit())
        for name, (located, spans) in found.items()
    }


def _order(job: Job, split: OfSplit, counted: Any, reading: Any) -> Any:
    """Return what tokenizes, orders and packs a split."""
    from transforms.mixing.order_documents import OrderDocuments
    from transforms.mixing.ordering import Ordering
    from transforms.mixing.spill_tokens import RowsToIds, TextsToIds
    from transforms.packing.pack_documents import Budget
    from transforms.packing.parts import PartKey
    from transforms.splitting.split_records import KeepSplit

    recipe, plan = job.recipe, job.plan
    work = job.work_of(split.epoch) if split.train else job.eval_work
    ids: Any
    if work is None:
        kept = job.dataset.kept
        names = () if kept is None else tuple(kept.names)
        ids = RowsToIds(column=job.column, dtype=job.dtype, ids=job.dataset.ids, kept=names)
    else:
        ids = TextsToIds(work=work)
    stages = job.stages_of(split.epoch) if split.train else (_all_once(job),)
    amounts = _amounts(job, split)
    expected = [sum(one) for one in zip(*job.expected, strict=True)] if split.train else None
    streams = _streams(job, stages[0].mixture, amounts, expected)
    select = None
    if job.splits is not None and split.train:
        select = KeepSplit(
            plan=job.splits,
            contents=job.contents,
            drop=job.drop,
            name=split.name,
            counted=counted,
        )
    # whole as it is read once, nothing has to be read again
    again = split.train and (
        len(stages) > 1
        or stages[0].until is not None
        or recipe.rows is not None
        or stages[0].mixture.may_repeat
        or streams.first_needed != streams.buckets
    )
    label = f"{split.level if split.level is not None else 'all'}-{split.name}"
    return OrderDocuments(
        ordering=Ordering(
            name=split.name,
            stages=stages,
            streams=streams,
            spill=spilling(job, folder=label, release=False),
            sampled=work is not None and work.sampling.law != "off",
            packing=job.packing,
            key=PartKey(seed=recipe.seed, epoch=split.epoch, split=split.name),
            repeats=again,
            budget=Budget(rows=recipe.rows, multiple=recipe.rows_multiple_of)
            if split.train
            else Budget(),
            bucket_bytes=plan.bucket_bytes,
            max_records=recipe.max_records if split.train else None,
            max_tokens=recipe.max_tokens if split.train else None,
        ),
        work=ids,
        reread=reading if again else None,
        select=select,
        formats=len(job.formats),
        progress=job.claim.watched,
    )


def _all_once(job: Job) -> Stage:
    """Return the one stage of a split that holds each of its records once."""
    return Stage(Mixture(sources=tuple(sorted(job.inputs.patterns)), seed=job.recipe.seed))


def _amounts(job: Job, split: OfSplit) -> Amounts:
    if split.train:
        return job.amounts_of_train
    share = job.share_of(split.name)
    return Amounts(*(tuple(int(n * share) for n in one) for one in job.amounts))


def _streams(
    job: Job, mixture: Mixture, amounts: Amounts, expected: Sequence[float] | None
) -> Streams:
    from transforms.mixing.interleave import plan_streams

    plan = job.plan
    used = amounts.records if expected is None else expected
    about = [
        count * size / max(have, 1)
        for count, size, have in zip(used, amounts.bytes, amounts.records, strict=True)
    ]
    streams = plan_streams(
        mixture,
        amounts=amounts,
        about=about,
        size=plan.bucket_bytes,
        expected=None if expected is None else job.sure(expected, amounts),
        exact=False,
        shards=max(1, 4 * int(sum(about)) >> 28),
    )
    streams = replace(streams, measure=job.column)
    passes = [
        max(1, -(-int(count) // max(have, 1)))
        for count, have in zip(used, amounts.records, strict=True)
    ]
    return in_partitions(
        streams, job, plan, sources=mixture.sources, sizes=amounts.bytes, passes=passes
    )


def _tokens_entry(job: Job) -> Any:
    """Return what says of the tokens what a manifest does; None of rows of ids."""
    if job.work is None or job.model is None:
        return None
    from pipelines.jobs.load_model import tokens_entry

    return partial(tokens_entry, job.model, job.recipe)
