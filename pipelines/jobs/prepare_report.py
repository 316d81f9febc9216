"""What ``dovetail prepare --plan`` prints: what would be read, tokenized, used and written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.inputs import made_by
from pipelines.jobs.disk_room import Need
from pipelines.jobs.load_model import law_numbers
from pipelines.jobs.plan_report import describe_room, describe_sources, describe_workers, table
from pipelines.jobs.prepare_job import Job
from pipelines.jobs.special_ids import ROLES, write_special
from pipelines.jobs.summary import ends_with_a_source, unused_warning, write_law
from pipelines.recipes.wording import write_bytes, write_count, write_list, write_share
from transforms.errors import UsageError
from transforms.kernels.schedules.mixture import asked_shares
from transforms.kernels.splitting.first_contents import footprint

MANY_PASSES = 4
"""A source that will be repeated more often is warned of."""


def describe(job: Job, needs: Sequence[Need]) -> str:
    """Return the plan as text; figures with ~ are estimated from samples."""
    parts = (
        describe_sources(job.inputs.contents.amounts),
        (f"unified     {note}" for note in job.inputs.contents.notes),
        (f"ids         {line}" for line in made_by.describe(job.inputs.tokenizers)),
        _model(job),
        _special(job),
        _train(job),
        _work(job),
        _splits(job),
        _packing(job),
        _formats(job),
        [describe_workers(job.workers)],
        describe_room(needs),
    )
    return "\n".join(line for part in parts for line in part)


def sum_up(job: Job) -> str:
    """Say in a few words what begins."""
    ids = f"of {write_count(job.dataset.ids, 'id')}"
    kind = f"tokenizing by {(job.model or {}).get('kind')} {ids}"
    if job.work is None:
        kind = f"taking rows of ids as they are, {ids}"
    packing = "no packing"
    if job.packing.kind != "none":
        length = "" if job.packing.length is None else f" into rows of {job.packing.length:,} ids"
        packing = f"packing by {job.packing.kind}{length}"
    return f"{kind}; {packing}; output format {write_list([form.name for form in job.formats])}"


def refuse_empty(job: Job) -> None:
    """Raise UsageError where a source that has a weight is empty."""
    every = job.amounts.records
    for number, stage in enumerate(job.stages_of(job.recipe.epoch)):
        mixture = stage.mixture
        weights = mixture.weights or [1] * len(every)
        for name, records, weight in zip(job.sources, every, weights, strict=True):
            if mixture.is_weighted and weight and not records:
                where = "" if job.recipe.stages is None else f" in stage {number}"
                raise UsageError(
                    f"source {name} has a weight{where}, but its files are empty; set its "
                    "weight to 0, or leave it out"
                )


def warn(job: Job) -> Iterator[str]:
    """Yield what is likely not to be meant."""
    recipe = job.recipe
    ends = recipe.rows is None and recipe.max_tokens is None and recipe.stages is None
    if ends and ends_with_a_source(recipe.model_dump()):
        yield from unused_warning(
            job.sources, job.amounts_of_train.records, job.expected_records, about="~"
        )
    for name, used, have in zip(
        job.sources, job.expected_records, job.amounts_of_train.records, strict=True
    ):
        if have and used > MANY_PASSES * have:
            yield (
                f"source {name} will be repeated about {used / have:.1f} times; pass "
                "--stop=first_exhausted to end before any source repeats, or lower its weight"
            )
    for name, sample in job.sampled.items():
        for entry, hits, where, flag in (
            (job.special.begin, sample.begin, "begin with", "leave --add_bos out"),
            (job.special.end, sample.end, "end with", "pass --document_end=none"),
        ):
            if entry is not None and hits:
                yield (
                    f"source {name}: {hits} of {sample.filled} sampled documents already {where} "
                    f"{write_special(entry)}; {flag}, or remove it from the texts, to have it once"
                )


def _model(job: Job) -> Iterator[str]:
    if job.model is not None:
        yield (
            f"model       {job.model.get('url')}, {job.model.get('kind')} of {job.dataset.ids:,} ids, "
            f"SHA-256 {job.model['sha256'][:12]}…"
        )
    else:
        yield f"model       unknown; {job.dataset.ids:,} ids"
    if job.work is None:
        yield f"ids         the input holds rows of ids in {job.column}: nothing is tokenized"
        return
    if "engine" in (job.model or {}):
        yield f"engine      {(job.model or {})['engine']}"
    law = write_law(job.recipe.sampling, law_numbers(job.recipe))
    other = ""
    if job.splits is not None and job.recipe.sampling != "off":
        other = "; other splits " + ("too" if job.recipe.sample_splits else "without sampling")
    yield f"sampling    {law}{other}"


def _special(job: Job) -> Iterator[str]:
    special = job.special
    for role in ROLES:
        entry = special.entries.get(role)
        yield f"{role:11} {'none' if entry is None else write_special(entry)}"
    ends = "nothing" if special.end is None else _short(special.end.tokens, special.end.ids)
    begins = ""
    if special.begin is not None:
        begins = f"begin with {_short(special.begin.tokens, special.begin.ids)}, "
    yield f"documents   {begins}end in {ends}"
    for note in special.notes:
        yield f"            {note}"
    control = sum(sample.control for sample in job.sampled.values())
    if control:
        seen = sum(sample.records for sample in job.sampled.values())
        yield (
            f"control     {control:,} of {seen:,} sampled documents hold control strings, treated as "
            f"{job.recipe.special_tokens} (--special_tokens)"
        )


def _short(tokens: Sequence[str], ids: Sequence[int]) -> str:
    return " ".join(
        f"{token} ({id_})" if token else str(id_) for token, id_ in zip(tokens, ids, strict=True)
    )


def _train(job: Job) -> Iterator[str]:
    """Say what train takes of each source, stage by stage."""
    stages = job.stages_of(job.recipe.epoch)
    rows: list[tuple[str, ...]] = [
        (
            job.recipe.split_name,
            "requested",
            "of tokens",
            "of documents",
            "tokens",
            "documents",
            "passes",
        )
    ]
    amounts, means = job.amounts_of_train, job.means
    for number, (stage, used) in enumerate(zip(stages, job.expected, strict=True)):
        asked = asked_shares(stage.mixture, amounts) if stage.mixture.is_weighted else None
        made = [count * mean for count, mean in zip(used, means, strict=True)]
        records, tokens = sum(used) or 1.0, sum(made) or 1.0
        if len(stages) > 1:
            ends: list[str] = [stage.mixture.stop] if stage.mixture.stop else []
            if stage.until is not None:
                ends.append(f"{stage.until.count:,} {stage.until.unit}")
            until = f"until {' or '.join(ends)}" if ends else "to the end"
            rows.append((f"stage {number}, {until}", *[""] * 6))
        for i, name in enumerate(job.sources):
            rows.append(
                (
                    f"  {name}" if len(stages) > 1 else name,
                    "" if asked is None else write_share(asked[i]),
                    f"~{write_share(made[i] / tokens)}",
                    f"~{write_share(used[i] / records)}",
                    f"~{made[i]:,.0f}",
                    f"~{used[i]:,.0f}",
                    f"~{used[i] / max(amounts.records[i], 1):.2f}",
                )
            )
    yield from table(rows)


def _work(job: Job) -> Iterator[str]:
    """Say what share of each source is read, tokenized, and used."""
    done = "tokenized" if job.work is not None else "taken"
    rows: list[tuple[str, ...]] = [("work", "read", done, "used", "bytes per token")]
    train = job.share_of(job.recipe.split_name)
    for i, name in enumerate(job.sources):
        have = max(job.amounts_of_train.records[i], 1)
        # other splits have each of their records once
        tokenized = job.tokenized[i] / have * train * len(job.epochs) + (1 - train)
        used = job.passes[i] * train * len(job.epochs) + (1 - train)
        sample = job.sampled.get(name)
        ratio = f"~{sample.bytes / sample.tokens:.2f}" if sample and sample.tokens else ""
        reads = max(1, -(-job.passes[i] // 1)) * len(job.epochs)
        if job.splits is not None and job.splits.is_counted:
            reads += 1  # before it is known which contents a count takes
        rows.append((name, f"~{reads:.0%}", f"~{tokenized:.1%}", f"~{used:.1%}", ratio))
    yield from table(rows)


def _splits(job: Job) -> Iterator[str]:
    if job.splits is None:
        return
    records, tokens = sum(job.amounts.records), sum(job.amounts.tokens)
    for part in job.splits.parts:
        share = job.share_of(part.name)
        yield (
            f"split       {part.name} {part.asked}: ~{share * records:,.0f} documents, "
            f"~{share * tokens:,.0f} tokens, each once"
        )
    by = "the text" if not job.groups else f"the field {job.groups[0]}"
    moves = "adding data moves no record of a share to another split"
    if job.splits.is_counted:
        moves += ", but may move some in or out of a count; counts are maxima"
    yield f"split by    {by}; duplicates are never in two splits; {moves}"
    if job.splits.is_counted:
        yield (
            "            counts need one more reading of the whole input; "
            f"{write_bytes(footprint(job.splits))} of memory in each worker"
        )


def _packing(job: Job) -> Iterator[str]:
    packing = job.packing
    said = [
        packing.kind
        if packing.length is None
        else f"{packing.kind}, rows of {packing.length:,} ids"
    ]
    if packing.kind == "best_fit":
        said.append(f"windows of {packing.window:,} tokens")
    if packing.kind not in ("none", "concat"):
        said.append(f"longer documents: {packing.long}")
    if packing.end_at_cuts:
        said.append("pieces of cut documents end in EOS too")
    yield f"packing     {'; '.join(said)}"
    rows = job.rows_of(sum(job.expected_records), job.train_tokens)
    exact = "~"
    if job.recipe.rows is not None:
        rows, exact = float(job.recipe.rows), ""
    every = "" if len(job.epochs) == 1 else f" in each of {len(job.epochs)} epochs"
    yield (
        f"rows        {job.recipe.split_name}: {exact}{rows:,.0f} rows, ~{job.train_tokens:,.0f} tokens "
        f"of documents{every}"
    )


def _formats(job: Job) -> Iterator[str]:
    for form in job.formats:
        filler, width = form.filler(job.dataset), form.id_bytes(job.dataset)
        yield (
            f"format      {form.name}: {form.unit(job.dataset)}, "
            f"{'no filler' if filler is None else f'filler {filler}'}, {width} bytes per id, "
            f"~{write_bytes(int(job.bytes_of(form)))} of {job.recipe.split_name}"
        )
