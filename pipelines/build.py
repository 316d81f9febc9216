"""The dataflow: from a planned job to Beam's pipeline."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from pipelines.execute import Planned
from pipelines.inputs import Contents
from pipelines.output import Claim
from pipelines.preflight import Inputs
from pipelines.recipe import CommonRecipe, Recipe, Settings
from transforms import storage
from transforms.formats.writing import ShardFormat
from transforms.kernels.checks import Check
from transforms.kernels.levels import partition_streams
from transforms.kernels.mixture import Amounts, Mixture, expect
from transforms.kernels.plan import Plan, Workers, count_shards


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
    mixture: Mixture

    @property
    def shards(self) -> int:
        """How many shards there will be; estimated where they are cut by records."""
        if self.recipe.shard_records is not None:
            records = sum(self.expected_records)
            return max(1, math.ceil(records / self.recipe.shard_records))
        if self.recipe.num_shards is None and not self.mixture.is_whole:
            return count_shards(int(sum(self.expected_bytes)))
        return self.plan.shards or 1

    @property
    def shards_known(self) -> bool:
        """Whether ``shards`` is exact, as no count of records has a say in it."""
        by_size = self.mixture.is_whole or self.recipe.num_shards is not None
        return by_size and self.recipe.shard_records is None

    @property
    def amounts(self) -> Amounts:
        """How much the sources hold, about."""
        return amounts_of(self.mixture, self.inputs)

    @property
    def expected_records(self) -> list[float]:
        """How many records of each source come out, about."""
        return expect(self.mixture, self.amounts)

    @property
    def expected_bytes(self) -> list[float]:
        """How many bytes of each source come out, about."""
        amounts = self.amounts
        return [
            count * size / max(have, 1)
            for count, have, size in zip(
                self.expected_records, amounts.records, amounts.bytes, strict=True
            )
        ]

    @property
    def passes(self) -> list[int]:
        """How often each source is read, about: a large one once a pass."""
        amounts, room = self.amounts, self.plan.bucket_bytes // (2 * len(self.mixture.sources))
        return [
            1 if size <= room else max(1, math.ceil(count / max(have, 1)))
            for count, have, size in zip(
                self.expected_records, amounts.records, amounts.bytes, strict=True
            )
        ]

    @property
    def read_bytes(self) -> int:
        """How many bytes are read, about."""
        return sum(size * n for size, n in zip(self.amounts.bytes, self.passes, strict=True))

    @property
    def levels(self) -> int:
        """How many levels the exchange takes, of any stream of a mixture."""
        if self.exchange == "engine":
            return 1
        if self.mixture.is_whole:
            return 2 if self.plan.first > 1 else 1
        levels: int = streams_of(self).levels
        return levels

    @property
    def spilled_bytes(self) -> int:
        """How many bytes lie in spill files at once, about.

        On disks each worker's partition is there twice; all else of the first level has been given
        back by the time that the second has it.
        """
        if self.exchange == "engine":
            return self.read_bytes
        if self.mixture.is_whole:
            twice = self.workers.count / self.plan.first if self.levels == 2 else 0
            return int(self.read_bytes * (1 + twice))
        streams = streams_of(self)
        sizes = self.amounts.bytes if not streams.union else [sum(self.amounts.bytes)]
        beyond = [
            size * (1 - reach / buckets)
            for size, reach, buckets in zip(sizes, streams.reach, streams.buckets, strict=True)
        ]
        twice = max(
            (size / n for size, n in zip(sizes, streams.partitions, strict=True) if n > 1),
            default=0,
        )
        return int(self.read_bytes - sum(beyond) + self.workers.count * twice)


class Wired(Planned, Protocol):
    """A planned run, as far as the ends of every pipeline need to know it."""

    @property
    def recipe(self) -> CommonRecipe:
        """What comes out."""

    @property
    def started(self) -> str:
        """When, for the manifest."""


def read_records(job: Wired, *, span_bytes: int, **options: Any) -> Any:
    """Return ReadRecords of a job's input; ``options`` are those of ReadOptions that differ by job."""
    from transforms.formats.reading import ReadOptions
    from transforms.read import ReadRecords

    inputs, claim, contents = job.inputs, job.claim, job.inputs.contents
    return ReadRecords(
        sources=inputs.patterns,
        options=ReadOptions(
            line_format=contents.line_format,
            rows=contents.schema is not None,
            schema=contents.schema,
            **options,
        ),
        span_bytes=span_bytes,
        on_bad_record=job.recipe.on_bad_record,
        output=claim.folder,
        run_id=claim.run_id,
        expected=inputs.fingerprint,
        launcher=job.claim.launcher,
        storage_options=job.settings.storage_options or {},
        scratch=claim.scratch,
        progress=claim.watched,
    )


