"""The dataflow: from a planned job to Beam's pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.inputs.one_file import WINDOW_COUNTED
from pipelines.jobs.execute import Planned
from pipelines.jobs.job import Job, streams_of
from transforms.datasets.max_bad import MostBad
from transforms.formats import compressed
from transforms.formats.codecs import WINDOW
from transforms.formats.writing import ShardFormat
from transforms.kernels.planning.plan import RECORDS
from transforms.storage import files as storage
from transforms.workers.progress import Stage


def read_records(
    job: Planned, *, span_bytes: int, stage: Stage = "partition", **options: Any
) -> Any:
    """Return ReadRecords of a job's input.

    Args:
        job: the job.
        span_bytes, stage: as of ReadRecords.
        options: those of ReadOptions that differ by job.
    """
    from transforms.datasets.read import ReadRecords
    from transforms.formats.readers import ReadOptions

    inputs, claim, contents = job.inputs, job.claim, job.inputs.contents
    return ReadRecords(
        sources=inputs.patterns,
        extensions=job.recipe.extension or (),
        options=ReadOptions(
            line_format=contents.line_format,
            rows=contents.schema is not None,
            schema=contents.schema,
            window=max(contents.window + WINDOW_COUNTED, WINDOW),
            codec_modules=compressed.with_installed(job.recipe.codec_module),
            **{"format": job.recipe.format, **options},
        ),
        span_bytes=span_bytes,
        on_bad_record=job.recipe.on_bad_record,
        max_bad=most_bad(job),
        output=claim.folder,
        run_id=claim.run_id,
        expected=inputs.fingerprint,
        launcher=job.claim.launcher,
        storage_options=job.settings.storage_options or {},
        scratch=claim.scratch,
        progress=claim.watched,
        stage=stage,
        compiled=job.compiled,
    )


def write_shards(
    job: Planned, *, form: ShardFormat, extension: str, split: str | None = None, **more: Any
) -> Any:
    """Return WriteShards of a job, of its one split if none is named; ``more`` as of WriteShards."""
    from transforms.datasets.write import WriteShards

    return WriteShards(
        output=job.claim.folder,
        split=job.recipe.split_name if split is None else split,
        extension=extension,
        form=form,
        sources=len(job.inputs.patterns),
        launcher=job.claim.launcher,
        run_id=job.claim.run_id,
        slots=job.workers.slots,
        storage_options=job.settings.storage_options or {},
        progress=job.claim.watched,
        compiled=job.compiled,
        **more,
    )


def write_manifest(job: Planned, *, form: ShardFormat, **more: Any) -> Any:
    """Return WriteManifest of a job; ``more`` as of WriteManifest."""
    from transforms.datasets.write_manifest import WriteManifest

    return WriteManifest(**manifest_fields(job, form), **more)


def manifest_fields(job: Planned, form: ShardFormat) -> dict[str, Any]:
    """Return what WriteManifest is told of every job."""
    recipe = job.recipe
    return {
        "output": job.claim.folder,
        "sources": sorted(job.inputs.patterns),
        "recipe": recipe.model_dump(mode="json"),
        "seed": recipe.seed,
        "epoch": recipe.epoch,
        "started": job.started,
        "max_bad": most_bad(job),
        "form": form,
        "run_id": job.claim.run_id,
        "expected": job.inputs.fingerprint,
        "storage_options": job.settings.storage_options or {},
    }


def most_bad(job: Planned) -> MostBad | None:
    """Return how many bad records there may be."""
    asked = job.settings.max_bad
    return None if asked is None else MostBad.parse(asked)


def memory_for(job: Planned, records: int) -> Any:
    """Return what memory a larger record takes, of which a worker holds so many at once."""
    from transforms.formats.limits import MemoryFor

    sharing = 1 if job.claim.remote else job.workers.count  # elsewhere each worker has its own
    return MemoryFor(job.workers.memory, records * sharing)


def build(root: Any, job: Job) -> None:
    """Wire the pipeline: read, shuffle or interleave, write, prove."""
    recipe, plan, contents = job.recipe, job.plan, job.inputs.contents
    becomes_text = contents.schema is None and contents.form.kind != "lines"  # of a row
    reading = read_records(
        job,
        span_bytes=plan.span_bytes,
        check="utf8" if becomes_text and recipe.check == "none" else recipe.check,
        chunk_bytes=plan.chunk_bytes,
        record_limit=plan.record_limit,
        memory=memory_for(job, RECORDS),
        text_field=recipe.text_field,
    )
    read = root | reading
    streams, spill = streams_of(job), spilling(job)
    after: Sequence[Any] = ()
    if job.mixture.is_whole:
        from transforms.shuffling.partition import PartitionIntoBuckets
        from transforms.shuffling.shuffle import ShuffleWithinBuckets

        spans = read.spans
        laid_out = (
            read.blocks
            | PartitionIntoBuckets(streams=streams, spill=spill)
            | ShuffleWithinBuckets(
                streams=streams,
                spill=spill,
                ranges=plan.partitions,
                shard_records=recipe.shard_records,
            )
        )
    else:
        from transforms.mixing.interleave import InterleaveSources

        laid_out, spans, *after = (read.blocks, read.spans) | InterleaveSources(
            mixture=job.mixture,
            streams=streams,
            spill=spill,
            reread=reading,
            num_shards=recipe.num_shards,
            shard_records=recipe.shard_records,
            bucket_bytes=plan.bucket_bytes,
        )
    shards = laid_out | write_shards(
        job,
        form=contents.form,
        extension=contents.extension,
        release=job.gives_back,
    )
    written = (spans, shards, *after) | write_manifest(
        job, form=contents.form, tokenizers=job.inputs.tokenizers
    )
    finish(written, job)


def finish(written: Any, job: Planned) -> None:
    """Let the pipeline clear up itself where nobody waits for its end."""
    from transforms.workers.finish import Finish

    claim = job.claim
    if claim.remote:
        written | Finish(
            output=claim.folder,
            run_id=claim.run_id,
            folders=claim.temporary,
            made=claim.made,
            storage_options=job.settings.storage_options or {},
        )


def spilling(job: Any, *, folder: str = "", release: bool | None = None) -> Any:
    """Return where a job's spill files lie, and how they are made.

    Args:
        job: of a command that spills.
        folder: of its own below the run's, where several spill apart; "" for none.
        release: as of Spilling; None for as the job has it.
    """
    from transforms.shuffling.spill_files import Spilling

    asked, plan, claim = job.settings.spill_compression, job.plan, job.claim
    return Spilling(
        folders=[storage.join(url, folder) if folder else url for url in claim.spills],
        run_bytes=plan.run_bytes,
        page_bytes=plan.page_bytes,
        compression=None if asked == "none" else asked,
        run_id=claim.run_id,
        slots=job.workers.slots,
        release=job.gives_back if release is None else release,
        storage_options=job.settings.storage_options or {},
        progress=claim.watched,
    )
