"""What ``dovetail split --plan`` prints: what would be read, and what each split would have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.inputs import made_by
from pipelines.inputs.preflight import Inputs
from pipelines.jobs.disk_room import Need
from pipelines.jobs.plan_report import describe_room, describe_sources, describe_workers, table
from pipelines.jobs.split_job import Job
from pipelines.recipes.wording import write_bytes, write_count, write_list, write_share, write_size
from transforms.kernels.splitting.first_contents import footprint


def describe(job: Job, needs: Sequence[Need]) -> str:
    """Return the plan as text; figures with ~ are estimated from samples."""
    form = job.inputs.contents.form
    parts = (
        describe_sources(job.inputs.contents.amounts),
        (f"unified     {note}" for note in job.inputs.contents.notes),
        (f"ids         {line}" for line in made_by.describe(job.inputs.tokenizers)),
        _splits(job),
        _what_decides(job),
        _like(job),
        [f"order       {order_of(job)}"],
        [f"output      {form.kind}, compression {form.compression}"],
        [describe_workers(job.workers)],
        describe_room(needs),
    )
    return "\n".join(line for part in parts for line in part)


def sum_up(job: Job) -> str:
    """Say in a few words what begins."""
    said = [f"{name} ({asked or 'the rest'})" for name, asked in job.recipe.asked.items()]
    return f"splitting into {write_list(said)}; order: {order_of(job)}"


def order_of(job: Job) -> str:
    """Say in which order each split is."""
    recipe = job.recipe
    return f"shuffled, seed {recipe.seed}" if recipe.shuffle else "the input's order"


def _splits(job: Job) -> Iterator[str]:
    """Yield what each split is expected to have, as lines of a table."""
    contents = job.inputs.contents
    rows = [["split", "requested", "expected", "records", "bytes", "shards"]]
    for name, asked in job.recipe.asked.items():
        size = job.expected[name]
        share = size / max(contents.bytes, 1)
        rows.append(
            [
                name,
                asked or "the rest",
                f"~{write_share(share)}",
                f"~{share * contents.records:,.0f}",
                f"~{write_bytes(size)}",
                f"~{job.shards_of(name):,}",
            ]
        )
    yield from table(rows)


def _what_decides(job: Job) -> Iterator[str]:
    recipe = job.recipe
    if recipe.by == "identity":
        yield "split by    identity: each record by itself, so duplicates may be in different splits"
        yield "            one more reading of the whole input counts how many are"
    else:
        by = "the text, or else the whole record"
        if recipe.split_by is not None:
            by = f"{write_count(len(recipe.split_by), 'field')}, {', '.join(recipe.split_by)}"
        elif recipe.text_field is not None:
            by = f"the text in {recipe.text_field}" if recipe.text_field else "the whole record"
        yield f"split by    content: {by}; duplicates are never in two splits"
    if recipe.stratify is not None:
        yield f"stratified  by {recipe.stratify}: counts have each label's share, by largest remainder"
    plan = recipe.split_plan
    if plan is not None and plan.is_counted:
        times = "once" if recipe.stratify is None else "twice"
        yield (
            f"counts      the whole input is read {times} more, to choose records; "
            f"{write_bytes(footprint(plan, labels=recipe.most_labels))} of memory in each worker"
        )
        if recipe.by == "content":
            yield "            duplicates stay together: counts are maxima"


def _like(job: Job) -> Iterator[str]:
    recipe = job.recipe
    if not recipe.weighs:
        return
    if recipe.like is not None:
        held = "" if job.like is None else f": {_held(job.like.inputs)}"
        yield f"like        {', '.join(recipe.like)}{held}"
    if recipe.like_model is not None:
        yield f"model       {recipe.like_model}; none is fitted"
    else:
        yield (
            f"model       fitted on up to {recipe.fit_records:,} records of either set, "
            f"{write_size(recipe.fit_bytes)} of each at most, by {', '.join(recipe.features)}"
        )
    if recipe.draw is not None:
        yield f"draws       {recipe.draw:,}, with replacement; column {recipe.draw_column} counts them"
    else:
        clip = "" if recipe.max_weight is None else f", clipped at {recipe.max_weight}"
        yield f"weights     column {recipe.weights_column}, mean weight 1{clip}"


def _held(inputs: Inputs) -> str:
    """Say how much there is."""
    contents = inputs.contents
    about = "" if all(amount.exact_records for amount in contents.amounts.values()) else "~"
    files = write_count(len(inputs.files), "file")
    return f"{files}, {about}{write_count(contents.records, 'record')}, {write_bytes(inputs.size)}"