def write_shards(job: Wired, *, form: ShardFormat, extension: str, **more: Any) -> Any:
    """Return WriteShards of a job; ``more`` as of WriteShards."""
    from transforms.write import WriteShards

    return WriteShards(
        output=job.claim.folder,
        split=job.recipe.split_name,
        extension=extension,
        form=form,
        sources=len(job.inputs.patterns),
        launcher=job.claim.launcher,
        run_id=job.claim.run_id,
        places=job.workers.places,
        storage_options=job.settings.storage_options or {},
        progress=job.claim.watched,
        **more,
    )


def write_manifest(job: Wired, *, form: ShardFormat, **more: Any) -> Any:
    """Return WriteManifest of a job; ``more`` as of WriteManifest."""
    from transforms.write import WriteManifest

    recipe = job.recipe
    return WriteManifest(
        output=job.claim.folder,
        sources=sorted(job.inputs.patterns),
        recipe=recipe.model_dump(mode="json"),
        seed=recipe.seed,
        epoch=recipe.epoch,
        started=job.started,
        form=form,
        run_id=job.claim.run_id,
        expected=job.inputs.fingerprint,
        storage_options=job.settings.storage_options or {},
        **more,
    )


def build(root: Any, job: Job) -> None:
    """Wire the pipeline: read, shuffle or interleave, write, prove."""
    plan, contents = job.plan, job.inputs.contents
    reading = read_records(
        job,
        span_bytes=plan.span_bytes,
        check=_check(job.recipe, contents),
        chunk_bytes=plan.chunk_bytes,
        record_limit=plan.record_limit,
        text_field=job.recipe.text_field,
    )
    read = root | reading
    if job.mixture.is_whole:
        laid_out, reports = _shuffle(read.blocks, job), (read.spans,)
        after: tuple[Any, ...] = ()
    else:
        laid_out, spans, mixed = (read.blocks, read.spans) | _interleave(job, again=reading)
        reports, after = (spans,), (mixed,)
    shards = laid_out | write_shards(
        job,
        form=contents.form,
        extension=contents.extension,
        bucket_bytes=plan.bucket_bytes,
        release=job.settings.runner == "DirectRunner",  # others may run a writer again
    )
    written = (*reports, shards, *after) | write_manifest(job, form=contents.form)
    finish(written, job)


def finish(written: Any, job: Wired) -> None:
    """Let the pipeline clear up itself where nobody waits for its end."""
    from transforms.finish import Finish

    claim = job.claim
    if claim.remote:
        written | Finish(
            output=claim.folder,
            run_id=claim.run_id,
            folders=claim.temporary,
            made=claim.made,
            storage_options=job.settings.storage_options or {},
        )


def _shuffle(blocks: Any, job: Job) -> Any:
    """Shuffle all records as one: blocks -> shards."""
    import apache_beam as beam

    from transforms.partition import PartitionAgain, PartitionIntoBuckets
    from transforms.shuffle import ShuffleWithinBuckets

    recipe, plan, claim = job.recipe, job.plan, job.claim
    options = job.settings.storage_options or {}
    runs = blocks | PartitionIntoBuckets(
        seed=recipe.seed,
        epoch=recipe.epoch,
        run_bytes=plan.run_bytes,
        run_id=claim.run_id,
        places=job.workers.places,
        progress=claim.watched,
    )
    first: list[str] = []
    once = job.settings.runner == "DirectRunner"  # others may run a step again
    if job.levels == 2:
        first = [storage.join(spill, "first") for spill in claim.spills]
        level = _exchange(job, partitions=plan.first, buckets=plan.first, folder=first)
        again = (runs | "FirstLevel" >> level) | PartitionAgain(
            run_bytes=plan.run_bytes,
            run_id=claim.run_id,
            places=job.workers.places,
            release=once,
            storage_options=options,
            progress=claim.watched,
        )
        runs = again | "RunsAgain" >> beam.Values()
    exchange = _exchange(
        job,
        partitions=plan.partitions,
        buckets=plan.buckets,
        folder=claim.spills,
        within=plan.first if first else 1,
        used_up=first if once else (),
    )
    return (runs | exchange) | ShuffleWithinBuckets(
        partitions=plan.partitions,
        shard_records=recipe.shard_records,
        bucket_bytes=plan.bucket_bytes,
        sources=len(job.inputs.patterns),
        storage_options=options,
    )


