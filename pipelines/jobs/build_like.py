"""The dataflow of ``--like``: sample, fit, score, weigh or draw, and say what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.jobs.build import spilling
from pipelines.recipes.check_split import FIT_BYTES
from pipelines.recipes.wording import write_size
from transforms.errors import UsageError
from transforms.kernels.planning.plan import Workers
from transforms.workers.progress import Stage

if TYPE_CHECKING:
    from pipelines.jobs.split_job import Job

_COPIES = 6  # of a sample as it is read, joined, and put in order, of either set


class Weighing(NamedTuple):
    """What splitting goes by where records are weighed.

    Attributes:
        placing: where records go, and what is attached to them.
        told: a PCollection of what it is told.
        like: of the report, for the manifest.
    """

    placing: Any
    told: Any
    like: Any


def weigh(root: Any, job: Job, reading: Any, placing: Any, told: Any) -> Weighing:
    """Wire what comes before records are placed.

    Args:
        root: of the pipeline.
        job: the job.
        reading: how the input is read before it is read to be split.
        placing, told: where records go by fractions or counts; None where they are drawn.
    """
    from transforms.likeness.draw_records import DrawRecords
    from transforms.likeness.drawn import TimesDrawn
    from transforms.likeness.fit_like import FitLike, LoadLike, model_of
    from transforms.likeness.place_drawn import PlaceDrawn
    from transforms.likeness.place_weighted import PlaceWeighted, tell_weights
    from transforms.likeness.report_like import ReportLike
    from transforms.likeness.sample_records import SampleRecords, SampleSize
    from transforms.likeness.score_records import ScoreRecords, WeighScores

    recipe = job.recipe
    spill = spilling(job, folder="like", release=False)
    sampling = partial(
        SampleRecords,
        seed=recipe.split_seed,
        size=SampleSize(recipe.fit_records, recipe.fit_bytes),
        spill=spill,
    )
    sample = test = drawn = after = None
    if job.like is not None:
        read = root | "ReadToSample" >> reading
        sample = read.blocks | "SampleInput" >> sampling()
        read = root | "ReadTest" >> _of_test(job, reading)
        test = read.blocks | "SampleTest" >> sampling()
    if recipe.like_model is not None:
        fitted = root | LoadLike(url=recipe.like_model, spill=spill)
    else:
        fitted = (sample, test) | FitLike(
            features=recipe.features, seed=recipe.split_seed, spill=spill
        )
    model = model_of(fitted)
    scored = root | ScoreRecords(
        reading=replace(reading, stage="score"),
        model=model,
        contents=job.contents,
        spill=spill,
        keep=recipe.draw is not None,
    )
    most = None if recipe.max_weight is None else Fraction(recipe.max_weight)
    weighing = scored.counts | WeighScores(max_weight=most, spill=spill)
    if recipe.draw is not None:
        told = drawn = (scored.pages, weighing) | DrawRecords(
            draws=recipe.draw, seed=recipe.split_seed, spill=spill
        )
        rest, split = recipe.split_names
        placing = PlaceDrawn(
            rest=rest,
            split=split,
            column=recipe.draw_column,
            in_order=not recipe.shuffle,
            contents=job.contents,
        )
        if test is not None:
            read = root | "ReadDrawn" >> reading
            after = read.blocks | "SampleDrawn" >> sampling(times=TimesDrawn(), told=drawn)
    else:
        assert recipe.weights_column is not None
        told = tell_weights(told, model, weighing)
        placing = PlaceWeighted(inner=placing, column=recipe.weights_column)
    like = root | ReportLike(
        fitted=fitted,
        weighing=weighing,
        sample=sample,
        test=test,
        drawn=after,
        seed=recipe.split_seed,
        draws=recipe.draw,
        output=job.claim.folder,
        run_id=job.claim.run_id,
        spill=spill,
    )
    return Weighing(placing, told, like)


def _of_test(job: Job, reading: Any) -> Any:
    """Return how the test set is read."""
    assert job.like is not None
    inputs = job.like.inputs
    contents = inputs.contents
    options = replace(
        reading.options,
        rows=contents.schema is not None,
        schema=contents.schema,
        line_format=contents.line_format,
        beside=job.like.beside,
        validate=None,
    )
    return replace(
        reading, sources=inputs.patterns, options=options, expected=inputs.fingerprint, output=""
    )


def totals_of(job: Job) -> Mapping[Stage, int]:
    """Return how many bytes are read to sample, and to score."""
    size = job.inputs.size
    found: dict[Stage, int] = {}
    if job.like is not None:  # which are sampled first
        times = 1 if job.recipe.draw is None else 2
        found["count"] = times * size + job.like.inputs.size
    return {**found, "score": size}


def require_room_to_fit(asked: int, workers: Workers) -> None:
    """Raise UsageError where a sample of so many bytes takes more memory than a worker has for its work.

    What is sampled by default fits wherever a run is let begin.
    """
    needed = _COPIES * asked
    if asked > FIT_BYTES and needed > workers.payload:
        raise UsageError(
            f"--fit_bytes={write_size(asked)}: fitting on this much takes "
            f"{write_size(needed)} in a worker, which has {write_size(workers.payload)}; "
            "lower --fit_bytes, or pass more --memory or fewer --workers"
        )


def require_room_to_draw(draws: int, workers: Workers) -> None:
    """Raise UsageError where so many draws take more memory than a worker has beside its work."""
    from transforms.likeness.draw_records import footprint

    needed, room = footprint(draws), workers.payload // 2
    if needed > room:
        most = room // footprint(1)
        raise UsageError(
            f"--draw={draws}: this many draws take {write_size(needed)} in each worker, "
            f"which has {write_size(room)}, enough for {most:,}; draw fewer, or pass more "
            "--memory or fewer --workers"
        )