def _exchange(job: Job, **cut: Any) -> Any:
    """Return what groups runs as ``cut`` says."""
    from transforms.exchange import GroupBlocksByKey

    return GroupBlocksByKey(
        exchange=job.exchange,
        page_bytes=job.plan.page_bytes,
        sources=len(job.inputs.patterns),
        compression=_spill_compression(job),
        storage_options=job.settings.storage_options or {},
        progress=job.claim.watched,
        **cut,
    )


def _interleave(job: Job, *, again: Any) -> Any:
    """Return what interleaves sources: (blocks, spans) -> (shards, spans, mixed)."""
    from transforms.interleave import InterleaveSources
    from transforms.streams import SpillStreams

    recipe, plan, claim = job.recipe, job.plan, job.claim
    streams = streams_of(job)
    return InterleaveSources(
        mixture=job.mixture,
        streams=streams,
        spill=SpillStreams(
            streams=streams,
            exchange=job.exchange,
            run_bytes=plan.run_bytes,
            page_bytes=plan.page_bytes,
            folders=claim.spills,
            compression=_spill_compression(job),
            run_id=claim.run_id,
            places=job.workers.places,
            release=job.settings.runner == "DirectRunner",  # others may run a step again
            storage_options=job.settings.storage_options or {},
            progress=claim.watched,
        ),
        again=again,
        num_shards=recipe.num_shards,
        shard_records=recipe.shard_records,
        bucket_bytes=plan.bucket_bytes,
    )


def streams_of(job: Job) -> Any:
    """Return how the sources of a mixture are cut."""
    from transforms.interleave import plan_streams

    plan, amounts = job.plan, job.amounts
    found = job.inputs.contents.amounts
    by_bytes = job.mixture.weigh_by == "bytes" or job.mixture.max_bytes is not None
    streams = plan_streams(
        job.mixture,
        amounts=amounts,
        about=job.expected_bytes,
        size=plan.bucket_bytes,
        expected=job.expected_records if job.exchange == "files" else None,
        exact=all(a.exact_records and (a.exact_bytes or not by_bytes) for a in found.values()),
    )
    if job.exchange == "engine":
        return streams
    sizes, passes = amounts.bytes, job.passes
    files = [found[name].files if name in found else 0 for name in job.mixture.sources]
    spans = [many + size // plan.span_bytes for many, size in zip(files, sizes, strict=True)]
    if streams.union:
        sizes, passes, spans = (sum(sizes),), [1], [sum(spans)]
    return replace(
        streams,
        partitions=partition_streams(
            sizes=sizes,
            spans=spans,
            passes=passes,
            buckets=streams.buckets,
            reach=streams.reach,
            run_bytes=plan.run_bytes,
            workers=job.workers.count,
            payload=job.workers.payload,
            segment_bytes=plan.segment_bytes,
        ),
    )


def mixture_of(recipe: Recipe) -> Mixture:
    """Return what a recipe asks of its sources; those of weight zero are out of it already."""
    names = tuple(sorted(recipe.sources))

    def numbers(given: dict[str, Decimal] | None) -> tuple[Fraction, ...] | None:
        return None if given is None else tuple(Fraction(given.get(name, 1)) for name in names)

    return Mixture(
        sources=names,
        weights=numbers(recipe.weights),
        repeats=numbers(recipe.repeats),
        temperature=recipe.temperature,
        interleave=recipe.interleave,
        weigh_by=recipe.weigh_by,
        stop=recipe.stop,
        max_records=recipe.max_records,
        max_bytes=recipe.max_bytes,
        seed=recipe.seed,
        epoch=recipe.epoch,
    )


def amounts_of(mixture: Mixture, inputs: Inputs) -> Amounts:
    """Return how much the sources of a mixture hold, about."""
    found = [inputs.contents.amounts.get(name) for name in mixture.sources]
    return Amounts(
        tuple(amount.records if amount else 0 for amount in found),
        tuple(amount.bytes if amount else 0 for amount in found),
    )


def _spill_compression(job: Job) -> str | None:
    asked = job.settings.spill_compression
    return None if asked == "none" else asked


def _check(recipe: Recipe, contents: Contents) -> Check:
    """Return what a line has to be: text where it becomes a row of text."""
    as_text = contents.schema is None and contents.form.kind != "lines"
    return "utf8" if as_text and recipe.check == "none" else recipe.check
